"""`robo-dream replay`: look at a run, finished or going on, make its decisions again, ask what if, or export it."""

import argparse
import os
import sys
import webbrowser
from pathlib import Path

from robo_dream.errors import ConfigError
from robo_dream.runtime.page import served
from robo_dream.runtime.progress import Bars
from robo_dream.viewer.server import LOOPBACK

_EXPORTS = {"html": ".html", "mp4": ".mp4", "png": ".png", "rerun": ".rrd", "lerobot": ""}  # and how their files' names end
_BAR_AFTER = 2.0  # s

_DESCRIPTION = """\
Opens a page on this machine with every decision of a run: what the cameras saw beside what was imagined, all candidates and what they
cost, how the search converged, how wrong imagination was, what was sent to the arm, and where something odd happened. A run that is still
going is followed. On the page one can also walk in the dream, that is steer the arm in imagination from any decision, and ask: recompute
a decision, plan it again with a change, find where another run parts from this one.

--recompute opens no page: it makes decisions again from record and checkpoint and says whether they are the recorded ones, to the bit on
the machine and settings they were made with and within a stated tolerance elsewhere. --what-if plans one again with a change.

Only the run and the checkpoint that drew its dreams are read; nothing of them is changed."""

_EPILOG = """\
example:
  robo-dream replay runs/plan/20261121-194700-020/push-3
  robo-dream replay runs/plan/20261121-194700-020/push-3 --port 8700 --no-browser
  robo-dream replay runs/plan/20261121-194700-020/push-3 --html push.html
  robo-dream replay runs/plan/20261121-194700-020/push-3 --mp4 push.mp4 --png push.png --rerun push.rrd
  robo-dream replay runs/plan/20261121-194700-020/push-3 --decision 17 --png decision.png
  robo-dream replay runs/plan/20261121-19*/push-* --lerobot datasets/planned
  robo-dream replay runs/plan/20261121-194700-020/push-3 --recompute
  robo-dream replay runs/plan/20261121-194700-020/push-3 --decision 17 --what-if planner.num_samples=512 --what-if seed=3

The page's address goes to stdout; Ctrl-C ends it. --html writes one file that opens anywhere, offline, with fewer pictures. --lerobot
takes several runs and writes a new dataset, which `robo-dream train` and LeRobot read. --decision takes a control step; the
decision in force there is meant. A change is any key of the planning configuration (planner.*, cost.*,
proposals.*), seed=, or goal=FOLDER, the goal of another run; the picture of both futures goes to what_if/ beside the record, or to --out.
Exit code 1 when a decision made again is not the recorded one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="the folder of an episode, or the record in it")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="what draws the dreams: the one that the run names, unless given")
    parser.add_argument("--device", default="cpu", help="where dreams are drawn")
    page = parser.add_argument_group("the page")
    page.add_argument("--port", type=int, default=0, help="without it, any free one")
    page.add_argument("--host", help=f"serve at this address instead of {LOOPBACK}; then others can see the run, and nobody can ask")
    page.add_argument("--no-browser", action="store_true", help="only print the page's address")
    files = parser.add_argument_group("export: write instead of opening a page (several at once may be asked for)")
    files.add_argument("--html", type=Path, metavar="FILE", help="the page as one self-contained file")
    files.add_argument("--mp4", type=Path, metavar="FILE", help="a video: goal, reality and the chosen imagination side by side")
    files.add_argument("--png", type=Path, metavar="FILE", help="a contact sheet of the run, or with --decision of that decision")
    files.add_argument("--rerun", type=Path, metavar="FILE", help="a Rerun recording (.rrd) in which futures branch off; extra `rerun`")
    files.add_argument("--lerobot", type=Path, metavar="FOLDER", help="the run, or several, as a LeRobotDataset v3.0 to train on")
    asking = parser.add_argument_group("questions, answered without a page")
    asking.add_argument("--recompute", action="store_true", help="make decisions again and compare")
    asking.add_argument("--decision", type=int, metavar="STEP", help="only the decision in force at this control step; default: every one")
    asking.add_argument("--what-if", action="append", default=[], metavar="KEY=VALUE", help="plan again with this change; may be repeated")
    asking.add_argument("--out", type=Path, metavar="FILE", help="where --what-if leaves its picture (PNG)")


def run(args: argparse.Namespace) -> int:
    require_fitting(args)
    if args.recompute or args.what_if:
        return _ask(args)
    if any(getattr(args, name) for name in _EXPORTS):
        return _export(args)
    with served(args.run[0], args.host or LOOPBACK, args.port, args.checkpoint, args.device) as server:
        print(f"{args.run[0]}: {server.url}   (Ctrl-C to end)", flush=True)
        has_screen = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
        if not args.no_browser and has_screen:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def _ask(args: argparse.Namespace) -> int:
    from robo_dream.runtime import replay

    run, same = replay.open_run(args.run[0]), True
    if args.recompute:
        with Bars({}, "planning again", "decision") as bars:
            found = replay.recompute(run, args.decision, checkpoint=args.checkpoint, on_progress=bars)
        print(replay.sentences_of(found))
        same = found.same
    if args.what_if:
        asked = replay.what_if(run, args.decision, args.what_if, out=args.out, checkpoint=args.checkpoint)
        print(f"{asked.text}\n  pictures {asked.picture}")
    return 0 if same else 1


def _export(args: argparse.Namespace) -> int:
    from robo_dream.runtime import replay

    runs, at = [replay.open_run(path) for path in args.run], args.checkpoint
    with Bars({}, "exporting", "part", delay=_BAR_AFTER) as bars:
        if args.html:
            path = replay.export_html(runs[0], args.html, checkpoint=at, on_progress=bars)
            print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
        if args.mp4:
            print(replay.export_video(runs[0], args.mp4, checkpoint=at, on_progress=bars))
        if args.png:
            print(replay.export_pictures(runs[0], args.png, step=args.decision, checkpoint=at))
        if args.rerun:
            print(replay.export_rerun(runs[0], args.rerun, checkpoint=at, on_progress=bars))
        if args.lerobot:
            episodes, frames = replay.export_dataset(runs, args.lerobot, checkpoint=at, on_progress=bars)
            about = f"{episodes} episode{'s' * (episodes > 1)}, {frames} frames"
            print(f"{args.lerobot}: {about}; `robo-dream train datasets=[{args.lerobot}]` learns from it")
    return 0


def require_fitting(args: argparse.Namespace) -> None:
    """Raises `ConfigError` for arguments that do not go together."""
    exports = [f"--{name}" for name in _EXPORTS if getattr(args, name)]
    questions = [name for name, asked in (("--recompute", args.recompute), ("--what-if", args.what_if)) if asked]
    page = [name for name, asked in (("--port", args.port), ("--host", args.host is not None), ("--no-browser", args.no_browser)) if asked]
    for wrong, sentence in (
        (exports and questions, f"{questions[:1]} answers a question and {exports[:1]} writes a file; ask for one of them at a time"),
        (page and (exports or questions), f"{page[:1]} is about the page, which {(exports + questions)[:1]} does not open; leave one out"),
        (
            len(args.run) > 1 and exports != ["--lerobot"],
            f"{len(args.run)} runs are given; only --lerobot takes several, everything else one",
        ),
        (args.decision is not None and not (questions or args.png), "--decision belongs to --recompute, --what-if and --png; say which"),
        (args.decision is None and args.what_if, "--what-if asks about one decision; say which with --decision STEP"),
        (args.out is not None and not args.what_if, "--out is where --what-if leaves its picture; give --what-if too, or leave it out"),
    ):
        if wrong:
            raise ConfigError(sentence.replace("['", "").replace("']", ""))
    for name, ending in _EXPORTS.items():
        path = getattr(args, name)
        if path is not None and name not in ("html", "lerobot") and path.suffix.lower() != ending:
            raise ConfigError(f"--{name} is {str(path)!r}; its name must end in {ending}, or programs will not know what it is")
        if path is not None and name != "lerobot" and path.is_dir():
            raise ConfigError(f"--{name} is the folder {str(path)!r}; give the name of a file in it")
