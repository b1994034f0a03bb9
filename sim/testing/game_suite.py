"""What every game must keep; three lines test a new one:

class TestMine(GameSuite):
    def make(self) -> Game:
        return Mine(MineConfig())
"""

from abc import ABC, abstractmethod

import numpy as np
import pytest

from robo_dream.errors import ContractError
from sim.environment import Environment, Game
from sim.games import random_choices, random_game

_STEPS = 8


class GameSuite(ABC):
    """The game is made once for all tests of a class; none may depend on what another left."""

    @abstractmethod
    def make(self) -> Game: ...

    @pytest.fixture(scope="class")
    def game(self, request: pytest.FixtureRequest) -> Game:
        game = self.make()
        request.addfinalizer(lambda: game.__exit__(None, None, None))
        return game.__enter__()

    def test_it_is_a_game_and_no_world_with_an_arm(self, game: Game) -> None:
        assert isinstance(game, Game) and not isinstance(game, Environment)
        assert game.cameras and game.about and game.ticks_per_step >= 1 and game.longest_steps >= _STEPS

    def test_the_same_seed_gives_the_same_game_and_another_gives_another(self, game: Game) -> None:
        one, other, again = (random_game(game, seed, 40) for seed in (8, 9, 8))
        name = game.cameras[0].name
        assert np.array_equal(one.images[name], again.images[name]) and np.array_equal(one.actions, again.actions)
        assert one.rewards is not None and again.rewards is not None and np.array_equal(one.rewards, again.rewards)
        assert not np.array_equal(one.actions, other.actions)

    def test_pictures_are_as_the_cameras_say_and_change(self, game: Game) -> None:
        rng = np.random.default_rng(5)
        game.reset(rng)
        before = {camera.name: game.image(camera.name) for camera in game.cameras}
        for _, action in zip(range(_STEPS), random_choices(game.action_spec, rng), strict=False):
            game.play(action)
        for camera in game.cameras:
            assert before[camera.name].shape == (camera.height, camera.width, 3) and before[camera.name].std() > 1
        assert any(not np.array_equal(before[name], game.image(name)) for name in before)
        with pytest.raises(ContractError, match="no camera 'elsewhere'"):
            game.image("elsewhere")

    def test_a_step_takes_one_control_period(self, game: Game) -> None:
        game.reset(np.random.default_rng(6))
        before = game.time
        game.play(game.action_spec.chosen(0))
        assert game.time - before == pytest.approx(game.action_spec.control_dt)

    def test_what_is_no_action_is_refused(self, game: Game) -> None:
        game.reset(np.random.default_rng(7))
        with pytest.raises(ContractError, match="chooses no single one"):
            game.play(np.zeros(game.action_spec.size, np.float32))

    def test_a_game_that_is_over_is_not_played_on(self, game: Game) -> None:
        episode = random_game(game, 10, game.longest_steps)
        if episode.terminated:
            with pytest.raises(ContractError, match="the game is over"):
                game.play(game.action_spec.chosen(0))
        assert episode.rewards is not None and np.isfinite(episode.rewards).all()
