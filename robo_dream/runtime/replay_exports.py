"""What `robo-dream replay` writes instead of opening a page: HTML, video, pictures, a Rerun recording, a LeRobot dataset."""

import argparse
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from tqdm import tqdm

from robo_dream.errors import ConfigError, DataError, RoboDreamError
from robo_dream.files import replace_file
from robo_dream.recording.record import RunRecord, decision_in_force, find_record, read_run
from robo_dream.viewer.episodes import action_spec_of, dataset_spec, write_dataset
from robo_dream.viewer.export import html_page
from robo_dream.viewer.pictures import Draw, decision_sheet, run_sheet, write_png
from robo_dream.viewer.rerun_export import Seer, write_rrd
from robo_dream.viewer.routes import Dreamer, Routes
from robo_dream.viewer.video import VideoConfig, episode_pictures, write_video
from robo_dream.viewer.watch import RunWatch

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from robo_dream.viewer.dreams import ModelDreams

_log = logging.getLogger(__name__)
_BAR_AFTER = 2.0  # s
EXPORTS = ("html", "mp4", "png", "rerun", "lerobot")


def add_export_arguments(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("export: write instead of opening a page (several at once may be asked for)")
    files.add_argument("--html", type=Path, metavar="FILE", help="the page as one self-contained file")
    files.add_argument("--mp4", type=Path, metavar="FILE", help="a video: goal, reality and the chosen imagination side by side")
    files.add_argument("--png", type=Path, metavar="FILE", help="a contact sheet of the run, or with --decision of that decision")
    files.add_argument("--rerun", type=Path, metavar="FILE", help="a Rerun recording (.rrd) in which futures branch off; extra `rerun`")
    files.add_argument("--lerobot", type=Path, metavar="FOLDER", help="the run, or several, as a LeRobotDataset v3.0 to train on")


def export(args: argparse.Namespace, dreams: "Future[ModelDreams]") -> int:
    """Writes what `args` asks for. What cannot do without imagined pictures raises the error for which there are none."""
    try:
        return _export(args, dreams)
    except OSError as error:
        raise DataError(f"cannot write there ({error}); make room, or choose another folder") from error


def _export(args: argparse.Namespace, dreams: "Future[ModelDreams]") -> int:
    root = find_record(args.run[0])
    if args.html:
        _html(root, dreams, args.html)
    if args.mp4 or args.png or args.rerun:
        run = _read(root)
        if args.mp4:
            print(write_mp4(args.mp4, run, dreams.result().draw if run.decisions else _nothing))
        if args.png:
            print(_png(args.png, run, dreams, args.decision))
        if args.rerun:
            with _Bar("decisions", "decision") as bar:
                print(write_rrd(args.rerun, run, _seer(dreams), on_progress=bar))
    if args.lerobot:
        _lerobot(args.lerobot, [_read(find_record(path)) for path in args.run], dreams)
    return 0


def write_mp4(path: Path, run: RunRecord, draw: Draw) -> Path:
    """`path`, the video that `robo-dream plan` leaves."""
    result, config = run.result or {}, VideoConfig()
    told = np.asarray(result.get("distances", []), float)
    distances = told.tolist() if run.steps and len(told) > run.steps[-1].number else None
    verdict = "ended without a result" if run.result is None else _verdict(result)
    pictures = episode_pictures(run, draw, config, distances, verdict)
    with tqdm(pictures, "pictures", len(run.steps) + round(config.last_seconds * config.fps), delay=_BAR_AFTER, leave=False) as bar:
        return write_video(path, iter(bar), config.fps, config.crf)


def _verdict(result: "dict | object") -> str:
    told = result if isinstance(result, dict) else {}
    return "success, held" if told.get("strict") else "success" if told.get("moderate") else "not reached"


def _png(path: Path, run: RunRecord, dreams: "Future[ModelDreams]", step: int | None) -> Path:
    if not run.decisions:
        raise DataError(f"the run in {run.root} has no decision; there is nothing to show. --mp4 shows what the cameras saw")
    if step is None:
        return write_png(path, run_sheet(run, dreams.result().draw))
    return write_png(path, decision_sheet(run, decision_in_force(run, step), dreams.result().draw))


def _nothing(latents: np.ndarray) -> dict[str, np.ndarray]:
    """For a run without decisions, in which nothing was imagined."""
    return {}


def _html(root: Path, dreams: "Future[ModelDreams]", path: Path) -> None:
    error = dreams.exception()  # waits for the model
    if error is not None:
        _log.warning("without imagined pictures: %s", error)
    with _Bar("drawing decisions", "decision") as bar:
        page = html_page(Routes(RunWatch(root), cast("Future[Dreamer]", dreams), "WEBP"), on_progress=bar)
    replace_file(path, page)
    print(f"{path}: {len(page) / 1e6:.1f} MB")


def _seer(dreams: "Future[ModelDreams]") -> Seer | None:
    try:
        model = dreams.result()
    except RoboDreamError as error:
        _log.warning("without imagined pictures: %s", error)
        return None
    return Seer(model.draw, model.paths)


def _lerobot(root: Path, runs: Sequence[RunRecord], dreams: "Future[ModelDreams]") -> None:
    action_spec = action_spec_of(runs[0])
    if action_spec is None:  # recorded before runs said it: the checkpoint knows
        action_spec = dreams.result().action_spec
    with _Bar("runs", "run") as bar:
        episodes, frames = write_dataset(root, runs, dataset_spec(runs[0], action_spec), bar)
    print(f"{root}: {episodes} episode{'s' * (episodes > 1)}, {frames} frames; `robo-dream train datasets=[{root}]` learns from it")


def _read(root: Path) -> RunRecord:
    run = read_run(root)
    for name, sentence in run.damaged.items():
        _log.warning("left out: %s: %s", name, sentence)
    return run


class _Bar:
    """`on_progress(done, all)` as a bar, where it takes long."""

    def __init__(self, name: str, unit: str) -> None:
        self._bar = tqdm(desc=name, unit=unit, delay=_BAR_AFTER, leave=False)

    def __enter__(self) -> Callable[[int, int], None]:
        return self._move

    def __exit__(self, *exc: object) -> None:
        self._bar.close()

    def _move(self, done: int, all_: int) -> None:
        self._bar.total = all_
        self._bar.update(done - self._bar.n)


def require_fitting(args: argparse.Namespace) -> None:
    """Raises `ConfigError` for arguments that do not go together."""
    exports = [f"--{name}" for name in EXPORTS if getattr(args, name)]
    questions = [name for name, asked in (("--recompute", args.recompute), ("--what-if", args.what_if)) if asked]
    page = [name for name, asked in (("--port", args.port), ("--host", args.host is not None), ("--no-browser", args.no_browser)) if asked]
    if exports and questions:
        raise ConfigError(f"{questions[0]} answers a question and {exports[0]} writes a file; ask for one of them at a time")
    if page and (exports or questions):
        raise ConfigError(f"{page[0]} is about the page, which {(exports + questions)[0]} does not open; leave one of them out")
    if len(args.run) > 1 and exports != ["--lerobot"]:
        raise ConfigError(f"{len(args.run)} runs are given; only --lerobot takes several, everything else one")
    if args.decision is not None and not questions and not args.png:
        raise ConfigError("--decision belongs to --recompute, --what-if and --png; say which, or leave it out for the page")
    if args.out is not None and not args.what_if:
        raise ConfigError("--out is where --what-if leaves its picture; give --what-if too, or leave it out")
    endings = (("mp4", ".mp4"), ("png", ".png"), ("rerun", ".rrd"))
    for name, ending in endings:
        path = getattr(args, name)
        if path is not None and path.suffix.lower() != ending:
            raise ConfigError(f"--{name} is {str(path)!r}; its name must end in {ending}, or programs will not know what it is")
    for name in EXPORTS:
        path = getattr(args, name)
        if path is not None and name != "lerobot" and path.is_dir():
            raise ConfigError(f"--{name} is the folder {str(path)!r}; give the name of a file in it")
