"""The receding-horizon loop, in a world without physics."""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from kept import Kept, kept_episode

from robo_dream.control.episode import Bench, EpisodeEnd, Hooks, LoopConfig, hold_action
from robo_dream.control.loop import run_episode
from robo_dream.control.policies import PlannerPolicy
from robo_dream.embodiment import ActionSpec, Frame, Observation, WallClock
from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Goal, Plan, Planner, PlanStatus
from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.planning.goals import goal_from_observation
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.safety.limits import SafetyLimits
from robo_dream.testing.clocks import ManualClock
from robo_dream.testing.point_mass import PointMassModel, point_action_spec
from robo_dream.testing.point_world import PointArm, PointCamera

MODEL = PointMassModel(point_action_spec())
COST = PoseCost(MODEL, PoseCostConfig(object_pos=0, tool_pos=1))
PLANNER = PolicyGuidedPlanner(MODEL, COST, PolicyGuidedConfig(num_samples=64))
FAR = Goal(torch.tensor([[0.1, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]))


@dataclass
class Spy:
    """A planner that notes how it was asked, and may change the answer."""

    calls: list[tuple[Plan | None, float | None, int]] = field(default_factory=list)
    change: Callable[[Plan], Plan] = lambda plan: plan
    plans: list[Plan] = field(default_factory=list)
    name: str = "spy"

    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        self.calls.append((previous, deadline, seeds[0]))
        self.plans.append(self.change(PLANNER.plan(belief, goal, seeds, previous, deadline)))
        return self.plans[-1]


def with_status(status: PlanStatus) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, status=(status,))


def bench_of(arm: PointArm, camera: type[PointCamera] = PointCamera) -> Bench:
    return Bench(arm, [camera(arm)], arm.clock)


def policy(planner: Planner = PLANNER, **how: Any) -> PlannerPolicy:
    return PlannerPolicy(**{"model": MODEL, "planner": planner, "goal": FAR, "seed": 7, **how})


def run(
    planner: Planner = PLANNER,
    arm: PointArm | None = None,
    config: LoopConfig | None = None,
    is_done: Callable[[Observation], bool] | None = None,
) -> Kept:
    arm = PointArm(ManualClock()) if arm is None else arm
    return kept_episode(bench_of(arm), policy(planner), LoopConfig(max_steps=30) if config is None else config, is_done)


def test_arm_gets_to_the_goal_and_the_record_is_complete() -> None:
    arm = PointArm(ManualClock())
    episode = run(arm=arm)
    assert episode.end == EpisodeEnd.BUDGET and episode.reasons == ()
    assert np.linalg.norm(arm.tool[:3] - [0.1, 0.05, 0.0]) < 0.02
    assert len(episode.observations) == 31 and episode.sent.shape == episode.applied.shape == (30, 5)
    assert [decision.step for decision in episode.decisions] == [0, 5, 10, 15, 20, 25]
    assert len(episode.decision_seconds) == 6 and not any(episode.holds)


def test_each_action_lasts_a_control_step_of_the_given_clock() -> None:
    times = np.array([observation.time for observation in run().observations])
    np.testing.assert_allclose(np.diff(times), 0.1, atol=1e-9)


def test_first_block_of_each_plan_is_what_is_sent() -> None:
    episode = run()
    for i, decision in enumerate(episode.decisions):
        np.testing.assert_array_equal(episode.sent[5 * i : 5 * i + 5], decision.actions[:5])


def test_next_search_starts_from_the_last_plan_with_another_seed() -> None:
    spy = Spy()
    run(spy)
    assert spy.calls[0][0] is None
    assert all(call[0] is plan for call, plan in zip(spy.calls[1:], spy.plans, strict=False))
    assert len({call[2] for call in spy.calls}) == len(spy.calls)


def test_executing_two_blocks_moves_the_last_plan_on_by_two() -> None:
    spy = Spy()
    run(spy, config=LoopConfig(max_steps=20, execute_steps=10))
    previous = spy.calls[1][0]
    assert previous is not None
    torch.testing.assert_close(previous.actions[0, :20], spy.plans[0].actions[0, 5:])  # the planner moves it by the other block


def test_deadline_is_counted_from_the_observation_by_the_clock_of_the_planner() -> None:
    spy = Spy()
    run_episode(bench_of(PointArm(ManualClock())), policy(spy, clock=lambda: 100.0), LoopConfig(max_steps=5, decision_seconds=0.25))
    assert spy.calls[0][1] == pytest.approx(100.25)


