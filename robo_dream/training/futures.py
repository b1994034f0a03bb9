"""A later stage, on a finished model: what the world may do in an imagined step, and how likely that is. Nothing else is learned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.config import TrainingConfig
from robo_dream.training.frames import Frames, Split, blocks_after, frame_index, normalised_actions
from robo_dream.training.inspection import require_fitting
from robo_dream.training.latents import encode_frames
from robo_dream.training.stage import MetricsLog, OnProgress, TrainingRun, run_stage, stage_of

STAGE = "futures"
MODEL_FILE = "model.safetensors"


@dataclass(frozen=True)
class FutureBatch:
    """Windows of what came, and of what was done."""

    latents: Float[Tensor, "batch frame channel"]  # the start, and the frame after each action block
    blocks: Float[Tensor, "batch horizon block"]
    noise: Float[Tensor, "batch horizon channel"]


class FutureBatches:
    """The batch of any step, as a function of the step alone."""

    def __init__(self, cache: Frames, config: TrainingConfig, latents: Float[Tensor, "frame channel"], split: Split = "train") -> None:
        self.config, self.latents, self.block = config, latents, config.model.action_block
        self.index = frame_index(cache, config.futures.unroll * self.block + 1, split)
        self.actions = normalised_actions(cache)

    def __call__(self, step: int) -> FutureBatch:
        stage, rng = self.config.futures, np.random.default_rng((self.config.seed, 30, step))
        first = rng.choice(self.index.starts, stage.batch)
        frames = first[:, None] + self.block * np.arange(stage.unroll + 1)
        blocks = blocks_after(self.actions, first, stage.unroll, self.block).reshape(len(first), stage.unroll, -1)
        noise = rng.standard_normal((len(first), stage.unroll, self.latents.shape[-1]), np.float32)
        at = torch.from_numpy(frames).to(self.latents.device)
        return FutureBatch(self.latents[at], *(torch.from_numpy(values).to(self.latents.device) for values in (blocks, noise)))


def train_futures(
    cache: Frames, config: TrainingConfig, run_dir: Path, init: Path, *, progress: OnProgress | None = None, resume: bool = True
) -> LatentVideoModel:
    """The model of `init` with outcomes, also written with held-out metrics to `run_dir`/model.safetensors; all else of it stays as it is.

    `progress` counts twice: frames encoded, and steps. Raises `DataError` for frames that are none of this model's.
    """
    about = checkpoint.read_info(init)
    size = replace(about.spec.config, outcomes=config.model.outcomes)
    model = LatentVideoModel(replace(about.spec, config=size), config.seed)
    checkpoint.load_fitting(model, init)
    model = model.to(config.device).requires_grad_(False).eval()
    require_fitting(model, cache)
    config = replace(config, model=size)
    latents = encode_frames(model, cache, progress=progress)
    batches = FutureBatches(cache, config, latents)
    assert model.outcomes is not None, "say how many outcomes a step has"
    model.outcomes.requires_grad_(True)
    with MetricsLog(run_dir, config.tensorboard) as log:
        run = TrainingRun(config, run_dir, log, progress, resume)
        run_stage(
            run, stage_of(STAGE, config.futures), model, [model.outcomes], lambda step: future_losses(model, batches(step), config),
            cache.dataset_id, init=checkpoint.sha256(init),
        )  # fmt: skip
        model = model.requires_grad_(False)
        metrics = dict(about.metrics)
        if not np.all(cache.is_train):
            metrics["futures"] = foretold(model, FutureBatches(cache, config, latents, "test"))
            log.write("held_out", config.futures.steps, metrics["futures"])
    checkpoint.save(model, run_dir / MODEL_FILE, about.recipe, cache.dataset_id, metrics)
    return checkpoint.load(run_dir / MODEL_FILE, config.device)


def future_losses(model: LatentVideoModel, batch: FutureBatch, config: TrainingConfig) -> dict[str, Tensor]:
    """The negative log likelihood of what came, by its two parts: of odds in nats, of latents in nats for each channel.

    Each outcome learns from a step as far as it is responsible for it (Bishop 1994, equation 30), whose gradient is that of the mixture;
    a `shared` part is learned by all of them (Rupprecht et al. 2017, arXiv 1612.00197). The next step stands on the outcome that came true.
    """
    assert model.outcomes is not None
    outcomes, stage, channels = model.outcomes, config.futures, batch.latents.shape[-1]
    latents, odds_losses, latent_losses, expected, nearest = batch.latents[:, 0], [], [], [], []
    for step in range(batch.blocks.shape[1]):
        block, following = batch.blocks[:, step], batch.latents[:, step + 1]
        with torch.no_grad():
            _, mean = next(model.dynamics.changes(latents, block[:, None]))
        _, shifts = outcomes.told(latents, block)
        noisy = latents + stage.odds_noise * batch.noise[:, step]
        log_odds = torch.log_softmax(outcomes.odds(torch.cat([noisy, block], -1)).float(), -1)
        means = (latents + mean.float())[:, None] + shifts
        likelihood = outcomes.log_likelihood(following, means)
        responsible = torch.softmax((log_odds + likelihood).detach(), -1)
        weights = (1 - stage.shared) * responsible + stage.shared / outcomes.num_outcomes
        odds_losses.append(-(responsible * log_odds).sum(-1).mean())
        latent_losses.append(-(weights * likelihood).sum(-1).mean() / channels)
        with torch.no_grad():
            expected.append((latents + mean - following).square().mean())
            latents = means[torch.arange(len(means), device=means.device), responsible.argmax(-1)].detach()
            nearest.append((latents - following).square().mean())
    return {
        "odds": torch.stack(odds_losses).mean(),
        "latents": torch.stack(latent_losses).mean(),
        "_expected": torch.stack(expected).mean(),
        "_came_true": torch.stack(nearest).mean(),
    }


@torch.no_grad()
def foretold(model: LatentVideoModel, batches: FutureBatches, num_batches: int = 8) -> dict[str, float]:
    """Of held-out steps: nats of what came by the odds told of it, and the mean square error of what is expected and of what came true."""
    found = [future_losses(model, batches(step), batches.config) for step in range(num_batches)]
    names = {"odds_nats": "odds", "expected": "_expected", "came_true": "_came_true"}
    return {name: round(float(torch.stack([losses[key] for losses in found]).mean()), 5) for name, key in names.items()}


def in_words(found: Mapping[str, float]) -> str:
    """What was `foretold`, for people."""
    return (
        f"Held out, of an imagined step: what is expected errs by {found['expected']:.4f}, the outcome that came true by "
        f"{found['came_true']:.4f} (mean square of a channel); the odds told of it cost {found['odds_nats']:.2f} nats."
    )
