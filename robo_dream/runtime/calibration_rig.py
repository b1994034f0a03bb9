"""What a calibration works with: an arm, one camera, a board and the arm's model. Here the simulated one; a bench joins `Rig`."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hardware.cameras.newest import LiveCamera, WatchConfig
from hardware.cameras.realsense import RealSenseExposures
from robo_dream.calibration.calibration_board import Board
from robo_dream.calibration.hand_eye import Mount
from robo_dream.calibration.poses import pose, rotation
from robo_dream.control.kinematics import Kinematics
from robo_dream.embodiment import Clock, RobotArm, WallClock
from sim.emulators.plant import Plant
from sim.emulators.plant_arm import PlantArm
from sim.emulators.realsense import SoftwareRealSense, SoftwareRealSenseConfig
from sim.tabletop.calibration_board import PlacedBoard, holding, mount_on_tool
from sim.tabletop.scene import Additions, CameraConfig, SceneConfig
from sim.tabletop.world import World

_BOARD_AT_TOOL = (0.015, 0.03)  # m in front of the tool's axis and below it: held by its edge, so that the hand covers little of it
_BOARD_ON_TABLE = (0.43, 0.0, 0.002)  # m; its middle
_CAMERA_ON_TOOL = pose(rotation(np.array([-0.25, 0.0, 0.0])), np.array([0.0, -0.09, -0.06]))  # beside the hand, leaning to what it holds


@dataclass(frozen=True)
class TwinRigConfig:
    """A MuJoCo arm that moves in real time, seen through a librealsense software device. Metres and degrees."""

    kind: Literal["twin"] = "twin"
    arm: str = "jaco"
    camera_pos: tuple[float, float, float] = (0.95, 0.0, 0.58)  # of a camera on the world
    camera_look_at: tuple[float, float, float] = (0.43, 0.0, 0.2)
    fovy: float = 42.0
    device: SoftwareRealSenseConfig = field(default_factory=lambda: SoftwareRealSenseConfig(fps=10))
    watch: WatchConfig = field(default_factory=lambda: WatchConfig(warm_up_frames=2, lost_after=3.0, start_seconds=15.0))


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
