"""A later stage, on a finished model: what was done between neighbouring looks, and how sure that is. Nothing else is learned.

Latents are of pictures alone: what is learned here is asked of video, which says nothing of joints. Part of the episodes is not learned
from but tells how far labels err, so that standard deviations are as large as errors (a scale for each number of an action, after
temperature scaling, Guo et al. 2017, arXiv 1706.04599), and that what is told badly stays near the mean (shrinkage). Gaussians are
learned as in Seitzer et al. 2022, arXiv 2203.09168 (beta-NLL): errors count in part however unsure the network is of them, or what is hard
would never be learned.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from robo_dream.errors import DataError
from robo_dream.models import checkpoint
from robo_dream.models.config import LabelWindow
from robo_dream.models.policy import ActionLabeller
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.config import LabellerStage, TrainingConfig
from robo_dream.training.frames import Frames, blocks_after, normalised_actions, true_episodes
from robo_dream.training.inspection import require_fitting
from robo_dream.training.latents import encode_video
from robo_dream.training.stage import MetricsLog, OnProgress, TrainingRun, run_stage, stage_of

STAGE = "labeller"
MODEL_FILE = "model.safetensors"
_BETA = 0.5  # of beta-NLL; 0 would be the likelihood itself
_SMALLEST_SCALE, _LARGEST_SCALE = 0.01, 100.0
_SMALLEST_APART, _MEASURED = 1e-3, 4096  # of a channel, whose variance is 1; and in how many moments it is measured


@dataclass(frozen=True)
class LabelBatch:
    """Neighbouring looks, and what was done after the one in the middle, normalised."""

    latents: Float[Tensor, "batch look channel"]
    actions: Float[Tensor, "batch time action"]


class LabelPairs:
    """The looks of some episodes with what was done between them."""

    def __init__(
        self, cache: Frames, latents: Float[Tensor, "frame channel"], window: LabelWindow, episodes: Sequence[int], noise: float = 0.0
    ) -> None:
        self.latents, self.window, self.noise = latents, window, noise
        bounds, frames = np.asarray(cache.episode_starts, np.int64), np.arange(int(cache.episode_starts[-1]))
        lengths = np.diff(bounds)
        self.begin = np.repeat(bounds[:-1], lengths)
        self.last = self.begin + np.repeat((lengths - 1) // window.every * window.every, lengths)
        chosen = np.zeros(len(lengths), bool)
        chosen[list(episodes)] = True
        is_look = (frames - self.begin) % window.every == 0
        self.starts = frames[np.repeat(chosen, lengths) & is_look & (frames < self.last)]
        self.actions = normalised_actions(cache)

    def drawn(self, seed: tuple[int, ...], size: int) -> LabelBatch:
        """Any `size` of them, the same for the same `seed`."""
        rng = np.random.default_rng(seed)
        found = self.at(rng.choice(self.starts, size))
        if not self.noise:
            return found
        noise = torch.from_numpy(rng.standard_normal(found.latents.shape, np.float32)).to(found.latents.device)
        return replace(found, latents=found.latents + self.noise * noise)

    def at(self, looks: Int[np.ndarray, " batch"]) -> LabelBatch:
        """Those whose middle look is at these frames; before an episode's first look, and after its last, that one is repeated."""
        offsets = self.window.every * np.arange(-self.window.before, self.window.after + 1)
        around = np.clip(looks[:, None] + offsets, self.begin[looks][:, None], self.last[looks][:, None])
        actions = blocks_after(self.actions, looks, 1, self.window.every)[:, 0]
        device = self.latents.device
        return LabelBatch(self.latents[torch.from_numpy(around).to(device)], torch.from_numpy(actions).to(device))


