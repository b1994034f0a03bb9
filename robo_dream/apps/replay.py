"""`robo-dream replay`: look at a run afterwards, or while it lasts, make its decisions again, and ask what if."""

import argparse
import logging
import os
import sys
import webbrowser
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from robo_dream.data.layout import replace_file
from robo_dream.errors import CheckpointError, ConfigError
from robo_dream.replay.export import html_page
from robo_dream.replay.record import find_run
from robo_dream.replay.routes import Dreamer, Routes
from robo_dream.replay.server import LOOPBACK, PageServer
from robo_dream.replay.watch import RunWatch, find_record

_log = logging.getLogger(__name__)

_DESCRIPTION = """\
Opens a page on this machine with every decision of a run: what the cameras saw beside what was imagined, all candidates and what they
cost, how the search converged, how wrong imagination was, what was sent to the arm, and where something odd happened. A run that is still
going is followed. On the page one can also walk in the dream: steer the arm in imagination from any decision.

--recompute opens no page: it makes decisions again from record and checkpoint and says whether they are the recorded ones, to the bit on
the machine and settings they were made with and within a stated tolerance elsewhere. --what-if plans one again with a change.

Only the run and the checkpoint that drew its dreams are read; nothing of them is changed."""

_EPILOG = """\
example:
  robo-dream replay runs/plan/20261121-194700-020/push-3
  robo-dream replay runs/plan/20261121-194700-020/push-3 --port 8700 --no-browser
  robo-dream replay runs/plan/20261121-194700-020/push-3 --html push.html
  robo-dream replay runs/plan/20261121-194700-020/push-3 --recompute
  robo-dream replay runs/plan/20261121-194700-020/push-3 --decision 17 --what-if planner.num_samples=512 --what-if seed=3

The page's address goes to stdout; Ctrl-C ends it. --html writes one file that opens anywhere, offline, with fewer pictures. --decision
takes a control step; the decision in force there is meant. A change is any key of the planning configuration (planner.*, cost.*,
proposals.*), seed=, or goal=FOLDER, the goal of another run; the picture of both futures goes to what_if/ beside the record, or to --out.
Exit code 1 when a decision made again is not the recorded one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of an episode, or the record in it")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the page as one self-contained file, and stop")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="what draws the dreams: the one that the run names, unless given")
    parser.add_argument("--device", default="cpu", help="where dreams are drawn")
    parser.add_argument("--port", type=int, default=0, help="of the page; without it, any free one")
    parser.add_argument("--host", default=LOOPBACK, help=f"address to serve at; other than {LOOPBACK}, others can see the run")
    parser.add_argument("--no-browser", action="store_true", help="only print the page's address")
    parser.add_argument("--recompute", action="store_true", help="make decisions again and compare, without a page")
    parser.add_argument("--decision", type=int, metavar="STEP", help="only the decision in force at this control step; default: every one")
    parser.add_argument("--what-if", action="append", default=[], metavar="KEY=VALUE", help="plan again with this change; may be repeated")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where --what-if leaves its picture (PNG)")


def run(args: argparse.Namespace) -> int:
    if args.recompute or args.what_if:
        return _ask_again(args)
    if args.decision is not None or args.out is not None:
        raise ConfigError("--decision and --out belong to --recompute and --what-if; say which, or leave them out for the page")
    watch = RunWatch(find_record(args.run))
    with ThreadPoolExecutor(1, "model") as pool:
        dreamer = pool.submit(_load_dreamer, watch, args.checkpoint, args.device)
        return _export(watch, dreamer, args.html) if args.html else _serve(watch, dreamer, args)


def _ask_again(args: argparse.Namespace) -> int:
    if args.what_if and args.decision is None:
        raise ConfigError("--what-if asks about one decision; say which with --decision STEP")
    from robo_dream.apps import again

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


def _serve(watch: RunWatch, dreamer: "Future[Dreamer]", args: argparse.Namespace) -> int:
    with PageServer(Routes(watch, dreamer), args.host, args.port) as server:
        print(f"{watch.root}: {server.url}   (Ctrl-C to end)", flush=True)
        if not args.no_browser and _has_screen():
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def _export(watch: RunWatch, dreamer: "Future[Dreamer]", path: Path) -> int:
    error = dreamer.exception()  # waits for the model
    if error is not None:
        _log.warning("without imagined pictures: %s", error)
    show = sys.stderr.isatty()
    page = html_page(
        Routes(watch, dreamer, "WEBP"),
        on_progress=lambda done, all_: print(f"\rdrawing decision {done} of {all_}", end="", file=sys.stderr) if show else None,
    )
    replace_file(path, page)
    print(f"{chr(10) if show else ''}{path}: {len(page) / 1e6:.1f} MB")
    return 0


def _load_dreamer(watch: RunWatch, path: Path | None, device: str) -> Dreamer:
    """The model that the run was planned with, or the one in `path`. Torch takes seconds to import, so the page does not wait for it."""
    named = path or Path(watch.about.get("checkpoint", ""))
    if not named.is_file():
        raise CheckpointError(f"the run names the checkpoint {str(named)!r}, which is not here; give it with --checkpoint FILE")
    import torch

    from robo_dream.models import checkpoint
    from robo_dream.replay.dreams import ModelDreams

    wanted = watch.about.get("checkpoint_sha256")
    if wanted and checkpoint.sha256(named) != wanted:
        _log.warning("%s is not what this run was planned with (another SHA-256); its pictures may not be what was imagined", named)
    model = checkpoint.load(named, torch.device(device))
    channels = watch.channels
    if channels and model.spec.config.latent != channels:
        raise CheckpointError(f"{named} has latents of {model.spec.config.latent} channels, the run {channels}; give the run's checkpoint")
    return ModelDreams(model)


def _has_screen() -> bool:
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
