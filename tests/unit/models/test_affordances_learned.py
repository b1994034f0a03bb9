"""What can be moved, learned from what was moved: recorded moves, a lock that nobody names, a checkpoint that is otherwise as it was."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from small import small_model, small_spec
from squares import SquareFrames, square_frames

from robo_dream.errors import ConfigError, DataError
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig, ModelSpec, Normaliser
from robo_dream.models.heads import Affordances
from robo_dream.planning.moves import MoveConfig, next_move
from robo_dream.training.config import MoveStage, TrainingConfig
from robo_dream.training.moves import MOVES, RecordedMoves, add_moves, hands_of, move_losses, recorded_moves, waypoints_of
from robo_dream.training.optimiser import optimisers

CONFIG = TrainingConfig(model=ModelConfig(image_size=32), moves=MoveStage(steps=20, batch=32, waypoints=2))


@pytest.fixture(scope="module")
def cache() -> SquareFrames:
    return square_frames(4, 24)


def two_things() -> ModelSpec:
    """Of a drawer and its lock."""
    spec = small_spec()
    twice = (*spec.pose.mean, *spec.pose.mean[6:]), (*spec.pose.std, *spec.pose.std[6:])
    return dataclasses.replace(spec, pose=Normaliser(*twice), waypoints=2)


def drawers(num: int, rng: np.random.Generator) -> RecordedMoves:
    """A drawer at y 0 or 0.2 that moves only while its lock is at z 0, not 0.1; the lock moves anyhow."""
    drawer, lock, which = rng.integers(2, size=num), rng.integers(2, size=num), rng.integers(2, size=num)
    lock = np.where(which == 0, 0, lock)
    things = np.zeros((num, 2, 3), np.float32)
    things[:, 0, 1], things[:, 1, 2] = 0.2 * drawer, 0.1 * lock
    to = np.where((which == 0)[:, None], [[0.0, 0.0, 0.0]], things[:, 1])
    to[which == 0, 1], to[which == 1, 2] = 0.2 * (1 - drawer[which == 0]), 0.1 * (1 - lock[which == 1])
    return RecordedMoves(things, which, to.astype(np.float32), to.astype(np.float32) + [0.0, 0.0, 0.1])


def test_a_lock_that_nobody_names_is_found_and_opened_first() -> None:
    torch.manual_seed(0)
    learned, moves = Affordances(two_things()), drawers(400, np.random.default_rng(0))
    learned.waypoints.copy_(torch.from_numpy(waypoints_of(moves, 2)))
    stage = MoveStage(steps=300, batch=128)
    (optimiser,) = optimisers(list(learned.parameters()), 3e-3, 0.0, 0.01)
    for step in range(stage.steps):
        loss = move_losses(learned, moves, stage, np.random.default_rng(step))[MOVES]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    shut_locked, pulled_locked = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.1]]), torch.tensor([[0.0, 0.2, 0.0], [0.0, 0.0, 0.1]])
    shut_open = torch.zeros(2, 3)
    drawer, lock = torch.tensor([0]), torch.tensor([1])
    with torch.no_grad():
        logits = [float(learned(here[None], drawer, pulled_locked[:1])) for here in (shut_locked, shut_open)]
        assert logits[0] < -2 < -0.5 < logits[1]
        assert abs(float(learned(shut_locked[None], lock, shut_open[1:]))) < 0.5  # the lock goes however the drawer stands
        move = next_move(learned, MoveConfig(), shut_locked, pulled_locked, torch.zeros(3))
    assert move is not None and move.thing == 1 and move.to[2].abs() < 0.01


def test_places_are_where_a_thing_was_left_and_far_apart() -> None:
    to = np.array([[0.0, 0, 0], [0.01, 0, 0], [0.02, 0, 0], [0.5, 0, 0], [0.51, 0, 0], [0.52, 0, 0]], np.float32)
    tool = to + np.array([[0.0, 0, 0.1]] * 5 + [[9.0, 9, 9]], np.float32)
    moves = RecordedMoves(np.full((6, 2, 3), 0.7, np.float32), np.zeros(6, np.int64), to, tool)
    waypoints = waypoints_of(moves, 2)
    assert sorted(waypoints[0, :, 0].tolist()) == pytest.approx([0.01, 0.51])  # the middle ones of each
    assert (waypoints[1] == 0.7).all()  # never moved
    np.testing.assert_allclose(hands_of(moves), [[0, 0, 0.1], [0, 0, 0]], atol=1e-6)


def test_recorded_moves_are_from_the_first_to_the_last_frame_of_a_skill_that_tell_all(cache: SquareFrames) -> None:
    pose = np.asarray(cache.object_pose).copy()
    pose[:] = 0.0
    pose[:, 3] = 1.0
    first, end = (int(edge) for edge in cache.episode_starts[:2])
    skill = np.zeros(len(pose), np.int64)
    skill[first + 12 :] = 1
    pose[first + 6 : end, 0] = 0.1
    pose[first + 14 : end, 0] = 0.115  # less than is a move
    pose[first + 11] = np.nan
    made = dataclasses.replace(cache, object_pose=pose, skill=skill, skills=("a", "b"), is_train=np.array([True, True, True, False]))
    moves = recorded_moves(made)
    assert (
        moves.which.tolist() == [0] and moves.things[0, 0].tolist() == [0, 0, 0] and moves.to[0].tolist() == pytest.approx([0.1, 0.0, 0.0])
    )
    pose[:] = np.nan
    with pytest.raises(DataError, match=r"no train episode of .* tells of a thing that was brought elsewhere"):
        recorded_moves(dataclasses.replace(made, object_pose=pose))


def test_added_to_a_finished_checkpoint_all_else_is_as_it_was_and_a_resumed_stage_is_the_same(cache: SquareFrames, tmp_path: Path) -> None:
    finished = checkpoint.save(small_model(3), tmp_path / "finished.safetensors", dataset_id="x")
    added = add_moves(cache, CONFIG, tmp_path / "one", finished)
    before = checkpoint.load(finished).state_dict()
    after = checkpoint.load(tmp_path / "one" / "model.safetensors").state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items()) and added.spec.waypoints == 2
    assert {name.split(".")[0] for name in set(after) - set(before)} == {"affordances"}
    about = checkpoint.read_info(tmp_path / "one" / "model.safetensors")
    assert about.metrics[MOVES]["recorded"] > 0 and about.dataset_id == "x"
    half = dataclasses.replace(CONFIG, moves=dataclasses.replace(MoveStage(batch=32, waypoints=2), steps=20), save_seconds=0.01)
    add_moves(cache, half, tmp_path / "two", finished)
    again = add_moves(cache, CONFIG, tmp_path / "two", finished)  # nothing is left to learn
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in after.items())


def test_a_model_without_them_is_described_as_ever_and_what_cannot_be_is_refused(cache: SquareFrames, tmp_path: Path) -> None:
    assert "waypoints" not in small_spec().to_json() and small_model().affordances is None
    assert ModelSpec.from_json(two_things().to_json()).waypoints == 2
    for waypoints in (-1, 17, 2.0, "2"):
        with pytest.raises(ConfigError, match="allowed are whole numbers up to 16"):
            ModelSpec.from_json({**small_spec().to_json(), "waypoints": waypoints})
    other = small_model()
    wide = type(other)(dataclasses.replace(two_things(), waypoints=0))
    finished = checkpoint.save(wide, tmp_path / "finished.safetensors")
    with pytest.raises(DataError, match=r"tells of 1 things, and the model of 2"):
        add_moves(cache, CONFIG, tmp_path / "one", finished)
