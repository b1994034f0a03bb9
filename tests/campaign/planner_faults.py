"""What goes wrong above the guard: planner, cameras, operator and program, while the whole loop drives an arm by tool moves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from robo_dream.control.cartesian import CartesianArm
from robo_dream.control.decision import Decided
from robo_dream.control.episode import Bench, Hooks, LoopConfig
from robo_dream.control.loop import run_episode
from robo_dream.control.policies import PlannerPolicy
from robo_dream.embodiment import Frame, Observation
from robo_dream.errors import ArmError, RoboDreamError
from robo_dream.imagination import Goal, Plan, PlanStatus
from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.safety.limits import SafetyLimits
from robo_dream.safety.promises import finish_seconds
from robo_dream.testing.point_mass import PointMassModel
from robo_dream.testing.troubles import CrashError, TroubledCamera, TroubledPlanner, TroubledWorker, Troubles, troubled_steps

from .runs import AFTER, COMMAND_DT, Outcome, Session, finish, session

SEARCH = PolicyGuidedConfig(num_samples=16, num_iterations=1, num_elites=4, num_proposals=4, horizon=3)
CAMERAS = ("front", "side")
_TICK = 0.02  # s between two commands of the slowest driver
_STEPS = 28  # control steps of an episode


@dataclass(frozen=True)
class Case:
    """`make` says what goes wrong; `detection` is the time that the loop may take to see it (s)."""

    promise: str
    fault: str
    make: Callable[[Session, Troubles], None]
    detection: Callable[[SafetyLimits], float] = lambda limits: 0.0
    is_asynchronous: bool = False
    ends_by: tuple[type[BaseException], ...] = ()


def run_case(case: Case, driver: str, seed: int, folder: Path, limits: SafetyLimits | None = None) -> Outcome:
    rng = np.random.default_rng(seed)
    outcome = Outcome(case.promise, case.fault, driver, seed, has_drawn_limits=limits is not None)
    with session(driver, rng, folder, limits or SafetyLimits()) as run:
        world = run.bench.plant.world
        config = LoopConfig(max_steps=_STEPS, asynchronous=case.is_asynchronous, limits=run.limits)
        stated = case.detection(run.limits) + 2 * COMMAND_DT + 2 * _TICK + 2 * run.bench.read_time + run.brake + run.settle
        began, end, ended = run.clock.now(), "", False
        may_end = ("SAFETY", "BUDGET") if case.is_asynchronous or limits is not None else ("SAFETY",)  # drawn limits may allow all of it
        try:
            with run.arm:
                run.begin()
                stated += max(run.finish - run.brake, 0.0)
                clock, arm = run.beat, CartesianArm(run.arm, world.moves)
                troubles = Troubles(clock.now() + rng.uniform(0.3, 0.8), clock)
                case.make(run, troubles)
                model = PointMassModel(world.moves.spec, cameras=CAMERAS)
                planner = PolicyGuidedPlanner(model, PoseCost(model, PoseCostConfig(object_pos=0, tool_pos=1)), SEARCH)
                goal = torch.tensor([[*(arm.state().tool_pos + rng.uniform(-0.15, 0.15, 3)), 0.0, 0.0, 0.0, 0.0, 0.0]])
                leads = [0.0]

                def noted(before: Observation, sent: np.ndarray, applied: np.ndarray) -> None:
                    """How far joints are behind where they were told to be: an arm that holds goes on to there."""
                    told = before.arm.joint_pos if before.arm.joint_target is None else before.arm.joint_target
                    leads.append(float(np.abs(told - before.arm.joint_pos).max()))
                    run.writer.on_step(before, sent, applied)

                try:
                    bench = Bench(arm, [TroubledCamera(name, clock, troubles) for name in CAMERAS], clock)
                    policy = PlannerPolicy(
                        model, TroubledPlanner(planner, troubles), Goal(goal.float()), seed, clock.now, TroubledWorker(clock, 0.3, troubles)
                    )
                    episode = run_episode(bench, policy, config, Hooks(run.writer.on_decision, troubled_steps(noted, troubles)))
                    end = f"{episode.end.value}: {'; '.join(episode.reasons)}"
                    run.writer.finish(episode.last, {"end": episode.end.value, "reasons": list(episode.reasons)})
                except (*case.ends_by, RoboDreamError) as error:
                    end, ended = f"{type(error).__name__}: {error}", True
                ahead = max(leads) + float(run.wire_speed.max()) * COMMAND_DT
                stated += max(finish_seconds(run.arm.guard.motion_limits, ahead) - max(run.finish, run.brake), 0.0)
                began = troubles.began if troubles.began is not None else began
        except ArmError:
            pass
        run.clock.wait(max(0.0, began + stated + AFTER - run.clock.now()))
        outcome = finish(run, outcome, began, stated)
        if troubles.began is None and limits is not None and end.startswith("SAFETY"):
            outcome.has_struck = False
        elif troubles.began is None:
            outcome.record = f"the fault never struck: {end}"
        elif not ended and not end.startswith(may_end):
            outcome.record = outcome.record or f"the episode ended by {end!r}"
        return outcome


def cases() -> list[Case]:
    """All that can happen above any arm."""
    unplanned = "holds without a plan to trust"

    def gap(limits: SafetyLimits) -> float:
        return max(limits.max_command_gap, COMMAND_DT)

    def late(limits: SafetyLimits) -> float:
        return 0.5 + limits.max_late_steps * COMMAND_DT + gap(limits)

    return [
        Case("stops when the planner is late", "late again and again", _late, gap),
        Case("stops when the planner is late", "blocked for 2 s", _blocked, gap, ends_by=(CrashError,)),
        Case("stops when the planner is late", "late while moving", _late_result, late, is_asynchronous=True),
        Case("stops when the program fails", "planner raises", _raises, ends_by=(CrashError,)),
        Case(
            "stops when the program fails",
            "planner's thread raises",
            _thread_raises,
            lambda limits: 0.5 + gap(limits),
            is_asynchronous=True,
            ends_by=(CrashError,),
        ),
        Case("stops when the program fails", "Ctrl-C", _interrupt(KeyboardInterrupt), ends_by=(KeyboardInterrupt,)),
        Case("stops when the program fails", "SIGTERM", _interrupt(SystemExit), ends_by=(SystemExit,)),
        Case(unplanned, "UNSURE", _status(PlanStatus.UNSURE)),
        Case(unplanned, "no finite rollout", _status(PlanStatus.NO_FINITE_ROLLOUT)),
        Case(unplanned, "NaN in the plan", _spoilt(lambda plan: torch.full_like(plan, torch.nan))),
        Case(unplanned, "plan beyond the limits", _spoilt(lambda plan: plan + 1.0)),
        Case(unplanned, "mis-shaped plan", _spoilt(lambda plan: plan[..., :-1]), ends_by=(Exception,)),
        Case("no new plan from bad pictures", "stale", _stale, lambda limits: limits.max_frame_age + COMMAND_DT),
        Case("no new plan from bad pictures", "repeated", _repeated, lambda limits: (limits.max_repeated_frames + 2) * COMMAND_DT),
        Case("no new plan from bad pictures", "unpaired", _unpaired),
        Case("no new plan from bad pictures", "stamped by another clock", _other_clock),
        Case("no new plan from bad pictures", "camera fails", _camera_fails, ends_by=(OSError,)),
        Case("emergency stop", "key", _key),
        Case("emergency stop", "key while the planner is blocked", _key_while_blocked, ends_by=(CrashError,)),
    ]


def _late(run: Session, troubles: Troubles) -> None:
    def plan(made: Plan) -> Plan:
        troubles.clock.sleep_until(troubles.clock.now() + run.limits.max_plan_age + run.rng.uniform(0.05, 0.2))
        return made

    troubles.plan = plan


def _blocked(run: Session, troubles: Troubles) -> None:
    def plan(made: Plan) -> Plan:
        troubles.clock.sleep_until(troubles.clock.now() + 2.0)
        raise CrashError("it never came back")

    troubles.plan = plan


def _late_result(run: Session, troubles: Troubles) -> None:
    troubles.result = lambda: None


def _raises(run: Session, troubles: Troubles) -> None:
    def plan(made: Plan) -> Plan:
        raise CrashError("a mistake in a planner")

    troubles.plan = plan


def _thread_raises(run: Session, troubles: Troubles) -> None:
    def result() -> Decided | None:
        raise CrashError("a mistake in a planner's thread")

    troubles.result = result


def _interrupt(kind: type[BaseException]) -> Callable[[Session, Troubles], None]:
    def make(run: Session, troubles: Troubles) -> None:
        def step() -> None:
            raise kind

        troubles.step = step

    return make


def _status(status: PlanStatus) -> Callable[[Session, Troubles], None]:
    def make(run: Session, troubles: Troubles) -> None:
        troubles.plan = lambda plan: replace(plan, status=(status,))

    return make


def _spoilt(spoil: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Session, Troubles], None]:
    def make(run: Session, troubles: Troubles) -> None:
        troubles.plan = lambda plan: replace(plan, actions=spoil(plan.actions))

    return make


def _stale(run: Session, troubles: Troubles) -> None:
    kept: dict[str, Frame] = {}
    troubles.frame = lambda frame, name: kept.setdefault(name, frame)


def _repeated(run: Session, troubles: Troubles) -> None:
    kept: dict[str, Frame] = {}
    troubles.frame = lambda frame, name: replace(kept.setdefault(name, frame), time=frame.time)


def _unpaired(run: Session, troubles: Troubles) -> None:
    apart = run.limits.max_frame_spread * run.rng.uniform(1.2, 3.0)
    troubles.frame = lambda frame, name: replace(frame, time=frame.time - apart) if name == "side" else frame


def _other_clock(run: Session, troubles: Troubles) -> None:
    away = run.rng.choice([-1e6, 5.0, 1e9])
    troubles.frame = lambda frame, name: replace(frame, time=frame.time + away)


def _camera_fails(run: Session, troubles: Troubles) -> None:
    def frame(made: Frame, name: str) -> Frame:
        raise OSError("the camera is gone")

    troubles.frame = frame


def _key(run: Session, troubles: Troubles) -> None:
    def press() -> None:
        troubles.strike()
        run.arm.emergency_stop("emergency key b'e'")

    run.beat.plan(troubles.begins + run.rng.uniform(0.001, 0.1), press)


def _key_while_blocked(run: Session, troubles: Troubles) -> None:
    """Struck within what a plan that was begun still moves the arm by."""

    def press() -> None:
        run.arm.emergency_stop("emergency key b' '")

    def plan(made: Plan) -> Plan:
        run.beat.plan(troubles.clock.now() + run.rng.uniform(0.001, 0.05), press)
        troubles.clock.sleep_until(troubles.clock.now() + 1.0)
        raise CrashError("it never came back")

    troubles.plan = plan
