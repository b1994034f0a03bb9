"""What `robo-dream calibrate` does: a rig to measure with, and steps of which each does one thing and says in a sentence what came out.

A rig is an arm, one camera, a board and the arm's model. Here it is a simulated one; a bench joins `Rig`.
"""

import json
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from hardware.cameras.folder import FolderWriter, read_camera, read_picture
from hardware.cameras.newest import LiveCamera, WatchConfig
from hardware.cameras.realsense import RealSenseExposures
from robo_dream.calibration import file
from robo_dream.calibration.calibration_board import Board, BoardConfig, opencv
from robo_dream.calibration.file import Calibration, CalibrationLimits, CameraCalibration, JointCalibration, LatencyCalibration
from robo_dream.calibration.hand_eye import Mount, View, solve
from robo_dream.calibration.joints import check_joints
from robo_dream.calibration.latency import lag, motion, motion_of_points, sweep
from robo_dream.calibration.moves import go, tool_matrix, view_poses
from robo_dream.calibration.poses import distance, pose, rotation
from robo_dream.control.kinematics import Kinematics
from robo_dream.embodiment import Clock, Frame, RobotArm, WallClock
from robo_dream.errors import ConfigError, DataError
from robo_dream.schema import Name, Unit, configuration
from sim.emulators.plant import Plant
from sim.emulators.plant_arm import PlantArm
from sim.emulators.realsense import SoftwareRealSense, SoftwareRealSenseConfig
from sim.tabletop.calibration_board import PlacedBoard, holding, mount_on_tool
from sim.tabletop.overlay import SceneOverlay
from sim.tabletop.scene import Additions, CameraConfig, SceneConfig
from sim.tabletop.world import World

_FRESH = 5.0  # s to wait for a picture that was taken after the arm came to rest
_BOARD_AT_TOOL = (0.015, 0.03)  # m in front of the tool's axis and below it: held by its edge, so that the hand covers little of it
_BOARD_ON_TABLE = (0.43, 0.0, 0.002)  # m; its middle
_CAMERA_ON_TOOL = pose(rotation(np.array([-0.25, 0.0, 0.0])), np.array([0.0, -0.09, -0.06]))  # beside the hand, leaning to what it holds

STEPS = ("capture", "hand-eye", "joints", "latency", "overlay")
Say = Callable[[str], None]
Progress = Callable[[int, int], None]


@configuration
class TwinRigConfig:
    """A MuJoCo arm that moves in real time, seen through a librealsense software device. Metres and degrees."""

    kind: Literal["twin"] = "twin"
    arm: str = "jaco"
    camera_pos: tuple[float, float, float] = (0.95, 0.0, 0.58)  # of a camera on the world
    camera_look_at: tuple[float, float, float] = (0.43, 0.0, 0.2)
    fovy: Annotated[float, Field(ge=1, lt=180), Unit("degrees")] = 42.0
    device: SoftwareRealSenseConfig = field(default_factory=lambda: SoftwareRealSenseConfig(fps=10))
    watch: WatchConfig = field(default_factory=lambda: WatchConfig(warm_up_frames=2, lost_after=3.0, start_seconds=15.0))


@configuration
class CalibrateConfig:
    """One camera of one arm, and how the arm moves for it. Metres, radians, seconds."""

    rig: TwinRigConfig = field(default_factory=TwinRigConfig)
    board: BoardConfig = field(default_factory=lambda: BoardConfig(columns=6, rows=5, square=0.025, marker=0.019))
    camera: Name = "front"
    mount: Mount = "world"
    views: Annotated[int, Field(ge=4, le=1_000)] = 15
    lean: tuple[float, float, float] = (0.0, 0.5, 0.0)  # how the tool is turned at first (rotation vector, world axes): towards the camera
    tilt: Annotated[float, Field(gt=0, le=1), Unit("rad")] = 0.4  # and from there tilted about each axis, at most
    reach: Annotated[float, Field(gt=0, le=1), Unit("m")] = 0.06  # and moved along each axis, at most
    speed: Annotated[float, Field(gt=0, le=1), Unit("rad/s")] = 0.6  # rad/s of the fastest joint
    sway_joint: Annotated[int, Field(ge=0, le=100)] = 0
    sway: Annotated[float, Field(gt=0, le=1), Unit("rad")] = 0.1  # rad to each side
    sway_seconds: Annotated[float, Field(ge=4, le=600), Unit("s")] = 8.0
    limits: CalibrationLimits = field(default_factory=CalibrationLimits)


