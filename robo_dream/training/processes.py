"""One training on several processes, each on its share of every batch: who shares, and what they tell each other.

Every process draws the whole batch from the same seed and takes its rows of it. Losses divide by what the whole batch counts, and gradients
are averaged before the step, so that all keep the same weights: those of one process with that batch, but for the rounding of sums. That is
what `DistributedDataParallel` does for a module with one `forward`; losses here call parts of a model in turn, so `learn` does it.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from robo_dream.errors import ConfigError, RoboDreamError, one_line
from robo_dream.training.config import TrainingConfig

SHARED = ("all", "representation", "dream", "local_goals", "moves")  # stages that several processes can share
_PATIENCE = timedelta(days=2)  # the first writes a cache while others wait; one that died is noticed by its closed connection


@dataclass(frozen=True)
class Processes:
    """The processes of one training, of which this is the one at `rank`. Alone it shares with nobody, and nothing here does anything."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def rows(self, num: int) -> slice:
        """This one's share of a batch of `num` (see `require_shares`)."""
        share = num // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of all processes' `values`, which alone are given back as they are. Its gradient is that of the mean of all losses."""
        return values if self.count == 1 else _Mean.apply(values, self)

    def average_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Gives each parameter the mean of its gradients, in one message."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        told = self.total(torch.cat([gradient.flatten() for gradient in gradients])) / self.count
        for gradient, mean in zip(gradients, told.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view(gradient.shape))

    def total(self, values: Tensor) -> Tensor:
        """The sum of all processes' `values`, the same to the bit for each of them."""
        if self.count == 1:
            return values
        values = values.clone(memory_format=torch.contiguous_format)
        with self._hearing():
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all are here."""
        self.total(torch.zeros(1, device=_device()))

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first one does what is inside before the others do it, who then find in the folder what it left."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def require_same(self, number: int, what: str) -> None:
        """Raises `RoboDreamError` where processes differ in `what` they found, as they do where their folders are not the same one."""
        found = torch.zeros(self.count, dtype=torch.int64, device=_device())
        found[self.rank] = number
        if len(set(told := self.total(found).tolist())) > 1:
            raise RoboDreamError(
                f"the {self.count} processes of this training found {told} for {what}; they must see the same folders: give out and cache "
                f"in one that all machines share"
            )

    @contextmanager
    def _hearing(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # gloo and nccl have no kind of their own for a peer that is gone
            raise RoboDreamError(
                f"process {self.rank} of {self.count} lost another one ({one_line(error, 200)}); what is saved is kept: run the same "
                f"command again, or let torchrun do so (--max-restarts)"
            ) from error


ALONE = Processes()


class _Mean(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, processes: Processes) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx.processes = processes
        return processes.total(values) / processes.count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.processes.total(gradients[0]) / ctx.processes.count, None


class SharedBatchNorm(nn.BatchNorm1d):
    """A batch normalisation without parameters whose statistics are of the whole batch, of which this process has a share."""

    def __init__(self, like: nn.BatchNorm1d, processes: Processes) -> None:
        super().__init__(like.num_features, like.eps, like.momentum, affine=False)
        self.load_state_dict(like.state_dict())
        self.processes = processes

    def forward(self, input: Float[Tensor, "batch channel"]) -> Float[Tensor, "batch channel"]:
        """Rows of the share, normalised."""
        if not self.training:
            return super().forward(input)
        mean = self.processes.mean(input.mean(0))
        variance = self.processes.mean((input - mean).square().mean(0))
        assert self.running_mean is not None and self.running_var is not None and self.momentum is not None
        num = len(input) * self.processes.count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (num / (num - 1)), self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return (input - mean) * torch.rsqrt(variance + self.eps)


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes that torchrun started this one among, by gloo, or on `device` cuda by nccl; `ALONE` where it started none.

    Raises `ConfigError` for a GPU that all of them would have to share.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count < 2 or "MASTER_ADDR" not in os.environ:
        yield ALONE
        return
    is_cuda = device.startswith("cuda")
    if is_cuda and device != "cuda":
        raise ConfigError(f"training.device is {device} on {count} processes, each of which takes a GPU of its own; set it to cuda")
    if is_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, rank, _ = next(rendezvous("env://", timeout=_PATIENCE))
    # torchrun keeps its store when it starts workers again: without a place of their own they would call at the addresses of the dead
    store = PrefixStore(f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    processes = Processes(rank, count)
    dist.init_process_group("nccl" if is_cuda else "gloo", store=store, rank=rank, world_size=count, timeout=_PATIENCE)
    try:
        yield processes
    finally:
        dist.destroy_process_group()


def require_shares(processes: Processes, stage: str, config: TrainingConfig) -> None:
    """Raises `ConfigError` for a stage that several processes cannot share, and for batches of which not every one gets as many rows."""
    count = processes.count
    if count > 1 and stage not in SHARED:
        raise ConfigError(f"stage is {stage} on {count} processes, and only {', '.join(SHARED)} can be shared; start it as one process")
    batches = {
        "representation.batch_windows": config.representation.batch_windows, "dream.batch": config.dream.batch,
        "policy.batch": config.policy.batch, "dream.decoder_batch": config.dream.decoder_batch,
    }  # fmt: skip
    added = {"local_goals": config.local_goals, "moves": config.moves}
    batches |= {f"{name}.batch": one.batch for name, one in added.items() if one is not None}
    for name, num in batches.items():
        if num % count:
            less, more = num - num % count, num + -num % count
            raise ConfigError(
                f"training.{name} is {num}, which {count} processes cannot share evenly; set it to {f'{less} or ' if less else ''}{more}, "
                f"or start as many processes as divide it"
            )


def _device() -> torch.device:
    """Where messages must lie."""
    return torch.device("cuda" if dist.is_initialized() and dist.get_backend() == "nccl" else "cpu")