def train_labeller(
    cache: Frames, config: TrainingConfig, run_dir: Path, init: Path, *, progress: OnProgress | None = None, resume: bool = True
) -> LatentVideoModel:
    """The model of `init` that tells actions too, also written with held-out metrics to `run_dir`/model.safetensors; all else is as it was.

    `progress` counts twice: frames encoded, and steps. Raises `DataError` for frames that are none of this model's, and for too few
    episodes with actions.
    """
    about, model = checkpoint.read_info(init), checkpoint.load(init, config.device)
    require_fitting(model, cache)
    learned, held_out = (true_episodes(cache, split) for split in ("train", "test"))
    _require_episodes(cache, learned)
    frames = _looks(cache, [*learned, *held_out])
    latents = torch.full((int(cache.episode_starts[-1]), model.spec.config.latent), torch.nan, device=model.device)
    latents[torch.from_numpy(frames).to(model.device)] = encode_video(model, cache.images, frames, progress)
    with MetricsLog(run_dir, config.tensorboard) as log:
        run = TrainingRun(config, run_dir, log, progress, resume)
        model = learn_labeller(run, model, cache, latents, learned, checkpoint.sha256(init))
        metrics = dict(about.metrics)
        if len(held_out):
            metrics[STAGE] = told_actions(model, cache, latents, held_out)
            log.write("held_out", (config.labeller or LabellerStage()).steps, metrics[STAGE])
    checkpoint.save(model, run_dir / MODEL_FILE, about.recipe, about.dataset_id, metrics, settings=about.settings)
    return checkpoint.load(run_dir / MODEL_FILE, config.device)


def learn_labeller(
    run: TrainingRun,
    model: LatentVideoModel,
    cache: Frames,
    latents: Float[Tensor, "frame channel"],
    episodes: Sequence[int],
    init: str | None = None,
) -> LatentVideoModel:
    """A copy of `model` with a labeller, learned and calibrated on `episodes`; all else as it was. `latents` as `encode_video` gives them.

    Raises `DataError` for fewer than two episodes: one is learned from, and the other tells how far labels err.
    """
    stage, seed = run.config.labeller or LabellerStage(), run.config.seed
    _require_episodes(cache, episodes)
    window = LabelWindow(stage.before, stage.after, cache.picture_every)
    order = np.random.default_rng((seed, 40)).permutation(np.asarray(episodes))
    num_kept = max(1, round(stage.calibration * len(order)))
    pairs, kept = (
        LabelPairs(cache, latents, window, some.tolist(), noise)
        for some, noise in ((order[num_kept:], stage.latent_noise), (order[:num_kept], 0.0))
    )
    for some in (pairs, kept):
        if not len(some.starts):
            raise DataError(f"no episode of {cache.dataset_id[:16]} has two pictures to tell an action of; record longer ones")
    model = model.extended(replace(model.spec, label_window=window), seed)
    labeller = model.labeller
    assert labeller is not None
    labeller.requires_grad_(True)
    some = np.random.default_rng((seed, 42)).permutation(pairs.starts)[:_MEASURED]
    labeller.apart.copy_(labeller.differences(pairs.at(some).latents).square().mean(0).sqrt().clamp(min=_SMALLEST_APART))

    def losses(step: int) -> Mapping[str, Tensor]:
        return label_losses(labeller, pairs.drawn((seed, 41, step), stage.batch))

    run_stage(run, stage_of(STAGE, stage), labeller, [labeller], losses, cache.dataset_id, init=init)
    model.requires_grad_(False)
    labeller.usual.copy_(_told(labeller, pairs).actions.mean(0).flatten())
    told = _told(labeller, kept)
    usual = labeller.usual.unflatten(0, told.means.shape[1:])
    off, right = told.means - usual, told.actions - usual
    labeller.trust.copy_(((off * right).sum(0) / off.square().sum(0).clamp(min=1e-9)).clamp(0, 1).flatten())
    told = _told(labeller, kept)
    scale = (told.errors / told.stds).square().mean(0).sqrt().clamp(_SMALLEST_SCALE, _LARGEST_SCALE)
    labeller.scale.copy_(scale.flatten())
    return model


