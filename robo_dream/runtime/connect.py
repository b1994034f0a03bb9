"""An arm and its cameras, connected and checked: what `robo-dream run` and `robo-dream goal` work with."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float

from robo_dream.calibration.file import load, problems
from robo_dream.control.cartesian import CartesianArm, CartesianMoves, JointMoves, Moves, with_tool
from robo_dream.embodiment import ActionSpec, ArmState, Camera, Clock, RobotArm, WallClock
from robo_dream.errors import ArmError, CheckpointError, ConfigError, SafetyStopError
from robo_dream.evaluation.manifest import read_manifest
from robo_dream.recording.events import SafetyEvent
from robo_dream.runtime.arms import Rest, at_address, build_driver, build_guarded, identity_of, joint_speeds, last_resort
from robo_dream.runtime.cameras import bench_cameras, serial_of
from robo_dream.runtime.run import DrawnGoal, PairGoal, RunConfig, StartPose
from robo_dream.runtime.twin import Twin, TwinView, twin_cameras, twin_serial
from robo_dream.safety.ending import ended_by_signals
from robo_dream.safety.guard_process import GuardProcess
from robo_dream.safety.keys import terminal
from robo_dream.safety.limits import state_reasons
from sim.attempt import Attempt
from sim.pairs import drawn_pair
from sim.tabletop.arm import collision_check
from sim.tabletop.environment import Tabletop
from sim.tabletop.world import CONTROL_DT, World

_log = logging.getLogger(__name__)
_SETTLE = 5.0  # s that the arm may take to arrive at its start once all commands were sent


class StillArm:
    """A connected arm that is never told to move: what `--dry-run` drives. `send` gives back what would have been sent.

    As before a guard, a reading that fails leaves the last one, which grows old.
    """

    def __init__(self, driver: RobotArm, command_dt: float) -> None:
        self._driver, self._command_dt = driver, command_dt
        self._last: ArmState | None = None

    @property
    def action_spec(self) -> ActionSpec:
        return replace(self._driver.action_spec, control_dt=self._command_dt)

    def __enter__(self) -> "StillArm":
        self._driver.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._driver.__exit__(kind, value, trace)

    def state(self) -> ArmState:
        try:
            self._last = self._driver.state()
        except ArmError as error:
            if self._last is None:
                raise
            _log.warning("%s", error)
        return self._last

    def send(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        action = self.action_spec.numbers(action)
        return self.action_spec.clip(action)

    def stop(self) -> None:
        """Nothing moves that could be stopped."""


@dataclass(frozen=True)
class Connected:
    """`joints` takes joint targets (from the guard), `arm` moves. `view` and `attempt` are a twin's."""

    joints: RobotArm
    arm: CartesianArm
    cameras: Sequence[Camera]
    clock: Clock
    world: Tabletop  # the arm's model; of a twin, how it was when last looked at
    view: TwinView | None
    attempt: Attempt | None


class Events:
    """Hands events on to whoever records them, and keeps those from before that."""

    def __init__(self) -> None:
        self.record: Callable[[SafetyEvent], None] | None = None
        self.early: list[SafetyEvent] = []

    def __call__(self, event: SafetyEvent) -> None:
        if self.record is None:
            self.early.append(event)
        else:
            self.record(event)

    def record_by(self, record: Callable[[SafetyEvent], None]) -> None:
        early, self.early, self.record = self.early, [], record
        for event in early:
            record(event)


@dataclass(frozen=True)
class CameraSetup:
    """Through which cameras it is looked, how large their pictures are (px) and how long a control step is (s).

    `joint_moves` are the actions of a model that moves joints; without, the tool is moved. One of `picture_goals` needs no arm in a goal.
    """

    cameras: tuple[str, ...]
    size: int
    control_dt: float
    joint_moves: ActionSpec | None = None
    picture_goals: bool = False


