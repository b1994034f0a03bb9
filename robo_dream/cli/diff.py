"""`robo-dream diff`: where two recorded runs part, and why."""

import argparse
from pathlib import Path

from robo_dream.errors import ConfigError

_DESCRIPTION = """\
Lays two recorded runs side by side, decision by decision, and names the first one at which they part and why: what was seen, the goal,
the belief, the seed, the previous plan, the deadline, candidates, cost terms, the configuration, the checkpoint, or machine and code."""

_EPILOG = """\
example:
  robo-dream diff runs/plan/20261121-194700-020/push-3/record runs/plan/20261121-201500-113/push-3/record
  robo-dream diff runs/plan/20261121-194700-020/push-3 runs/plan/20261121-201500-113/push-3 --tolerance 1e-4

The result goes to stdout. Exit code 0 when every decision is the same, 1 when the runs part."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("first", type=Path, metavar="RUN_A", help="the folder of a record, or the one that it lies in")
    parser.add_argument("second", type=Path, metavar="RUN_B", help="another")
    parser.add_argument("--tolerance", type=float, default=0.0, metavar="SHARE", help="how far numbers may be apart; default 0")


def run(args: argparse.Namespace) -> int:
    if not 0 <= args.tolerance < 1:
        raise ConfigError(f"--tolerance is {args.tolerance}; allowed is 0 up to 1, a share of the largest number")
    from robo_dream.recording.record import find_record, read_run
    from robo_dream.viewer.diff import described, diff

    first, second = read_run(find_record(args.first)), read_run(find_record(args.second))
    found = diff(first, second, args.tolerance)
    print(described(found, str(first.root), str(second.root)))
    return 0 if found.step is None else 1