@dataclass(frozen=True)
class Rig:
    """An open rig. `true_camera` is known in simulation only."""

    arm: RobotArm
    camera: LiveCamera
    clock: Clock
    kinematics: Kinematics
    home: np.ndarray
    identity: str  # of the arm
    serial: str  # of the camera
    scene: SceneConfig
    additions: Additions
    true_camera: np.ndarray | None = None


def arm_model(arm: str) -> tuple[Kinematics, np.ndarray]:
    """Kinematics and home of an arm, without any rig."""
    with World(SceneConfig(arm=arm)) as world:
        return world.kinematics, np.asarray(world.scene.arm.home)


def open_twin(config: TwinRigConfig, board: Board, camera_name: str, mount: Mount, stack: ExitStack) -> Rig:
    """Everything is closed with `stack`."""
    width, height = board.config.size
    if mount == "world":
        ahead, below = _BOARD_AT_TOOL
        placed = PlacedBoard(board.draw(), board.config.size, "tool", pose(np.eye(3), np.array([ahead, -height / 2, below])))
    else:
        lying = rotation(np.array([0.0, 0.0, np.pi / 2])) @ rotation(np.array([np.pi, 0.0, 0.0]))
        corner = np.array(_BOARD_ON_TABLE) - lying @ np.array([width / 2, height / 2, 0.0])
        placed = PlacedBoard(board.draw(), board.config.size, "world", pose(lying, corner))
    device = config.device
    camera = CameraConfig(camera_name, config.camera_pos, config.camera_look_at, config.fovy, device.width, device.height)
    scene = SceneConfig(arm=config.arm, cameras=(camera,))
    world = stack.enter_context(World(scene, holding(placed)))
    world.set_object(np.array([0.35, 0.35, 0.03, 1, 0, 0, 0]))  # out of the way
    true_camera = world.world_from_camera(camera_name)
    if mount == "tool":
        mount_on_tool(world, camera_name, _CAMERA_ON_TOOL)
        true_camera = _CAMERA_ON_TOOL
    plant = stack.enter_context(Plant(world))
    source = SoftwareRealSense(world, camera_name, device, plant.lock)
    live = stack.enter_context(LiveCamera(camera_name, RealSenseExposures(source, device.fps), config.watch))
    arm = stack.enter_context(PlantArm(plant))
    return Rig(
        arm, live, WallClock(), Kinematics(world.model, world.scene.joint_names, world.scene.tool_site), np.asarray(world.scene.arm.home),
        f"twin {config.arm}", device.serial, scene, holding(placed), true_camera,
    )  # fmt: skip


def calibrate(config: CalibrateConfig, asked: Sequence[str], out: Path, path: Path, views: Path, say: Say, progress: Progress) -> None:
    """Does the `STEPS` in `asked`, in their order, on one rig where any needs one.

    Pictures go to `out`, views are kept in (or read from) `views`, results go to the file `path`. `say` is told what came out of each.
    """
    board = Board(config.board)
    with ExitStack() as stack:
        rig = None
        if set(asked) & {"capture", "latency", "overlay"}:
            rig = open_twin(config.rig, board, config.camera, config.mount, stack)
            say(f"{rig.identity}, camera {config.camera!r} with serial {rig.serial}")
        kinematics = rig.kinematics if rig else arm_model(config.rig.arm)[0]
        for step in asked:
            match step:
                case "hand-eye":
                    said = hand_eye(views, path, board, kinematics, config.camera, config.mount, rig.true_camera if rig else None)
                case "joints":
                    said = joints(views, path, board, kinematics, config.mount)
                case _:
                    assert rig is not None  # opened above for every step that moves or looks
                    said = _on_rig(step, config, rig, board, out, path, views, progress)
            say(f"{step}: {said}")


