"""Batches of latents for stage 2, each a function of the step alone."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robo_dream.models.pose_head import OBJECT_POS
from robo_dream.training.bridge_targets import BridgeTargets, bridge_targets
from robo_dream.training.config import TrainingConfig
from robo_dream.training.frames import Frames, blocks_after, bootstrap_weights, frame_index, goal_frames, known, normalised_actions, returns
from robo_dream.training.labels import object_numbers, pose_labels

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
    poses: Float[Tensor, "twice pose"]  # of `latents[:, 0]`, then of the frames imagined at `pose_step`
    object_known: Bool[Tensor, " twice"]
    bridge_goals: Float[Tensor, "batch channel"]  # some way after `latents[:, 0]`
    bridge: BridgeTargets


class DreamBatches:
    """The batch of any step, gathered from latents of the whole cache."""

    def __init__(self, cache: Frames, config: TrainingConfig, latents: Float[Tensor, "frame channel"]) -> None:
        self.config, self.latents, block = config, latents, config.model.action_block
        self.index = frame_index(cache, config.dream.unroll * block + 1)
        self.short = frame_index(cache, block + 1)
        self.actions = normalised_actions(cache)
        self.poses = pose_labels(cache, config.model.object_symmetry)
        self.returns = returns(cache, self.poses[:, :3], object_numbers(self.poses)[..., OBJECT_POS], 2 * block)

    @property
    def num_returns(self) -> int:
        """How many of a batch's goals are ones to which the hand returns; 0 where the data has none."""
        return round(self.config.dream.returns * self.config.dream.batch) if len(self.returns) else 0

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
        first = rng.choice(self.index.starts, stage.batch)
        latents, blocks = self.windows(first)
        pose_step = int(rng.integers(stage.unroll))
        posed = np.concatenate([first, first + block * (pose_step + 1)])
        here, aims, steps = self._distances(rng)
        shortest, every = max(block, stage.shortest_goal), self.index.every
        ahead = goal_frames(rng, first, self.index.last[first], shortest, stage.longest_goal, every)
        return DreamBatch(
            latents, blocks, self._tensor(bootstrap_weights(first, self.config.model.num_heads, stage.bootstrap, self.config.seed)),
            self._at(here), self._at(here + block), self._at(aims), self._tensor(steps),
            pose_step, self._tensor(self.poses[posed]), torch.from_numpy(known(self.poses[posed])).to(self.latents.device),
            self._at(ahead), bridge_targets(rng, self.actions, first, ahead, block, self.latents.device),
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
        return self.latents[torch.from_numpy(frames).to(self.latents.device)]

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.latents.device)
