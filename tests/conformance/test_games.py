"""Every game that others wrote keeps the contract of games. `make setup-all`, as CI runs it, installs ViZDoom; without it they skip."""

import sys
from functools import partial

import numpy as np
import pytest

from robo_dream.errors import MissingExtraError
from sim.adapters.vizdoom import Vizdoom, VizdoomConfig
from sim.environment import Game
from sim.games import random_choices, random_game
from sim.testing.game_suite import GameSuite


class TestVizdoom(GameSuite):
    def make(self) -> Game:
        pytest.importorskip("vizdoom", reason="no ViZDoom: make setup-all, or pip install --no-deps vizdoom", exc_type=ImportError)
        return Vizdoom(VizdoomConfig())

    def test_the_reward_counts_the_ticks_survived_and_strafing_shows(self, game: Game) -> None:
        game.reset(np.random.default_rng(1))
        before = game.image("player").astype(int)
        outcomes = [game.play(game.action_spec.chosen(2)) for _ in range(4)]
        assert [one.reward for one in outcomes] == [4.0] * 4 and not outcomes[-1].terminated
        assert np.abs(game.image("player") - before).mean() > 1
        game.reset(np.random.default_rng(1))
        stayed = [game.play(game.action_spec.chosen(1)) for _ in range(4)]
        assert len(stayed) == 4 and np.abs(game.image("player") - before).mean() < 3

    def test_random_games_end_by_themselves_and_last_as_long_as_the_source_says(self, game: Game) -> None:
        games = [random_game(game, seed, game.longest_steps, partial(random_choices, held=(3,))) for seed in range(12)]
        assert all(one.terminated for one in games)
        ticks = [float(one.rewards.sum()) for one in games if one.rewards is not None]
        assert 100 < np.mean(ticks) < 600


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(MissingExtraError, match=r"robo-dream\[vizdoom\]"):
        Vizdoom(VizdoomConfig())
