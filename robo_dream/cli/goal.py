"""`robo-dream goal capture`: a snapshot of how things are now, to be a goal later."""

import argparse
from pathlib import Path

from robo_dream.cli.config_arguments import add_config_arguments
from robo_dream.cli.run import run_config_of
from robo_dream.runtime.run import RunConfig

_DESCRIPTION = """\
Connects to the arm and the cameras that a file for `robo-dream run` names, without moving anything, and keeps what they see and feel now.
Arrange the scene as it should be, with the arm where it should end, and capture it; then arrange the start."""

_EPILOG = """\
example:
  robo-dream goal capture --config configs/hardware/jaco_twin.yaml --out runs/goals/tidy.npz
  robo-dream run --config configs/hardware/jaco_twin.yaml goal.kind=snapshot goal.file=runs/goals/tidy.npz

The snapshot goes to --out, a PNG of each camera beside it."""

CONFIG = RunConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("what", choices=["capture"], help="capture: keep what is seen now")
    add_config_arguments(parser, "hardware")
    parser.add_argument("--out", type=Path, default=Path("runs/goals/goal.npz"), metavar="FILE", help="where the snapshot goes")
    parser.add_argument("--twin", nargs="?", const="", metavar="NAME", help="a MuJoCo arm in real time instead of the real one")


def run(args: argparse.Namespace) -> int:
    config = run_config_of(args)
    from robo_dream.control.episode import Bench
    from robo_dream.runtime.connect import Events, connected, scene_cameras
    from robo_dream.runtime.goals import write_snapshot
    from robo_dream.runtime.imagined import model_cameras
    from robo_dream.runtime.model import load_checkpoint_model

    path = config.checkpoint
    setup = scene_cameras(config) if path is None else model_cameras(load_checkpoint_model(path, config.device))
    with connected(config, setup, dry=True, events=Events()) as bench:
        files = write_snapshot(args.out, Bench(bench.arm, bench.cameras, bench.clock).observe())
    print("kept " + ", ".join(map(str, files)))
    return 0