def test_done_ends_the_episode_at_that_step() -> None:
    episode = run(is_done=lambda observation: observation.time > 0.65)
    assert episode.end == EpisodeEnd.DONE and len(episode.sent) == 7


def test_recorder_sees_decisions_before_and_steps_as_they_are_made() -> None:
    seen: list[str] = []
    hooks = Hooks(lambda decision: seen.append("decision"), lambda before, sent, applied: seen.append("step"))
    episode = run_episode(bench_of(PointArm(ManualClock())), policy(), LoopConfig(max_steps=30), hooks)
    assert seen[:7] == ["decision", *["step"] * 5, "decision"] and seen.count("step") == len(episode.sent)


def test_truth_is_kept_with_the_observations() -> None:
    bench = replace(bench_of(PointArm(ManualClock())), truth=lambda: {"object_pose": np.arange(7.0)})
    episode = kept_episode(bench, policy(), LoopConfig(max_steps=30))
    assert all((o.truth["object_pose"] == np.arange(7.0)).all() for o in episode.observations)


@pytest.mark.parametrize("status", [PlanStatus.UNSURE, PlanStatus.NO_FINITE_ROLLOUT])
def test_without_a_plan_to_trust_the_arm_holds_and_then_stops(status: PlanStatus) -> None:
    arm, spy = PointArm(ManualClock()), Spy(change=with_status(status))
    episode = run(spy, arm, LoopConfig(limits=SafetyLimits(max_consecutive_holds=3)))
    assert episode.end == EpisodeEnd.SAFETY and status in " ".join(episode.reasons)
    assert (arm.tool == 0).all() and episode.holds == (True, True, True) and arm.num_stops == 1
    assert all(call[0] is None for call in spy.calls)  # a plan that was not executed starts nothing


def test_plan_that_is_not_finite_is_refused() -> None:
    arm = PointArm(ManualClock())
    spy = Spy(change=lambda plan: replace(plan, actions=torch.full_like(plan.actions, torch.nan)))
    episode = run(spy, arm)
    assert episode.end == EpisodeEnd.SAFETY and "action x is nan m" in episode.reasons[0]
    assert arm.sent == [] and arm.num_stops == 1


def test_plan_beyond_the_limits_is_refused() -> None:
    spy = Spy(change=lambda plan: replace(plan, actions=plan.actions + 1.0))
    assert "allowed -0.025 to 0.025" in run(spy).reasons[0]


@dataclass
class FrozenCamera(PointCamera):
    """Shows its first three exposures and then the third for ever."""

    last: Frame | None = None

    def read(self) -> Frame:
        if self.last is None or self.last.number < 3:
            self.last = super().read()
        return self.last


def test_stale_frame_holds_the_arm_and_then_ends_the_episode_naming_the_camera() -> None:
    arm = PointArm(ManualClock())
    episode = run_episode(bench_of(arm, FrozenCamera), policy(), LoopConfig())
    assert episode.end == EpisodeEnd.SAFETY and arm.num_stops == 1
    assert "6 decisions in a row gave no plan to trust" in episode.reasons
    assert "frame of camera 'front' is 0.800 s old; allowed 0.2 s" in episode.reasons
    assert episode.holds == (False,) * 5 + (True,) * 5 and (episode.sent[5:] == 0).all()


def test_exposure_that_repeats_with_new_stamps_holds_the_arm() -> None:
    class Restamping(FrozenCamera):
        def read(self) -> Frame:
            return replace(super().read(), time=self.arm.clock.now())

    arm = PointArm(ManualClock())
    episode = run_episode(bench_of(arm, Restamping), policy(), LoopConfig())
    assert "same exposure for 9 control steps" in episode.reasons[1]
    assert episode.holds == (False,) * 6 + (True,) * 5


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_arm_is_stopped_whatever_goes_wrong(error: type[BaseException]) -> None:
    def fail(before: Observation, sent: np.ndarray, applied: np.ndarray) -> None:
        raise error

    arm = PointArm(ManualClock())
    with pytest.raises(error):
        run_episode(bench_of(arm), policy(), LoopConfig(), Hooks(on_step=fail))
    assert arm.num_stops == 1


def test_a_plan_of_another_shape_than_its_candidates_is_refused_before_it_is_recorded_and_the_arm_is_stopped() -> None:
    arm, decisions = PointArm(ManualClock()), list[object]()
    spy = Spy(change=lambda plan: replace(plan, actions=plan.actions[..., :-1]))
    with pytest.raises(ContractError, match="made a plan of shape"):
        run_episode(bench_of(arm), policy(spy), LoopConfig(), Hooks(decisions.append))
    assert decisions == [] and arm.num_stops == 1 and (arm.tool == 0).all()


