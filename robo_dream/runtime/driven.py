"""An episode whose arm and cameras another program's loop has, such as LeRobot's: it looks, asks here for a command, and sends that.

The loop of `robo_dream.control` runs as ever, in a thread of its own, with the same limits, holds and guard. Where it would sleep until
the next control step, it waits until the other loop has looked again; the guard ticks once for each of the other loop's frames.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float, UInt8

from hardware.arms.lerobot_robot import LeRobotArm, LeRobotConfig, LeRobotJoint
from hardware.arms.so101 import RANGES
from robo_dream.control.cartesian import CartesianArm
from robo_dream.control.episode import Bench, EpisodeEnd, EpisodeResult, Hooks
from robo_dream.control.loop import run_episode
from robo_dream.embodiment import ActionSpec, ArmState, Frame, Intrinsics, RobotArm
from robo_dream.errors import ConfigError, ContractError, DataError, SafetyStopError
from robo_dream.recording.decision import Decision
from robo_dream.recording.events import SafetyEvent
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.arms import guard_of, joint_speeds
from robo_dream.runtime.cameras import SquareCamera
from robo_dream.runtime.connect import Connected, moves_of, require_same_joints
from robo_dream.runtime.mover import Mover
from robo_dream.runtime.run import RunConfig
from robo_dream.runtime.session import about_of
from robo_dream.safety.ending import why
from robo_dream.safety.guard import Act, Guard, Request
from sim.tabletop.environment import Tabletop

Picture = UInt8[np.ndarray, "height width 3"]
JOINTS = tuple(f"{name}.pos" for name in (*RANGES, "gripper"))
"""As LeRobot names what an SO-100 or SO-101 says and is told: degrees, and of the gripper 0 to 100."""
ARM = "so101"  # the arm's model of which these are the joints
_BEFORE = 2  # frames until the first motion: the goal is looked at, then a decision made
_PATIENCE = 60.0  # s for a decision under way, when the episode is closed

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoopFrame:
    """What the other loop saw, and when it handed that over (monotonic seconds); `number` counts its frames."""

    time: float
    number: int
    joints: Mapping[str, float]
    images: Mapping[str, Picture]


class ToldRobot:
    """LeRobot's robot as `LeRobotArm` knows it: says what the other loop saw last, and keeps what it is told for that loop to send."""

    is_connected = is_calibrated = True

    def __init__(self) -> None:
        self.seen: Mapping[str, float] = {}
        self.told: Mapping[str, float] | None = None

    def __str__(self) -> str:
        return "the robot of the other loop"

    def connect(self, calibrate: bool = True) -> None: ...

    def disconnect(self) -> None: ...

    def get_observation(self) -> Mapping[str, float]:
        return self.seen

    def send_action(self, action: dict[str, float]) -> Mapping[str, float]:
        self.told = action
        return action


class TickedArm:
    """A `RobotArm` (joint targets that each last `command_dt` seconds) in front of `driver`, whose guard ticks when `tick` is called.

    As `GuardThread`, where somebody else has the thread: what is sent here goes to the driver at the ticks that follow.
    """

    def __init__(
        self, driver: RobotArm, guard: Guard, command_dt: float, clock: Callable[[], float], on_event: Callable[[SafetyEvent], None]
    ) -> None:
        self._driver, self._guard, self._command_dt, self._clock, self._on_event = driver, guard, command_dt, clock, on_event
        self._requested: Request | None = None

    @property
    def action_spec(self) -> ActionSpec:
        return replace(self._driver.action_spec, control_dt=self._command_dt)

    def __enter__(self) -> "TickedArm":
        self._driver.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._driver.__exit__(kind, value, trace)

    def state(self) -> ArmState:
        state, told = self._driver.state(), self._guard.told
        return state if told is None else replace(state, joint_target=told[:-1], target_gripper=float(told[-1]))

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """What the guard will go for. Raises `SafetyStopError` while it has stopped the arm."""
        now = self._clock()
        try:
            target = self._guard.checked(now, action)
        except ContractError:
            self._tell(self._guard.take_events())
            raise
        if reasons := self._guard.reasons:
            raise SafetyStopError("; ".join(reasons))
        self._requested = Request(target, now, self._command_dt)
        limits = self._guard.motion_limits
        return np.clip(target, limits.low, limits.high)

    def stop(self) -> None:
        """The ticks that follow decelerate and hold."""
        self._guard.stop("told to stop")

    def tick(self) -> None:
        """One command, by what the arm says now."""
        command, verdict = self._guard.tick(self._clock(), self._driver.state(), self._requested)
        if verdict.act == Act.STOP:
            self._driver.stop()
        elif verdict.act == Act.SEND:
            self._driver.send(command)
        self._tell(verdict.events)

    def _tell(self, events: tuple[SafetyEvent, ...]) -> None:
        for event in events:
            _log.info("%s: %s", event.kind, event.reason)
            self._on_event(event)


