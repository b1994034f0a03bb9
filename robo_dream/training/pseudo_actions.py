"""How much is learned from an action that a checkpoint told: as much as its label explains, and nothing where that is too little."""

import numpy as np
from jaxtyping import Float32, Int

from robo_dream.errors import DataError
from robo_dream.training.config import PseudoActions
from robo_dream.training.frames import Frames, true_episodes

_NEVER_VARIES = 1e-12  # of a variance, in squared units


def action_weights(cache: Frames, config: PseudoActions) -> Float32[np.ndarray, " frame"] | None:
    """For the action after each frame, from 0 to 1: 1 of true ones; None where all are true.

    What a label tells of a number is 1 - std^2 / variance, the R2 that it promises (0 for one that knows no more than the mean), and of an
    action the mean over its numbers. The variance is that of true actions, or where there are none, of what is told. Raises `DataError`
    where no label tells enough and there is no true action either.
    """
    if cache.action_std is None:
        return None
    actions, std = np.asarray(cache.actions, np.float64), np.asarray(cache.action_std, np.float64)
    is_true = ~std.any(1)
    bounds = np.asarray(cache.episode_starts, np.int64)
    sure = [np.arange(bounds[one], bounds[one + 1] - 1) for one in true_episodes(cache)]
    variance = actions[np.concatenate(sure)].var(0) if sure else actions.var(0) + np.square(std).mean(0)
    varies = variance > _NEVER_VARIES
    told = 1 - np.minimum(np.square(std[:, varies]) / variance[varies], 1)
    shares = told.mean(1) if varies.any() else np.ones(len(std))
    weights = np.where(shares >= config.least_told, shares if config.weighted else 1.0, 0.0)
    if not (sure or np.delete(weights, bounds[1:] - 1).any()):  # after an episode's last frame nothing was done
        raise DataError(
            f"no pseudo-action of {cache.dataset_id[:16]} tells more than {shares.max(initial=0.0):.2f} of the variance of actions, and "
            f"none is true; train the labeller on more episodes, or lower training.pseudo_actions.least_told ({config.least_told})"
        )
    return np.where(is_true, 1.0, weights).astype(np.float32)


def weights_after(
    weights: Float32[np.ndarray, " frame"] | None, first: Int[np.ndarray, " batch"], num_blocks: int, block: int
) -> Float32[np.ndarray, "batch horizon"] | None:
    """Of each of the `num_blocks` blocks that follow each first frame, the mean weight of its actions."""
    if weights is None:
        return None
    steps = first[:, None] + np.arange(num_blocks * block)
    return weights[steps].reshape(len(first), num_blocks, block).mean(-1)
