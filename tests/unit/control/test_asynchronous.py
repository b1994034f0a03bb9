"""Planning while moving, in a world without physics and in a time that only the arm moves."""

import time as real_time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from kept import Kept, kept_episode
from test_loop import COST, MODEL, Spy, bench_of, policy, with_status

from robo_dream.control.asynchronous import Decide, DelayedWorker, ThreadWorker
from robo_dream.control.episode import EpisodeEnd, LoopConfig
from robo_dream.control.loop import run_episode
from robo_dream.embodiment import Frame
from robo_dream.imagination import Belief, Goal, Plan, PlanStatus
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.safety.limits import SafetyLimits
from robo_dream.testing.clocks import ManualClock
from robo_dream.testing.point_world import PointArm, PointCamera

PLANNER = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(num_samples=64))
OVERLAP = LoopConfig(max_steps=40, asynchronous=True)


class Asked(Spy):
    """Notes the beliefs it was asked to plan from."""

    def __init__(self, change: Callable[[Plan], Plan] = lambda plan: plan) -> None:
        super().__init__(change=change)
        self.beliefs: list[np.ndarray] = []

    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        self.beliefs.append(belief.latent[0].numpy().copy())
        return super().plan(belief, goal, seeds, previous, deadline)


def run(seconds: float, config: LoopConfig = OVERLAP, planner: Spy | None = None, arm: PointArm | None = None) -> Kept:
    arm = arm or PointArm(ManualClock())
    return kept_episode(bench_of(arm), policy(planner or Asked(), worker=DelayedWorker(arm.clock, seconds)), config)


def test_arm_keeps_moving_while_the_next_plan_is_made() -> None:
    arm = PointArm(ManualClock())
    episode = run(0.4, arm=arm)
    assert episode.end == EpisodeEnd.BUDGET and np.linalg.norm(arm.tool[:3] - [0.1, 0.05, 0.0]) < 0.02
    assert episode.holds[:4] == (True,) * 4 and not any(episode.holds[4:])  # the first plan is waited for at rest


def test_plan_starts_where_the_committed_actions_really_lead() -> None:
    spy = Asked()
    episode = run(0.4, planner=spy)
    for decision, belief in list(zip(episode.decisions, spy.beliefs, strict=False))[1:]:
        np.testing.assert_allclose(belief[:3], episode.observations[decision.step].arm.tool_pos, atol=1e-6)


def test_committed_actions_are_frozen() -> None:
    episode = run(0.4)
    for before, after in zip(episode.decisions[:-1], episode.decisions[1:], strict=True):
        np.testing.assert_array_equal(episode.sent[before.step : after.step], before.actions[: after.step - before.step])


def test_each_plan_warms_the_next() -> None:
    spy = Asked()
    run(0.4, planner=spy)
    assert spy.calls[0][0] is None and all(call[0] is plan for call, plan in zip(spy.calls[1:], spy.plans, strict=False))


def test_late_plan_is_followed_from_where_it_is_by_now() -> None:
    episode = run(0.7, replace(OVERLAP, limits=SafetyLimits(max_plan_age=1.0)))
    later = episode.decisions[1]
    assert later.step == episode.decisions[0].step + 5
    np.testing.assert_array_equal(episode.sent[later.step + 2 : later.step + 5], later.actions[2:5])
    assert not any(episode.holds[7:])


def test_last_plan_is_followed_for_so_many_steps_and_then_the_arm_holds() -> None:
    arm, slow = PointArm(ManualClock()), {"now": False}

    class Slows(DelayedWorker):
        def start(self, decide: Decide) -> None:
            super().start(decide)
            if slow["now"]:
                self._ready += 5.0
            slow["now"] = True

    config = replace(OVERLAP, limits=SafetyLimits(max_late_steps=3))
    episode = run_episode(bench_of(arm), policy(Asked(), worker=Slows(arm.clock, 0.0)), config)
    assert episode.holds[: 1 + 5 + 3] == (True, *(False,) * 8) and all(episode.holds[9:40])
    assert (episode.sent[9:] == 0).all()


@pytest.mark.parametrize("status", [PlanStatus.UNSURE, PlanStatus.NO_FINITE_ROLLOUT])
def test_plan_that_is_not_trusted_holds_the_arm_and_then_ends_the_episode(status: PlanStatus) -> None:
    arm = PointArm(ManualClock())
    episode = run(0.2, planner=Asked(change=with_status(status)), arm=arm)
    assert episode.end == EpisodeEnd.SAFETY and status in " ".join(episode.reasons)
    assert (arm.tool == 0).all() and arm.num_stops == 1


class LateCamera(PointCamera):
    """Its pictures, and what it makes the model believe, are 0.2 s old."""

    def read(self) -> Frame:
        frame = super().read()
        return replace(frame, time=frame.time - 0.2)


def test_latency_is_compensated_by_imagining_through_what_was_sent_since() -> None:
    """The model believes what was two control steps ago; only the sum of sent and committed actions tells where a plan starts."""
    arm, spy = PointArm(ManualClock()), Asked()

    class Past(type(MODEL)):  # type: ignore[misc]
        def believe(self, histories: Sequence[Sequence[object]]) -> Belief:
            seen = histories[0]
            return super().believe([[seen[max(len(seen) - 3, 0)]]])  # type: ignore[list-item]

    model = Past(MODEL.action_spec)
    config = replace(OVERLAP, limits=SafetyLimits(max_frame_age=0.3, max_tool_error=None))
    episode = kept_episode(bench_of(arm, LateCamera), policy(spy, model=model, worker=DelayedWorker(arm.clock, 0.2)), config)
    assert len(episode.decisions) > 4
    for decision, belief in list(zip(episode.decisions, spy.beliefs, strict=False))[2:]:
        np.testing.assert_allclose(belief[:3], episode.observations[decision.step].arm.tool_pos, atol=1e-6)


class Patient(ManualClock):
    """Gives threads a moment at each control step."""

    def sleep_until(self, time: float) -> None:
        real_time.sleep(0.02)
        super().sleep_until(time)


def test_in_a_thread_it_works_the_same() -> None:
    arm = PointArm(Patient())
    config = replace(OVERLAP, max_steps=60, limits=SafetyLimits(max_plan_age=5.0, max_late_steps=50))
    episode = run_episode(bench_of(arm), policy(Asked(), worker=ThreadWorker()), config)
    assert len(episode.decision_seconds) > 1 and np.linalg.norm(arm.tool[:3] - [0.1, 0.05, 0.0]) < 0.02


def test_what_goes_wrong_in_a_decision_stops_the_arm_and_is_raised() -> None:
    arm = PointArm(Patient())

    def fail(plan: Plan) -> Plan:
        raise OSError("no memory")

    with pytest.raises(OSError, match="no memory"):
        run_episode(bench_of(arm), policy(Asked(change=fail)), replace(OVERLAP, max_steps=200))
    assert arm.num_stops == 1
