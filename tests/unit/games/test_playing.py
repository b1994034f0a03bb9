"""Games are played side by side as they are alone, and random play that sweeps goes from one side to the other."""

from collections.abc import Mapping
from itertools import groupby, islice
from types import TracebackType
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import ActionSpec
from robo_dream.games.model import RecurrentConfig, RecurrentModel
from robo_dream.runtime.dream_train import play_games
from sim.environment import Game, Outcome
from sim.games import random_choices, random_sweeps

SPEC = ActionSpec.choices(("left", "stay", "right"), 0.1)


class Guess:
    """Ends after a while, sooner where the choice is not what its picture, all of one grey, asks for."""

    action_spec, cameras, counts, ticks_per_step, longest_steps = SPEC, (CameraSpec("player", 32, 32),), "points", 1, 30

    def __init__(self) -> None:
        self.rng, self.steps, self.grey = np.random.default_rng(0), 0, 0

    @property
    def about(self) -> Mapping[str, Any]:
        return {"package": "none"}

    @property
    def time(self) -> float:
        return 0.1 * self.steps

    def __enter__(self) -> "Guess":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None: ...

    def image(self, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        return np.full((32, 32, 3), self.grey, np.uint8)

    def reset(self, rng: np.random.Generator) -> None:
        self.rng, self.steps, self.left = rng, 0, int(rng.integers(5, 60))
        self.grey = int(rng.integers(256))

    def play(self, action: Float[np.ndarray, " action"]) -> Outcome:
        assert self.left > 0, "played on after it was over"
        self.left -= 1 if int(np.argmax(action)) == self.grey % 3 else 2
        self.grey, self.steps = int(self.rng.integers(256)), self.steps + 1
        return Outcome(1.0, self.left <= 0)


class ByMemory:
    """Its choice hangs on all that was seen in this game, by way of h."""

    def act(self, features: Float[Tensor, "candidate rollout feature"]) -> Float[Tensor, "candidate rollout action"]:
        return torch.nn.functional.one_hot((features.sum(-1) * 1000).long() % 3, 3).float()


@pytest.mark.parametrize("count", [2, 11])
def test_games_played_side_by_side_are_worth_what_they_are_worth_alone(count: int) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RecurrentModel(RecurrentConfig(image_size=32, width=4, latent=4, hidden=8, mixtures=2), SPEC).eval()
    assert isinstance(Guess(), Game)
    alone = play_games(model, ByMemory(), [Guess()], 7, count)
    beside = play_games(model, ByMemory(), [Guess() for _ in range(4)], 7, count)
    assert np.array_equal(alone, beside) and len(set(alone)) > 1 and alone.max() <= Guess.longest_steps


def test_sweeps_go_from_side_to_side_for_as_long_as_they_say() -> None:
    chosen = [int(np.argmax(one)) for one in islice(random_sweeps(SPEC, np.random.default_rng(0), 16), 2000)]
    runs = [(choice, len(list(run))) for choice, run in groupby(chosen)][:-1]
    assert {choice for choice, _ in runs} == {0, 2} and {length for _, length in runs} == set(range(16, 25))


def test_choices_are_held_for_as_long_as_they_say() -> None:
    chosen = [int(np.argmax(one)) for one in islice(random_choices(SPEC, np.random.default_rng(0), (3,)), 3000)]
    shares = np.bincount(chosen) / len(chosen)
    assert np.all(np.abs(shares - 1 / 3) < 0.05)