def scene_cameras(config: RunConfig) -> CameraSetup:
    """Those of the scene: no model says which it was trained with."""
    cameras = config.world.cameras
    return CameraSetup(tuple(camera.name for camera in cameras), min(camera.height for camera in cameras), CONTROL_DT)


@contextmanager
def connected(
    config: RunConfig, setup: CameraSetup, dry: bool, events: Events, say: Callable[[str], None] = _log.info
) -> Iterator[Connected]:
    """Everything entered and checked, at its start pose; left in the opposite order, the arm first and stopped.

    `say` is told how long and how far a stop may go on by the limits in force, before anything moves.
    """
    poses = calibrated_poses(config, setup.cameras)
    with ExitStack() as stack:
        world = stack.enter_context(Tabletop(config.world))
        arm_kind, view, attempt = config.arm, None, None
        if config.twin:
            start, attempt = _start_of(config, world)
            twin = stack.enter_context(Twin(config.arm, config.world, start))
            arm_kind, view = at_address(config.arm, twin.address), TwinView(twin, world)
            cameras = stack.enter_context(twin_cameras(config.twin_cameras, twin, config.world, setup.cameras, setup.size))
        else:
            if isinstance(config.goal, PairGoal | DrawnGoal):
                raise ConfigError(
                    f"goal.kind is {config.goal.kind}, which only a twin can be put to; give a snapshot, pictures or a pose, or add --twin"
                )
            cameras = bench_cameras(config.cameras, setup.cameras, setup.size, poses)
        for camera in cameras:
            stack.enter_context(camera)
        if dry:
            driver = build_driver(arm_kind, Rest(config.rest_pose, config.loop.limits.rest_tolerance))
            joints: GuardProcess | StillArm = StillArm(driver, setup.control_dt)
        else:
            build = partial(build_guarded, arm_kind, config.world, config.loop.limits, config.rest_pose)
            tty = terminal()
            joints = GuardProcess(build, setup.control_dt, events, None if tty is None else Path(tty), partial(last_resort, arm_kind))
        stack.enter_context(ended_by_signals())
        stack.enter_context(joints)
        _check_arm(joints, world, config)
        require_same_joints(setup, joints)
        if isinstance(joints, GuardProcess):
            for line in joints.promise_lines:
                say(line)
        if not (dry or attempt is not None):
            go_to_start(joints, config.start, np.asarray(config.start.joints or world.scene.arm.home))
        yield Connected(joints, CartesianArm(joints, moves_of(config, setup, world)), cameras, WallClock(), world, view, attempt)


def require_same_joints(setup: CameraSetup, joints: RobotArm) -> None:
    """Raises `CheckpointError` for a model that moves joints of another arm."""
    if setup.joint_moves is not None and setup.joint_moves.names != joints.action_spec.names:
        raise CheckpointError(
            f"the checkpoint moves the joints {', '.join(setup.joint_moves.names)}; "
            f"this arm has {', '.join(joints.action_spec.names)}: train one for this arm"
        )


def moves_of(config: RunConfig, setup: CameraSetup, world: Tabletop) -> Moves:
    """What makes joint targets of the model's actions, within the limits of the arm's model in `world`."""
    limits = world.moves.limits
    limits = replace(limits, joint_speed=joint_speeds(config.arm, limits.joint_speed, config.loop.limits))
    if setup.joint_moves is None:
        return CartesianMoves(world.kinematics, limits, setup.control_dt)
    return JointMoves(world.kinematics, limits, setup.joint_moves)