def test_plan_that_took_too_long_is_not_started() -> None:
    arm = PointArm(ManualClock())

    def slow(plan: Plan) -> Plan:
        arm.clock.sleep_until(arm.clock.now() + 1.0)
        return plan

    episode = run(Spy(change=slow), arm, LoopConfig(limits=SafetyLimits(max_consecutive_holds=1)))
    assert episode.end == EpisodeEnd.SAFETY and "1.000 s old; allowed 0.5 s" in " ".join(episode.reasons)
    assert (arm.tool == 0).all()


def test_arm_with_other_actions_than_the_model_is_an_error_before_anything_moves() -> None:
    arm = PointArm(ManualClock(), action_spec=point_action_spec(control_dt=0.05))
    with pytest.raises(ContractError, match="control_dt"):
        run(arm=arm)
    assert arm.sent == []


def test_goal_of_an_observation_is_what_one_would_believe_there() -> None:
    arm = PointArm(ManualClock(), tool=np.array([0.1, 0.0, 0.2, 0.0, 0.5]))
    observation = Observation(0.0, {"front": PointCamera(arm).read()}, arm.state())
    assert torch.equal(goal_from_observation(MODEL, observation).latent, MODEL.believe([[observation]]).latent)


def test_holding_joints_means_where_they_are() -> None:
    arm = PointArm(ManualClock(), tool=np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    names = ("a", "b", "c", "d", "gripper")
    spec = ActionSpec("joint_target", names, ("rad",) * 4 + ("1",), -np.ones(5, np.float32), np.ones(5, np.float32), 0.1)
    np.testing.assert_allclose(hold_action(spec, arm.state()), [0.1, 0.2, 0.3, 0.4, 0.5], atol=1e-6)
    assert (hold_action(arm.action_spec, arm.state()) == 0).all()


def test_wall_clock_sleeps_what_is_left_and_never_backwards() -> None:
    slept: list[float] = []
    clock = WallClock(read=lambda: 10.0, sleep=slept.append)
    clock.sleep_until(10.5)
    clock.sleep_until(9.0)
    assert clock.now() == 10.0 and slept == [0.5]


class CrossEyed(PointMassModel):
    """Sees the tool 5 cm beside where it is."""

    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        latent = super().believe(histories).latent
        return Belief(latent + torch.tensor([0.05, 0, 0, 0, 0, 0, 0, 0]))


def test_eyes_that_are_wrong_about_the_hand_hold_the_arm_and_the_record_says_unsure() -> None:
    arm = PointArm(ManualClock())
    config = LoopConfig(limits=SafetyLimits(max_consecutive_holds=2))
    episode = kept_episode(bench_of(arm), policy(model=CrossEyed(point_action_spec())), config)
    assert episode.end == EpisodeEnd.SAFETY and "0.050 m from where the joints have it" in " ".join(episode.reasons)
    assert (arm.tool == 0).all() and episode.holds == (True, True)
    assert {decision.status for decision in episode.decisions} == {PlanStatus.UNSURE}


def test_loop_keeps_no_more_pictures_than_the_model_is_given() -> None:
    pictures: list[weakref.ref[np.ndarray]] = []
    alive: list[int] = []

    class Watched(PointCamera):
        def read(self) -> Frame:
            frame = super().read()
            pictures.append(weakref.ref(frame.image))
            return frame

    def on_step(before: Observation, sent: np.ndarray, applied: np.ndarray) -> None:
        alive.append(sum(picture() is not None for picture in pictures))

    arm = PointArm(ManualClock())
    episode = run_episode(bench_of(arm, Watched), policy(), LoopConfig(max_steps=30, history=3), Hooks(on_step=on_step))
    assert episode.num_steps == 30 and len(pictures) == 31
    assert alive[:3] == [1, 2, 3] and max(alive) == 3


def test_result_has_the_last_observation_and_how_long_it_took() -> None:
    episode = run()
    assert episode.last is episode.observations[-1]
    assert episode.seconds == pytest.approx(3.0) == episode.last.time - episode.observations[0].time


def test_whether_it_is_done_is_asked_once_of_each_observation() -> None:
    asked: list[float] = []

    def is_done(observation: Observation) -> bool:
        asked.append(observation.time)
        return False

    episode = run(is_done=is_done)
    assert asked == [observation.time for observation in episode.observations]
