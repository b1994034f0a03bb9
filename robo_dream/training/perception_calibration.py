"""What a model's residuals are like in moments that it did not learn from: the perception check, calibrated on recordings.

Pictures, joints and actions are all that is read, so any recording of the usual scene will do.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

from robo_dream.errors import DataError
from robo_dream.models.perception_check import PerceptionCalibration, residual_names, residuals
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.frames import Frames

FEWEST_EPISODES = 4
_BATCH = 64  # moments at once
_FINEST = 64  # of the oddest moments each keeps its own share; below, shares go down by a twentieth
_COARSER = 0.95
_DIGITS = 6
_LEAST_RANGE = 1e-6  # between median and 95th percentile


def calibrate_perception(model: LatentVideoModel, cache: Frames) -> PerceptionCalibration:
    """From every episode of `cache`: every other one says what is usual, the rest how odd usual moments are.

    Moments in which a slow camera has no new picture are left out. Raises `DataError` where there are too few episodes.
    """
    bounds = np.asarray(cache.episode_starts)
    if len(bounds) <= FEWEST_EPISODES:
        raise DataError(
            f"{cache.dataset_id} has {len(bounds) - 1} episodes to calibrate by; at least {FEWEST_EPISODES} are needed, some 30 are better"
        )
    found = [_episode_residuals(model, cache, int(first), int(end)) for first, end in pairwise(bounds)]
    return calibration_of(found, residual_names(model.cameras))


def calibration_of(found: Sequence[Float[np.ndarray, "moment residual"]], names: tuple[str, ...]) -> PerceptionCalibration:
    """From the residuals of each episode."""
    ours, others = np.concatenate(found[::2]).astype(np.float64), np.concatenate(found[1::2]).astype(np.float64)
    middle, high = np.quantile(ours, [0.5, 0.95], axis=0)
    middle, high = _rounded(middle), _rounded(np.maximum(high, middle + _LEAST_RANGE))
    unranked = PerceptionCalibration(names, middle, high, (0.0,), (1.0,), len(others), len(found))
    odd = np.sort(unranked.together(others))[::-1]
    ranks = [*range(min(_FINEST, len(odd)))]
    while ranks[-1] < len(odd) - 1:
        ranks.append(min(int(ranks[-1] / _COARSER), len(odd) - 1))
    levels: dict[float, float] = {}
    for rank, level in zip(ranks, _rounded(odd[ranks]), strict=True):
        levels.setdefault(level, (rank + 1) / (len(odd) + 1))  # what is odder than the moment of this rank is as odd as so many
    oddness, shares = zip(*reversed(levels.items()), strict=True)
    return replace(unranked, oddness=oddness, shares=shares)


def _episode_residuals(model: LatentVideoModel, cache: Frames, first: int, end: int) -> Float[np.ndarray, "moment residual"]:
    moments, parts = np.arange(first, end, cache.picture_every), []
    for some in np.array_split(moments, -(-len(moments) // _BATCH)):
        views = [torch.from_numpy(np.asarray(cache.images[name][some])).to(model.device) for name in model.cameras]
        proprio = torch.from_numpy(np.asarray(cache.proprio[some], np.float32)).to(model.device)
        parts.append(residuals(model, views, proprio).cpu().numpy())
    return np.concatenate(parts)


def _rounded(values: Float[np.ndarray, " number"]) -> tuple[float, ...]:
    """As they are written, so that what is measured with them is what is read again."""
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
