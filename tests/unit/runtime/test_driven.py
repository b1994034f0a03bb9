"""An episode in another program's loop: LeRobot's units go in and out, and what is between is our loop with its limits and guard."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from robo_dream.control.cartesian import most_joint_move
from robo_dream.control.episode import EpisodeEnd, LoopConfig
from robo_dream.control.policies import ScriptPolicy
from robo_dream.embodiment import ActionSpec, Observation
from robo_dream.errors import CheckpointError, ConfigError, DataError
from robo_dream.recording.record import GoalRecord, read_run
from robo_dream.runtime.connect import CameraSetup
from robo_dream.runtime.driven import JOINTS, DrivenEpisode, chunk
from robo_dream.runtime.mover import Aimed, Mover
from robo_dream.runtime.run import RunConfig
from robo_dream.safety.limits import SafetyLimits
from sim.tabletop.scene import SceneConfig, build_scene

SCENE = SceneConfig(arm="so101")
MOST = most_joint_move(build_scene(SCENE).arm.limits, 0.1)
HOME = dict(zip(JOINTS, [0.0, -10.0, 20.0, 60.0, 0.0, 80.0], strict=True))  # degrees and per cent
PICTURES = {"front": np.zeros((48, 64, 3), np.uint8), "side": np.full((48, 64, 3), 9, np.uint8)}
FPS = 30
Script = Callable[[Observation], np.ndarray | None]


def config(tmp_path: Path = Path("none"), arm: str = "so101") -> RunConfig:
    return RunConfig(out=tmp_path, world=SceneConfig(arm=arm), loop=LoopConfig(max_steps=1000, limits=SafetyLimits(joint_acceleration=40)))


def mover(script: Script, names: tuple[str, ...] = tuple(name.removesuffix(".pos") for name in JOINTS[:-1])) -> Mover:
    spec = ActionSpec.joint_moves(names, MOST[: len(names) + 1], 0.1)
    goal = GoalRecord({}, np.zeros(2, np.float32), None, None)
    setup = CameraSetup(("front", "side"), 24, 0.1, spec)
    return Mover(setup, lambda bench: None, lambda bench: Aimed(ScriptPolicy(script), goal, {"checkpoint_sha256": "none"}))


class Clock:
    """Seconds that go on when told."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@contextmanager
def driven(script: Script, record: Path | None = None) -> Iterator[tuple[DrivenEpisode, Clock]]:
    clock = Clock()
    episode = DrivenEpisode(config(), mover(script), FPS, record, clock)
    try:
        yield episode, clock
    finally:
        episode.close()


def followed(episode: DrivenEpisode, clock: Clock, frames: int) -> list[dict[str, float]]:
    """The commands to an arm that follows at once."""
    joints, commands = HOME, []
    for _ in range(frames):
        joints = episode.command(joints, PICTURES)
        commands.append(joints)
        clock.seconds += 1 / FPS
    return commands


def test_moves_in_radians_become_targets_in_degrees_and_closure_a_gripper_that_opens() -> None:
    moves, left = np.array([0.05, 0.0, -0.04, 0.0, 0.1, 0.1]), [4]

    def script(seen: Observation) -> np.ndarray | None:
        left[0] -= 1
        return moves if left[0] >= 0 else np.zeros(6)

    with driven(script) as (episode, clock):
        commands = followed(episode, clock, 24)
    told = {name: commands[-1][name] - HOME[name] for name in JOINTS}
    expected = [np.rad2deg(4 * 0.05), 0, -np.rad2deg(4 * 0.04), 0, np.rad2deg(4 * 0.1), -100 * 4 * 0.1]
    np.testing.assert_allclose([told[name] for name in JOINTS], expected, atol=0.02)


def test_the_first_command_is_to_stay_and_none_goes_faster_than_the_guard_allows() -> None:
    with driven(lambda seen: 0.2 * np.sign(MOST)) as (episode, clock):
        commands = followed(episode, clock, 40)
    assert commands[0] == pytest.approx(HOME, abs=1e-9)
    speeds = np.abs(np.diff([[command[name] for name in JOINTS[:-1]] for command in commands], axis=0)) * FPS
    assert 20 < speeds.max() <= 1.25 * np.rad2deg(MOST[:-1].max() / 0.1) + 1e-6


