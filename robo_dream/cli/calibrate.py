"""`robo-dream calibrate`: where the cameras stand, whether the joints count right, and how late pictures and motions are."""

import argparse
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from robo_dream.calibration import file
from robo_dream.calibration.calibration_board import Board, BoardConfig
from robo_dream.calibration.file import CalibrationLimits
from robo_dream.calibration.hand_eye import Mount
from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.errors import ConfigError
from robo_dream.runtime import calibration_steps as steps
from robo_dream.runtime.calibration_rig import TwinRigConfig, arm_model, open_twin

_DESCRIPTION = """\
Measures what a run must know about its bench, and keeps it in a calibration file with dates, serials and residuals:

  board      a ChArUco board at its true size, to print at 100 % and glue to something flat; measure a square afterwards
  capture    moves the arm to poses around its home, holds still at each, and keeps the camera's picture and the joints
  hand-eye   from these pictures, where the camera stands: on the world (the tool holds the board) or on the tool (the board lies)
  joints     from the same pictures, whether each joint turns as the model says, and how far its zero is off
  latency    sways one joint: how long after a command the arm moves, and how far the pictures' time stamps lag behind the motion
  overlay    draws the simulated twin over the live picture, as the calibrated camera would see it
  show       prints the file and why a run would refuse it
  all        capture, hand-eye, joints, latency and overlay, in that order

Everything but `board` and `show` runs here against a simulated bench: a MuJoCo arm that moves in real time before librealsense's
software device. Pictures of a real bench are solved with --views: a folder with camera.json and arm.json as `capture` writes
them, PNG pictures, and views.jsonl with one line for each picture: {"file": "000000.png", "joint_pos": [...]}."""

_EPILOG = """\
example:
  robo-dream calibrate board --out runs/calibrate
  robo-dream calibrate all --config configs/calibrate/jaco_twin.yaml
  robo-dream calibrate hand-eye --views runs/calibrate/views mount=world
  robo-dream calibrate show

Pictures and boards are written to --out, results to its calibration.json. Exit code 1 when `show` finds what a run would refuse."""

_STEPS = ("board", "capture", "hand-eye", "joints", "latency", "overlay", "show", "all")


@dataclass(frozen=True)
class CalibrateConfig:
    """One camera of one arm, and how the arm moves for it. Metres, radians, seconds."""

    rig: TwinRigConfig = field(default_factory=TwinRigConfig)
    board: BoardConfig = field(default_factory=lambda: BoardConfig(columns=6, rows=5, square=0.025, marker=0.019))
    camera: str = "front"
    mount: Mount = "world"
    views: int = 15
    lean: tuple[float, float, float] = (0.0, 0.5, 0.0)  # how the tool is turned at first (rotation vector, world axes): towards the camera
    tilt: float = 0.4  # and from there tilted about each axis, at most
    reach: float = 0.06  # and moved along each axis, at most
    speed: float = 0.6  # rad/s of the fastest joint
    sway_joint: int = 0
    sway: float = 0.1  # rad to each side
    sway_seconds: float = 8.0
    limits: CalibrationLimits = field(default_factory=CalibrationLimits)

    def __post_init__(self) -> None:
        if self.views < 4 or self.sway_seconds < 4:
            raise ConfigError(f"views is {self.views} (at least 4, 12 are good) and sway_seconds {self.sway_seconds} (at least 4)")
        for name in ("tilt", "reach", "speed", "sway"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; allowed is above 0 and up to 1")


CONFIG = CalibrateConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("step", choices=_STEPS, metavar="STEP", help=f"what is measured: {', '.join(_STEPS)}")
    parser.add_argument("--out", type=Path, default=Path("runs/calibrate"), metavar="FOLDER", help="default: runs/calibrate")
    parser.add_argument("--file", type=Path, metavar="FILE", help="the calibration file; default: calibration.json in --out")
    parser.add_argument("--views", type=Path, metavar="FOLDER", help="pictures to solve hand-eye or joints from; default: views in --out")
    add_config_arguments(parser, "calibrate")


def run(args: argparse.Namespace) -> int:
    config = load_config(CalibrateConfig, args)
    path, views = args.file or args.out / "calibration.json", args.views or args.out / "views"
    if args.step == "show":
        return _show(config, path)
    board = Board(config.board)
    if args.step == "board":
        board.write_png(args.out / "board.png")
        paper = board.write_pdf(args.out / "board.pdf")
        print(f"{args.out / 'board.pdf'}: print on {paper} at 100 % (the ruler must be 100 mm long)\n{args.out / 'board.png'}: the board")
        return 0
    asked = ("capture", "hand-eye", "joints", "latency", "overlay") if args.step == "all" else (args.step,)
    with ExitStack() as stack:
        rig = None
        if set(asked) & {"capture", "latency", "overlay"}:
            rig = open_twin(config.rig, board, config.camera, config.mount, stack)
            print(f"{rig.identity}, camera {config.camera!r} with serial {rig.serial}", flush=True)
        kinematics = rig.kinematics if rig else arm_model(config.rig.arm)[0]
        for step in asked:
            if step == "capture":
                said = steps.capture(_open(rig), views, config.views, config.lean, config.tilt, config.reach, config.speed)
            elif step == "hand-eye":
                said = steps.hand_eye(views, path, board, kinematics, config.camera, config.mount, rig.true_camera if rig else None)
            elif step == "joints":
                said = steps.joints(views, path, board, kinematics, config.mount)
            elif step == "latency":
                sway = steps.Sway(config.sway_joint, config.sway, config.sway_seconds, config.speed)
                said = steps.latency(_open(rig), path, board, config.camera, sway)
            else:
                said = steps.overlay(_open(rig), path, args.out / "overlay.png", config.camera)
            print(f"{step}: {said}", flush=True)
    return 0


def _open(rig: steps.Rig | None) -> steps.Rig:
    assert rig is not None  # opened above for every step that moves or looks
    return rig


def _show(config: CalibrateConfig, path: Path) -> int:
    calibration = file.load(path)
    print(steps.described(calibration))
    serials = {name: camera.serial for name, camera in calibration.cameras.items()}
    found = file.problems(calibration, calibration.arm, serials, datetime.now(UTC), config.limits)
    print("\n".join(f"a run would refuse it: {problem}" for problem in found) or "a run with this arm and these cameras would accept it")
    return 1 if found else 0
