"""Stretches of consecutive frames inside one episode."""

from typing import Literal

import numpy as np
from jaxtyping import Int64

from robo_dream.data.cache import FrameCache
from robo_dream.errors import ContractError

Split = Literal["train", "test", "all"]


def window_starts(cache: FrameCache, num_frames: int, split: Split) -> Int64[np.ndarray, " window"]:
    """Every frame f, in order, such that f..f+num_frames-1 lies inside one episode of `split`; empty when there is none."""
    if num_frames < 1:
        raise ContractError(f"a window of {num_frames} frames does not exist; ask for at least 1")
    starts, ends = cache.episode_starts[:-1], cache.episode_starts[1:]
    chosen = np.ones(len(starts), bool) if split == "all" else cache.is_train == (split == "train")
    parts = [np.arange(start, end - num_frames + 1) for start, end in zip(starts[chosen], ends[chosen], strict=True)]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)
