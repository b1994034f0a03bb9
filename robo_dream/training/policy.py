"""Starts and hindsight goals for the policy: what was done there was meant to lead where it led."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robo_dream.errors import DataError
from robo_dream.models.config import NUM_OBJECT, NUM_TOOL
from robo_dream.models.heads import OBJECT_POS, OBJECT_YAW
from robo_dream.training.config import TrainingConfig
from robo_dream.training.frames import (
    Frames,
    blocks_after,
    frame_index,
    goal_frames,
    known,
    normalised_actions,
    object_numbers,
    pose_labels,
    skill_ends,
)
from robo_dream.training.perception import PerceptionErrors
from robo_dream.training.processes import ALONE, Processes
from robo_dream.training.pseudo_actions import action_weights, weights_after
from robo_dream.upload import uploaded


@dataclass(frozen=True)
class InverseBatch:
    """Pairs and the action block between them."""

    seen: Float[Tensor, "batch number"]
    goals: Float[Tensor, "batch number"]
    blocks: Float[Tensor, "batch block"]  # normalised, from `seen` on
    weights: Float[Tensor, " batch"]  # 0 where nothing was done far from the goal, and where poses are not known; see `action_weights`
    among: Processes = ALONE  # who have the other rows of the whole batch

    def share(self, among: Processes) -> "InverseBatch":
        """The rows of this process, of a whole batch."""
        mine = among.rows(len(self.seen))
        return InverseBatch(self.seen[mine], self.goals[mine], self.blocks[mine], self.weights[mine], among)


def imitated_frames(cache: Frames, config: TrainingConfig) -> Int[np.ndarray, " start"]:
    """Training frames whose actions are imitated; raises `DataError` where the policy could not learn from this data.

    Where skills are chosen, a whole block must be of one. Cheap, so that a long training can ask before it begins.
    """
    skills, block = config.policy.skills, config.model.action_block
    starts = frame_index(cache, block + 1).starts
    unknown = sorted(set(skills) - set(cache.skills))
    if unknown:
        raise DataError(
            f"training.policy.skills names {unknown}, which {cache.dataset_id} does not have; it has {list(cache.skills)}: "
            f"name some of these, or none to imitate all"
        )
    chosen = starts[np.isin(np.asarray(cache.skill)[starts], [cache.skills.index(skill) for skill in skills or cache.skills])]
    if skills:
        chosen = chosen[skill_ends(cache)[chosen] >= chosen + block]
    if not len(chosen):
        raise DataError(f"no training frame of {cache.dataset_id} has one of the skills {list(skills)}; record some, or name others")
    poses = np.asarray(cache.object_pose)[chosen]
    if config.model.policy_input != "latents" and not known(poses.reshape(len(poses), -1, 7)).any(0).all():
        raise DataError(
            f"no frame of {cache.dataset_id} says where the object is, or one of several, so the policy cannot learn from poses; "
            f"set training.model.policy_input=latents"
        )
    return chosen


class PolicyBatches:
    """The batch of any step, a function of the step alone.

    Hindsight (Andrychowicz et al. 2017) calls every later frame a goal. Where skills follow one another at random most of those
    have little to do with what was done, so most goals are taken from within the skill under way, many from its very end: the
    one that was meant.
    """

    def __init__(
        self,
        cache: Frames,
        config: TrainingConfig,
        seen: Float[Tensor, "frame number"],
        errors: PerceptionErrors | None = None,
        is_seen: Bool[Tensor, "frame number"] | None = None,
        among: Processes = ALONE,
    ) -> None:
        """`seen` are true poses where `errors` are given, with which `config.policy.perception_noise` of the pairs are seen.

        But for numbers of `is_seen`, which err by themselves.
        """
        self.config, self.seen, self.errors, block = config, seen, errors, config.model.action_block
        self.among = among
        self.is_seen = torch.zeros_like(seen, dtype=torch.bool) if is_seen is None else is_seen
        self.starts = imitated_frames(cache, config)
        self.index, self.ends = frame_index(cache, block + 1), skill_ends(cache)
        self.actions, self.poses = normalised_actions(cache), pose_labels(cache, config.model.object_symmetry)
        self.action_weights = action_weights(cache, config.pseudo_actions)

    def __call__(self, step: int) -> InverseBatch:
        rng = np.random.default_rng((self.config.seed, 6, step))
        start, goals = self.pairs(rng, self.config.policy.batch)
        return self.batch(rng, start, goals).share(self.among)

    def pairs(self, rng: np.random.Generator, num: int) -> tuple[Int[np.ndarray, " batch"], Int[np.ndarray, " batch"]]:
        """Frames at which something is imitated, and what was meant by it: later ones."""
        stage, block = self.config.policy, self.config.model.action_block
        start = rng.choice(self.starts, num)
        last = np.where(rng.random(len(start)) < stage.within_skill, self.ends[start], self.index.last[start])
        last -= (last - start) % self.index.every
        goals = goal_frames(rng, start, last, max(block, stage.shortest_goal), stage.longest_goal, self.index.every)
        return start, np.where(rng.random(len(start)) < stage.at_end, last, goals)

    def batch(self, rng: np.random.Generator, start: Int[np.ndarray, " batch"], goals: Int[np.ndarray, " batch"]) -> InverseBatch:
        """These pairs, seen with errors where they are asked for."""
        stage, block = self.config.policy, self.config.model.action_block
        is_idle = ~self._differ(start, start + block) & self._differ(start, goals)
        seen, desired = self.at(start), self.at(goals)
        if stage.hand_elsewhere > 0:
            desired = self._hand_elsewhere(rng, start, goals, desired)
        if stage.others_elsewhere > 0:
            seen, desired = self._others_elsewhere(rng, start, goals, seen, desired)
        is_told = (seen.isfinite() & desired.isfinite()).all(-1)  # not so where joints tell poses
        seen, desired = seen.nan_to_num(), desired.nan_to_num()
        if self.errors is not None:
            here, there = self.errors.draw(rng, len(start))
            errs = uploaded(rng.random(len(start)) < stage.perception_noise, seen.device)[:, None]
            at_start, at_goal = (self.is_seen[uploaded(frames, seen.device)] for frames in (start, goals))
            seen, desired = (
                torch.where(errs & ~at_start, self.errors.seen(seen, here), seen),
                torch.where(errs & ~at_goal, self.errors.seen(desired, there), desired),
            )
        if stage.latent_noise > 0:
            seen, desired = (values + self._noise(rng, values) for values in (seen, desired))
        weights = self._tensor(np.where(is_idle, 0.0, 1.0).astype(np.float32)) * is_told
        if (told := weights_after(self.action_weights, start, 1, block)) is not None:
            weights = weights * self._tensor(told[:, 0])
        return InverseBatch(
            seen, desired, self._tensor(blocks_after(self.actions, start, 1, block).reshape(len(start), -1)), weights,
        )  # fmt: skip

    def _hand_elsewhere(
        self,
        rng: np.random.Generator,
        start: Int[np.ndarray, " batch"],
        goals: Int[np.ndarray, " batch"],
        desired: Float[Tensor, "batch number"],
    ) -> Float[Tensor, "batch number"]:
        """`desired`, of some goals to which a thing is moved with the hand of another frame: who asks for a thing shows it anywhere."""
        is_other = (rng.random(len(start)) < self.config.policy.hand_elsewhere) & self._moves(start, goals).any(-1)
        hand = self.at(rng.choice(self.starts, len(start)))[:, :NUM_TOOL]
        hand = torch.where(uploaded(is_other, desired.device)[:, None] & hand.isfinite(), hand, desired[:, :NUM_TOOL])
        return torch.cat([hand, desired[:, NUM_TOOL:]], -1)

    def _others_elsewhere(
        self,
        rng: np.random.Generator,
        start: Int[np.ndarray, " batch"],
        goals: Int[np.ndarray, " batch"],
        seen: Float[Tensor, "batch number"],
        desired: Float[Tensor, "batch number"],
    ) -> tuple[Float[Tensor, "batch number"], Float[Tensor, "batch number"]]:
        """Both, of some pairs with everything that is not moved as it stood at another frame: it is nothing to how a thing is moved.

        Counterfactual data augmentation (Pitis, Creager and Garg 2020, arXiv 2007.02863).
        """
        is_other = (rng.random(len(start)) < self.config.policy.others_elsewhere)[:, None] & ~self._moves(start, goals)
        swapped = np.concatenate([np.zeros((len(start), NUM_TOOL), bool), np.repeat(is_other, NUM_OBJECT, 1)], -1)
        stood = self.at(rng.choice(self.starts, len(start)))
        chosen = uploaded(swapped, seen.device) & stood.isfinite()
        return torch.where(chosen, stood, seen), torch.where(chosen, stood, desired)

    def _moves(self, one: Int[np.ndarray, " batch"], other: Int[np.ndarray, " batch"]) -> Bool[np.ndarray, "batch thing"]:
        """Which things are elsewhere, or may be: by 1 cm, or 18 degrees of a box."""
        apart = object_numbers(np.abs(self.poses[one] - self.poses[other]))
        stays = (np.linalg.norm(apart[..., OBJECT_POS], axis=-1) < 0.01) & (np.linalg.norm(apart[..., OBJECT_YAW], axis=-1) < 0.6)
        return np.asarray(~stays)  # NaN is not told

    def _differ(self, one: Int[np.ndarray, " batch"], other: Int[np.ndarray, " batch"]) -> Bool[np.ndarray, " batch"]:
        """Whether tool, gripper or an object are elsewhere: by 1 cm, 0.1 rad of the tool, 0.1 of closure or 9 degrees of a box."""
        apart = np.abs(self.poses[one] - self.poses[other])
        tool, turn = np.linalg.norm(apart[:, :3], axis=-1), np.linalg.norm(apart[:, 3:5], axis=-1)
        things, faces = object_numbers(apart)[..., OBJECT_POS], object_numbers(apart)[..., OBJECT_YAW]
        moved = ((np.linalg.norm(things, axis=-1) > 0.01) | (np.linalg.norm(faces, axis=-1) > 0.6)).any(-1)  # NaN is no move
        return np.asarray((tool > 0.01) | (turn > 0.1) | (apart[:, 5] > 0.1) | moved)

    def _noise(self, rng: np.random.Generator, values: Float[Tensor, "batch number"]) -> Float[Tensor, "batch number"]:
        """Of what stands beside poses."""
        noise = np.zeros(values.shape, np.float32)
        num_pose = self.poses.shape[1]
        noise[:, num_pose:] = self.config.policy.latent_noise * rng.normal(size=(len(noise), noise.shape[1] - num_pose))
        return self._tensor(noise)

    def at(self, frames: Int[np.ndarray, "*batch"]) -> Float[Tensor, "*batch number"]:
        """What is seen at these frames, without errors; NaN where joints do not tell it."""
        return self.seen[uploaded(frames, self.seen.device)]

    def _tensor(self, values: np.ndarray) -> Tensor:
        return uploaded(np.ascontiguousarray(values), self.seen.device)