def calibrated_poses(config: RunConfig, cameras: Sequence[str], at: datetime | None = None) -> Mapping[str, np.ndarray]:
    """world_from_camera of each camera that is fixed to the world; empty without a calibration file.

    Raises `ConfigError` with everything that speaks against the file: its age, another arm, other cameras, residuals, wrong joints.
    """
    if config.calibration is None:
        return {}
    known = load(config.calibration)
    arm = f"twin {config.world.arm}" if config.twin else identity_of(config.arm)
    there = {camera.name: serial_of(camera) for camera in config.cameras}
    serials = {name: twin_serial(name) if config.twin else there.get(name, "") for name in cameras}
    if unnamed := [name for name, serial in serials.items() if not serial]:
        raise ConfigError(
            f"a calibration is of certain cameras, but `cameras` gives no serial for {', '.join(unnamed)}; `robo-dream doctor` shows them"
        )
    found = problems(known, arm, serials, at or datetime.now(UTC), config.calibration_limits)
    if found:
        raise ConfigError(f"the calibration {config.calibration} does not hold: {'; '.join(found)}")
    return {name: known.cameras[name].matrix for name in cameras if known.cameras[name].mount == "world"}


def go_to_start(arm: RobotArm, start: StartPose, pose: Float[np.ndarray, " joint"], clock: Clock | None = None) -> None:
    """Verifies that the joints are at `pose`, or goes there, at `start.speed`. Raises `SafetyStopError` when they are not."""
    clock = clock or WallClock()
    if start.kind == "as_is":
        return
    state = arm.state()
    if pose.shape != state.joint_pos.shape:
        raise ConfigError(f"start.joints has {pose.size} angles; this arm has {state.joint_pos.size} joints")
    off = np.abs(state.joint_pos - pose)
    if start.kind == "verify" and (off > start.tolerance).any():
        joint = int(np.argmax(off))
        raise SafetyStopError(
            f"joint {joint + 1} is {off[joint]:.3f} rad from the start pose; allowed {start.tolerance} rad. Bring it there by hand, "
            "or set start.kind=home, which goes there slowly"
        )
    dt, origin = arm.action_spec.control_dt, state.joint_pos
    num_steps = int(np.ceil(off.max() / (start.speed * dt)))
    for step in range(1, num_steps + 1):
        arm.send(np.append(origin + (pose - origin) * (step / num_steps), state.gripper))
        clock.sleep_until(clock.now() + dt)
    end = clock.now() + _SETTLE
    while (off := np.abs(arm.state().joint_pos - pose)).max() > start.tolerance:
        if clock.now() > end:
            joint = int(np.argmax(off))
            raise SafetyStopError(f"joint {joint + 1} is {off[joint]:.3f} rad from the start pose {_SETTLE} s later; see what blocks it")
        clock.sleep_until(clock.now() + dt)


def _check_arm(arm: RobotArm, world: World, config: RunConfig) -> None:
    """What the arm says of itself before anything moves."""
    state = arm.state()
    if reasons := state_reasons(with_tool(state, world.kinematics)):
        raise ArmError("; ".join(reasons))
    breaches = collision_check(world.scene, config.loop.limits.clearance).breaches(state.joint_pos, float(np.clip(state.gripper, 0, 1)))
    for breach in breaches:  # it may move out of it, and no further in
        _log.warning("as it stands, %s", breach.sentence)
    if config.rest_pose is not None and len(config.rest_pose) != state.joint_pos.size:
        raise ConfigError(f"rest_pose has {len(config.rest_pose)} angles; this arm has {state.joint_pos.size} joints")


def _start_of(config: RunConfig, world: Tabletop) -> tuple[Float[np.ndarray, " state"] | None, Attempt | None]:
    """Where the twin begins, and what it is to do: as a pair or a draw has it, else at home."""
    if isinstance(config.goal, DrawnGoal):
        attempt = Attempt(world, drawn_pair(world, config.goal.task, np.random.default_rng(config.goal.seed)))
        return attempt.pair.start, attempt
    if not isinstance(config.goal, PairGoal):
        return None, None
    manifest = read_manifest(config.goal.manifests / f"{config.goal.task}.safetensors", len(world.state))
    attempt = Attempt(world, manifest.pair(config.goal.pair % len(manifest)))
    return attempt.pair.start, attempt
