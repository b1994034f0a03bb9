"""Muon: momentum whose steps are orthogonal matrices, so that no direction of a layer learns slower than another."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.training.processes import ALONE, Processes

MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # a quintic that brings every singular value near 1 in five steps
NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", kellerjordan.github.io/posts/muon.

    For matrices (out, in), convolutions (out, in, height, width) and stacks of matrices (stack, in, out), each on its own. Weight decay
    is decoupled. `torch.optim.Muon` takes neither stacks nor convolutions and multiplies in bfloat16, which is four times as slow as
    float32 on a CPU that has none. Where processes learn together (`among`), each orthogonalises some of the matrices for all, which on a
    CPU takes a third of a step.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float, among: Processes = ALONE) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})
        self.among = among

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step with Nesterov momentum; `closure` is not called."""
        for group in self.param_groups:
            learned = [parameter for parameter in group["params"] if parameter.grad is not None]
            towards = [self._towards(parameter, parameter.grad) for parameter in learned]
            for parameter, matrices, direction in zip(learned, towards, _directions(towards, self.among), strict=True):
                wide, narrow = (-2, -1) if parameter.ndim != 3 else (-1, -2)
                scale = max(1.0, matrices.shape[wide] / matrices.shape[narrow]) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(direction.reshape(parameter.shape), alpha=group["lr"] * scale)

    def _towards(self, parameter: Tensor, gradient: Tensor) -> Float[Tensor, "*stack row column"]:
        """Nesterov's momentum, as matrices."""
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"].mul_(MOMENTUM).add_(gradient)
        return _matrices(gradient + MOMENTUM * momentum)


def _directions(towards: Sequence[Tensor], among: Processes) -> Iterable[Tensor]:
    """Each of them orthogonal, as every process gets it to the bit; who makes which goes by the products that it takes."""
    if among.count == 1 or not towards:
        return map(orthogonal, towards)
    work = [one.numel() * min(one.shape[-2:]) for one in towards]
    loads, makers = [0] * among.count, [0] * len(towards)
    for number in sorted(range(len(towards)), key=lambda number: -work[number]):
        makers[number] = min(range(among.count), key=loads.__getitem__)
        loads[makers[number]] += work[number]
    mine = [orthogonal(one) if maker == among.rank else torch.zeros_like(one) for one, maker in zip(towards, makers, strict=True)]
    told = among.total(torch.cat([one.flatten() for one in mine]))
    return [flat.view(one.shape) for flat, one in zip(told.split([one.numel() for one in towards]), towards, strict=True)]


def orthogonal(matrices: Float[Tensor, "*stack row column"]) -> Float[Tensor, "*stack row column"]:
    """The same singular vectors with singular values of about 1 (0.7 to 1.2)."""
    a, b, c = NEWTON_SCHULZ
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.float()
    x = x.mT if is_tall else x
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if is_tall else x


def _matrices(values: Tensor) -> Tensor:
    """A convolution's kernel as one matrix."""
    return values.reshape(len(values), -1) if values.ndim == 4 else values


def optimisers(
    parameters: Sequence[Tensor], learning_rate: float, muon_lr: float, weight_decay: float, among: Processes = ALONE
) -> dict[torch.optim.Optimizer, float]:
    """Each optimiser with its highest learning rate. `muon_lr` is Muon's; 0 leaves matrices to AdamW too."""
    matrices, vectors = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
    by_muon, by_adam = (matrices, []) if muon_lr else ([], matrices)
    groups = [{"params": by_adam, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=True)
    return {adam: learning_rate, **({Muon(by_muon, muon_lr, weight_decay, among): muon_lr} if by_muon else {})}
