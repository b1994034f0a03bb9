"""Stage 3, on a finished model: to see in other looks what it sees in the usual one. The encoder alone learns; all else stays as it is.

The same episodes were recorded twice, and differ in their pictures alone. What the finished encoder makes of one picture is what the
learning one is to make of the other, so that dynamics, policy, heads and decoder, which know nothing but latents, stay valid. Part of each
batch is usual pictures themselves: nothing is to be forgotten. (Learning from a teacher that sees the unspoilt picture: noisy student, Xie
et al. 2020, arXiv 1911.04252. Looks drawn anew for every picture: Tobin et al. 2017, arXiv 1703.06907.) No label is read.
"""

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robo_dream.errors import DataError
from robo_dream.models import checkpoint
from robo_dream.models.encoder import to_float
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.config import RedrawnStage, TrainingConfig
from robo_dream.training.frames import Frames, pictures
from robo_dream.training.inspection import require_fitting
from robo_dream.training.latents import encode_frames
from robo_dream.training.losses import pose_loss
from robo_dream.training.stage import MetricsLog, OnProgress, TrainingRun, run_stage, stage_of

STAGE = "redrawn"
MODEL_FILE = "model.safetensors"
HELD_OUT_FRAMES = 4000
_FAR = 20.0  # mm


@dataclass(frozen=True)
class FramePairs:
    """Frames with a new picture, in both recordings of their episodes; `is_train` as the redrawn one says."""

    usual: Int[np.ndarray, " pair"]
    redrawn: Int[np.ndarray, " pair"]
    is_train: Bool[np.ndarray, " pair"]

    def of(self, is_train: bool) -> "FramePairs":
        chosen = self.is_train == is_train
        return FramePairs(self.usual[chosen], self.redrawn[chosen], self.is_train[chosen])


def frame_pairs(usual: Frames, redrawn: Frames) -> FramePairs:
    """Each frame of `redrawn` with its twin: that of the episode with the same actions and proprioception, to the bit.

    The order of episodes may differ, and an episode may be redrawn many times. Raises `DataError` where one has no twin.
    """
    twins = {_said(usual, first, end): first for first, end in itertools.pairwise(usual.episode_starts.tolist())}
    every = int(np.lcm(usual.picture_every, redrawn.picture_every))
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for episode, (first, end) in enumerate(itertools.pairwise(redrawn.episode_starts.tolist())):
        twin = twins.get(_said(redrawn, first, end))
        if twin is None:
            raise DataError(
                f"episode {episode} of {redrawn.dataset_id[:16]} (redrawn) has no twin among the {len(usual.is_train)} of "
                f"{usual.dataset_id[:16]} (datasets): none has the same {end - first} frames of proprioception and actions, to the bit; "
                f"name the dataset that was shown again (`redrawn.dataset` of its recipe)"
            )
        there = np.arange(0, end - first, every)
        parts.append((twin + there, first + there, np.full(len(there), bool(redrawn.is_train[episode]))))
    if not parts:
        raise DataError(f"{redrawn.dataset_id[:16]} (redrawn) has no episode; collect some first")
    return FramePairs(*(np.concatenate(some) for some in zip(*parts, strict=True)))


def _said(cache: Frames, first: int, end: int) -> bytes:
    """A digest of what joints said and were told in an episode."""
    digest = hashlib.sha256(np.ascontiguousarray(cache.proprio[first:end], np.float32).tobytes())
    digest.update(np.ascontiguousarray(cache.actions[first:end], np.float32).tobytes())
    return digest.digest()


@dataclass(frozen=True)
class RedrawnBatch:
    """Pictures of which the first `num_redrawn` rows are redrawn and the others usual, and the latents of the usual ones of all."""

    views: tuple[Float[Tensor, "batch 3 height width"], ...]
    proprio: Float[Tensor, "batch proprio"]
    latents: Float[Tensor, "batch channel"]
    num_redrawn: int


class RedrawnBatches:
    """The batch of any step, as a function of the step alone."""

    def __init__(
        self,
        model: LatentVideoModel,
        usual: Frames,
        redrawn: Frames,
        pairs: FramePairs,
        latents: Float[Tensor, "frame channel"],
        stage: RedrawnStage,
        seed: int,
    ) -> None:
        self.model, self.usual, self.redrawn, self.pairs, self.latents = model, usual, redrawn, pairs, latents
        self.stage, self.seed = stage, seed

    def __call__(self, step: int) -> RedrawnBatch:
        chosen = np.random.default_rng((self.seed, 30, step)).choice(len(self.pairs.usual), self.stage.batch)
        return self.of(chosen, round(self.stage.usual * self.stage.batch))

    def of(self, chosen: Int[np.ndarray, " batch"], num_usual: int = 0) -> RedrawnBatch:
        """The `chosen` pairs, of which the last `num_usual` are shown as usual."""
        usual, num_redrawn = self.pairs.usual[chosen], len(chosen) - num_usual
        redrawn, device = self.pairs.redrawn[chosen[:num_redrawn]], self.model.device
        views = []
        for name in self.model.cameras:
            shown = [pictures(self.redrawn.images[name], redrawn), pictures(self.usual.images[name], usual[num_redrawn:])]
            views.append(to_float(torch.from_numpy(np.concatenate(shown)).to(device)))
        proprio = torch.from_numpy(np.asarray(self.usual.proprio[usual], np.float32)).to(device)
        return RedrawnBatch(tuple(views), proprio, self.latents[torch.from_numpy(usual).to(device)], num_redrawn)


