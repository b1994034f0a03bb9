"""What imagination promises of recorded actions, and what came of them: by how much a promise may be wrong. Nothing here reads a label."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from robo_dream.errors import DataError
from robo_dream.imagination import Belief, Goal, Imagination
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.frames import Frames, blocks_after
from robo_dream.training.inspection import Searched, require_fitting
from robo_dream.training.latents import encode_frames
from robo_dream.training.open_loop import held_out_windows

FEWEST_WINDOWS = 20  # of which a rare error can be told
NUM_WINDOWS = 256


@dataclass(frozen=True)
class Promises:
    """Of held-out windows, by one of the checkpoint's costs: what the recorded actions are imagined to cost, and what they did cost.

    Both as the model sees it: what came is the cost of the recorded pictures, encoded.
    """

    imagined: Float[np.ndarray, " window"]
    came: Float[np.ndarray, " window"]

    def too_much(self, fraction: float = 0.95) -> float:
        """What at most is promised too much in this fraction of windows; never below 0."""
        return max(0.0, float(np.quantile(self.came - self.imagined, fraction)))


@torch.no_grad()
def promises(model: LatentVideoModel, cache: Frames, searched: Searched, num_windows: int = NUM_WINDOWS, seed: int = 0) -> Promises:
    """Of up to `num_windows` windows, as long as is planned ahead, of the cache's held-out frames ("test").

    Goals are later frames of the same episode, one block to twice the horizon away. Raises `DataError` for frames that the model cannot
    take, or of which there are too few.
    """
    require_fitting(model, cache)
    block, horizon = model.action_block, searched.horizon
    windows = held_out_windows(cache, block, num_windows, horizon, seed)
    if len(windows) < FEWEST_WINDOWS:
        raise DataError(
            f"{cache.dataset_id[:16]} has {len(windows)} held-out windows of {horizon * block + 1} frames; "
            f"at least {FEWEST_WINDOWS} are needed: give more episodes, or longer ones"
        )
    ends = np.asarray(cache.episode_starts)[1:]
    last = ends[np.searchsorted(ends, windows, side="right")] - 1
    ahead = block * np.random.default_rng((seed, 17)).integers(1, 2 * horizon + 1, len(windows))
    goal = Goal(encode_frames(model, cache, np.minimum(windows + ahead, last)))
    belief = Belief(encode_frames(model, cache, windows))
    recorded = torch.from_numpy(blocks_after(np.asarray(cache.actions, np.float32), windows, horizon, block)).to(model.device)
    seen = torch.stack([encode_frames(model, cache, windows + step * block) for step in range(1, horizon + 1)], 1)[:, None]
    came = searched.cost(Imagination(seen, seen.new_zeros(seen.shape[:3])), goal).total[:, 0]
    imagined = searched.cost(model.imagine(belief, recorded.flatten(1, 2)[:, None]), goal).total[:, 0]
    return Promises(imagined.double().cpu().numpy(), came.double().cpu().numpy())
