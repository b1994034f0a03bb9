"""Stage 3, on a finished model: what to remember, from latents of pictures that were hidden, late or missing. Nothing else is learned."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from robo_dream.errors import DataError
from robo_dream.files import replacing
from robo_dream.models import checkpoint
from robo_dream.models.dynamics import times_of
from robo_dream.models.encoder import to_float
from robo_dream.models.heads import OBJECT_POS, objects
from robo_dream.models.world_model import NOT_SEEN, LatentVideoModel
from robo_dream.training.config import TrainingConfig
from robo_dream.training.frames import Frames, Split, frame_index, last_pictures, pictures, pose_labels
from robo_dream.training.inspection import require_fitting
from robo_dream.training.latents import encode_frames
from robo_dream.training.losses import pose_loss
from robo_dream.training.screens import Screen, Worse, worse, worse_pictures
from robo_dream.training.stage import MetricsLog, OnProgress, TrainingRun, run_stage, stage_of

STAGE = "memory"
MODEL_FILE = "model.safetensors"
SEEN_FILE = "worse.safetensors"  # latents of worse pictures
_ROWS = 128
_ASKED = 200  # pictures of each camera that tell where things are in them
_PATCH, _PATCHES = 0.25, 8  # side of what is covered of them, in parts of the picture's, and how often it is put, each way


@dataclass(frozen=True)
class Looks:
    """Latents of all frames as they were recorded, and as they might have been seen, in several ways."""

    clean: Float[Tensor, "frame channel"]
    worse: Float[Tensor, "way frame channel"]
    late: Float[Tensor, "way frame view"]


@dataclass(frozen=True)
class MemoryBatch:
    """Windows with a look at their first frame and at each of some later ones, `gaps` control steps apart."""

    start: Float[Tensor, "batch channel"]
    gaps: tuple[int, ...]
    blocks: tuple[Float[Tensor, "batch _ block"], ...]  # between the looks; a last block is filled with holding still
    seen: Float[Tensor, "batch look channel"]
    proprio: Float[Tensor, "batch look proprio"]
    late: Float[Tensor, "batch look view"]
    clean: Float[Tensor, "batch look channel"]
    poses: Float[Tensor, "batch look pose"]  # as they are told; NaN where they are not
    ahead: Float[Tensor, "batch horizon block"]  # after the last look
    following: Float[Tensor, "batch horizon channel"]


class MemoryBatches:
    """The batch of any step, as a function of the step alone. Looks are one action block apart, more or less."""

    def __init__(self, model: LatentVideoModel, cache: Frames, config: TrainingConfig, looks: Looks, split: Split = "train") -> None:
        self.model, self.config, self.looks = model, config, looks
        stage, block = config.memory, model.action_block
        self.reach = round(stage.window / model.action_spec.control_dt)
        self.index = frame_index(cache, self.reach + stage.ahead * block + 1, split)
        self.actions = torch.from_numpy(np.asarray(cache.actions, np.float32)).to(model.device)
        self.proprio = torch.from_numpy(np.asarray(cache.proprio, np.float32)).to(model.device)
        self.poses = torch.from_numpy(pose_labels(cache, model.spec.config.object_symmetry)).to(model.device)

    def __call__(self, step: int) -> MemoryBatch:
        stage, rng = self.config.memory, np.random.default_rng((self.config.seed, 20, step))
        first = torch.from_numpy(rng.choice(self.index.starts, stage.batch)).to(self.model.device)
        way = torch.from_numpy(rng.integers(len(self.looks.worse), size=stage.batch)).to(self.model.device)
        gaps = self.gaps(rng)
        frames = first[:, None] + torch.tensor(np.cumsum(gaps), device=first.device)
        is_bad_start = torch.from_numpy(rng.random(stage.batch) < stage.bad_starts).to(first.device)
        start = torch.where(is_bad_start[:, None], self.looks.worse[way, first], self.looks.clean[first])
        begins = [first, *frames.T[:-1]]
        last, block = frames[:, -1], self.model.action_block
        following = last[:, None] + block * torch.arange(1, stage.ahead + 1, device=first.device)
        return MemoryBatch(
            start, gaps, tuple(self.blocks(begin, gap) for begin, gap in zip(begins, gaps, strict=True)),
            self.looks.worse[way[:, None], frames], self.proprio[frames], self.looks.late[way[:, None], frames],
            self.looks.clean[frames], self.poses[frames],
            self.blocks(last, stage.ahead * block), self.looks.clean[following],
        )  # fmt: skip

    def gaps(self, rng: np.random.Generator) -> tuple[int, ...]:
        """Control steps from look to look, within the window; mostly a block, as decisions are."""
        block, every, found = self.model.action_block, self.index.every, []
        while True:
            is_usual = rng.random() < self.config.memory.usual_gaps
            gap = block if is_usual else every * int(rng.integers(1, 2 * block // every + 1))
            if found and sum(found) + gap > self.reach:
                return tuple(found)
            found.append(gap)

    def blocks(self, begin: Tensor, num_steps: int) -> Float[Tensor, "batch horizon block"]:
        """Normalised blocks of the `num_steps` actions after each frame."""
        block, spec = self.model.action_block, self.model.action_spec
        actions = self.actions[begin[:, None] + torch.arange(num_steps, device=begin.device)]
        still = actions[:, -1:] if spec.kind == "joint_target" else self.model.still.expand(len(actions), 1, -1)
        filled = torch.cat([actions, still.expand(-1, -num_steps % block, -1)], 1)
        return self.model.normalise_actions(filled).unflatten(1, (-1, block)).flatten(2)


def train_memory(
    cache: Frames, config: TrainingConfig, run_dir: Path, init: Path, *, progress: OnProgress | None = None, resume: bool = True
) -> LatentVideoModel:
    """The model of `init` with a memory, also written with held-out metrics to `run_dir`/model.safetensors; all else of it stays as it is.

    `progress` counts twice: frames encoded, and steps. Raises `DataError` for frames that are none of this model's.
    """
    about = checkpoint.read_info(init)
    with_memory = replace(about.spec, config=replace(about.spec.config, memory=config.model.memory))
    model = LatentVideoModel(with_memory, config.seed)
    checkpoint.load_fitting(model, init)
    model = model.to(config.device).requires_grad_(False).eval()
    require_fitting(model, cache)
    looks = looked_at(model, cache, config, run_dir, checkpoint.sha256(init), progress)
    batches = MemoryBatches(model, cache, config, looks)
    assert model.memory is not None and model.dynamics.remembered is not None
    learned = [model.memory, nn.ParameterList([model.dynamics.remembered])]
    for part in learned:
        part.requires_grad_(True)
    with MetricsLog(run_dir, config.tensorboard) as log:
        run = TrainingRun(config, run_dir, log, progress, resume)
        run_stage(
            run, stage_of(STAGE, config.memory), model, learned, lambda step: memory_losses(model, batches(step), config), cache.dataset_id,
            init=checkpoint.sha256(init),
        )  # fmt: skip
        model = model.requires_grad_(False)
        metrics = dict(about.metrics)
        if not np.all(cache.is_train):
            metrics["memory"] = remembered(model, MemoryBatches(model, cache, config, looks, "test"))
            log.write("held_out", config.memory.steps, metrics["memory"])
    checkpoint.save(model, run_dir / MODEL_FILE, config.to_json(), cache.dataset_id, metrics)
    return checkpoint.load(run_dir / MODEL_FILE, config.device)


def memory_losses(model: LatentVideoModel, batch: MemoryBatch, config: TrainingConfig) -> dict[str, Tensor]:
    """Every weighted loss: what is believed and what is expected against what was there, in latents and in poses."""
    stage = config.memory
    believed, expected, memory = followed(model, batch)
    ahead, _ = model.dynamics.unroll(believed[:, -1], batch.ahead, memory)
    read, there = (model.pose_head.normal(latents).float() for latents in (believed, batch.clean))
    told = model.pose_head.normalise(batch.poses)
    losses = {
        "believed": (believed - batch.clean).square().mean(),
        "expected": stage.expected * (expected - batch.clean).square().mean(),
        "ahead": stage.expected * (ahead.float() - batch.following).square().mean(),
        "pose": stage.pose * pose_loss(read.flatten(0, 1), there.flatten(0, 1)),
        "_seen": (batch.seen - batch.clean).square().mean(),
    }
    if stage.told > 0 and told[..., -1].isfinite().any():
        losses["told"] = stage.told * pose_loss(read.flatten(0, 1), told.flatten(0, 1))
    return losses


def followed(
    model: LatentVideoModel, batch: MemoryBatch, is_remembered: bool = True
) -> tuple[Float[Tensor, "batch look channel"], Float[Tensor, "batch look channel"], Float[Tensor, "batch memory"]]:
    """What is believed at each look, what was expected before it, and the last memory; without memory each belief is what is seen."""
    latent, memory = batch.start, batch.start.new_zeros(len(batch.start), model.spec.config.memory)
    believed, expected = [], []
    for look, (gap, blocks) in enumerate(zip(batch.gaps, batch.blocks, strict=True)):
        prior = model.dynamics.unroll(latent, blocks, memory)[0][:, -1].float()
        since = latent.new_full((len(latent),), float(gap))
        latent, memory = model.filtered(memory, prior, batch.seen[:, look], batch.proprio[:, look], times_of(since, batch.late[:, look]))
        if not is_remembered:
            latent, memory = batch.seen[:, look], torch.zeros_like(memory)
        believed.append(latent)
        expected.append(prior)
    return torch.stack(believed, 1), torch.stack(expected, 1), memory


@torch.no_grad()
def remembered(model: LatentVideoModel, batches: MemoryBatches, num_batches: int = 8) -> dict[str, float]:
    """How far off objects are believed in held-out windows, by what the model reads of the pictures as they were recorded. Millimetres.

    `hidden` are the looks whose pictures alone put an object more than 2 cm elsewhere.
    """
    found: dict[str, list[Tensor]] = {"memory": [], "one_frame": [], "expected": []}
    for step in range(num_batches):
        batch = batches(step)
        there = _object_pos(model, batch.clean)
        believed, expected, _ = followed(model, batch)
        for name, latents in (("memory", believed), ("one_frame", batch.seen), ("expected", expected)):
            found[name].append((_object_pos(model, latents) - there).norm(dim=-1).amax(-1).flatten())
    errors = {name: 1e3 * torch.cat(parts) for name, parts in found.items()}
    is_hidden = errors["one_frame"] > 20
    figures = {"hidden_percent": 100 * is_hidden.float().mean()}
    for name, values in errors.items():
        figures[f"{name}_mm"] = values.mean()
        figures[f"{name}_hidden_mm"] = values[is_hidden].mean() if is_hidden.any() else values.new_tensor(float("nan"))
    return {name: round(float(value), 2) for name, value in figures.items()}


def in_words(found: Mapping[str, float]) -> str:
    """What `remembered` found, for people."""
    return (
        f"Held out: where a picture alone puts an object over 2 cm elsewhere ({found['hidden_percent']:.0f} % of the looks), "
        f"it is {found['one_frame_hidden_mm']:.0f} mm off, and with memory {found['memory_hidden_mm']:.0f} mm."
    )


def _object_pos(model: LatentVideoModel, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch object 3"]:
    head = model.pose_head
    return objects(head.normal(latents).float() * head.std + head.mean)[..., OBJECT_POS]


def looked_at(
    model: LatentVideoModel, cache: Frames, config: TrainingConfig, folder: Path, init: str, progress: OnProgress | None = None
) -> Looks:
    """Latents of all frames, clean and worse; kept in `folder`, and taken from there where data, encoder and settings are the same."""
    path, stage = folder / SEEN_FILE, config.memory
    about = {"dataset": cache.dataset_id, "init": init, "screens": asdict(stage.screens), "ways": stage.ways, "seed": config.seed}
    kept = _kept(path, about)
    if kept is None:
        clean = encode_frames(model, cache, progress=progress)
        centres = centres_in_pictures(model, cache, clean, config.seed) if stage.screens.aimed > 0 else None
        ways = [_worse_latents(model, cache, config, way, centres) for way in range(stage.ways)]
        kept = {"clean": clean, "worse": torch.stack([latents for latents, _ in ways]), "late": torch.stack([late for _, late in ways])}
        with replacing(path, in_folder=True) as beside:
            save_file({name: values.cpu() for name, values in kept.items()}, beside, metadata={"about": json.dumps(about)})
    return Looks(*(kept[name].to(model.device) for name in ("clean", "worse", "late")))


@torch.no_grad()
def centres_in_pictures(
    model: LatentVideoModel, cache: Frames, clean: Float[Tensor, "frame channel"], seed: int
) -> Float[np.ndarray, "frame view object 2"]:
    """Where each thing is in each camera's picture, down and right, in parts of the picture's sides; no camera need be calibrated.

    A thing is where covering the picture changes most where the model reads it. Of some pictures that is tried patch by patch; to all
    others a quadratic of the position that is read of their latents carries it over. It is rough: on the tabletop off by a tenth
    (side camera) to a sixth (front camera) of the picture's side.
    """
    index = frame_index(cache, 1)
    frames = np.sort(np.random.default_rng((seed, 22)).choice(index.frames, min(_ASKED, len(index.frames)), replace=False))
    middles = (np.arange(_PATCHES) + 0.5) / _PATCHES
    patches = [
        Screen((down, right), (_PATCH / 2, _PATCH / 2), False, (NOT_SEEN, NOT_SEEN, NOT_SEEN), (0.0, 0.0))
        for down, right in itertools.product(middles, middles)
    ]
    there = _object_pos(model, clean)[last_pictures(cache)]
    known = _quadratic(there)
    proprio = torch.from_numpy(np.asarray(cache.proprio[frames], np.float32)).to(model.device)
    views = [pictures(cache.images[name], frames) for name in model.cameras]
    found = []
    for view in range(len(views)):
        moved = []
        for patch in patches:
            covered = [np.stack([patch.before(one) for one in some]) if i == view else some for i, some in enumerate(views)]
            latents = model.encode([torch.from_numpy(some).to(model.device) for some in covered], proprio)
            moved.append((_object_pos(model, latents) - there[frames]).norm(dim=-1))
        weight = torch.stack(moved).pow(4)  # the most counts; what the arm tells of a thing counts little
        tried = torch.tensor([patch.middle for patch in patches], dtype=weight.dtype, device=weight.device)
        place = torch.einsum("pfo,pc->foc", weight / weight.sum(0).clamp(min=1e-12), tried)
        fitted = [torch.linalg.lstsq(known[frames, thing], place[:, thing]).solution for thing in range(place.shape[1])]
        found.append(torch.stack([known[:, thing] @ some for thing, some in enumerate(fitted)], 1).clamp(0.0, 1.0))
    return torch.stack(found, 1).cpu().numpy()


def _quadratic(positions: Float[Tensor, "frame object 3"]) -> Float[Tensor, "frame object number"]:
    x, y, z = positions.unbind(-1)
    return torch.stack([torch.ones_like(x), x, y, z, x * x, x * y, y * y], -1)


def _worse_latents(
    model: LatentVideoModel, cache: Frames, config: TrainingConfig, way: int, centres: Float[np.ndarray, "frame view object 2"] | None
) -> tuple[Tensor, Tensor]:
    """Of all frames, NaN where cameras are slow and show nothing new; and how late each picture is."""
    bounds = np.asarray(cache.episode_starts, np.int64)
    every, control_dt = cache.picture_every, model.action_spec.control_dt
    latents = torch.full((int(bounds[-1]), model.spec.config.latent), torch.nan)
    late = torch.full((int(bounds[-1]), len(model.cameras)), torch.nan)
    for number, (first, end) in enumerate(itertools.pairwise(bounds)):
        rng = np.random.default_rng((config.seed, 21, way, number))
        where = None if centres is None else centres[first:end]
        seen = worse(rng, int(end - first), len(model.cameras), control_dt, config.memory.screens, every, where)
        late[first:end] = torch.from_numpy(seen.late())
        latents[first:end:every] = _encoded(model, cache, int(first), seen, every)
    return latents, late


def _encoded(model: LatentVideoModel, cache: Frames, first: int, seen: Worse, every: int) -> Tensor:
    proprio = torch.from_numpy(np.asarray(cache.proprio[first : first + len(seen.shown) : every], np.float32)).to(model.device)
    views = [torch.from_numpy(worse_pictures(cache.images[name], first, seen, i)[::every]) for i, name in enumerate(model.cameras)]
    parts = [
        model.encoder.evaluated([to_float(view[some : some + _ROWS].to(model.device)) for view in views], proprio[some : some + _ROWS])
        for some in range(0, len(proprio), _ROWS)
    ]
    return torch.cat(parts).cpu()


def _kept(path: Path, about: Mapping[str, Any]) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            is_of_this = json.loads((file.metadata() or {}).get("about", "{}")) == json.loads(json.dumps(about))
            return {name: file.get_tensor(name) for name in ("clean", "worse", "late")} if is_of_this else None
    except (SafetensorError, ValueError, OSError, DataError):
        return None  # damaged: it is made again
