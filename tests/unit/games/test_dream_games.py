"""Learning inside a dream: heads learn what was planted, a killed search goes on to the same bits, and games are kept from planners."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robo_dream import config
from robo_dream.data.cache import open_dataset
from robo_dream.data.episode import Episode
from robo_dream.data.spec import CameraSpec, DatasetSpec
from robo_dream.data.writer import DatasetWriter
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import CheckpointError, ConfigError, ContractError, DataError
from robo_dream.games import controller
from robo_dream.games import model as recurrent
from robo_dream.games.actor_critic import ActorCriticConfig, train_actor_critic
from robo_dream.games.controller import ControllerConfig, LinearControllers, controllers, dream, num_numbers, train_controller
from robo_dream.games.model import RecurrentConfig, RecurrentModel
from robo_dream.games.training import (
    Games,
    MemoryStage,
    VisionStage,
    games_in,
    held_out,
    see_all,
    train_memory,
    train_vision,
)
from robo_dream.models.checkpoint import load as load_world_model
from robo_dream.planning.candidates import bounds_of
from robo_dream.runtime.dream_train import DreamTrainConfig
from robo_dream.runtime.plan import PlanConfig
from robo_dream.runtime.training_data import open_recording
from robo_dream.training.config import TrainingConfig
from robo_dream.training.stage import MetricsLog

SPEC = ActionSpec.choices(("left", "stay", "right"), 0.1)
SMALL = RecurrentConfig(image_size=32, width=4, latent=4, hidden=16, mixtures=2)


def planted_games(num_games: int = 40, seed: int = 0) -> list[Episode]:
    """A lamp goes on now and then. While it is on, `right` earns 2 and ends the game, anything else earns 1; while off, nothing ends it."""
    rng, games = np.random.default_rng(seed), []
    for number in range(num_games):
        lamps, actions, rewards, over = [bool(rng.random() < 0.3)], [], [], False
        while not over and len(actions) < 20:
            action = int(rng.integers(3))
            over = lamps[-1] and action == 2
            actions.append(SPEC.chosen(action))
            rewards.append(2.0 if over else 1.0)
            lamps.append(bool(rng.random() < 0.3))
        pictures = np.zeros((len(lamps), 32, 32, 3), np.uint8)
        pictures[:, 8:24, 8:24] = (220 * np.array(lamps, np.uint8))[:, None, None, None]
        frames = len(lamps)
        games.append(
            Episode(
                {"player": pictures}, np.zeros((frames, 0), np.float32), np.stack(actions), np.full((frames, 7), np.nan, np.float32),
                np.zeros((frames, 0)), np.arange(frames) * 0.1, np.zeros(frames, np.int64), "stay alive", number, "random",
                rewards=np.array(rewards, np.float32), terminated=over,
            )
        )  # fmt: skip
    return games


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory) -> Games:
    """By way of the disk."""
    root = tmp_path_factory.mktemp("games")
    spec = DatasetSpec(SPEC, (CameraSpec("player", 32, 32),), (), robot_type="game", has_rewards=True)
    with DatasetWriter(root, spec) as writer:
        for episode in planted_games():
            writer.append(episode)
    return games_in(open_dataset(root))


@pytest.fixture(scope="module")
def learned(games: Games, tmp_path_factory: pytest.TempPathFactory) -> RecurrentModel:
    folder = tmp_path_factory.mktemp("learned")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = RecurrentModel(SMALL, SPEC)
    with MetricsLog(folder) as log:
        train_vision(model, games, VisionStage(steps=150, batch=16, learning_rate=3e-3), folder, log, 0)
        seen = see_all(model, games)
        train_memory(model, games, seen, MemoryStage(steps=600, batch=24, learning_rate=1e-2), folder, log, 0)
    model.starts.copy_(seen.means[torch.from_numpy(np.resize(games.starts[:-1], recurrent.NUM_STARTS))])
    return model.eval().requires_grad_(False)


def test_rewards_and_ends_come_back_from_the_disk(tmp_path: Path) -> None:
    written = [replace(one, rewards=one.rewards + np.float32(0.25)) for one in planted_games(6) if one.rewards is not None]
    spec = DatasetSpec(SPEC, (CameraSpec("player", 32, 32),), (), has_rewards=True)
    with DatasetWriter(tmp_path, spec) as writer:
        for one in written:
            writer.append(one)
    read = list(open_dataset(tmp_path))
    assert {one.terminated for one in written} == {True, False}
    for one, other in zip(written, read, strict=True):
        assert one.rewards is not None and other.rewards is not None and np.array_equal(one.rewards, other.rewards)
        assert one.terminated == other.terminated and other.proprio.shape == (one.num_frames, 0)
    features = json.loads((tmp_path / "meta/info.json").read_text())["features"]
    assert {"next.reward", "next.done"} <= set(features) and "observation.state" not in features
    with pytest.raises(ContractError, match="has_rewards"):
        replace(written[0], rewards=None).check(spec)


def test_heads_learn_a_planted_reward_and_end(learned: RecurrentModel, games: Games) -> None:
    dark, lit = (np.flatnonzero((games.pictures[:, 16, 16, 0] > 100) == on)[:1] for on in (False, True))
    told = {}
    for name, frame in (("dark", dark), ("lit", lit)):
        latents = learned.encode(torch.from_numpy(games.pictures[frame]).permute(0, 3, 1, 2).float() / 255)[0]
        for action in (0, 2):
            state = learned.step(latents, torch.from_numpy(SPEC.chosen(action))[None], learned.start(1))
            after = learned.following(state[0])
            told[name, action] = (float(after.reward), float(after.over.sigmoid()))
    assert told["lit", 2][0] == pytest.approx(2, abs=0.4) and told["lit", 2][1] > 0.5  # z is a draw, so now and then the lamp is doubted
    for case in (("dark", 0), ("dark", 2), ("lit", 0)):
        assert told[case][0] == pytest.approx(1, abs=0.4) and told[case][1] < 0.3, case
    seen = see_all(learned, games)
    told_held_out = held_out(learned, games, seen, MemoryStage(batch=16))
    assert told_held_out["over_nats"] < 0.6 * told_held_out["over_nats_of_the_rate"]


def test_a_game_remembers_nothing_of_games_beside_it_however_many_and_how_long(learned: RecurrentModel) -> None:
    lengths = [int(length) for length in np.random.default_rng(0).integers(1, 9, 20)]
    latents = torch.randn(sum(lengths), SMALL.latent, generator=torch.Generator().manual_seed(0))
    actions = torch.eye(3)[torch.arange(sum(lengths)) % 3]
    together = learned.remembered(latents, actions, lengths)
    for game, first in enumerate(np.cumsum([0, *lengths[:-1]])):
        state = learned.start(1)
        for step in range(first, first + lengths[game]):
            state = learned.step(latents[step][None], actions[step][None], state)
            assert torch.allclose(together[step], state[0][0], atol=1e-6)


def test_an_actor_learns_in_the_dream_to_leave_the_lamp_alone_and_goes_on_when_killed(learned: RecurrentModel, tmp_path: Path) -> None:
    settings = ActorCriticConfig(generations=30, horizon=15, dreams=32, steps=16, learning_rate=0.03, evaluate_every=10)

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == 25:
            raise Killed

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with MetricsLog(whole) as log:
        found = train_actor_critic(learned, settings, whole, log, 0, "a model")
    with MetricsLog(killed) as log:
        with pytest.raises(Killed):
            train_actor_critic(learned, settings, killed, log, 0, "a model", kill)
        again = train_actor_critic(learned, settings, killed, log, 0, "a model")
        with pytest.raises(CheckpointError, match="discount"):
            train_actor_critic(learned, replace(settings, discount=0.5), killed, log, 0, "a model")
    assert torch.equal(found.numbers, again.numbers)
    always_right = controllers(learned, np.eye(1, num_numbers(learned), num_numbers(learned) - 1))
    starts = learned.starts[:40][None]
    worth, untaught = (
        float(dream(learned, one, starts, 1.0, 15, torch.Generator().manual_seed(1)).mean()) for one in (found, always_right)
    )
    assert worth > 12 and untaught < 8


def test_a_controller_learns_in_the_dream_to_leave_the_lamp_alone(learned: RecurrentModel, tmp_path: Path) -> None:
    settings = ControllerConfig(population=8, rollouts=4, generations=12, horizon=15, std=0.5)
    with MetricsLog(tmp_path) as log:
        found = train_controller(learned, settings, tmp_path, log, 0, "a model")
    always_right = controllers(learned, np.eye(1, num_numbers(learned), num_numbers(learned) - 1) * 9)
    starts = learned.starts[:40][None]
    worth = [float(dream(learned, one, starts, 1.0, 15, torch.Generator().manual_seed(1)).mean()) for one in (found, always_right)]
    assert worth[0] > 12 and worth[1] < 8


def test_a_killed_search_goes_on_to_the_same_bits(learned: RecurrentModel, tmp_path: Path) -> None:
    settings = ControllerConfig(population=6, rollouts=2, generations=6, horizon=5)

    class Killed(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    with MetricsLog(whole) as log:
        expected = train_controller(learned, settings, whole, log, 3, "a model")
    before = np.random.get_state(legacy=False)  # noqa: NPY002
    with MetricsLog(killed) as log:
        with pytest.raises(Killed):
            train_controller(learned, settings, killed, log, 3, "a model", kill)
        assert len(json.loads((killed / controller.STATE_FILE).read_text())["scores"]) == 3
        again = train_controller(learned, settings, killed, log, 3, "a model")
        with pytest.raises(CheckpointError, match="another horizon"):
            train_controller(learned, replace(settings, horizon=6), killed, log, 3, "a model")
    assert torch.equal(expected.numbers, again.numbers)
    np.testing.assert_equal(np.random.get_state(legacy=False), before)  # noqa: NPY002
    controller.save(again, tmp_path / "controller.safetensors", "a model", {})
    assert torch.equal(controller.load(tmp_path / "controller.safetensors", learned, "a model").numbers, again.numbers)
    with pytest.raises(CheckpointError, match="another model"):
        controller.load(tmp_path / "controller.safetensors", learned, "its cousin")


def test_a_model_comes_back_from_its_file_and_is_no_model_to_plan_with(learned: RecurrentModel, tmp_path: Path) -> None:
    path = recurrent.save(learned, tmp_path / "model.safetensors", {"kind": "vizdoom"}, "an id", {"nats": 1.0}, {"seed": 0})
    back, info = recurrent.load(path)
    assert all(torch.equal(value, back.state_dict()[name]) for name, value in learned.state_dict().items())
    assert info.world == {"kind": "vizdoom"} and info.action_spec.differences(SPEC) == []
    with pytest.raises(CheckpointError, match=r"expected 'robo_dream\.latent_video_model'"):
        load_world_model(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="damaged"):
        recurrent.load(path)


def test_a_model_of_another_recipe_is_not_taken_for_its_own(tmp_path: Path) -> None:
    asked = config.load(DreamTrainConfig, None, [f"out={tmp_path}", "memory.steps=7"])
    asked.require_recipe(json.loads(json.dumps(asked.recipe)))
    with pytest.raises(ConfigError, match="trained with another memory; continue with the same"):
        replace(asked, memory=MemoryStage(steps=8)).require_recipe(asked.recipe)


def test_temperature_evens_odds_and_widens_the_spread(learned: RecurrentModel) -> None:
    told = learned.following(torch.zeros(4000, SMALL.hidden))
    spread = [told.sample(heat, torch.Generator().manual_seed(0)).std(0).mean() for heat in (0.1, 1.0, 2.0)]
    assert spread[0] < spread[1] < spread[2]


def test_the_highest_choice_is_taken_and_other_actions_fill_their_limits() -> None:
    features = torch.ones(1, 1, 1)
    for chosen in range(3):
        action = LinearControllers(SPEC, torch.eye(3)[chosen].reshape(1, 3, 1).repeat(1, 1, 2)).act(features)
        assert action.argmax() == chosen and np.array_equal(SPEC.check(action[0, 0].numpy()), SPEC.chosen(chosen))
    torques = ActionSpec("command", ("a", "b"), ("N", "N"), np.array([-1.0, 0.0]), np.array([1.0, 4.0]), 0.1)
    action = LinearControllers(torques, torch.tensor([[[9.0, 0.0], [0.0, 0.0]]])).act(features)
    assert torch.allclose(action, torch.tensor([1.0, 2.0]), atol=1e-4)


def test_a_choice_is_refused_where_it_is_none_and_by_planners() -> None:
    for odd in ([0, 0, 0], [1, 1, 0], [0.5, 0.5, 0]):
        with pytest.raises(ContractError, match="chooses no single one"):
            SPEC.check(np.array(odd, np.float32))
    with pytest.raises(ConfigError, match="vizdoom"):
        config.load(PlanConfig, None, ["world.kind=vizdoom"])
    with pytest.raises(ContractError, match="robo-dream dream-train"):
        bounds_of(SPEC, torch.zeros(1, 4))


def test_games_without_rewards_are_refused(tmp_path: Path) -> None:
    spec = DatasetSpec(SPEC, (CameraSpec("player", 32, 32),), ())
    with DatasetWriter(tmp_path, spec) as writer:
        writer.append(replace(planted_games(1)[0], rewards=None))
    with pytest.raises(DataError, match=r"no next\.reward"):
        games_in(open_dataset(tmp_path))
    with pytest.raises(DataError, match="is of a game"):
        open_recording([tmp_path], tmp_path / "cache", TrainingConfig(), 1)
