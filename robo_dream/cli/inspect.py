"""`robo-dream inspect`: is this model fit to plan with?"""

import argparse
import textwrap
from pathlib import Path

from robo_dream.errors import ConfigError
from robo_dream.files import replace_file
from robo_dream.runtime.progress import Bars

_DESCRIPTION = """\
Looks at a checkpoint before an arm is moved by it, and says in plain words whether it is fit to plan with: whether it knows the pictures,
tells moments apart, imagines better than copying the last frame, heeds actions as they were recorded, finds that camera and arm agree,
ranks what was done above what was not, and is unsure where it errs. Pictures, joint readings and actions are all that is used, so every
checkpoint can be asked, whatever it learned from.

Without --dataset it plays a few fresh episodes in the world that the checkpoint was trained in, which takes a minute or two. With it, it
looks at held-out episodes of the training data, or at any recording of the bench that the model is for: cameras that were swapped, colours
in another order, other units of actions or statistics of other data are found and named."""

_EPILOG = """\
example:
  robo-dream inspect configs/checkpoints/jaco_recorded_s.safetensors
  robo-dream inspect runs/train/jaco_recorded/model.safetensors --dataset datasets/jaco
  robo-dream inspect runs/train/jaco_recorded/model.safetensors --dataset datasets/bench --json bench.json --html bench.html

The verdict goes to stdout, and as JSON to NAME.inspect.json beside the checkpoint (or to --json FILE), where `robo-dream run` reads it
before the first motion: an unfit model is refused. Pictures and curves go to runs/inspect/NAME.html (or to --html FILE), one file that
opens anywhere. Exit code 0 when the model is fit or doubtful, 1 when it is unfit."""

_MARKS = {"fit": "ok", "doubtful": "??", "unfit": "XX"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a .safetensors file of `robo-dream train`")
    parser.add_argument("--dataset", type=Path, metavar="FOLDER", help="look at these episodes instead of playing fresh ones")
    parser.add_argument("--episodes", type=int, default=10, metavar="N", help="how many are looked at; default 10")
    parser.add_argument("--seed", type=int, default=0, help="another one looks at other episodes and moments; default 0")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the verdict goes for machines, instead of beside the checkpoint")
    parser.add_argument("--html", type=Path, metavar="FILE", help="where the page goes")
    parser.add_argument("--device", default="cpu", help="where it is measured; default cpu")


def run(args: argparse.Namespace) -> int:
    if not 2 <= args.episodes <= 1000 or args.seed < 0:
        raise ConfigError(f"--episodes is {args.episodes} (allowed: 2 to 1000) and --seed {args.seed} (from 0)")
    from robo_dream.runtime.inspect import beside, inspect_checkpoint, write_verdict

    with Bars({}, "inspecting", "part") as bars:

        def progress(what: str, done: int, total: int) -> None:
            bars(done, total)
            bars.note(what)

        found = inspect_checkpoint(args.checkpoint, args.dataset, args.episodes, args.seed, args.device, progress=progress)
    html = args.html or Path("runs/inspect") / f"{args.checkpoint.stem}.html"
    replace_file(html, found.page)
    said = write_verdict(found, args.json or beside(args.checkpoint))
    print(f"{args.checkpoint} on {found.data}")
    for one in found.verdict.findings:
        print(textwrap.fill(one.sentence, 118, initial_indent=f"  {_MARKS[one.word]}  {one.check:<18} ", subsequent_indent=" " * 25))
        if one.word != "fit":
            print(textwrap.fill(f"-> {one.advice}", 118, initial_indent=" " * 25, subsequent_indent=" " * 28))
    print(
        f"\nIt is {found.verdict.word} to plan with." if found.verdict.word != "doubtful" else "\nIt is doubtful whether to plan with it."
    )
    print(
        "  it knows what is usual to see: loop.limits.false_alarms can be set"
        if found.has_perception_check
        else f"  what is usual to see is not known: `robo-dream calibrate perception --checkpoint {args.checkpoint} --write FILE`"
    )
    print(f"  pictures {html}\n  verdict  {said}")
    return 1 if found.verdict.word == "unfit" else 0
