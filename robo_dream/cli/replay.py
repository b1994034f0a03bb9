"""`robo-dream replay`: look at a run afterwards, or while it lasts, make its decisions again, and ask what if."""

import argparse
import logging
import os
import sys
import webbrowser
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, cast

from robo_dream.errors import CheckpointError, ConfigError
from robo_dream.recording.record import find_record, read_run
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.replay_exports import EXPORTS, add_export_arguments, export, require_fitting
from robo_dream.viewer.questions import Asker
from robo_dream.viewer.routes import Dreamer, Routes
from robo_dream.viewer.server import LOOPBACK, PageServer
from robo_dream.viewer.watch import RunWatch

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from robo_dream.viewer.dreams import ModelDreams

_log = logging.getLogger(__name__)

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
    add_export_arguments(parser)
    asking = parser.add_argument_group("questions, answered without a page")
    asking.add_argument("--recompute", action="store_true", help="make decisions again and compare")
    asking.add_argument("--decision", type=int, metavar="STEP", help="only the decision in force at this control step; default: every one")
    asking.add_argument("--what-if", action="append", default=[], metavar="KEY=VALUE", help="plan again with this change; may be repeated")
    asking.add_argument("--out", type=Path, metavar="FILE", help="where --what-if leaves its picture (PNG)")


def run(args: argparse.Namespace) -> int:
    require_fitting(args)
    if args.recompute or args.what_if:
        return _ask_again(args)
    watch = RunWatch(find_record(args.run[0]))
    with ThreadPoolExecutor(1, "model") as pool:
        dreams = pool.submit(_load_dreams, watch, args.checkpoint, args.device)
        if any(getattr(args, name) for name in EXPORTS):
            return export(args, dreams)
        return _serve(watch, dreams, pool, args)


def _ask_again(args: argparse.Namespace) -> int:
    if args.what_if and args.decision is None:
        raise ConfigError("--what-if asks about one decision; say which with --decision STEP")
    from robo_dream.runtime import again, what_if

    kept, same = read_run(find_record(args.run[0])), True
    for name, sentence in kept.damaged.items():
        print(f"left out: {name}: {sentence}")
    if args.recompute:
        with Bars({}, "planning again", "decision") as bars:
            found = again.recompute(kept, args.decision, args.checkpoint, bars)
        print(again.sentences_of(found))
        same = found.same
    if args.what_if:
        text, picture = what_if.what_if(kept, args.decision, args.what_if, args.out, args.checkpoint)
        print(f"{text}\n  pictures {picture}")
    return 0 if same else 1


def _serve(watch: RunWatch, dreams: "Future[ModelDreams]", pool: ThreadPoolExecutor, args: argparse.Namespace) -> int:
    host = args.host or LOOPBACK
    asker = pool.submit(_load_asker, watch, args.checkpoint) if host == LOOPBACK else None
    with PageServer(Routes(watch, cast("Future[Dreamer]", dreams), asker=asker), host, args.port) as server:
        print(f"{watch.root}: {server.url}   (Ctrl-C to end)", flush=True)
        if not args.no_browser and _has_screen():
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def _load_dreams(watch: RunWatch, path: Path | None, device: str) -> "ModelDreams":
    """The model that the run was planned with, or the one in `path`. Torch takes seconds to import, so the page does not wait for it."""
    told = watch.about.get("checkpoint")
    if path is None and told is None:
        raise CheckpointError(f"nothing was imagined in this run ({watch.about.get('policy', 'it names no checkpoint')})")
    named = path or Path(str(told))
    if not named.is_file():
        raise CheckpointError(f"the run names the checkpoint {str(named)!r}, which is not here; give it with --checkpoint FILE")
    import torch

    from robo_dream.models import checkpoint
    from robo_dream.viewer.dreams import ModelDreams

    config = watch.about.get("checkpoint_sha256")
    if config and checkpoint.sha256(named) != config:
        _log.warning("%s is not what this run was planned with (another SHA-256); its pictures may not be what was imagined", named)
    model = checkpoint.load(named, torch.device(device))
    channels = watch.channels
    if channels and model.spec.config.latent != channels:
        raise CheckpointError(f"{named} has latents of {model.spec.config.latent} channels, the run {channels}; give the run's checkpoint")
    return ModelDreams(model)


def _load_asker(watch: RunWatch, path: Path | None) -> Asker:
    """Imports what answers questions; its model is loaded at the first one."""
    from robo_dream.runtime.asker import RunAsker

    return RunAsker(watch.root, watch.about, path)


def _has_screen() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
