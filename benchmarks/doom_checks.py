"""What M knows of the game: does it see an end coming in held-out games, and does the dream rank fixed ways to play as the game does?"""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise, repeat

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.embodiment import ActionSpec
from robo_dream.evaluation.intervals import auroc
from robo_dream.games.controller import Player, dream
from robo_dream.games.model import RecurrentModel, State
from robo_dream.games.training import Games, Seen
from sim.games import Choices, random_choices, random_sweeps

AHEAD = (1, 5, 10)  # control steps
HELD = 3  # control steps that random play holds a choice at most
SWEPT = 24  # control steps of the shortest sweep of the blind play that lives longest
_FUTURES, _BINS = 8, (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


@torch.no_grad()
def hazard(model: RecurrentModel, games: Games, seen: Seen) -> dict[str, float]:
    """Over all steps of held-out games: AUROC of being over within 1, 5, 10 steps of the choices that were made, from imagined futures; and
    for the next step, what was told beside what happened, by how much was told."""
    found: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {steps: [] for steps in AHEAD}
    for game in np.flatnonzero(~games.is_train):
        first, last = games.starts[game], games.starts[game + 1] - 1  # nothing is done after the last frame
        actions, over = torch.from_numpy(games.actions[first:last]), games.over[first:last]
        hidden, cell = zip(*_states(model, seen.means[first:last], actions), strict=True)
        state = torch.cat(hidden).repeat_interleave(_FUTURES, 0), torch.cat(cell).repeat_interleave(_FUTURES, 0)
        generator, lasting = torch.Generator().manual_seed(int(game)), torch.ones(len(state[0]))
        ahead = torch.arange(last - first).repeat_interleave(_FUTURES)
        for step in range(1, max(AHEAD) + 1):
            told = model.following(state[0])
            lasting = lasting * torch.sigmoid(-told.over)
            if step in AHEAD:
                ends = np.array([over[at : at + step].any() for at in range(len(over))])
                known = np.arange(len(over)) + step <= len(over) if not over.any() else np.ones(len(over), bool)
                found[step].append(((1 - lasting).reshape(-1, _FUTURES).mean(1).numpy()[known], ends[known]))
            following = actions[(ahead + step).clamp(max=len(actions) - 1)]
            state = model.step(told.sample(1.0, generator), following, state)
    figures = {}
    for steps, parts in found.items():
        told, ended = (np.concatenate(values) for values in zip(*parts, strict=True))
        figures[f"hazard/auroc_{steps}"] = auroc(told[ended], told[~ended])
        if steps == 1:
            for low, high in pairwise(_BINS):
                within = (told >= low) & (told < high)
                figures |= {f"hazard/{low:g}_to_{high:g}/steps": float(within.sum())}
                if within.any():
                    figures |= {f"hazard/{low:g}_to_{high:g}/told": float(told[within].mean())}
                    figures |= {f"hazard/{low:g}_to_{high:g}/happened": float(ended[within].mean())}
    return figures


def _states(model: RecurrentModel, latents: Float[Tensor, "step channel"], actions: Float[Tensor, "step action"]) -> list[State]:
    """What is remembered after each action."""
    state, found = model.start(1), []
    for latent, action in zip(latents, actions, strict=True):
        state = model.step(latent[None], action[None], state)
        found.append(state)
    return found


class Blind:
    """Plays in a way that looks at nothing, each game by numbers of its own."""

    def __init__(self, way: Choices, spec: ActionSpec) -> None:
        self.way, self.spec = way, spec
        self.playing: list[Iterator[np.ndarray]] = []

    def act(self, features: Float[Tensor, "candidate rollout feature"]) -> Float[Tensor, "candidate rollout action"]:
        rows = features.shape[0] * features.shape[1]
        if len(self.playing) != rows:
            self.playing = [self.way(self.spec, np.random.default_rng(number)) for number in range(rows)]
        actions = np.stack([next(one) for one in self.playing]).astype(np.float32)
        return torch.from_numpy(actions).reshape(*features.shape[:2], -1)


def blind_ways(spec: ActionSpec) -> Mapping[str, Choices]:
    """Ways to play that look at nothing: at random, always the same, and from wall to wall."""
    held, swept = partial(random_choices, held=(HELD,)), partial(random_sweeps, least=SWEPT)
    found: dict[str, Choices] = {"each_step": partial(random_choices, held=(1,)), "held_random": held}
    return {
        **found,
        "recorded": random_choices,
        "swept_random": swept,
        **{f"always_{name}": partial(_always, n) for n, name in enumerate(spec.names)},
    }


def _always(choice: int, spec: ActionSpec, rng: np.random.Generator) -> Iterator[np.ndarray]:
    return repeat(spec.chosen(choice))


@torch.no_grad()
def dreamed_ticks(model: RecurrentModel, playing: Player, temperature: float, games: int, horizon: int) -> np.ndarray:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(len(model.starts), (games,), generator=generator)
    return dream(model, playing, model.starts[drawn][None], temperature, horizon, generator)[0].numpy()
