"""Batches of latents for stage 2, each a function of the step alone."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robo_dream.models import checkpoint
from robo_dream.models.encoder import to_float
from robo_dream.models.heads import OBJECT_POS, TemporalDistance
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.bridge_targets import BridgeTargets, bridge_loss, bridge_targets
from robo_dream.training.config import TrainingConfig
from robo_dream.training.frames import (
    Frames,
    Turns,
    blocks_after,
    bootstrap_weights,
    frame_index,
    goal_frames,
    last_pictures,
    normalised_actions,
    object_numbers,
    pictures,
    pose_labels,
    returns,
)
from robo_dream.training.latents import encode_frames, mean_images
from robo_dream.training.local_goals import learn_local_goals
from robo_dream.training.losses import as_told, ensemble_loss, expectile_loss, likelihood_loss, pixel_loss, pose_loss, weighted_mean
from robo_dream.training.metrics import held_out_metrics
from robo_dream.training.moves import learn_moves
from robo_dream.training.perception import perception_noise
from robo_dream.training.policy import InverseBatch, PolicyBatches
from robo_dream.training.priority import sha256_of, window_chances
from robo_dream.training.processes import ALONE, Processes
from robo_dream.training.pseudo_actions import action_weights, weights_after
from robo_dream.training.representation import MODEL_FILE as REPRESENTATION_FILE
from robo_dream.training.stage import MOVES, MetricsLog, OnProgress, Stage, TrainingRun, run_stage, stage_of
from robo_dream.upload import uploaded

NEVER = 10**6  # control steps to a goal that this episode does not reach


@dataclass(frozen=True)
class DreamBatch:
    """Windows for the dynamics, triples for the distance and pairs for the bridge, all in latents."""

    latents: Float[Tensor, "batch frame channel"]  # the start and the frame after each action block
    blocks: Float[Tensor, "batch horizon block"]
    bootstrap: Float[Tensor, "head batch"]
    distance_latents: Float[Tensor, "batch channel"]
    following: Float[Tensor, "batch channel"]  # one action block after `distance_latents`
    distance_goals: Float[Tensor, "batch channel"]
    steps_to_goal: Float[Tensor, " batch"]  # control steps, or very many
    pose_step: int
    poses: Float[Tensor, "twice pose"]  # of `latents[:, 0]`, then of the frames imagined at `pose_step`; NaN where not known
    bridge_goals: Float[Tensor, "batch channel"]  # some way after `latents[:, 0]`
    bridge: BridgeTargets
    weights: Float[Tensor, "batch horizon"] | None = None  # of each block, where some are pseudo-actions
    among: Processes = ALONE  # who have the other rows of the whole batch


class DreamBatches:
    """The batch of any step, gathered from latents of the whole cache."""

    def __init__(
        self,
        cache: Frames,
        config: TrainingConfig,
        latents: Float[Tensor, "frame channel"],
        among: Processes = ALONE,
        chances: Float[np.ndarray, " frame"] | None = None,
    ) -> None:
        """`chances` says how likely a window of the dynamics begins at each frame, in any unit; None: at each as likely as at another."""
        self.config, self.latents, self.among, block = config, latents, among, config.model.action_block
        self.index = frame_index(cache, config.dream.unroll * block + 1)
        self.chances = None if chances is None else window_chances(chances, self.index.starts)
        self.short = frame_index(cache, block + 1)
        self.actions = normalised_actions(cache)
        self.weights = action_weights(cache, config.pseudo_actions)
        self.poses = pose_labels(cache, config.model.object_symmetry)
        self.returns = returns(cache, self.poses[:, :3], object_numbers(self.poses)[..., OBJECT_POS], 2 * block)

    @property
    def num_returns(self) -> int:
        """How many of a batch's goals are ones to which the gripper returns; 0 where the data has none."""
        return round(self.config.dream.returning_goals * self.config.dream.batch) if len(self.returns) else 0

    def windows(
        self, first: Int[np.ndarray, " batch"]
    ) -> tuple[Float[Tensor, "batch frame channel"], Float[Tensor, "batch horizon block"]]:
        """Latents at and after each action block, and the normalised blocks."""
        horizon, block = self.config.dream.unroll, self.config.model.action_block
        frames = first[:, None] + block * np.arange(horizon + 1)
        return self._at(frames), self._tensor(blocks_after(self.actions, first, horizon, block).reshape(len(first), horizon, -1))

    def __call__(self, step: int) -> DreamBatch:
        stage, block = self.config.dream, self.config.model.action_block
        rng = np.random.default_rng((self.config.seed, 2, step))
        first = rng.choice(self.index.starts, stage.batch, p=self.chances)
        pose_step = int(rng.integers(stage.unroll))
        here, aims, steps = self._distances(rng)
        shortest, every = max(block, stage.shortest_goal), self.index.every
        ahead = goal_frames(rng, first, self.index.last[first], shortest, stage.longest_goal, every)
        bridge = bridge_targets(rng, self.actions, first, ahead, block, self.latents.device, self.weights, self.among)
        mine = self.among.rows(stage.batch)
        first, ahead, here, aims, steps = (whole[mine] for whole in (first, ahead, here, aims, steps))
        latents, blocks = self.windows(first)
        posed = np.concatenate([first, first + block * (pose_step + 1)])
        weights = weights_after(self.weights, first, stage.unroll, block)
        return DreamBatch(
            latents, blocks, self._tensor(bootstrap_weights(first, self.config.model.num_heads, stage.bootstrap, self.config.seed)),
            self._at(here), self._at(here + block), self._at(aims), self._tensor(steps),
            pose_step, self._tensor(self.poses[posed]),
            self._at(ahead), bridge, None if weights is None else self._tensor(weights), self.among,
        )  # fmt: skip

    def _distances(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Starts, goal frames (later ones of the episode, random ones, the start itself) and the steps between them."""
        stage = self.config.dream
        here = rng.choice(self.short.starts, stage.batch)
        later = goal_frames(rng, here, self.index.last[here], self.index.every, 2 * stage.longest_goal, self.index.every)
        kind, anywhere = rng.random(len(here)), rng.choice(self.short.frames, len(here))
        is_random, is_same = kind < stage.random_goals, kind > 1 - stage.same_goals
        goals = np.where(is_random, anywhere, np.where(is_same, here, later))
        steps = np.where(is_random, NEVER, goals - here).astype(np.float32)
        if count := self.num_returns:
            here[:count], goals[:count] = self.returns[rng.integers(len(self.returns), size=count)].T
            steps[:count] = goals[:count] - here[:count]
        return here, goals, steps

    def _at(self, frames: np.ndarray) -> Tensor:
        return self.latents[uploaded(frames, self.latents.device)]

    def _tensor(self, values: np.ndarray) -> Tensor:
        return uploaded(np.ascontiguousarray(values), self.latents.device)


STAGE, POLICY_STAGE, DECODER_STAGE = "dream", "policy", "decoder"
MODEL_FILE = "model.safetensors"
SEEN_ROWS = 8192


def train_dream(
    cache: Frames,
    config: TrainingConfig,
    run_dir: Path,
    *,
    demonstrations: Frames | None = None,
    progress: OnProgress | None = None,
    resume: bool = True,
    processes: Processes = ALONE,
    chances: Float[np.ndarray, " frame"] | None = None,
) -> LatentVideoModel:
    """The finished model, also written with held-out metrics to `run_dir`/model.safetensors (matrices as float16).

    Begins from `run_dir`/representation.safetensors, whose encoder stays as it is. The policy imitates `demonstrations`,
    of which it sees the recorded poses, or else `cache`, seen as `model.seen` says. `progress` counts up to six times: frames encoded,
    steps of the dream, of the policy, of the decoder, of local goals, of moves. For `chances` see `DreamBatches`.
    """
    model = checkpoint.load(run_dir / REPRESENTATION_FILE, config.device).requires_grad_(True)
    latents = encode_frames(model, cache, progress=progress, processes=processes)
    batches = DreamBatches(cache, config, latents, processes, chances)
    stage, parts = config.dream, nn.ModuleDict({"model": model, "target": copy.deepcopy(model.temporal_distance)})
    target = parts["target"].requires_grad_(False)
    assert isinstance(target, TemporalDistance)

    def follow() -> None:
        for slow, fast in zip(target.parameters(), model.temporal_distance.parameters(), strict=True):
            slow.data.lerp_(fast.data, stage.target_rate)

    def losses(step: int) -> Mapping[str, Tensor]:
        return dream_losses(model, target, batches(step), config)

    turns = Turns(cache, batches.index.starts, config.dream.decoder_batch, config.seed)

    def decoder_losses(step: int) -> Mapping[str, Tensor]:
        return _decoder_losses(model, cache, batches, turns(step), config, variances, step)

    with MetricsLog(run_dir, config.tensorboard, processes.is_first) as log:
        run = TrainingRun(config, run_dir, log, progress, resume, processes)
        learned = [model.dynamics, model.inverse_dynamics, model.temporal_distance, model.pose_head]
        drawn_from = cache.dataset_id if chances is None else f"{cache.dataset_id} weighed {sha256_of(chances)}"
        run_stage(run, stage_of(STAGE, stage), parts, learned, losses, drawn_from, after_step=follow)
        pairs, pairs_id = policy_batches(model, cache, demonstrations, latents, config, processes), (demonstrations or cache).dataset_id
        run_stage(
            run, stage_of(POLICY_STAGE, config.policy), model, [model.policy], lambda step: policy_losses(model, pairs(step)), pairs_id
        )
        if stage.decoder_steps > 0:
            variances = mean_images(cache)[1]
            drawn = Stage(DECODER_STAGE, stage.decoder_steps, stage.decoder_learning_rate, 0.0, stage.warmup, stage.weight_decay)
            run_stage(run, drawn, model, [model.decoder], decoder_losses, cache.dataset_id)
        if config.local_goals is not None:
            model = learn_local_goals(run, model, pairs, config.local_goals, pairs_id)
        found = {}
        if config.moves is not None:
            model, found[MOVES] = learn_moves(run, model, cache, config.moves)
        model = model.eval().requires_grad_(False)
        if processes.is_first:
            metrics = held_out_metrics(model, cache, config.evaluation_windows, config.seed) if not np.all(cache.is_train) else {}
            metrics |= found
            log.write("held_out", stage.steps, metrics)
            checkpoint.save(model, run_dir / MODEL_FILE, config.to_json(), cache.dataset_id, metrics)
    processes.wait()
    return checkpoint.load(run_dir / MODEL_FILE, config.device)  # what was released, float16 rounding included


def add_local_goals(
    cache: Frames,
    config: TrainingConfig,
    run_dir: Path,
    init: Path,
    *,
    demonstrations: Frames | None = None,
    progress: OnProgress | None = None,
    resume: bool = True,
    processes: Processes = ALONE,
) -> LatentVideoModel:
    """The finished checkpoint `init` with local goals, also written to `run_dir`/model.safetensors; all else of it is as it was.

    It learns from what the policy would see of `demonstrations`, or of `cache`. `progress` counts twice: frames encoded, steps.
    """
    assert config.local_goals is not None, "say how local goals are learned"
    info, model = checkpoint.read_info(init), checkpoint.load(init, config.device)
    latents = encode_frames(model, cache, progress=progress, processes=processes)
    pairs = policy_batches(model, cache, demonstrations, latents, config, processes)
    with MetricsLog(run_dir, config.tensorboard, processes.is_first) as log:
        run = TrainingRun(config, run_dir, log, progress, resume, processes)
        found = learn_local_goals(run, model, pairs, config.local_goals, (demonstrations or cache).dataset_id, checkpoint.sha256(init))
    if processes.is_first:
        checkpoint.save(found, run_dir / MODEL_FILE, info.recipe, info.dataset_id, info.metrics, settings=info.settings)
    processes.wait()
    return checkpoint.load(run_dir / MODEL_FILE, config.device)


@torch.no_grad()
def policy_batches(
    model: LatentVideoModel,
    cache: Frames,
    demonstrations: Frames | None,
    latents: Float[Tensor, "frame channel"],
    config: TrainingConfig,
    among: Processes = ALONE,
) -> PolicyBatches:
    """Of what is imitated: `demonstrations`, seen with the encoder's errors if that is asked for, or what was seen of `cache`.

    Where `demonstrations` are the frames of `cache` and do not tell where all things are, it is what was seen in the picture: failures
    are such frames, and who never saw one does not know the way out. Until the next picture the last one tells of these things.
    """
    if demonstrations is None:
        return PolicyBatches(cache, config, _all_seen(model, latents), among=among)
    erring = config.policy.perception_noise > 0
    errors = perception_noise(model, cache, latents, demonstrated_poses(model, cache)) if erring else None
    poses, is_seen = demonstrated_poses(model, demonstrations), None
    if demonstrations.dataset_id == cache.dataset_id:
        is_seen = ~poses.isfinite()
        shown = torch.from_numpy(last_pictures(cache)).to(poses.device)
        is_new = shown == torch.arange(len(poses), device=poses.device)
        is_seen |= (is_new & is_seen.any(-1))[:, None]  # one look tells all
        looked = _all_seen(model, latents)[shown]
        beside = torch.zeros_like(looked[:, poses.shape[1] :])  # latents, where the policy sees these too
        is_seen = torch.cat([is_seen, torch.ones_like(beside, dtype=torch.bool)], -1)
        poses = torch.where(is_seen, looked, torch.cat([poses, beside], -1))
    return PolicyBatches(demonstrations, config, poses, errors, is_seen, among)


def _all_seen(model: LatentVideoModel, latents: Float[Tensor, "frame channel"]) -> Float[Tensor, "frame number"]:
    return torch.cat([model.seen(some).float() for some in latents.split(SEEN_ROWS)])


def demonstrated_poses(model: LatentVideoModel, demonstrations: Frames) -> Float[Tensor, "frame pose"]:
    """The recorded pose of every frame, as the policy sees poses: normalised."""
    labels = pose_labels(demonstrations, model.spec.config.object_symmetry)
    return model.pose_head.normalise(torch.from_numpy(labels).to(model.device))


def dream_losses(model: LatentVideoModel, target: TemporalDistance, batch: DreamBatch, config: TrainingConfig) -> dict[str, Tensor]:
    """Every weighted loss of one batch of latents."""
    stage, block, discount, among = config.dream, config.model.action_block, config.model.discount, batch.among
    imagined, heads = model.dynamics.unroll(batch.latents[:, 0], batch.blocks)
    following = batch.latents[:, 1:]
    with torch.no_grad():
        nearer = (1 - discount**block) + discount**block * target.discounted(batch.following, batch.distance_goals)
        desired = torch.where(batch.steps_to_goal <= block, 1 - discount**batch.steps_to_goal, nearer)
    reached = model.temporal_distance.discounted(batch.distance_latents, batch.distance_goals)
    neighbours = model.inverse_dynamics(batch.latents[:, 0], batch.latents[:, 1])
    poses = torch.cat([batch.latents[:, 0], imagined[:, batch.pose_step].detach()])
    return {
        "dynamics": ensemble_loss(heads, following, as_told(batch.bootstrap, batch.weights, among)),
        "inverse_dynamics": weighted_mean(
            (neighbours.float() - batch.blocks[:, 0]).square(), None if batch.weights is None else batch.weights[:, :1], among
        ),
        "bridge": stage.bridge * bridge_loss(model.inverse_dynamics, batch.latents[:, 0], batch.bridge_goals, batch.bridge, among),
        "distance": 10.0 * expectile_loss(reached, desired, stage.expectile),
        "pose": stage.pose * pose_loss(model.pose_head.normal(poses), model.pose_head.normalise(batch.poses), among),
        "_first_step": (imagined[:, 0].float() - following[:, 0]).square().mean().detach(),
        "_last_step": (imagined[:, -1].float() - following[:, -1]).square().mean().detach(),
        "_copy_last": (following[:, -1] - batch.latents[:, 0]).square().mean().detach(),
    }


def policy_losses(model: LatentVideoModel, batch: InverseBatch) -> dict[str, Tensor]:
    """Nats for each number of the action block."""
    density = model.policy(batch.seen, batch.goals).log_density(batch.blocks)
    return {"goal_policy": likelihood_loss(density, batch.weights, batch.blocks.shape[-1], batch.among)}


def _decoder_losses(
    model: LatentVideoModel,
    cache: Frames,
    batches: DreamBatches,
    starts: Int[np.ndarray, " window"],
    config: TrainingConfig,
    variances: list[float],
    step: int,
) -> dict[str, Tensor]:
    """Pictures of real latents and of latents imagined some steps ahead, half and half."""
    rng = np.random.default_rng((config.seed, 4, step))
    first = rng.choice(starts, config.dream.decoder_batch)
    ahead, mine = int(rng.integers(config.dream.unroll)) + 1, batches.among.rows(len(first))
    half = min(max(len(first) // 2 - mine.start, 0), mine.stop - mine.start)
    first = first[mine]
    latents, blocks = batches.windows(first)
    with torch.no_grad():
        imagined, _ = model.dynamics.unroll(latents[:, 0], blocks[:, :ahead])
        shown = torch.cat([latents[:half, ahead], imagined[half:, -1].float()])
    frames = first + ahead * config.model.action_block
    losses = []
    for name, view, picture, variance in zip(model.cameras, model.decoder.views, model.decoder(shown), variances, strict=True):
        pixels = to_float(uploaded(pictures(cache.images[name], frames), model.device))
        losses.append(
            pixel_loss(picture, pixels, view.get_buffer("mean_image"), variance, config.representation.pixel_focus, batches.among)
        )
    return {"pictures": torch.stack(losses).mean()}
