"""Whether a checkpoint is fit to plan with: measured on fresh episodes of its own world or on a dataset, told, kept, and asked by `run`."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from robo_dream.config import dump, parse
from robo_dream.data.cache import Datasets, frames_of, open_dataset
from robo_dream.errors import CheckpointError, DataError
from robo_dream.files import packaged, replace_file
from robo_dream.imagination import Belief, Cost, Goal
from robo_dream.models import checkpoint
from robo_dream.models.checkpoint import CheckpointInfo
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import build_cost
from robo_dream.renamed import with_new_blocks
from robo_dream.runtime.collect import CollectConfig, collect, dataset_spec
from robo_dream.runtime.environment import name_of, world_of
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, planning_for, policy_proposers
from robo_dream.runtime.recordings import is_recording, open_recordings
from robo_dream.training.inspection import Measured, Searched, measure
from robo_dream.training.verdict import Verdict, figures, verdict
from robo_dream.viewer.inspection_page import Inspected, inspection_page

FORMAT, VERSION = "robo_dream.inspection", 1
FRESH_SEED = 770_000_000  # of episodes that nobody learned from
USUAL_HORIZON = 10  # action blocks, of a planner that looks at no horizon of its own
Progress = Callable[[str, int, int], None]
"""Told what is under way, how much of it is done, and how much there is."""


@dataclass(frozen=True)
class Inspection:
    """What was measured of a checkpoint, on which data, and what follows."""

    checkpoint: Path
    sha256: str
    regime: str | None
    data: str
    measured: Measured
    verdict: Verdict
    page: bytes  # HTML, self-contained
    has_perception_check: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT, "version": VERSION, "checkpoint": self.checkpoint.name, "sha256": self.sha256, "regime": self.regime,
            "data": self.data, "date": datetime.now(UTC).date().isoformat(),
            "verdict": self.verdict.word, "reasons": list(self.verdict.reasons),
            "findings": [
                {"check": one.check, "word": one.word, "sentence": one.sentence, "advice": one.advice} for one in self.verdict.findings
            ],
            "figures": {name: value if np.isfinite(value) else None for name, value in figures(self.measured).items()},
        }  # fmt: skip


def inspect_checkpoint(
    path: Path,
    dataset: Path | None = None,
    num_episodes: int = 10,
    seed: int = 0,
    device: str = "cpu",
    workers: int = 2,
    progress: Progress | None = None,
) -> Inspection:
    """Measures the checkpoint on a dataset, or without one on `num_episodes` fresh ones of the world that it was trained in.

    Raises `CheckpointError` where it says no world that can be played, and `DataError` for data that it cannot look at.
    """
    info, model = checkpoint.read_info(path), load_checkpoint_model(path, device)
    say = progress or (lambda what, done, total: None)
    with _data(path, info, model, dataset, num_episodes, seed, workers, say) as (data, words):
        chosen = held_out_episodes(data, info, num_episodes, seed)
        cache = frames_of(data, chosen, lambda done, total: say("reading", done, total))
    say("measuring", 0, 1)
    measured = measure(model, cache, searches_of(info, model), seed)
    found = verdict(measured)
    say("measuring", 1, 1)
    words = f"{words}: {len(chosen)} episodes, {len(cache.proprio)} frames"
    page = inspection_page(Inspected(str(path), info.settings.regime, words, measured, found), model, cache)
    return Inspection(
        path, checkpoint.sha256(path), info.settings.regime, words, measured, found, page, info.settings.perception is not None
    )


def beside(path: Path) -> Path:
    """Where the verdict on the checkpoint in `path` goes; one that came with robo_dream is read from there: see `packaged`."""
    return path.with_suffix(".inspect.json")


def write_verdict(inspection: Inspection, path: Path) -> Path:
    """Leaves the verdict as JSON in `path`, whole or not at all."""
    replace_file(path, (json.dumps(inspection.to_json(), indent=1) + "\n").encode())
    return path


def plannings(info: CheckpointInfo) -> dict[str, PlanningConfig]:
    """The checkpoint's planning settings that score differently, by the first task that has them."""
    found: dict[str, PlanningConfig] = {}
    for task in ("default", *info.settings.planning.get("tasks", {})):
        planning = planning_for(info, task)
        if not any(planning.cost == other.cost and _horizon(planning) == _horizon(other) for other in found.values()):
            found[task] = planning
    return found


