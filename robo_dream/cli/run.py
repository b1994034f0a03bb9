"""`robo-dream run`: the loop on a real arm, or on its twin."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.runtime.run import RunConfig, require_policy

_DESCRIPTION = """\
Connects to arm and cameras, checks that they are those that the checkpoint was trained for, goes to (or verifies) the start pose, and
plans from the live cameras until the steps are used (of a twin's pair: until the goal is held) or something is not safe. A guard in a
process of its own sees to it that a fault anywhere ends in a still arm; space, e or escape on this terminal is an emergency stop, Ctrl-C
and SIGTERM decelerate and hold. None of this replaces a hardware emergency stop: keep one in reach.

Before the first motion the verdict of `robo-dream inspect` on the checkpoint is asked; a model that is unfit to plan with is refused with
the reason (refuse_unfit=false only says it).

A twin of an arm for which there is no checkpoint yet is moved by an oracle (policy=oracle): a script that is told the true poses. It says
so, and so does run.json; everything else, cameras, guard, wire and record, is as in any run."""

_EPILOG = """\
example:
  robo-dream run --config configs/hardware/jaco_twin.yaml
  robo-dream run --config configs/hardware/jaco_twin.yaml goal.task=lift goal.pair=7 loop.asynchronous=true
  robo-dream run --config configs/hardware/jaco_twin.yaml --dry-run
  robo-dream run --twin so101
  robo-dream run --twin ur5e goal.task=push goal.seed=7
  robo-dream run --twin ur5e --drill

--dry-run does everything but move. --drill moves one joint a little, stops it by each means once, and says whether each took as long and
went as far as the limits in force state; do it before a day's work. --twin puts a MuJoCo arm in real time behind the wire of the arm that
the file names; with a name, configs/hardware/NAME_twin.yaml is that file. Each run leaves a new folder in
`out`: record/ with every decision and every clip and stop, video.mp4 and decisions.png."""


CONFIG = RunConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "hardware")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="do everything but move")
    how.add_argument("--drill", action="store_true", help="no run: stop the arm by each means once, gently, and measure")
    parser.add_argument("--twin", nargs="?", const="", metavar="NAME", help="a MuJoCo arm in real time instead of the real one")


def run_config_of(args: argparse.Namespace) -> RunConfig:
    """The configuration that the arguments describe."""
    if args.twin and "=" in args.twin:  # an override that stood behind a bare --twin
        args.overrides, args.twin = [args.twin, *args.overrides], ""
    if args.twin and args.config is None:
        args.config = Path("configs/hardware") / f"{args.twin}_twin.yaml"
    loaded = load_config(RunConfig, args)
    return replace(loaded, twin=loaded.twin or args.twin is not None)


def run(args: argparse.Namespace) -> int:
    from robo_dream.safety.promises import BEYOND

    config = run_config_of(args)

    def say(text: str) -> None:
        print(in_red(text) if text.startswith(BEYOND) else text, flush=True)

    if args.drill:
        from robo_dream.runtime.drill import run_drill

        return run_drill(config, say)
    require_policy(config)
    from robo_dream.runtime.session import run_session

    return run_session(config, dry=args.dry_run, say=say)


def in_red(text: str) -> str:
    """On a terminal; as it is where nobody would see a colour, or `NO_COLOR` asks for none."""
    return f"\033[31m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text
