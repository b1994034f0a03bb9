"""A script in the planner's place is looked after as a planner is."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from kept import Kept, kept_episode

from robo_dream.control.episode import Bench, EpisodeEnd, LoopConfig
from robo_dream.control.policies import ScriptPolicy
from robo_dream.embodiment import Frame, Observation
from robo_dream.safety.limits import SafetyLimits
from robo_dream.testing.clocks import ManualClock
from robo_dream.testing.point_world import PointArm, PointCamera

MOVE = np.array([0.01, 0, 0, 0, 0], np.float32)


def run(
    moves: Iterator[np.ndarray], camera: type[PointCamera] = PointCamera, is_done: Callable[[Observation], bool] | None = None
) -> tuple[PointArm, Kept]:
    arm = PointArm(ManualClock())
    config = LoopConfig(max_steps=10, limits=SafetyLimits(max_consecutive_holds=3))
    return arm, kept_episode(Bench(arm, [camera(arm)], arm.clock), ScriptPolicy(lambda seen: next(moves, None)), config, is_done)


def test_every_move_is_sent_and_the_end_of_the_script_is_the_end() -> None:
    arm, episode = run(iter([MOVE] * 4))
    assert episode.end == EpisodeEnd.BUDGET and len(episode.sent) == 4 and len(episode.observations) == 5 and not episode.decisions
    np.testing.assert_allclose(arm.tool[0], 0.04, atol=1e-6)


def test_steps_are_counted_and_being_done_is_asked_for() -> None:
    assert len(run(iter([MOVE] * 40))[1].sent) == 10
    done = run(iter([MOVE] * 40), is_done=lambda seen: seen.arm.tool_pos[0] > 0.025)[1]
    assert done.end == EpisodeEnd.DONE and len(done.sent) == 3


def test_old_pictures_hold_the_arm_and_then_stop_it() -> None:
    class Stalled(PointCamera):
        def read(self) -> Frame:
            return replace(super().read(), time=-100.0)

    arm, episode = run(iter([MOVE] * 40), Stalled)
    assert episode.end == EpisodeEnd.SAFETY and "frame of camera" in " ".join(episode.reasons)
    assert all(episode.holds) and len(episode.holds) == 3 and arm.tool[0] == 0


def test_a_move_that_is_none_stops_the_arm() -> None:
    _, episode = run(iter([MOVE, np.full(5, np.nan, np.float32)]))
    assert episode.end == EpisodeEnd.SAFETY and len(episode.sent) == 1
