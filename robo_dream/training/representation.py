"""Stage 1: the encoder and decoder, from windows of frames one action block apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from robo_dream.models import checkpoint
from robo_dream.models.encoder import to_float
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.bridge_targets import BridgeTargets, bridge_consistency, bridge_loss, bridge_targets
from robo_dream.training.config import TrainingConfig
from robo_dream.training.frames import (
    Frames,
    Turns,
    blocks_after,
    bootstrap_weights,
    frame_index,
    goal_frames,
    model_spec,
    normalised_actions,
    pictures,
    pose_labels,
)
from robo_dream.training.latents import mean_images, measure_scale
from robo_dream.training.losses import as_told, covariance_loss, ensemble_loss, pixel_loss, pose_loss, weighted_mean
from robo_dream.training.processes import ALONE, Processes, SharedBatchNorm
from robo_dream.training.pseudo_actions import action_weights, weights_after
from robo_dream.training.stage import MetricsLog, OnProgress, TrainingRun, run_stage, stage_of
from robo_dream.upload import uploaded

STAGE = "representation"
MODEL_FILE = "representation.safetensors"


@dataclass(frozen=True)
class Batch:
    """Windows of `frame` = unroll + 2 frames: the start, the frame after each action block, and a hindsight goal."""

    views: list[UInt8[Tensor, "batch frame height width 3"]]
    proprio: Float[Tensor, "batch frame proprio"]
    blocks: Float[Tensor, "batch horizon time action"]
    poses: Float[Tensor, "batch frame pose"]  # NaN where not known
    bootstrap: Float[Tensor, "head batch"]
    jitter: Float[Tensor, "view batch 2"]  # gain and offset
    bridge: BridgeTargets  # from the start to the goal
    seen: list[UInt8[Tensor, "batch frame height width 3"]] | None = None  # `views` through worse cameras: what the encoder is shown
    weights: Float[Tensor, "batch horizon"] | None = None  # of each block, where some are pseudo-actions
    among: Processes = ALONE  # who have the other rows of the whole batch


def train_representation(
    cache: Frames,
    config: TrainingConfig,
    run_dir: Path,
    *,
    init: Path | None = None,
    progress: OnProgress | None = None,
    resume: bool = True,
    processes: Processes = ALONE,
) -> LatentVideoModel:
    """The model with a trained encoder and decoder, also written to `run_dir`/representation.safetensors.

    With `init` it begins from that checkpoint's weights: see `checkpoint.load_fitting`.
    """
    torch_device, stage = torch.device(config.device), config.representation
    model = LatentVideoModel(model_spec(cache, config.model), config.seed)
    if init is not None:
        checkpoint.load_fitting(model, init)
    means, variances = mean_images(cache)
    for view, mean in zip(model.decoder.views, means, strict=True):
        view.get_buffer("mean_image").copy_(torch.from_numpy(mean))
    if processes.count > 1:
        model.encoder.scale = SharedBatchNorm(model.encoder.scale, processes)
    model = model.to(torch_device).train()
    batches = Batches(cache, config, processes)

    def losses(step: int) -> Mapping[str, Tensor]:
        return representation_losses(model, batches(step), config, variances, np.random.default_rng((config.seed, 10, step)))

    with MetricsLog(run_dir, config.tensorboard, processes.is_first) as log:
        run = TrainingRun(config, run_dir, log, progress, resume, processes)
        began = checkpoint.sha256(init) if init is not None else None
        run_stage(run, stage_of(STAGE, stage), model, [model], losses, cache.dataset_id, init=began)
    measure_scale(model, cache, config.seed)
    if processes.is_first:
        checkpoint.save(model, run_dir / MODEL_FILE, config.to_json(), cache.dataset_id, half=False)
    processes.wait()
    return model.eval()


class Batches:
    """The batch of any step, as a function of the step alone."""

    def __init__(self, cache: Frames, config: TrainingConfig, among: Processes = ALONE) -> None:
        self.cache, self.config, self.among = cache, config, among
        self.index = frame_index(cache, config.representation.unroll * config.model.action_block + 1)
        self.turns = Turns(cache, self.index.starts, config.representation.batch_windows, config.seed)
        self.poses = pose_labels(cache, config.model.object_symmetry)
        self.actions = normalised_actions(cache)
        self.weights = action_weights(cache, config.pseudo_actions)

    def __call__(self, step: int) -> Batch:
        stage, block, dream = self.config.representation, self.config.model.action_block, self.config.dream
        rng = np.random.default_rng((self.config.seed, 1, step))
        first = rng.choice(self.turns(step), stage.batch_windows)
        goals = goal_frames(rng, first, self.index.last[first], max(block, dream.shortest_goal), dream.longest_goal, self.index.every)
        frames = np.concatenate([first[:, None] + block * np.arange(stage.unroll + 1), goals[:, None]], 1)
        shifts = rng.integers(-stage.shift, stage.shift + 1, (len(self.cache.cameras), len(first), 1, 2)) if stage.shift else None
        jitter = rng.uniform(-1, 1, (len(self.cache.cameras), len(first), 2)) * stage.color_jitter + (1.0, 0.0)
        device, mine = self.config.device, self.among.rows(len(first))
        bridge = bridge_targets(rng, self.actions, first, goals, block, device, self.weights, self.among)
        shown = slice(None) if stage.camera_effects.is_on else mine  # what noise a picture has depends on those before it
        views = [
            torch.from_numpy(
                pictures(self.cache.images[name], frames[shown], None if shifts is None else shifts[i, shown].repeat(frames.shape[1], 1))
            )
            for i, name in enumerate(self.cache.cameras)
        ]
        seen = self._seen(views, step)
        if stage.camera_effects.is_on:
            views = [view[mine] for view in views]
        first, frames, jitter = first[mine], frames[mine], jitter[:, mine]
        poses, weights = self.poses[frames], weights_after(self.weights, first, stage.unroll, block)
        return Batch(
            [uploaded(view, device) for view in views],
            uploaded(np.asarray(self.cache.proprio, np.float32)[frames], device),
            uploaded(blocks_after(self.cache.actions, first, stage.unroll, block).astype(np.float32), device),
            uploaded(poses, device),
            uploaded(bootstrap_weights(first, self.config.model.num_heads, dream.bootstrap, self.config.seed), device),
            uploaded(jitter.astype(np.float32), device),
            bridge,
            None if seen is None else [uploaded(view[mine], device) for view in seen],
            None if weights is None else uploaded(weights, device),
            self.among,
        )

    def _seen(self, views: list[Tensor], step: int) -> list[Tensor] | None:
        """Each window through a camera of its own, whose noise is another in every frame. None where cameras have no effects."""
        effects = self.config.representation.camera_effects
        if not effects.is_on:
            return None
        rng = np.random.default_rng((self.config.seed, 12, step))  # of its own, so that nothing else is drawn otherwise
        worse = []
        for view in views:
            drawn = [effects.draw(rng) for _ in range(len(view))]
            pairs = zip(drawn, view.numpy(), strict=True)
            worse.append(torch.from_numpy(np.stack([[one.on(picture, rng) for picture in window] for one, window in pairs])))
        return worse


def representation_losses(
    model: LatentVideoModel, batch: Batch, config: TrainingConfig, variances: list[float], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Every weighted loss of one batch."""
    stage, horizon, among = config.representation, config.representation.unroll, batch.among
    clean = [to_float(view) for view in batch.views]  # (B, F, 3, H, W)
    entering = clean if batch.seen is None else [to_float(view) for view in batch.seen]
    jittered = [
        (view * jitter[:, :1, None, None, None] + jitter[:, 1:, None, None, None]).flatten(0, 1)
        for view, jitter in zip(entering, batch.jitter, strict=True)
    ]
    latents, by_eye = _encoded(model, jittered, batch.proprio)
    blocks = model.normalise_actions(batch.blocks).flatten(-2)  # (B, H, block)
    imagined, heads = model.dynamics.unroll(latents[:, 0], blocks)
    here, following = latents[:, :horizon], latents[:, 1 : horizon + 1]

    shown = uploaded(np.sort(rng.choice(latents.shape[1], min(stage.decoded_frames, latents.shape[1]), replace=False)), latents.device)
    ahead = int(rng.integers(horizon))
    drawn = model.decoder(torch.cat([latents[:, shown].flatten(0, 1), imagined[:, ahead]]))
    real, dreamt = [], []
    num_real = len(shown) * len(latents)
    for view, picture, pixels, variance in zip(model.decoder.views, drawn, clean, variances, strict=True):
        mean = view.get_buffer("mean_image")
        real.append(pixel_loss(picture[:num_real], pixels[:, shown].flatten(0, 1), mean, variance, stage.pixel_focus, among))
        dreamt.append(pixel_loss(picture[num_real:], pixels[:, ahead + 1], mean, variance, stage.pixel_focus, among))

    weights = batch.weights
    density = model.policy(model.seen(latents[:, 0]), model.seen(latents[:, -1])).log_density(blocks[:, 0])
    losses = {
        "reconstruction": stage.reconstruction * torch.stack(real).mean(),
        "prediction": stage.prediction * torch.stack(dreamt).mean(),
        "latent": stage.latent * ensemble_loss(heads, following, as_told(batch.bootstrap, weights, among)),
        "inverse_dynamics": stage.inverse_dynamics
        * weighted_mean(
            (model.inverse_dynamics(here, following).float() - blocks).square(), None if weights is None else weights[..., None], among
        ),
        "bridge": stage.bridge * bridge_loss(model.inverse_dynamics, latents[:, 0], latents[:, -1], batch.bridge, among),
        "goal_policy": stage.goal_policy * -weighted_mean(density, None if weights is None else weights[:, 0], among) / blocks.shape[-1],
        "covariance": stage.covariance * covariance_loss(latents.flatten(0, 1), among),
        "_copy_latent": (following - latents[:, :1]).square().mean().detach(),
    }
    if stage.bridge_consistency > 0:
        apart = bridge_consistency(latents[:, : horizon + 1], latents[:, -1], batch.bridge.steps, model.action_block, among)
        losses["bridge_consistency"] = stage.bridge_consistency * apart
    if stage.pose > 0:
        desired = model.pose_head.normalise(batch.poses)
        told = pose_loss(model.pose_head.normal(latents.flatten(0, 1)), desired.flatten(0, 1), among)
        losses["pose"] = stage.pose * told
    if by_eye is not None:
        losses["picture_goals"] = (by_eye - latents[:, -1].detach()).square().mean()
        if stage.pose > 0:
            told = pose_loss(model.pose_head.normal(by_eye), desired[:, -1], among)
            losses["picture_goals"] = losses["picture_goals"] + stage.pose * told
    return losses


def _encoded(
    model: LatentVideoModel, views: list[Float[Tensor, "row 3 height width"]], proprio: Float[Tensor, "batch frame proprio"]
) -> tuple[Float[Tensor, "batch frame channel"], Float[Tensor, "batch channel"] | None]:
    """Latents of all frames; and with `picture_goals` of each last one also without its proprioception."""
    encoder, shape = model.encoder, proprio.shape[:2]
    if not model.spec.config.picture_goals:
        return encoder(views, proprio.flatten(0, 1)).unflatten(0, shape), None
    seen = encoder.look(views)
    last = seen.unflatten(0, shape)[:, -1]
    joined = encoder.join(torch.cat([seen, last]), torch.cat([proprio.flatten(0, 1), torch.full_like(proprio[:, -1], torch.nan)]))
    latents = encoder.scale(joined.float())
    return latents[: len(seen)].unflatten(0, shape), latents[len(seen) :]
