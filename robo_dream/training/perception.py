"""How far what is seen of pictures lies from what was there, where the encoder was not trained: who imitates poses should expect it."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from robo_dream.errors import DataError
from robo_dream.models.config import NUM_OBJECT
from robo_dream.models.heads import OBJECT_START, OBJECT_YAW, TOOL_YAW
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.frames import Frames, frame_index, known
from robo_dream.upload import uploaded


@dataclass(frozen=True)
class PerceptionErrors:
    """Errors of normalised poses in held-out pictures: `moved` is added, turns are multiplied by `turned`, as complex numbers.

    Where the encoder cannot tell a turn, it gives something near zero for its cosine and sine; so does a factor near zero.
    """

    moved: Float[Tensor, "picture pose"]
    turned: Complex[Tensor, "picture turn"]
    first: Int[np.ndarray, " picture"]  # of each picture's episode
    end: Int[np.ndarray, " picture"]

    def draw(self, rng: np.random.Generator, num: int) -> tuple[Int[np.ndarray, " num"], Int[np.ndarray, " num"]]:
        """Pictures for here and for the goal, of one episode: a thing that stays where it is is seen alike in both."""
        here = rng.integers(len(self.moved), size=num)
        first, end = self.first[here], self.end[here]
        return here, first + (rng.random(num) * (end - first)).astype(np.int64)

    def seen(self, poses: Float[Tensor, "row pose"], pictures: Int[np.ndarray, " row"]) -> Float[Tensor, "row pose"]:
        """`poses` with the errors of `pictures`; what stands beside poses stays as it is."""
        which, num_pose = uploaded(pictures, poses.device), self.moved.shape[1]
        erring = poses.clone()
        erring[:, :num_pose] += self.moved[which]
        turns = _turns(poses[:, :num_pose]) * self.turned[which]
        for number, place in enumerate(_places(num_pose)):
            erring[:, place] = torch.view_as_real(turns[:, number])
        return erring


def sighted_pictures(cache: Frames) -> Int[np.ndarray, " picture"]:
    """The held-out frames with a new picture and known poses. Raises `DataError` where there is none; cheap, to be asked beforehand."""
    pictures = np.zeros(0, np.int64) if np.all(cache.is_train) else frame_index(cache, 1, "test").frames
    pictures = pictures[known(np.asarray(cache.object_pose)[pictures])]
    if not len(pictures):
        raise DataError(
            f"no held-out picture of {cache.dataset_id} says where the object is, so how far the encoder errs is not known; "
            f"set training.policy.perception_noise=0, or hold episodes out when they are collected (test_fraction)"
        )
    return pictures


@torch.no_grad()
def perception_noise(
    model: LatentVideoModel, cache: Frames, latents: Float[Tensor, "frame channel"], poses: Float[Tensor, "frame pose"]
) -> PerceptionErrors:
    """Of `sighted_pictures`; the `latents` and normalised `poses` of all frames are given."""
    pictures = sighted_pictures(cache)
    chosen = torch.from_numpy(pictures).to(latents.device)
    seen, true = model.pose_head.normal(latents[chosen]).float(), poses[chosen]
    bounds = np.searchsorted(pictures, np.asarray(cache.episode_starts))
    episode = np.searchsorted(bounds, np.arange(len(pictures)), side="right") - 1
    return PerceptionErrors(seen - true, _turns(seen) / _turns(true), bounds[episode], bounds[episode + 1])


def _places(num_numbers: int) -> list[slice]:
    """Of cosine and sine in the numbers of a pose: the tool's, then every object's."""
    starts = [TOOL_YAW.start, *range(OBJECT_START + OBJECT_YAW.start, num_numbers, NUM_OBJECT)]
    return [slice(start, start + 2) for start in starts]


def _turns(poses: Float[Tensor, "row pose"]) -> Complex[Tensor, "row turn"]:
    return torch.stack([torch.view_as_complex(poses[:, place].contiguous()) for place in _places(poses.shape[-1])], -1)
