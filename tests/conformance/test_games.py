"""Every game that others wrote keeps the contract of games. `make setup-all`, as CI runs it, installs ViZDoom; without it they skip."""

import sys
from functools import partial

import numpy as np
import pytest

from robo_dream.errors import MissingExtraError
from sim.adapters.car_racing import CarRacing, CarRacingConfig
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


class TestCarRacing(GameSuite):
    def make(self) -> Game:
        pytest.importorskip("Box2D", reason="no Box2D: make setup-all, or the extra car-racing")
        return CarRacing(CarRacingConfig())

    def test_driving_on_earns_points_and_standing_still_costs_a_tenth_a_tick(self, game: Game) -> None:
        game.reset(np.random.default_rng(3))
        gas, roll = (game.action_spec.chosen(game.action_spec.names.index(f"straight {pedal}")) for pedal in ("gas", "roll"))
        assert sum(game.play(gas).reward for _ in range(20)) > 20
        game.reset(np.random.default_rng(3))
        first = game.play(roll).reward  # the pieces that it stands on
        assert first > 0 and [game.play(roll).reward for _ in range(3)] == pytest.approx([-0.4] * 3)

    def test_what_is_not_drawn_changes_nothing_but_pictures(self, game: Game) -> None:
        drawn = CarRacing(CarRacingConfig(ticks_per_step=1))
        with drawn:
            game.reset(np.random.default_rng(4))
            drawn.reset(np.random.default_rng(4))
            action = game.action_spec.chosen(3)
            for _ in range(5):
                assert sum(drawn.play(action).reward for _ in range(4)) == pytest.approx(game.play(action).reward)
            assert np.array_equal(drawn.image("above"), game.image("above"))

    def test_who_leaves_the_field_loses(self, game: Game) -> None:
        game.reset(np.random.default_rng(5))
        ahead = game.action_spec.chosen(game.action_spec.names.index("straight gas"))
        outcomes = []
        while len(outcomes) < 400 and not (outcomes and outcomes[-1].terminated):
            outcomes.append(game.play(ahead))
        assert outcomes[-1].terminated and outcomes[-1].reward < -90


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vizdoom", None)
    with pytest.raises(MissingExtraError, match=r"robo-dream\[vizdoom\]"):
        Vizdoom(VizdoomConfig())
    monkeypatch.setitem(sys.modules, "Box2D", None)
    with pytest.raises(MissingExtraError, match=r"robo-dream\[car-racing\]"):
        CarRacing(CarRacingConfig())