def test_the_loop_takes_a_turn_every_third_frame_and_sees_what_was_just_handed_over() -> None:
    seen: list[Observation] = []

    def script(observation: Observation) -> np.ndarray:
        seen.append(observation)
        return np.zeros(6)

    with driven(script) as (episode, clock):
        followed(episode, clock, 31)
    np.testing.assert_allclose(np.diff([one.time for one in seen]), 0.1, atol=1e-6)
    assert len(seen) == 10 and seen[0].images(("front", "side"))[1].shape == (24, 24, 3)
    np.testing.assert_allclose(np.rad2deg(seen[-1].arm.joint_pos), [HOME[name] for name in JOINTS[:-1]], atol=1e-4)
    assert seen[-1].arm.gripper == pytest.approx(0.2) and seen[-1].arm.tool_pos[2] > 0.05


def test_an_arm_that_is_moved_towards_the_table_is_stopped_above_it() -> None:
    down = np.zeros(6)
    down[1] = 0.15  # the shoulder leans forward
    heights: list[float] = []

    def script(seen: Observation) -> np.ndarray:
        heights.append(float(seen.arm.tool_pos[2]))
        return down

    with driven(script) as (episode, clock):
        followed(episode, clock, 150)
    assert heights[0] > 0.1 and heights[-1] < heights[0] - 0.05, "it went down"
    assert min(heights) > -0.001


def test_what_has_been_done_is_in_a_record_that_ends_well(tmp_path: Path) -> None:
    with driven(lambda seen: np.zeros(6), tmp_path) as (episode, clock):
        followed(episode, clock, 10)
    assert episode.result is not None and episode.result.end == EpisodeEnd.DONE
    run = read_run(next(tmp_path.glob("*/record")))
    assert run.result is not None and run.result["end"] == "DONE" and run.about["goal"] == "pair in another loop"
    assert len(run.steps) >= 3 and run.steps[0].observation.images(("side",))[0].mean() == 9


def test_a_chunk_goes_where_an_episode_goes_and_begins_with_its_first_motion() -> None:
    def script(seen: Observation) -> np.ndarray:
        return np.array([0.1, 0, 0, 0, 0, 0])

    with driven(script) as (episode, clock):
        commands = followed(episode, clock, 11)
    made = list(chunk(config(), mover(script), FPS, HOME, PICTURES, 9))
    assert len(made) == 9 and made[0]["shoulder_pan.pos"] > HOME["shoulder_pan.pos"] + 0.5
    np.testing.assert_allclose([one["shoulder_pan.pos"] for one in made], [one["shoulder_pan.pos"] for one in commands[2:]], atol=1e-6)


def test_the_mistake_of_a_policy_is_raised_where_the_command_is_asked_for() -> None:
    def script(seen: Observation) -> np.ndarray:
        raise DataError("a picture is missing")

    with driven(script) as (episode, clock), pytest.raises(DataError, match="a picture is missing"):
        followed(episode, clock, 2)


def test_what_cannot_be_driven_is_one_sentence() -> None:
    def still(seen: Observation) -> np.ndarray:
        return np.zeros(6)

    with pytest.raises(ConfigError, match="run it at 10 or more"):
        DrivenEpisode(config(), mover(still), 9)
    with pytest.raises(ConfigError, match="LeRobot's names of joints are known of 'so101'"):
        DrivenEpisode(config(arm="jaco"), mover(still), FPS)
    with driven(still) as (episode, _):
        with pytest.raises(DataError, match="the robot's cameras are front, top: name one 'side'"):
            episode.command(HOME, {"front": PICTURES["front"], "top": PICTURES["side"]})
        with pytest.raises(DataError, match="says nothing of gripper"):
            episode.command({name: HOME[name] for name in JOINTS[:-1]}, PICTURES)
    other = DrivenEpisode(config(), mover(still, ("a", "b", "c", "d", "e")), FPS)
    with pytest.raises(CheckpointError, match="moves the joints a, b, c, d, e, gripper"):
        other.command(HOME, PICTURES)
