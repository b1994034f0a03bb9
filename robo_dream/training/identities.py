"""Which of several things each hold held, told by pictures: joints say only that something was.

As many lookers (`looking.py`) as there are things compete for what was held: the one that sees best how it went from where it was picked
up to where it was set down, while the others saw nothing move, learns to see it better. So each comes to follow one thing by what it looks
like. Who merely sees best *where* it lay would soon know one half of the table, not one thing: how things moved does not depend on that.
(Multiple choice learning: Guzman-Rivera et al., NeurIPS 2012; Lee et al. 2016, arXiv 1606.07839. Shares are kept equal at first, as
optimal transport keeps them in SwAV, Caron et al. 2020, arXiv 2006.09882.)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robo_dream.errors import RoboDreamError
from robo_dream.training.grasps import Held
from robo_dream.training.looking import LookConfig, Looker, fit, jittered, lying, spread, views_of

_STAYS, _FRAMES = 2, 2  # of what was held, in a batch, and in each: it is one thing in all of them
_EVEN, _SOFT = 0.5, 0.02  # part of the steps in which each looker has an equal share, and of a looker's spread, how soft that is
_SINKHORN = 5
_MOVED = 0.05  # metres, without which a way tells nothing
_RARELY = 0.02  # part of what was carried, below which there is no such thing


@dataclass(frozen=True)
class Stay:
    """Where a thing lay, level and in metres, and frames (of all) in which it can be seen there."""

    position: Float[np.ndarray, "2"]
    frames: Int[np.ndarray, " some_frame"]


@dataclass(frozen=True)
class Chain:
    """Holds of one thing in an episode, by number, and where it lay before and after them."""

    episode: int
    holds: tuple[int, ...]
    stays: tuple[Stay, ...]

    @property
    def has_moved(self) -> bool:
        return any(np.linalg.norm(one.position - self.stays[0].position) > _MOVED for one in self.stays)


def chains_of(held: Sequence[Held], recording: Any, config: LookConfig) -> list[Chain]:
    """What was picked up again where it had been set down was one thing; those that can be looked at."""
    seen: dict[int, dict[int, Int[np.ndarray, " some_frame"]]] = {}
    for one in lying(held, recording, config):
        seen.setdefault(one.episode, {})[one.rest] = one.frames
    found = []
    for episode, frames in seen.items():
        one = held[episode]
        root = list(range(len(one.holds)))
        for rest in one.rests:
            if rest.left_by is not None and rest.taken_by is not None:
                root[rest.taken_by] = root[rest.left_by]
        for first in sorted(set(root)):
            holds = tuple(number for number, its in enumerate(root) if its == first)
            its = [number for number in frames if {one.rests[number].left_by, one.rests[number].taken_by} & set(holds)]
            if its:
                found.append(Chain(episode, holds, tuple(Stay(one.rests[number].pose[:2], frames[number]) for number in its)))
    return found


def told_apart(
    held: Sequence[Held],
    recording: Any,
    things: int,
    config: LookConfig,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[int]]:
    """Of every hold of each episode the number of its thing, or -1 where pictures do not tell.

    Raises `RoboDreamError` where hardly any picture shows a thing with the hand away, and where there are fewer things. Only training
    episodes are learned from.
    """
    chains = chains_of(held, recording, config)
    learned = [one for one in chains if recording.is_train[one.episode] and one.has_moved]
    if sum(len(stay.frames) for one in learned for stay in one.stays) < config.fewest:
        raise RoboDreamError(
            f"hardly any picture shows a thing with the hand away, so which of {things} was held is not told (training.grasps.things); "
            f"record the hand away from things, or lower training.looks.fewest ({config.fewest})"
        )
    lookers = _competed(recording, learned, things, config, seed, progress)
    numbers, carried = [[-1] * len(one.holds) for one in held], np.zeros(things)
    for one in chains:
        thing = int(_off(lookers, recording, one, config).argmin())
        carried[thing] += one.has_moved
        for hold in one.holds:
            numbers[one.episode][hold] = thing
    if carried.min() < _RARELY * carried.sum():
        raise RoboDreamError(
            f"training.grasps.things is {things}, but of {carried.sum():.0f} times that something was carried, pictures tell "
            f"{', '.join(f'{count:.0f}' for count in carried)} of each: lower it to {int((carried >= _RARELY * carried.sum()).sum())}, or "
            f"record more of the others"
        )
    return numbers


def _competed(
    recording: Any, chains: Sequence[Chain], things: int, config: LookConfig, seed: int, progress: Callable[[int, int], None] | None
) -> nn.ModuleList:
    side = next(iter(recording.images.values())).shape[1]
    centre = np.stack([stay.position for one in chains for stay in one.stays])
    width = float(centre.std(0).mean())  # above 0: things have moved
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        lookers = nn.ModuleList(Looker(len(recording.cameras), side, config.keypoints, centre.mean(0), width) for _ in range(things))

    def loss_of(step: int) -> Float[Tensor, ""]:
        rng = np.random.default_rng((seed, 21, step))
        some = [chains[number] for number in rng.integers(len(chains), size=max(config.batch // (_STAYS * _FRAMES), 1))]
        stays = [stay for one in some for stay in _two(one, rng)]
        frames = np.concatenate([rng.choice(stay.frames, _FRAMES) for stay in stays])
        positions = np.repeat([stay.position for stay in stays], _FRAMES, axis=0)
        views = jittered(recording, frames, config, rng)
        seen = torch.stack([looker(views) for looker in lookers], 1)
        apart, still = _apart(seen / width, torch.from_numpy(positions).float() / width)
        shares = _shares((_moved(apart) + still).detach(), step < _EVEN * config.steps)
        return ((_huber(apart) + still) * shares).sum(1).mean()

    def tell(done: int) -> None:
        if progress is not None:
            progress(done, config.steps)

    fit(
        lookers,
        loss_of,
        config,
        "telling things apart",
        "learn without poses: training.grasps=null training.model.policy_input=latents",
        tell,
    )
    return lookers


def _two(chain: Chain, rng: np.random.Generator) -> list[Stay]:
    """Two of its stays that are apart."""
    while True:
        one, other = (chain.stays[number] for number in rng.integers(len(chain.stays), size=_STAYS))
        if np.linalg.norm(one.position - other.position) > 0.5 * _MOVED:
            return [one, other]


def _apart(
    seen: Float[Tensor, "row thing 2"], positions: Float[Tensor, "row 2"]
) -> tuple[Float[Tensor, "chain frame thing 2"], Float[Tensor, "chain thing"]]:
    """How far from where it was each looker sees it; and, for each that may have been held, how far the others saw something move."""
    seen, positions = (values.unflatten(0, (-1, _STAYS * _FRAMES)) for values in (seen, positions[:, None]))
    moved = _moved(seen)
    return seen - positions, moved.sum(1, keepdim=True) - moved


def _moved(apart: Float[Tensor, "chain frame thing 2"]) -> Float[Tensor, "chain thing"]:
    """Wherever it is."""
    return _huber(apart - apart.mean(1, keepdim=True))


def _huber(apart: Float[Tensor, "chain frame thing 2"]) -> Float[Tensor, "chain thing"]:
    return nn.functional.smooth_l1_loss(apart, torch.zeros_like(apart), beta=0.1, reduction="none").mean((1, 3))


def _shares(off: Float[Tensor, "chain thing"], is_even: bool) -> Float[Tensor, "chain thing"]:
    """How much of each chain each looker learns from: 1 for the one that sees it best, or about that, with equal shares altogether."""
    if not is_even:
        return nn.functional.one_hot(off.argmin(1), off.shape[1]).to(off.dtype)
    weights = (-(off - off.amin(1, keepdim=True)) / _SOFT).exp() + 1e-9
    for _ in range(_SINKHORN):
        weights = weights / weights.mean(0, keepdim=True)
        weights = weights / weights.sum(1, keepdim=True)
    return weights


@torch.no_grad()
def _off(lookers: nn.ModuleList, recording: Any, chain: Chain, config: LookConfig) -> Float[np.ndarray, " thing"]:
    """In metres: how far off each looker sees what was held, and how far the others saw something move meanwhile."""
    views = [views_of(recording, spread(stay.frames, config.looks)) for stay in chain.stays]
    seen = np.stack([np.stack([np.median(looker(view).numpy(), axis=0) for looker in lookers]) for view in views])  # stay, thing, 2
    off = np.linalg.norm(seen - np.stack([stay.position for stay in chain.stays])[:, None], axis=-1).mean(0)
    moved = np.linalg.norm(seen - seen.mean(0), axis=-1).mean(0)
    return off + moved.sum() - moved