def _on_rig(step: str, config: CalibrateConfig, rig: Rig, board: Board, out: Path, path: Path, views: Path, progress: Progress) -> str:
    if step == "capture":
        return capture(rig, views, config.views, config.lean, config.tilt, config.reach, config.speed, progress)
    if step == "latency":
        return latency(rig, path, board, config.camera, Sway(config.sway_joint, config.sway, config.sway_seconds, config.speed))
    return overlay(rig, path, out / "overlay.png", config.camera)


def refused(calibration: Calibration, limits: CalibrationLimits) -> list[str]:
    """Why a run with this arm and these cameras would refuse the file today."""
    serials = {name: camera.serial for name, camera in calibration.cameras.items()}
    return list(file.problems(calibration, calibration.arm, serials, datetime.now(UTC), limits))


def capture(
    rig: Rig, folder: Path, count: int, lean: tuple[float, float, float], tilt: float, reach: float, speed: float, progress: Progress
) -> str:
    """Pictures and joints of `count` poses around home."""
    frames = FolderWriter(folder, rig.camera.intrinsics, rig.serial)
    (folder / "arm.json").write_text(json.dumps({"arm": rig.identity}))
    with (folder / "views.jsonl").open("w") as views:
        for done, joints in enumerate(view_poses(rig.kinematics, rig.home, np.array(lean), tilt, reach, count), 1):
            go(rig.arm, rig.clock, joints, speed)
            frame = _after(rig, rig.clock.now())
            state = rig.arm.state()
            views.write(json.dumps({"file": frames.add(frame), "joint_pos": state.joint_pos.tolist()}) + "\n")
            progress(done, count)
        go(rig.arm, rig.clock, rig.home, speed)
    health, late = rig.camera.health, rig.camera.latency()
    relative = ", from its fastest frame" if late.is_relative else ""
    return (
        f"{count} views in {folder}; {health.exposures} exposures, {health.unpaired} unpaired, {health.repeated} repeated, "
        f"{health.missing} missing; {1e3 * late.p50:.0f} ms from exposure to arrival, p99 {1e3 * late.p99:.0f} ms ({late.domain}{relative})"
    )


def hand_eye(
    folder: Path, path: Path, board: Board, kinematics: Kinematics, camera: str, mount: Mount, truth: np.ndarray | None = None
) -> str:
    """Solves for the camera's pose and keeps it."""
    seen, _, lens, identity, serial = _views(folder, board, kinematics)
    found = solve(seen, lens, mount)
    kept = CameraCalibration(
        serial, mount, tuple(tuple(row) for row in found.camera.tolist()), lens, file.now(), found.num_views, found.rms_px, found.rms_mm,
        found.std_mm, found.std_deg,
    )  # fmt: skip
    file.save(_known(path, identity).with_camera(camera, kept), path)
    frame = "world_from_camera" if mount == "world" else "tool_from_camera"
    place = ", ".join(f"{1e3 * x:.1f}" for x in found.camera[:3, 3])
    against = ""
    if truth is not None:
        metres, degrees = distance(found.camera, truth)
        against = f"; in truth {1e3 * metres:.2f} mm and {degrees:.3f} degrees away"
    return (
        f"{frame} at ({place}) mm from {found.num_views} views ({found.num_dropped} more dropped)"
        f"; residual {found.rms_px:.2f} px (worst view {found.worst_px:.2f}), {found.rms_mm:.2f} mm (worst {found.worst_mm:.2f}); "
        f"standard deviation {found.std_mm:.2f} mm, {found.std_deg:.3f} degrees{against}"
    )


def joints(folder: Path, path: Path, board: Board, kinematics: Kinematics, mount: Mount) -> str:
    """Checks signs and zeros and keeps them."""
    seen, joint_pos, lens, identity, _ = _views(folder, board, kinematics)
    found = check_joints(joint_pos, seen, lambda pos: tool_matrix(kinematics, pos), lens, mount)
    kept = JointCalibration(
        file.now(), found.flipped, tuple(found.offset.tolist()), tuple(found.std.tolist()), tuple(bool(s) for s in found.seen)
    )
    file.save(_with(_known(path, identity), joints=kept), path)
    signs = f"joints {list(found.flipped)} turn against the model" if found.flipped else "all joints turn as the model says"
    return f"{signs}; zeros off by ({_zeros(kept)}) degrees; residual {found.rms_px:.2f} px with them"