def searches_of(info: CheckpointInfo, model: LatentVideoModel) -> dict[str, Searched]:
    """How the checkpoint plans, by the first task for which it does so."""
    return {name: Searched(*_cost(each, model), policy_proposers(model, each.proposals)) for name, each in plannings(info).items()}


def known_verdict(path: Path) -> Mapping[str, Any] | None:
    """The verdict beside the checkpoint; None where there is none, or one on another file.

    Raises `CheckpointError` for one that cannot be read.
    """
    file = packaged(beside(path))
    if not file.is_file():
        return None
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        if said["format"] != FORMAT or said["version"] != VERSION:
            raise ValueError(f"it is {said['format']!r} version {said['version']}")
        known = {"verdict": str(said["verdict"]), "reasons": [str(reason) for reason in said["reasons"]], "sha256": str(said["sha256"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file} is no verdict on {path.name} ({error}); make it again with `robo-dream inspect {path}`") from error
    return known if known["sha256"] == checkpoint.sha256(path) else None


def require_fit(path: Path, model: LatentVideoModel, planning: PlanningConfig, is_required: bool, say: Callable[[str], None]) -> None:
    """Raises `CheckpointError` with the reason where the model is unfit to plan with, unless `is_required` is false: then it is said.

    By the verdict that `robo-dream inspect` left; where it left none, by what can be told from the checkpoint alone, in a second.
    """
    known = known_verdict(path)
    reasons = known["reasons"] if known is not None and known["verdict"] == "unfit" else []
    if known is None:
        reasons = broken(model, *_cost(planning, model))
        say(f"{path.name} was never inspected; `robo-dream inspect {path}` says whether it is fit to plan with")
    elif known["verdict"] == "doubtful":
        say(f"{path.name} is doubtful: {'; '.join(known['reasons'])}")
    if not reasons:
        return
    sentence = f"{path} is unfit to plan with: {'; '.join(reasons)}"
    if is_required:
        raise CheckpointError(f"{sentence}. See `robo-dream inspect {path}`; to run it all the same, set refuse_unfit=false")
    say(f"{sentence}; it runs because refuse_unfit is false")


@torch.no_grad()
def broken(model: LatentVideoModel, cost: Cost, horizon: int, seed: int = 0) -> list[str]:
    """What can be seen without any data: weights that are not finite, pictures or actions that change nothing, a constant cost."""
    if not all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()):
        return ["some weights are not finite numbers"]
    rng, side = np.random.default_rng(seed), model.spec.config.image_size
    views = [torch.from_numpy(rng.integers(0, 256, (4, side, side, 3), dtype=np.uint8)).to(model.device) for _ in model.cameras]
    mean, std = (np.asarray(values, np.float32) for values in (model.spec.proprio.mean, model.spec.proprio.std))
    latents = model.encode(views, torch.from_numpy(mean + std * rng.normal(size=(4, len(mean))).astype(np.float32)).to(model.device))
    found = [] if float(latents.std(0).mean()) > _NOTHING else ["whatever the pictures, it believes the same (its encoder has collapsed)"]
    low, high = model.action_spec.low, model.action_spec.high
    actions = rng.uniform(low, high, (4, 32, horizon * model.action_block, len(low))).astype(np.float32)
    here = torch.from_numpy(rng.normal(size=(8, latents.shape[1])).astype(np.float32)).to(model.device)  # where latents are at home
    imagined = model.imagine(Belief(here[:4]), torch.from_numpy(actions).to(model.device))
    total = cost(imagined, Goal(here[4:])).total.double()
    if not float(imagined.latents.std(1).mean()) > _NOTHING:
        found.append("whatever it does, it imagines the same")
    elif not float((total.std(1) / total.mean(1).abs().clamp_min(1e-12)).median()) > _NOTHING:
        found.append("all futures cost the same, so a search has nothing to choose by")
    return found


_NOTHING = 1e-4  # of what varies by about 1


def _horizon(planning: PlanningConfig) -> int:
    return int(getattr(planning.planner, "horizon", USUAL_HORIZON))


def _cost(planning: PlanningConfig, model: LatentVideoModel) -> tuple[Cost, int]:
    return build_cost(planning.cost.final(), model, model.distance), _horizon(planning)


@contextmanager
def _data(
    path: Path, info: CheckpointInfo, model: LatentVideoModel, dataset: Path | None, num: int, seed: int, workers: int, say: Progress
) -> Iterator[tuple[Datasets, str]]:
    """The dataset that is looked at, and what it is in words."""
    if dataset is not None:
        yield opened_dataset(path, model, dataset), str(dataset)
        return
    with TemporaryDirectory(prefix="robo-dream-inspect-") as folder:
        config = fresh_config(path, info, Path(folder), num, seed, workers)
        spec = dataset_spec(config)
        say("collecting", 0, num)
        for done, _ in enumerate(collect(config, spec, range(config.seed, config.seed + num)), 1):
            say("collecting", done, num)
        yield open_dataset(folder, model.cameras), f"fresh episodes of {name_of(config.world)}"


def opened_dataset(path: Path, model: LatentVideoModel, dataset: Path) -> Datasets:
    """The dataset or the recording in a folder, for `model`, the checkpoint in `path`; raises `DataError` where it does not fit."""
    if is_recording(dataset):
        if model.action_spec.kind != "joint_move":
            raise DataError(
                f"{dataset} is a recording of joints, and {path} takes {model.action_spec.kind.replace('_', ' ')}s: "
                f"{', '.join(model.action_spec.names)}; train one from recordings of this arm, or give a dataset of its own"
            )
        return open_recordings(dataset, model.spec.config.image_size, model.cameras, model.action_spec)
    try:
        return open_dataset(dataset, model.cameras)
    except DataError:  # one that others recorded does not say what its actions mean: then they mean what the model takes
        return open_dataset(dataset, model.cameras, model.action_spec)


def fresh_config(path: Path, info: CheckpointInfo, out: Path, num_episodes: int, seed: int, workers: int) -> CollectConfig:
    """How its training data were collected, for a few new episodes. Raises `CheckpointError` where nobody can play its world."""
    made = info.recipe.get("data", {})
    made = with_new_blocks(made["parts"][0] if made.get("parts") else made)
    how = {name: made[name] for name in ("play", "script") if name in made}
    if not how:
        raise CheckpointError(
            f"{path} was not trained on a simulator's play, so no fresh episodes can be collected; give some with --dataset"
        )
    settings = {
        "world": dump(world_of(info, path)),
        **how,
        "out": str(out),
        "num_episodes": num_episodes,
        "workers": min(workers, num_episodes),
    }
    return parse(CollectConfig, {**settings, "seed": FRESH_SEED + seed}, f"{path}: recipe")


def held_out_episodes(data: Datasets, info: CheckpointInfo, most: int, seed: int) -> list[int]:
    """Those that are looked at: of the model's own training data the held-out ones, of any other all; the long before the short."""
    every = list(range(data.num_episodes))
    if data.fingerprint == info.dataset_id:
        every = [index for index in every if not data.is_train(index)] or every
    order = np.random.default_rng((seed, 14)).permutation(len(every))
    longest = max((data.length(index) for index in every), default=0)
    return sorted(sorted((every[place] for place in order), key=lambda index: data.length(index) < longest // 2)[:most])