def train_redrawn(
    usual: Frames,
    redrawn: Frames,
    config: TrainingConfig,
    run_dir: Path,
    init: Path,
    *,
    progress: OnProgress | None = None,
    resume: bool = True,
) -> LatentVideoModel:
    """The model of `init` with an encoder that knows the looks of `redrawn`, also written to `run_dir`/model.safetensors.

    `progress` counts twice: frames encoded, and steps. Raises `DataError` for frames that are none of this model's, or not pairs.
    """
    stage = config.redrawn or RedrawnStage()
    about, model = checkpoint.read_info(init), checkpoint.load(init, config.device).requires_grad_(False)
    require_fitting(model, usual)
    require_fitting(model, redrawn)
    pairs = frame_pairs(usual, redrawn)
    if not pairs.is_train.any():
        raise DataError(f"{redrawn.dataset_id[:16]} (redrawn) has no training episode; check the dataset's split")
    latents = torch.zeros(int(usual.episode_starts[-1]), model.spec.config.latent, device=model.device)
    frames = np.unique(pairs.usual)
    latents[torch.from_numpy(frames).to(model.device)] = encode_frames(model, usual, frames, progress)
    batches, held_out = (RedrawnBatches(model, usual, redrawn, pairs.of(part), latents, stage, config.seed) for part in (True, False))
    before = seen_alike(held_out)
    model.encoder.requires_grad_(True)
    dataset_id = f"{usual.dataset_id}:{redrawn.dataset_id}"
    with MetricsLog(run_dir, config.tensorboard) as log:
        run = TrainingRun(config, run_dir, log, progress, resume)
        run_stage(
            run, stage_of(STAGE, stage), model, [model.encoder], lambda step: redrawn_losses(model, batches(step), stage.pose),
            dataset_id, init=checkpoint.sha256(init),
        )  # fmt: skip
        model = model.requires_grad_(False)
        metrics = dict(about.metrics)
        if before:
            metrics["redrawn"] = {"before": before, "after": seen_alike(held_out), "usual": seen_alike(held_out, is_usual=True)}
            log.write("held_out", stage.steps, metrics["redrawn"])
    checkpoint.save(model, run_dir / MODEL_FILE, config.to_json(), about.dataset_id, metrics)
    return checkpoint.load(run_dir / MODEL_FILE, config.device)


def redrawn_losses(model: LatentVideoModel, batch: RedrawnBatch, pose: float) -> dict[str, Tensor]:
    """Every weighted loss: latents in units of their variance, and what is read of them; the share of usual pictures is logged."""
    seen = model.encoder.evaluated(batch.views, batch.proprio).float()
    errors = (seen - batch.latents).square().mean(-1)
    read, there = (model.pose_head.normal(latents).float() for latents in (seen, batch.latents))
    losses = {"latent": errors.mean(), "pose": pose * pose_loss(read, there), "_redrawn": errors[: batch.num_redrawn].mean()}
    return losses if batch.num_redrawn == len(errors) else {**losses, "_usual": errors[batch.num_redrawn :].mean()}


@torch.no_grad()
def seen_alike(batches: RedrawnBatches, is_usual: bool = False) -> dict[str, float]:
    """How far the encoder of now is from what the finished one made of the usual pictures, on redrawn (or usual) ones; {} without any.

    `latent` is the mean square over variance. Objects by the pose head: median and mean distance, and the share over 2 cm.
    """
    model, num = batches.model, len(batches.pairs.usual)
    if not num:
        return {}
    squares, apart = [], []
    for some in np.array_split(
        np.linspace(0, num - 1, min(num, HELD_OUT_FRAMES)).astype(np.int64), max(1, min(num, HELD_OUT_FRAMES) // 250)
    ):
        batch = batches.of(some, len(some) if is_usual else 0)
        seen = model.encoder.evaluated(batch.views, batch.proprio).float()
        squares.append((seen - batch.latents).square().mean(-1))
        apart.append((model.poses(seen).object_pos - model.poses(batch.latents).object_pos).norm(dim=-1).flatten())
    far = 1e3 * torch.cat(apart)
    found = {"latent": torch.cat(squares).mean(), "object_median_mm": far.median(), "object_mean_mm": far.mean()}
    return {name: round(float(value), 4) for name, value in (found | {"object_far_percent": 100 * (far > _FAR).float().mean()}).items()}