@dataclass(frozen=True)
class Sway:
    """The motion that latency is measured by."""

    joint: int
    size: float  # rad to each side
    seconds: float
    speed: float  # rad/s on the way to its start


def latency(rig: Rig, path: Path, board: Board, camera: str, sway: Sway) -> str:
    """Sways one joint and compares command, joints and pictures."""
    joint = sway.joint
    if not 0 <= joint < len(rig.home):
        raise ConfigError(f"sway_joint is {joint}; this arm has joints 0 to {len(rig.home) - 1}")
    go(rig.arm, rig.clock, rig.home, sway.speed)
    watcher = _Watcher(rig)
    dt, sent, moved = rig.arm.action_spec.control_dt, [], []
    gripper = rig.arm.state().target_gripper
    time = rig.clock.now()
    with watcher:
        for offset in sway.size * sweep(sway.seconds, dt=dt):
            target = np.append(rig.home, gripper)
            target[joint] += offset
            applied = rig.arm.send(target)
            sent.append((rig.clock.now(), applied[joint]))
            state = rig.arm.state()
            moved.append((state.time, state.joint_pos[joint]))
            time += dt
            rig.clock.sleep_until(time)
    rig.arm.stop()
    commands, positions = np.array(sent), np.array(moved)
    actuation = lag(commands[:, 0], commands[:, 1], positions[:, 0], positions[:, 1])
    pictures, seen = _seen_motion(watcher.frames, board, rig)
    observation = lag(positions[:, 0], positions[:, 1], pictures, seen, either_sign=True)
    calibration = _known(path, rig.identity)
    before = calibration.latency.observation if calibration.latency else {}
    kept = LatencyCalibration(
        file.now(), actuation.seconds, {**before, camera: observation.seconds}, min(actuation.correlation, observation.correlation)
    )
    file.save(_with(calibration, latency=kept), path)
    hint = f"; `delay: {observation.seconds:.3f}` in the camera's watch corrects it" if observation.seconds > 0.01 else ""
    return (
        f"joint {joint} follows its command after {1e3 * actuation.seconds:.0f} ms (agreement {actuation.correlation:.3f}); "
        f"{len(pictures)} pictures are stamped {1e3 * observation.seconds:+.0f} ms after the motion that they show "
        f"({observation.correlation:.3f}){hint}"
    )


def overlay(rig: Rig, path: Path, picture: Path, camera: str) -> str:
    """Live picture, twin and both, side by side."""
    calibration = file.load(path)
    if camera not in calibration.cameras:
        raise DataError(f"{path} has no camera {camera!r}, only {sorted(calibration.cameras)}; run `robo-dream calibrate hand-eye`")
    known = calibration.cameras[camera]
    frame, state = _after(rig, rig.clock.now()), rig.arm.state()
    pose = known.matrix if known.mount == "world" else tool_matrix(rig.kinematics, state.joint_pos) @ known.matrix
    with SceneOverlay(rig.scene, rig.camera.intrinsics, rig.additions) as twin:
        drawn = twin.draw(pose, state.joint_pos, state.gripper)
    cv2 = opencv()
    edges = [cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 60, 150) for image in (frame.image, drawn)]
    both = (0.6 * frame.image).astype(np.uint8)
    both[edges[1] > 0] = (255, 60, 60)
    picture.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(picture), np.concatenate([frame.image, drawn, both], axis=1)[..., ::-1])
    soft = [cv2.GaussianBlur(edge.astype(np.float32), (0, 0), 1.5) for edge in edges]
    (right, down), agreement = cv2.phaseCorrelate(soft[0], soft[1], cv2.createHanningWindow(edges[0].shape[::-1], cv2.CV_32F))
    return f"{picture}; the twin lies {right:+.1f} px to the right and {down:+.1f} px down of the live picture (agreement {agreement:.2f})"


