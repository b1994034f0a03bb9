"""What a training reads: pictured play for the world model, and demonstrations for the inverse model where they are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo_dream.apps.bars import Bars
from robo_dream.data.cache import FrameCache, build_cache
from robo_dream.data.shards import open_dataset
from robo_dream.errors import DataError
from robo_dream.training.config import TrainingConfig
from robo_dream.training.frames import known
from robo_dream.training.inverse_batches import imitated_frames


@dataclass(frozen=True)
class TrainingData:
    """Frames of both, and how each was made and how many there are."""

    play: FrameCache
    demonstrations: FrameCache | None
    recipes: Mapping[str, Any]


def open_training_data(
    datasets: Sequence[Path], demonstrations: Sequence[Path], cache: Path, training: TrainingConfig, workers: int
) -> TrainingData:
    """Reads everything and raises `DataError` for what training could not learn from: now, not after the first stages."""
    sources = {"data": open_dataset(datasets)}
    if not sources["data"].spec.cameras:
        raise DataError(f"{datasets[0]} has no pictures, so no world model can be learned from it; name it in demonstrations")
    if demonstrations:
        sources["demonstrations"] = open_dataset(demonstrations, action_spec=sources["data"].spec.action_spec, pictures=False)
    every, block = sources["data"].spec.picture_every, training.model.action_block
    if block % every:
        raise DataError(
            f"{datasets[0]} has a new picture at every {every}th control step, and one is needed after each block of {block}; set "
            f"training.model.action_block to a multiple of {every}, or collect with script.picture_every={block}"
        )
    with Bars({}, "frames into the cache", unit="episode") as bars:
        play = build_cache(sources["data"], cache, bars, workers)
        shown = build_cache(sources["demonstrations"], cache / "demonstrations", bars, workers) if demonstrations else None
    print(f"{_counts(play)} of {' and '.join(play.cameras)}.")
    if shown is not None:
        print(f"Demonstrations: {_counts(shown)}.")
        if not known(shown.object_pose).all():
            raise DataError(
                f"{demonstrations[0]} does not always say where the object is, so poses cannot be imitated from it; "
                f"leave those episodes out, or name it in datasets"
            )
    imitated_frames(shown or play, training)
    counts = {name: {"num_episodes": source.num_episodes, "num_frames": source.num_frames} for name, source in sources.items()}
    return TrainingData(play, shown, {name: {**source.parts[0].spec.recipe, **counts[name]} for name, source in sources.items()})


def _counts(cache: FrameCache) -> str:
    return f"{cache.num_episodes} episodes, {int((~cache.is_train).sum())} of them held out, {cache.num_frames} frames"
