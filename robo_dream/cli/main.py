"""The command line `robo-dream`: finds the verb, sets up logging, and turns errors into one line.

A verb is a module `robo_dream/cli/<name>.py` (see `module_of`) with `add_arguments(parser)`, `run(args) -> int`, and `CONFIG`, the
dataclass that its files in `configs/<name>/` describe, where it has any. Only the module of the verb that was asked for is imported.
"""

import argparse
import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from robo_dream.errors import RoboDreamError


@dataclass(frozen=True)
class Verb:
    """A verb and what it does, in a sentence for the overview."""

    name: str
    sentence: str


VERBS = (
    Verb("collect", "play in simulation and keep the episodes as a dataset"),
    Verb("train", "learn a world model from a dataset"),
    Verb("dream-train", "learn to play a game inside a dream of it, then play the real one"),
    Verb("improve", "act and learn in turn, from what surprised the model"),
    Verb("label", "tell the actions of video that has none, in a copy of its dataset"),
    Verb("inspect", "say whether a model is fit to plan with, and why"),
    Verb("plan", "watch the arm imagine, choose and act, and keep the pictures"),
    Verb("run", "the same on a real arm or its twin, with a guard in front of every motion"),
    Verb("serve", "plan for robots that ask over a network"),
    Verb("goal", "keep a snapshot of how things are, to be a goal later"),
    Verb("replay", "look at a run afterwards or while it lasts, make its decisions again, or ask what if"),
    Verb("diff", "find the decision at which two recorded runs part, and why"),
    Verb("evaluate", "measure success on frozen held-out pairs, beside honest baselines"),
    Verb("sweep", "train or evaluate with many settings, and compare them in a table"),
    Verb("calibrate", "find where the cameras stand, whether joints count right, and how late pictures and motions are"),
    Verb("bench", "time decisions on this machine, and what they cost in work and memory"),
    Verb("doctor", "say what works on this machine and how to fix what does not"),
)

_NO_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
_EXAMPLE = """\
example:
  robo-dream doctor                 is everything here that planning needs?
  robo-dream VERB --help            what a verb does, an example, and where its results go

An error is one line on stderr and exit code 2; --debug shows where it came from."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command line and gives its exit code: 0 done, 1 something is broken, 2 bad input, 130 interrupted."""
    argv = sys.argv[1:] if argv is None else list(argv)
    if sys.platform == "linux":  # headless rendering, decided when mujoco is imported; Mesa draws small pictures faster without threads
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("LP_NUM_THREADS", "0")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's threads spin while they wait, beside an arm that needs the core
    args = parse(argv)
    _set_up_logging(args.debug)
    try:
        return importlib.import_module(module_of(args.verb)).run(args)
    except RoboDreamError as error:
        if args.debug:
            raise
        print(f"robo-dream {args.verb}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError:
        if args.debug:
            raise
        print(f"robo-dream {args.verb}: this takes more memory than the machine has; ask for less of it", file=sys.stderr)
        return 1
    except OSError as error:
        if not args.debug and error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" ({error.filename})" if error.filename else ""
            advice = "what was written before is kept: make room, and run it again"
            print(f"robo-dream {args.verb}: the disk is full{where}; {advice}", file=sys.stderr)
            return 1
        if not args.debug and error.errno in _NO_PLACE and error.filename:
            print(f"robo-dream {args.verb}: {error.filename} cannot be used: {error.strerror}; give another place", file=sys.stderr)
            return 2
        raise
    except KeyboardInterrupt:
        if args.debug:
            raise
        print(f"robo-dream {args.verb}: interrupted", file=sys.stderr)
        return 130


def module_of(verb: str) -> str:
    """The module of a verb, by its name; `dream-train` is in dream_train.py."""
    return f"robo_dream.cli.{verb.replace('-', '_')}"


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command line; exits with the usage on stderr and code 2 when they are wrong."""
    asked = next((word for word in argv if not word.startswith("-")), None)
    parser, verb_parser = _parsers(asked)
    args, rest = parser.parse_known_args(argv)
    overrides = [word for word in rest if "=" in word and not word.startswith("-")] if hasattr(args, "overrides") else []
    if len(overrides) < len(rest):
        (verb_parser or parser).error(f"unknown arguments: {' '.join(word for word in rest if word not in overrides)}")
    if overrides:  # argparse takes positional arguments in one piece only; overrides may stand anywhere
        args.overrides = [*args.overrides, *overrides]
    return args


def _parsers(asked: str | None) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser | None]:
    """The whole parser and that of the verb `asked`, whose arguments alone are filled in."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="log more, and show tracebacks")
    parser = argparse.ArgumentParser(
        prog="robo-dream",
        description="A robot arm that looks through its cameras, dreams many short futures, and does the first move of the best one.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common],
        allow_abbrev=False,
    )
    parser.set_defaults(debug=False)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    verb_parser = None
    for verb in VERBS:
        added = verbs.add_parser(
            verb.name,
            help=verb.sentence,
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if verb.name == asked:
            verb_parser = added
            importlib.import_module(module_of(verb.name)).add_arguments(verb_parser)
    return parser, verb_parser


def _set_up_logging(debug: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(asctime)s %(name)s %(levelname)s: %(message)s" if debug else "%(message)s",
        stream=sys.stderr,
    )
    for noisy in ("absl", "OpenGL", "matplotlib", "PIL"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