def described(calibration: Calibration) -> str:
    """A calibration in a few lines."""
    lines = [f"arm {calibration.arm}"]
    for name, camera in calibration.cameras.items():
        place = ", ".join(f"{1e3 * x:.1f}" for x in camera.matrix[:3, 3])
        lines.append(
            f"camera {name} ({camera.serial}, on the {camera.mount}) at ({place}) mm, {camera.num_views} views, {camera.rms_px:.2f} px, "
            f"{camera.rms_mm:.2f} mm, {camera.made}"
        )
    if calibration.joints:
        found = calibration.joints
        lines.append(f"joints: against the model {list(found.flipped)}, zeros off by ({_zeros(found)}) degrees, {found.made}")
    if calibration.latency:
        late = calibration.latency
        cameras = ", ".join(f"{name} {1e3 * seconds:+.0f} ms" for name, seconds in late.observation.items())
        lines.append(f"latency: command to motion {1e3 * late.actuation:.0f} ms; pictures {cameras}; {late.made}")
    return "\n".join(lines)


class _Watcher:
    """Keeps every frame of the rig's camera while it is entered."""

    def __init__(self, rig: Rig) -> None:
        self._rig, self._leave = rig, threading.Event()
        self.frames: list[Frame] = []
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Watcher":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._leave.set()
        self._thread.join()
        if self._failure is not None and exc[0] is None:
            raise self._failure

    def _watch(self) -> None:
        number = self._rig.camera.read().number
        try:
            while not self._leave.is_set():
                frame = self._rig.camera.wait_newer(number, _FRESH)
                number = frame.number
                self.frames.append(frame)
        except Exception as error:  # raised again by the thread that waits
            self._failure = error


def _seen_motion(frames: list[Frame], board: Board, rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """Times, and the motion of the board where most pictures show it; else of whatever moves in the whole picture."""
    times, middles = [], []
    width, height = board.config.size
    for frame in frames:
        detection = board.detect(frame.image)
        if detection is not None:
            camera_from_board = board.pose(detection, rig.camera.intrinsics)[0]
            times.append(frame.time)
            middles.append((camera_from_board @ np.array([width / 2, height / 2, 0.0, 1.0]))[:3])
    if len(times) > 0.8 * len(frames) and len(times) >= 8:
        return np.array(times), motion_of_points(np.array(middles))
    return np.array([frame.time for frame in frames]), motion([frame.image for frame in frames])


def _after(rig: Rig, time: float) -> Frame:
    """The first picture that was taken after `time`."""
    frame = rig.camera.read()
    while frame.time <= time:
        frame = rig.camera.wait_newer(frame.number, _FRESH)
    return frame


def _views(folder: Path, board: Board, kinematics: Kinematics) -> tuple:
    """The views that show the board, their joints, the lens, and whose they are; raises `DataError` naming what is wrong."""
    lens, serial = read_camera(folder)
    try:
        identity = str(json.loads((folder / "arm.json").read_text())["arm"])
        lines = [json.loads(line) for line in (folder / "views.jsonl").read_text().splitlines()]
        entries = [(folder / Path(line["file"]).name, np.array(line["joint_pos"], np.float64)) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder} is not a folder of views ({error}); run `robo-dream calibrate capture`") from None
    seen, joint_pos = [], []
    for path, pos in entries:
        detection = board.detect(read_picture(path))
        if detection is not None:
            seen.append(View(tool_matrix(kinematics, pos), detection, board.pose(detection, lens)[0]))
            joint_pos.append(pos)
    if not seen:
        raise DataError(f"none of the {len(entries)} pictures in {folder} shows the board; is `board` as configured the one printed?")
    return seen, np.array(joint_pos), lens, identity, serial


def _zeros(found: JointCalibration) -> str:
    return ", ".join(f"{np.rad2deg(offset):+.2f}" if seen else "unseen" for offset, seen in zip(found.offset, found.seen, strict=True))


def _known(path: Path, identity: str) -> Calibration:
    """What the file holds of this arm already."""
    calibration = file.load(path) if path.exists() else Calibration(identity)
    if calibration.arm != identity:
        raise ConfigError(f"{path} belongs to arm {calibration.arm!r}, this is {identity!r}; name another --file")
    return calibration


def _with(calibration: Calibration, joints: JointCalibration | None = None, latency: LatencyCalibration | None = None) -> Calibration:
    return Calibration(calibration.arm, calibration.cameras, joints or calibration.joints, latency or calibration.latency)