def label_losses(labeller: ActionLabeller, batch: LabelBatch) -> dict[str, Tensor]:
    """Beta-NLL for each number, and the nats of the likelihood itself, logged."""
    means, stds = labeller(batch.latents)
    nats = 0.5 * ((batch.actions - means) / stds).square() + stds.log()
    weights = stds.detach() ** (2 * _BETA)
    return {"actions": (weights * nats).mean(), "_nats": nats.mean().detach()}


@torch.no_grad()
def told_actions(
    model: LatentVideoModel, cache: Frames, latents: Float[Tensor, "frame channel"], episodes: Sequence[int]
) -> dict[str, dict[str, float]]:
    """How well actions of `episodes` are told, by name: R2; the root mean square error in units of the standard deviation that is told of
    it, which is 1 where that is right; and the share of errors within one and two of these, which is 0.68 and 0.95 of a Gaussian.

    What never varies is left out.
    """
    assert model.labeller is not None
    told = _told(model.labeller, LabelPairs(cache, latents, model.labeller.window, episodes))
    errors, z = told.errors.flatten(0, 1), (told.errors / told.stds).flatten(0, 1).abs()
    variance = told.actions.flatten(0, 1).var(0, correction=0).cpu().numpy()
    figures = {
        "r2": 1 - errors.square().mean(0).cpu().numpy() / np.maximum(variance, 1e-12),
        "error_over_std": z.square().mean(0).sqrt().cpu().numpy(),
        "within_1_std": (z < 1).float().mean(0).cpu().numpy(),
        "within_2_std": (z < 2).float().mean(0).cpu().numpy(),
    }
    names = model.action_spec.names
    return {
        figure: {name: round(float(value), 4) for name, value, varies in zip(names, values, variance > 1e-9, strict=True) if varies}
        for figure, values in figures.items()
    }


def in_words(found: Mapping[str, Mapping[str, float]]) -> str:
    """What was `told_actions`, for people."""
    parts = ", ".join(f"{name} {100 * value:.0f} %" for name, value in found["r2"].items())
    within = np.mean(list(found["within_2_std"].values()))
    return f"Held out: variance of actions that labels explain: {parts}; {100 * within:.0f} % of errors are within two standard deviations."


@dataclass(frozen=True)
class _Told:
    """Of every look with one after it: what is told and what was done."""

    means: Float[Tensor, "row time action"]
    stds: Float[Tensor, "row time action"]
    actions: Float[Tensor, "row time action"]

    @property
    def errors(self) -> Float[Tensor, "row time action"]:
        return self.actions - self.means


@torch.no_grad()
def _told(labeller: ActionLabeller, pairs: LabelPairs) -> _Told:
    means, stds, actions = [], [], []
    for some in np.array_split(pairs.starts, max(1, len(pairs.starts) // 4096)):
        batch = pairs.at(some)
        for values, told in zip((means, stds), labeller(batch.latents), strict=True):
            values.append(told)
        actions.append(batch.actions)
    return _Told(torch.cat(means), torch.cat(stds), torch.cat(actions))


def _require_episodes(cache: Frames, episodes: Sequence[int]) -> None:
    if len(episodes) < 2:
        raise DataError(
            f"{cache.dataset_id[:16]} has {len(episodes)} episodes with true actions to learn from; a labeller needs 2, of which one "
            f"tells how far it errs: name datasets with actions"
        )


def _looks(cache: Frames, episodes: Sequence[int]) -> Int[np.ndarray, " frame"]:
    """Frames of these episodes with a picture of their own."""
    bounds = np.asarray(cache.episode_starts, np.int64)
    found = [np.arange(bounds[one], bounds[one + 1], cache.picture_every) for one in sorted(episodes)]
    return np.concatenate(found) if found else np.zeros(0, np.int64)
