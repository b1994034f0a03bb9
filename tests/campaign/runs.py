"""One run with one fault: an arm in motion, something goes wrong, and what physics and record say of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from robo_dream.embodiment import ActionSpec, Observation
from robo_dream.errors import ArmError, ContractError, DataError, SafetyStopError
from robo_dream.recording.record import GoalRecord, read_run
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.arms import guard_of
from robo_dream.safety.collision import CollisionCheck
from robo_dream.safety.guard import Guard
from robo_dream.safety.limits import PLAUSIBLE, Clearance, SafetyLimits
from robo_dream.safety.promises import finish_seconds
from robo_dream.testing.troubles import DistortedArm
from sim.tabletop.arm import collision_check

from .benches import Bench, bench
from .lockstep import Beat, SteppedGuard
from .witness import Witness

COMMAND_DT = 0.1  # s
AFTER = 0.3  # s that are watched beyond the stated time
_CATCH_UP = 0.3  # s in which an arm that gives way under load catches up what it gave
_ROOM = 0.12  # m around the arm's home pose that its box leaves


@dataclass
class Outcome:
    """Of one fault. `took` is until the arm was still for good (s), `stated` what was promised (None: no stop was)."""

    promise: str
    fault: str
    driver: str
    seed: int
    unsafe: tuple[str, ...] = ()
    took: float | None = None
    stated: float | None = None
    record: str = ""  # what is wrong with it
    kinds: tuple[str, ...] = ()  # of the events in it
    worst: dict[str, float] = field(default_factory=dict)
    has_drawn_limits: bool = False
    has_struck: bool = True  # not so where drawn limits had stopped the arm before

    @property
    def is_late(self) -> bool:
        return self.stated is not None and self.took is not None and self.took > self.stated

    @property
    def problems(self) -> tuple[str, ...]:
        late = (f"still after {self.took:.3f} s, stated {self.stated:.3f} s",) if self.is_late else ()
        return (*self.unsafe, *late, *((self.record,) if self.record else ()))


class Session:
    """An arm behind the guard on its bench, watched and recorded, and the random commander that moves it."""

    def __init__(self, bench: Bench, rng: np.random.Generator, folder: Path, limits: SafetyLimits) -> None:
        self.bench, self.rng, self.clock, self.folder = bench, rng, bench.clock, folder
        world = bench.plant.world
        self._scene = scene = world.scene
        box = _box_of(world)
        self.limits = replace(limits, clearance=Clearance(workspace=box))
        self._speeds = np.minimum(scene.arm.limits.joint_speed, bench.max_speed / self.limits.speed_factor)
        self.wire_speed = self.limits.speed_factor * self._speeds
        self.collision: CollisionCheck = collision_check(self._scene, self.limits.clearance)
        self.driver = DistortedArm(bench.driver)
        goal = GoalRecord({}, np.zeros(1, np.float32), None, None)
        self.writer = RunWriter(folder, {"task": "fault campaign"}, goal, write=_write, queue_size=4096, max_wait=60.0)
        self.arm = SteppedGuard(self.driver, self._guard, COMMAND_DT, self.clock, self.writer.on_event)
        self.settle = bench.settle
        self.brake = float((self.wire_speed / self.limits.joint_acceleration).max())
        self.witness: Witness | None = None
        self.finish = 0.0  # s in which a last target that is near is gone to
        self.commanding = True  # whether the commander goes on
        self.target = np.zeros(0)
        self._aim = self._speed = np.zeros(0)

    def _guard(self, spec: ActionSpec) -> Guard:
        guard = guard_of(self._scene, self.limits, tuple(self._speeds.tolist()), spec)
        low, high = spec.low[:-1].astype(float), spec.high[:-1].astype(float)
        catch_up = self._scene.arm.limits.give / _CATCH_UP
        self.finish = finish_seconds(guard.motion_limits, self.limits.max_first_error)
        self.witness = Witness(self.bench.plant, low, high, self.wire_speed + catch_up, self.limits.clearance.workspace)
        return guard

    def begin(self) -> None:
        """After entering: the beat, and a commander that stands where the arm does."""
        self.beat = Beat(self.clock, self.arm, self.driver.action_spec.control_dt)
        state = self.arm.state()
        self.home = state.joint_pos.copy()
        self.target = np.append(state.joint_pos, np.clip(state.gripper, 0, 1))
        self.low, self.high = self.arm.guard.motion_limits.low, self.arm.guard.motion_limits.high
        self.new_aim()

    def new_aim(self) -> None:
        """Somewhere near home that is clear, and the speed to go there with."""
        for _ in range(50):
            aim = np.clip(self.home + self.rng.uniform(-0.4, 0.4, len(self.home)), self.low[:-1], self.high[:-1])
            if not self.collision.breaches(aim):
                break
        self._aim = np.append(aim, self.closure())
        self._speed = np.append(self.rng.uniform(0.4, 0.8) * self.wire_speed, 1.0)

    def closure(self) -> float:
        """Of a hand, where the bench has one."""
        return float(self.rng.uniform()) if self.bench.has_hand else float(self.target[-1])

    def swing(self) -> None:
        """One command of an ordinary motion."""
        if np.abs(self._aim - self.target).max() < 1e-6:
            self.new_aim()
        reach = self._speed * COMMAND_DT
        self.target = self.target + np.clip(self._aim - self.target, -reach, reach)
        self.send(self.target)

    def send(self, target: np.ndarray) -> None:
        """As a loop would: what the guard refuses ends the commander."""
        state = self.arm.state()
        before = Observation(self.clock.now(), {}, state)
        try:
            applied = self.arm.send(target)
        except (SafetyStopError, ContractError, ArmError):
            self.commanding = False
            raise
        self.writer.on_step(before, np.asarray(target, np.float32), applied)

    def go_on(self, seconds: float, command: Callable[[], None] | None = None) -> None:
        """Lets time pass while the commander commands, as long as it may."""
        end = self.clock.now() + seconds
        while self.clock.now() < end - 1e-9:
            if self.commanding:
                with suppress(SafetyStopError, ContractError, ArmError):
                    (command or self.swing)()
            self.beat.sleep_until(min(self.clock.now() + COMMAND_DT, end))

    @property
    def dt(self) -> float:
        return self.driver.action_spec.control_dt


@contextmanager
def session(driver: str, rng: np.random.Generator, folder: Path, limits: SafetyLimits) -> Iterator[Session]:
    """Not yet entered."""
    with bench(driver) as made:
        yield Session(made, rng, folder, limits)


def drawn_limits(rng: np.random.Generator) -> SafetyLimits:
    """Each limit from all of its plausible range with probability one half, else its default; evenly over orders of magnitude."""
    drawn: dict[str, float | int] = {}
    for name, span in PLAUSIBLE.items():
        if rng.random() < 0.5:
            low = max(span.low, span.high / 1000)
            value = float(np.exp(rng.uniform(np.log(low), np.log(span.high))))
            drawn[name] = round(value) if isinstance(getattr(SafetyLimits(), name), int) else min(value, span.high)
    return SafetyLimits(**drawn)  # type: ignore[arg-type]


def finish(run: Session, outcome: Outcome, began: float, stated: float | None, needs: tuple[str, ...] = ()) -> Outcome:
    """Closes the record and looks at it: `needs` are the kinds of events of which one must be in the record."""
    run.writer.close()
    witness = run.witness
    assert witness is not None
    outcome.unsafe, outcome.worst = tuple(witness.unsafe.values()), witness.worst
    outcome.took, outcome.stated = witness.still_since(began), stated
    try:
        record = read_run(run.folder)
    except DataError as error:
        outcome.record = f"the record cannot be read: {error}"
        return outcome
    outcome.kinds = tuple(event.kind for event in record.events)
    if record.damaged or run.writer.failure is not None:
        outcome.record = f"the record is damaged: {dict(record.damaged)} {run.writer.failure}"
    elif needs and not set(needs) & set(outcome.kinds):
        outcome.record = f"the record has no event of {needs}; it has {outcome.kinds}"
    return outcome


def _box_of(world) -> tuple:
    """The box around the arm as it stands at home, with some room."""
    from .witness import extent

    model = world.model
    is_solid = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    parts = np.flatnonzero(is_solid & (model.body_weldid[model.geom_bodyid] != 0) & (model.geom_bodyid != model.body("object").id))
    ends = [extent(model, world.data, g) for g in parts]
    low, high = np.min([m - r for m, r in ends], axis=0) - _ROOM, np.max([m + r for m, r in ends], axis=0) + _ROOM
    return tuple(map(float, low)), tuple(map(float, high))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