class DrivenEpisode:
    """One episode of `mover`, from the first `command` to `close`. The other loop runs at `fps`, about.

    `record` is a folder in which the run is kept as `robo-dream run` keeps its own. `clock` is the monotonic one, but in tests.
    """

    def __init__(
        self, config: RunConfig, mover: Mover, fps: float, record: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if config.world.arm != ARM:
            raise ConfigError(f"world.arm is {config.world.arm!r}; LeRobot's names of joints are known of {ARM!r} (an SO-100 or SO-101)")
        if fps * mover.setup.control_dt < 1 - 1e-6:
            raise ConfigError(
                f"the other loop runs at {fps:g} frames a second, and a control step of the checkpoint lasts {mover.setup.control_dt:g} s; "
                f"run it at {1 / mover.setup.control_dt:g} or more (lerobot-record --dataset.fps=30)"
            )
        self._config, self._mover, self._fps, self._record, self._clock = config, mover, fps, record, clock
        self._robot, self._seen = ToldRobot(), LoopFrame(clock(), 0, {}, {})
        self._turn = threading.Condition()  # guards the four below: either the loop works, or it waits and the other loop does
        self._due: float | None = None  # until when the loop waits; None: it works
        self._is_ending = self._is_over = False
        self._error: BaseException | None = None
        self._arm: TickedArm | None = None
        self._world: Tabletop | None = None
        self._thread: threading.Thread | None = None
        self._on_event: Callable[[SafetyEvent], None] | None = None
        self.result: EpisodeResult | None = None  # once it is over
        self.num_decisions = 0

    def command(self, joints: Mapping[str, float], images: Mapping[str, Picture]) -> dict[str, float]:
        """What to send to the arm that says `joints` and is seen in `images`, by camera; may take as long as a decision.

        Once the episode is over, for want of safety too, the arm is braked and held. Raises what the loop raised.
        """
        self._require(joints, images)
        self._robot.seen = joints
        arm = self._arm or self._connected()
        self._seen = LoopFrame(self._clock(), self._seen.number + 1, joints, images)  # after what takes long: it must not be old
        arm.tick()
        self._give_turn(arm)
        if self._error is not None:
            raise self._error
        told = joints if self._robot.told is None else self._robot.told
        return {name: float(told[name]) for name in JOINTS}

    def close(self) -> None:
        """Ends the episode and its record; the arm stays where it was last told to be."""
        with self._turn:
            self._is_ending, self._due = True, None
            self._turn.notify_all()
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        if self._world is not None:
            self._world.close()
            self._world = None

    def now(self) -> float:
        """Monotonic seconds; at the end time stands still at what was seen last, so that this is not taken to be old."""
        return self._seen.time if self._is_ending else self._clock()

    def sleep_until(self, time: float) -> None:
        """Until the other loop has looked, at `time` or later."""
        with self._turn:
            if self._is_ending:
                return
            self._due = time
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._due is None)

    def _require(self, joints: Mapping[str, float], images: Mapping[str, Picture]) -> None:
        missing = [name for name in JOINTS if name not in joints]
        if missing:
            raise DataError(
                f"the robot says nothing of {', '.join(missing)}; it has {', '.join(sorted(joints))}: an SO-100 or SO-101 is driven"
            )
        for name in self._mover.setup.cameras:
            if name not in images:
                there = ", ".join(sorted(images)) or "none"
                through = ", ".join(self._mover.setup.cameras)
                raise DataError(f"the checkpoint looks through {through}; the robot's cameras are {there}: name one {name!r}")

    def _connected(self) -> TickedArm:
        """Called once, when `_robot` has something to say."""
        config, setup = self._config, self._mover.setup
        self._world = world = Tabletop(config.world)
        joints = tuple(LeRobotJoint(name, low, high) for name, (low, high) in RANGES.items())
        driver = LeRobotArm(self._robot, LeRobotConfig(joints, control_dt=1 / self._fps), lambda: self._seen.time)
        driver.__enter__()  # nothing is connected by it, and so nothing is to be left
        speeds = joint_speeds(config.arm, world.scene.arm.limits.joint_speed, config.loop.limits)
        guard = guard_of(world.scene, config.loop.limits, speeds, driver.action_spec)
        arm = TickedArm(driver, guard, setup.control_dt, self.now, self._happened)
        require_same_joints(setup, arm)
        self._arm = arm
        return arm

    def _give_turn(self, arm: TickedArm) -> None:
        """Lets the loop work if its control step has come, and waits until it has done so."""
        with self._turn:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, args=(arm,), name="driven loop", daemon=True)
                self._thread.start()
            elif self._is_over or self._due is None or self._seen.time < self._due - 0.5 / self._fps:
                return
            else:
                self._due = None
                self._turn.notify_all()
            self._turn.wait_for(lambda: self._due is not None or self._is_over)

    def _work(self, arm: TickedArm) -> None:
        try:
            self.result = result = self._episode(arm)
            if result.end == EpisodeEnd.SAFETY:
                _log.error("the arm is held until the next episode: %s", "; ".join(result.reasons))
        except BaseException as error:  # raised where the other loop asks
            self._error = error
        finally:
            with self._turn:
                self._is_over = True
                self._turn.notify_all()

    def _episode(self, arm: TickedArm) -> EpisodeResult:
        config, mover, world = self._config, self._mover, self._world
        assert world is not None
        cameras = [SquareCamera(SeenCamera(name, lambda: self._seen), mover.setup.size) for name in mover.setup.cameras]
        bench = Connected(arm, CartesianArm(arm, moves_of(config, mover.setup, world)), cameras, self, world, None, None)
        mover.require(bench)
        aimed = mover.aimed(bench)
        self.sleep_until(-np.inf)  # the goal took its time; what is acted on is seen after that
        on = Bench(bench.arm, cameras, self)
        if self._record is None:
            return run_episode(on, aimed.policy, config.loop, Hooks(self._decided, None, self._ends))
        folder = self._record / datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
        with RunWriter(folder / "record", about_of(config, aimed, bench, f"{config.goal.kind} in another loop"), aimed.goal) as writer:

            def decided(decision: Decision) -> None:
                self._decided(decision)
                writer.on_decision(decision)

            self._on_event = writer.on_event
            try:
                result = run_episode(on, aimed.policy, config.loop, Hooks(decided, writer.on_step, self._ends))
            except BaseException as error:
                writer.interrupt((why(error),))
                raise
            finally:
                self._on_event = None
            told = {"end": result.end.value, "reasons": list(result.reasons), "decision_seconds": list(result.decision_seconds)}
            writer.finish(result.last, told | {"distances": [], "torque": ["who has the arm decides"]})
        return result

    def _decided(self, decision: Decision) -> None:
        self.num_decisions += 1

    def _ends(self, observation: object) -> bool:
        return self._is_ending

    def _happened(self, event: SafetyEvent) -> None:
        if self._on_event is not None:
            self._on_event(event)


