"""Muon: momentum whose steps are orthogonal matrices, so that no direction of a layer learns slower than another."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # a quintic that brings every singular value near 1 in five steps
NEWTON_SCHULZ_STEPS = 5


class Muon(torch.optim.Optimizer):
    """Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks", kellerjordan.github.io/posts/muon.

    For matrices (out, in), convolutions (out, in, height, width) and stacks of matrices (stack, in, out), each on its own. Weight decay
    is decoupled. `torch.optim.Muon` takes neither stacks nor convolutions and multiplies in bfloat16, which is four times as slow as
    float32 on a CPU that has none.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step with Nesterov momentum; `closure` is not called."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum = state["momentum"].mul_(MOMENTUM).add_(parameter.grad)
                towards = _matrices(parameter.grad + MOMENTUM * momentum)
                wide, narrow = (-2, -1) if parameter.ndim != 3 else (-1, -2)
                scale = max(1.0, towards.shape[wide] / towards.shape[narrow]) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(orthogonal(towards).reshape(parameter.shape), alpha=group["lr"] * scale)


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
    parameters: Sequence[Tensor], learning_rate: float, muon_lr: float, weight_decay: float
) -> dict[torch.optim.Optimizer, float]:
    """Each optimiser with its highest learning rate. `muon_lr` is Muon's; 0 leaves matrices to AdamW too."""
    matrices, vectors = [p for p in parameters if p.ndim >= 2], [p for p in parameters if p.ndim < 2]
    by_muon, by_adam = (matrices, []) if muon_lr else ([], matrices)
    groups = [{"params": by_adam, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    adam = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.99), fused=True)
    return {adam: learning_rate, **({Muon(by_muon, muon_lr, weight_decay): muon_lr} if by_muon else {})}
