"""`robo-dream replay`: a recorded run's decisions, made again."""

import argparse
from pathlib import Path

from robo_dream.errors import ConfigError

_DESCRIPTION = """\
Makes the decisions of a recorded run again, from its record and its checkpoint: --recompute gives the very same plan and says so, to the
bit on the machine and settings it was made with and within a stated tolerance elsewhere; --what-if plans again with a change."""

_EPILOG = """\
example:
  robo-dream replay runs/plan/20261121-194700-020/push-3/record --recompute
  robo-dream replay runs/plan/20261121-194700-020/push-3/record --decision 17 --recompute
  robo-dream replay runs/plan/20261121-194700-020/push-3/record --decision 17 --what-if planner.num_samples=512 --what-if seed=3

--decision takes a control step; the decision in force there is meant. A change is any key of the planning configuration (planner.*,
cost.*, proposals.*), seed=, or goal=FOLDER, the goal of another run. Words go to stdout, the picture of both imagined futures goes to
what_if/ beside the record, or to --out. Exit code 1 when a decision made again is not the recorded one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a record, or the one that it lies in")
    parser.add_argument("--decision", type=int, metavar="STEP", help="the decision in force at this control step; default: every one")
    parser.add_argument("--recompute", action="store_true", help="make it again, and compare")
    parser.add_argument("--what-if", action="append", default=[], metavar="KEY=VALUE", help="plan again with this change; may be repeated")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="the run's checkpoint, where it does not lie where it did")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where --what-if leaves its picture (PNG)")


def run(args: argparse.Namespace) -> int:
    if not args.recompute and not args.what_if:
        raise ConfigError("nothing is asked of the run; give --recompute, or --decision STEP with --what-if KEY=VALUE")
    if args.what_if and args.decision is None:
        raise ConfigError("--what-if asks about one decision; say which with --decision STEP")
    from robo_dream.apps import again
    from robo_dream.replay.record import find_run

    kept, same = find_run(args.run), True
    for name, sentence in kept.damaged.items():
        print(f"left out: {name}: {sentence}")
    if args.recompute:
        found = again.recompute(kept, args.decision, args.checkpoint)
        print(again.sentences_of(found))
        same = found.same
    if args.what_if:
        answer = again.what_if(kept, args.decision, args.what_if, args.out, args.checkpoint)
        print(f"{answer.text}\n  pictures {answer.picture}")
    return 0 if same else 1