class SeenCamera:
    """A `Camera` that shows what the other loop saw last."""

    def __init__(self, name: str, seen: Callable[[], LoopFrame]) -> None:
        self.name, self._seen = name, seen
        self.world_from_camera = np.full((4, 4), np.nan)

    @property
    def intrinsics(self) -> Intrinsics:
        height, width = self._seen().images[self.name].shape[:2]
        return Intrinsics(width, height, np.nan, np.nan, np.nan, np.nan)

    def __enter__(self) -> "SeenCamera":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def read(self) -> Frame:
        seen = self._seen()
        return Frame(seen.time, seen.images[self.name], seen.number)


def chunk(
    config: RunConfig, mover: Mover, fps: float, joints: Mapping[str, float], images: Mapping[str, Picture], most: int
) -> Iterator[dict[str, float]]:
    """The commands of one decision, `most` at most, for who sends them unseen: as an episode gives them to an arm that follows at once."""
    seconds, steps = 0.0, math.ceil(most / (fps * mover.setup.control_dt) - 1e-6)
    config = replace(config, loop=replace(config.loop, max_steps=steps))
    episode = DrivenEpisode(config, mover, fps, clock=lambda: seconds)
    try:
        command = joints
        for frame in range(_BEFORE + most):
            seconds = frame / fps
            command = episode.command(command, images)
            if frame >= _BEFORE:
                yield command
            if episode.num_decisions > 1:  # of what nobody has seen
                return
    finally:
        episode.close()
