"""What goes wrong between a commander, the guard, the wire and the arm: each case strikes an arm in motion."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from robo_dream.errors import ArmError, ContractError, SafetyStopError
from robo_dream.safety.limits import SafetyLimits
from sim.emulators.faults import Fault

from .benches import KINDS, SILENCES
from .runs import AFTER, COMMAND_DT, Outcome, Session, finish, session


@dataclass(frozen=True)
class Case:
    """`strike` does it and lets time pass; it returns within how many seconds the arm must be still (None: need not be)."""

    promise: str
    fault: str
    strike: Callable[[Session], float | None]
    needs: tuple[str, ...] = ()  # kinds of events of which one must be recorded
    leads_in: bool = True  # the arm is in motion when it strikes


def run_case(case: Case, driver: str, seed: int, folder: Path, limits: SafetyLimits | None = None) -> Outcome:
    rng = np.random.default_rng(seed)
    outcome = Outcome(case.promise, case.fault, driver, seed, has_drawn_limits=limits is not None)
    with session(driver, rng, folder, limits or SafetyLimits()) as run:
        began, stated = run.clock.now(), None
        try:
            with run.arm:
                run.begin()
                if case.leads_in:
                    run.go_on(rng.uniform(0.2, 0.5))
                began = run.clock.now()
                stated = case.strike(run)
        except Deliberate as error:
            stated = error.stated
        except ArmError:
            pass  # an arm that is gone says so on leaving
        run.clock.wait(max(0.0, began + (stated or 0.0) + AFTER - run.clock.now()))
        before = ("latched stop",) if case.needs and limits is not None else ()  # drawn limits may have stopped the arm already
        return finish(run, outcome, began, stated, (*case.needs, *before))


class Deliberate(Exception):
    """What a program may raise while its arm moves. `stated` is how long that may last (s)."""

    def __init__(self, stated: float) -> None:
        super().__init__("in the middle of a motion")
        self.stated = stated


def cases(driver: str) -> list[Case]:
    """All that can happen to this driver's arm."""
    found = [
        Case("refuses what is no target", name, lambda run, bad=bad: _bad_target(run, bad), ("refused",))
        for name, bad in (("NaN", np.nan), ("infinite", np.inf), ("too short", "short"), ("too long", "long"))
    ]
    found += [
        Case("keeps position limits", "targets beyond the limits", _beyond_limits),
        Case("keeps speed and acceleration", "targets that jump", _jumps),
        Case("keeps its box", "targets out of the box", _out_of_box),
        Case("keeps clear of table and itself", "targets in collision", _into_things),
        Case("stops without commands", "commander falls silent", _silence),
        Case("starts where it is", "first target far away", _far_first, ("stop",), leads_in=False),
        Case("stops when tracking is lost", "blocked joint", _blocked, ("latched stop", "stop", "emergency stop")),
        Case("stops at old joint states", "states with old stamps", _old_states, ("stop", "emergency stop")),
        Case("stops at old joint states", "states that are not finite", _nan_states, ("stop", "emergency stop")),
        Case("emergency stop", "software", _emergency, ("emergency stop",)),
        Case("controlled stop", "asked for", _stop, ("stop",)),
        Case("controlled stop", "exception", _exception, ("stop",)),
    ]
    for kind in KINDS[driver].faults:
        found.append(Case("gets over a disturbance", f"{kind}, once", lambda run, kind=kind: _transient(run, kind)))
        if kind != "corrupt" or driver in ("feetech", "dynamixel"):  # of flipped bits behind TCP's checksum some change nothing
            found.append(Case("stops at silence", f"{kind}, lasting", lambda run, kind=kind: _lasting(run, kind), _STOPS))
        else:
            found.append(Case("gets over a disturbance", "corrupt, lasting", lambda run: _corrupt(run)))
    return found


_STOPS = ("stop", "latched stop", "emergency stop")


def _bad_target(run: Session, bad: float | str) -> float:
    target = run.target.copy()
    if isinstance(bad, str):
        target = target[:-1] if bad == "short" else np.append(target, 0.0)
    else:
        target[run.rng.integers(len(target))] = bad
    try:
        run.send(target)
    except ContractError:
        return _silence(run)
    raise AssertionError("a target that is none was taken")


def _beyond_limits(run: Session) -> None:
    joint, end = run.rng.integers(len(run.home)), run.rng.integers(2)
    far = run.target.copy()

    def command() -> None:
        step = run.rng.uniform(0.5, 3.0) * run.wire_speed[joint] * COMMAND_DT
        far[joint] += step if end else -step
        if run.rng.random() < 0.2:
            far[joint] = 50.0 if end else -50.0
        run.send(far)

    run.go_on(1.2, command)


def _jumps(run: Session) -> None:
    def command() -> None:
        jump = run.rng.uniform(-1.0, 1.0, len(run.home)) * run.rng.uniform(0.2, 3.0)
        run.send(np.append(np.clip(run.home + jump, run.low[:-1], run.high[:-1]), run.closure()))

    run.go_on(1.2, command)


def _out_of_box(run: Session) -> None:
    _toward(run, lambda breach: breach.kind == "workspace")


def _into_things(run: Session) -> None:
    _toward(run, lambda breach: breach.kind in ("table", "self"))


