"""Statistics in LeRobot's form: of one episode, and of many by combining theirs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.data.episode import Episode
from robo_dream.data.features import episode_arrays

Stats = dict[str, dict[str, np.ndarray]]
"""feature -> {min, max, mean, std, count, q01, q10, q50, q90, q99}."""

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
PICTURES_PER_EPISODE = 16  # sampled evenly: enough for a channel's mean


def episode_stats(episode: Episode) -> Stats:
    """Statistics over the rows of `episode`; unknown (NaN) rows do not count. Pictures are in [0, 1], shape (3, 1, 1)."""
    stats = {f"observation.images.{name}": _picture_stats(images) for name, images in episode.images.items()}
    for key, array in episode_arrays(episode).items():
        stats[key] = array_stats(array.reshape(len(array), -1).astype(np.float64))
    return stats


def index_stats(length: int, episode_index: int, first_frame: int, task_index: int, fps: float) -> Stats:
    """Statistics of the columns that `with_indices` adds."""
    frames = np.arange(length, dtype=np.float64)[:, None]
    return {
        "timestamp": array_stats(frames / fps),
        "frame_index": array_stats(frames),
        "episode_index": array_stats(np.full_like(frames, episode_index)),
        "index": array_stats(frames + first_frame),
        "task_index": array_stats(np.full_like(frames, task_index)),
    }


def combine(first: Stats | None, second: Stats) -> Stats:
    """Statistics of both sets together; mean and std are exact, quantiles the weighted mean (as LeRobot aggregates them)."""
    if first is None:
        return second
    return {key: _combine_feature(first[key], second[key]) for key in second}


def stats_json(stats: Stats) -> dict[str, Any]:
    return {key: {name: value.tolist() for name, value in feature.items()} for key, feature in stats.items()}


def stats_columns(stats: Stats) -> dict[str, Any]:
    """The `stats/...` columns of an episode's row in meta/episodes."""
    return {f"stats/{key}/{name}": value.tolist() for key, feature in stats.items() for name, value in feature.items()}


def stats_from_row(row: Mapping[str, Any]) -> Stats:
    stats: Stats = {}
    for column, value in row.items():
        if column.startswith("stats/"):
            key, name = column.removeprefix("stats/").rsplit("/", 1)
            stats.setdefault(key, {})[name] = np.asarray(value, np.int64 if name == "count" else np.float64)
    return stats


def array_stats(array: Float[np.ndarray, "row size"]) -> dict[str, np.ndarray]:
    """Of the rows that are known (finite)."""
    known = array[np.isfinite(array).all(axis=1)]
    rows = known if len(known) else np.zeros_like(array[:1])  # count 0 says that the zeros mean nothing
    ordered = np.sort(rows, axis=0)
    stats = {"min": ordered[0], "max": ordered[-1], "mean": rows.mean(axis=0), "std": rows.std(axis=0), "count": np.array([len(known)])}
    return stats | {name: ordered[round(q * (len(rows) - 1))] for name, q in QUANTILES.items()}


def _picture_stats(images: UInt8[np.ndarray, "frame height width 3"]) -> dict[str, np.ndarray]:
    picked = np.unique(np.linspace(0, len(images) - 1, PICTURES_PER_EPISODE).astype(int))
    sample = images[picked]
    counts = np.stack([np.bincount(sample[..., channel].ravel(), minlength=256) for channel in range(3)])  # (3, 256)
    share = counts / counts.sum(axis=1, keepdims=True)
    levels = np.arange(256) / 255
    mean = share @ levels
    cumulative = np.cumsum(share, axis=1)
    stats = {
        "min": levels[np.argmax(counts > 0, axis=1)],
        "max": levels[255 - np.argmax(counts[:, ::-1] > 0, axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(share @ levels**2 - mean**2, 0)),
    }
    stats |= {name: levels[np.argmax(cumulative >= q - 1e-9, axis=1)] for name, q in QUANTILES.items()}
    return {name: value.reshape(3, 1, 1) for name, value in stats.items()} | {"count": np.array([len(picked)])}


def _combine_feature(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not b["count"][0] or not a["count"][0]:
        return dict(a if a["count"][0] else b)
    count = a["count"] + b["count"]
    weight = float(b["count"][0] / count[0])
    mean = (1 - weight) * a["mean"] + weight * b["mean"]
    variance = (1 - weight) * (a["std"] ** 2 + (a["mean"] - mean) ** 2) + weight * (b["std"] ** 2 + (b["mean"] - mean) ** 2)
    combined = {"min": np.minimum(a["min"], b["min"]), "max": np.maximum(a["max"], b["max"]), "mean": mean, "std": np.sqrt(variance)}
    return combined | {"count": count} | {name: (1 - weight) * a[name] + weight * b[name] for name in QUANTILES}
