"""`robo-dream calibrate`: where the cameras stand, whether the joints count right, how late pictures and motions are, and what is usual."""

import argparse
from pathlib import Path

from robo_dream.calibration import file
from robo_dream.calibration.calibration_board import Board
from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.errors import ConfigError
from robo_dream.runtime.calibration import STEPS, CalibrateConfig, calibrate, described, refused
from robo_dream.runtime.perception import calibrate_model
from robo_dream.runtime.progress import Bars
from robo_dream.training.perception_calibration import FEWEST_EPISODES

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
  perception of a checkpoint, what is usual to see: measured on held-out episodes and kept in --write FILE, for `loop.limits.false_alarms`

All but `board`, `show` and `perception` runs here against a simulated bench: a MuJoCo arm that moves in real time before librealsense's
software device. Pictures of a real bench are solved with --views: a folder with camera.json and arm.json as `capture` writes
them, PNG pictures, and views.jsonl with one line for each picture: {"file": "000000.png", "joint_pos": [...]}."""

_EPILOG = """\
example:
  robo-dream calibrate board --out runs/calibrate
  robo-dream calibrate all --config configs/calibrate/jaco_twin.yaml
  robo-dream calibrate hand-eye --views runs/calibrate/views mount=world
  robo-dream calibrate show
  robo-dream calibrate perception --checkpoint configs/checkpoints/jaco_recorded_s.safetensors --write runs/checked.safetensors

Pictures and boards are written to --out, results to its calibration.json. Exit code 1 when `show` finds what a run would refuse."""

_ASKED = ("board", *STEPS, "show", "all", "perception")
CONFIG = CalibrateConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("step", choices=_ASKED, metavar="STEP", help=f"what is measured: {', '.join(_ASKED)}")
    parser.add_argument("--out", type=Path, default=Path("runs/calibrate"), metavar="FOLDER", help="default: runs/calibrate")
    parser.add_argument("--file", type=Path, metavar="FILE", help="the calibration file; default: calibration.json in --out")
    parser.add_argument("--views", type=Path, metavar="FOLDER", help="pictures to solve hand-eye or joints from; default: views in --out")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="perception: whose check is calibrated")
    parser.add_argument("--dataset", type=Path, metavar="FOLDER", help="perception: episodes of the usual scene, instead of fresh ones")
    parser.add_argument("--episodes", type=int, default=60, metavar="N", help="perception: of how many; default 60")
    parser.add_argument("--write", type=Path, metavar="FILE", help="perception: where the checkpoint goes that carries it; weights stay")
    add_config_arguments(parser, "calibrate")


def run(args: argparse.Namespace) -> int:
    if args.step == "perception":
        return _perception(args)
    config = load_config(CalibrateConfig, args)
    path, views = args.file or args.out / "calibration.json", args.views or args.out / "views"
    if args.step == "show":
        calibration = file.load(path)
        found = refused(calibration, config.limits)
        print(described(calibration))
        print("\n".join(f"a run would refuse it: {one}" for one in found) or "a run with this arm and these cameras would accept it")
        return 1 if found else 0
    if args.step == "board":
        board = Board(config.board)
        board.write_png(args.out / "board.png")
        paper = board.write_pdf(args.out / "board.pdf")
        print(f"{args.out / 'board.pdf'}: print on {paper} at 100 % (the ruler must be 100 mm long)\n{args.out / 'board.png'}: the board")
        return 0
    asked = STEPS if args.step == "all" else (args.step,)
    with Bars({}, "capture", unit="view") as bars:
        calibrate(config, asked, args.out, path, views, lambda text: print(text, flush=True), bars)
    return 0


def _perception(args: argparse.Namespace) -> int:
    if args.checkpoint is None or args.write is None:
        raise ConfigError("calibrate perception needs --checkpoint FILE, and --write FILE for the one that carries the check")
    if not FEWEST_EPISODES <= args.episodes <= 100_000:
        raise ConfigError(f"--episodes is {args.episodes}; allowed are {FEWEST_EPISODES} to 100000")

    with Bars({}, "calibrating", unit="episode") as bars:

        def progress(what: str, done: int, total: int) -> None:
            bars(done, total)
            bars.note(what)

        found = calibrate_model(args.checkpoint, args.write, args.dataset, args.episodes, progress)
    print(
        f"{args.write}: what is usual to see, from {found.num_moments} moments of {found.num_episodes} episodes; "
        f"loop.limits.false_alarms may be {found.least:.2g} or more"
    )
    return 0