def _toward(run: Session, wanted: Callable) -> None:
    """Goes, as fast as allowed, for a random pose in which something of the kind is wrong."""
    aim = run.home
    for _ in range(300):
        aim = np.clip(run.home + run.rng.uniform(-2.0, 2.0, len(run.home)), run.low[:-1], run.high[:-1])
        if any(wanted(breach) for breach in run.collision.breaches(aim)):
            break
    aim = np.append(aim, run.closure())

    def command() -> None:
        reach = np.append(run.wire_speed, 1.0) * COMMAND_DT
        run.target = run.target + np.clip(aim - run.target, -reach, reach)
        run.send(run.target)

    run.go_on(1.5, command)


def _silence(run: Session) -> float:
    run.commanding = False
    stated = max(run.limits.max_command_gap, COMMAND_DT) + 1.5 * run.dt + run.bench.read_time + max(run.brake, run.finish) + run.settle
    run.go_on(stated + AFTER)
    return stated


def _far_first(run: Session) -> float:
    far = run.target.copy()
    joint = run.rng.integers(len(run.home))
    way = run.limits.max_first_error + run.wire_speed[joint] * COMMAND_DT + run.rng.uniform(0.02, 0.5)
    far[joint] += way if far[joint] + way < run.high[joint] else -way
    with suppress(SafetyStopError):
        run.send(far)
    run.commanding = False
    run.go_on(0.5)
    return 0.0  # it never moves


def _blocked(run: Session) -> float:
    """Something holds one joint while the commander drives it on."""
    model, joint = run.bench.plant.world.model, run.rng.integers(len(run.home))
    dof = model.joint(run.bench.plant.world.scene.joint_names[joint]).dofadr[0]
    room_up, room_down = run.high[joint] - run.target[joint], run.target[joint] - run.low[joint]
    sign, pace = (1.0 if room_up > room_down else -1.0), 0.7 * run.wire_speed[joint]
    model.dof_damping[dof] = 1e5

    def command() -> None:
        run.target[joint] += sign * pace * COMMAND_DT
        run.send(run.target)

    off = run.limits.max_tracking_error + run.bench.plant.world.scene.arm.limits.give
    stated = off / pace + run.limits.max_tracking_seconds + COMMAND_DT + 2 * run.dt + run.bench.read_time + 3 * run.brake + run.settle
    run.go_on(stated + AFTER, command)
    return stated


def _old_states(run: Session) -> float:
    age = run.rng.uniform(1.2, 6.0) * run.limits.max_state_age
    run.driver.change = lambda state: replace(state, time=state.time - age)
    return _stopped_within(run, 0.0)


def _nan_states(run: Session) -> float:
    joint = run.rng.integers(len(run.home))

    def change(state):
        pos = state.joint_pos.copy()
        pos[joint] = np.nan
        return replace(state, joint_pos=pos)

    run.driver.change = change
    return _stopped_within(run, 0.0)


def _emergency(run: Session) -> float:
    run.beat.plan(run.clock.now() + run.rng.uniform(0.0, run.dt), lambda: run.arm.emergency_stop("the campaign's"))
    stated = run.dt + run.bench.read_time + run.settle
    run.go_on(stated)
    for _ in range(3):  # latched: whatever is tried now moves nothing
        run.new_aim()
        with suppress(SafetyStopError):
            run.arm.send(np.clip(run.target + 0.05, run.low, run.high))
        run.beat.sleep_until(run.clock.now() + COMMAND_DT)
    return stated


def _stop(run: Session) -> float:
    run.commanding = False
    run.arm.guard.stop("the campaign's")
    return _stopped_within(run, 0.0)


def _exception(run: Session) -> float:
    raise Deliberate(run.dt + 2 * run.bench.read_time + run.brake + run.settle)


def _transient(run: Session, kind: str) -> None:
    joint = int(run.rng.integers(len(run.home) + 1))
    delay, lasts = run.rng.uniform(0.005, 0.08), run.rng.uniform(0.004, 0.04)
    if kind in ("mute", "unplug", "stop"):
        fault = Fault(kind, duration=lasts, joint=joint)
    else:
        code = 32 if run.bench.driver_name in ("feetech", "dynamixel") else 23
        fault = Fault(kind, count=int(run.rng.integers(1, 4)), joint=joint, delay=delay, code=code)
    run.bench.inject(fault)
    run.go_on(0.6)


def _lasting(run: Session, kind: str) -> float:
    servo = run.bench.driver_name in ("feetech", "dynamixel")
    joint = int(run.rng.integers(len(run.home))) if kind == "mute" or (servo and run.rng.random() < 0.5 and kind != "unplug") else None
    run.bench.inject(Fault(kind, joint=joint, delay=run.rng.uniform(0.3, 1.0), code=32 if servo else 23))  # type: ignore[arg-type]
    detection = run.limits.max_state_age + run.bench.read_time * (1 if kind in SILENCES else 2)
    return _stopped_within(run, detection)


def _corrupt(run: Session) -> None:
    run.bench.inject(Fault("corrupt"))
    run.go_on(1.2)


def _stopped_within(run: Session, detection: float) -> float:
    stated = detection + 2 * run.dt + run.bench.read_time + run.brake + run.settle
    run.go_on(stated + AFTER)
    return stated
