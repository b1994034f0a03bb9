"""What a training reads: pictured play for the world model, and demonstrations for the policy where they are given."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo_dream.data.cache import Datasets, FrameCache, build_cache, open_dataset
from robo_dream.data.reader import Dataset
from robo_dream.errors import DataError
from robo_dream.runtime.progress import Bars
from robo_dream.training.config import TrainingConfig
from robo_dream.training.frames import known
from robo_dream.training.perception import sighted_pictures
from robo_dream.training.policy import imitated_frames


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
        if training.policy.perception_noise > 0:
            sighted_pictures(play)
    imitated_frames(shown or play, training)
    return TrainingData(play, shown, {name: _recipe(source) for name, source in sources.items()})


def _recipe(data: Datasets) -> dict[str, Any]:
    """How `data` was made and how much it is; where it was made in several ways, these are its `parts` (shards of one are one part)."""
    made: dict[str, list[Dataset]] = {}
    for part in data.parts:
        made.setdefault(json.dumps(part.spec.recipe, sort_keys=True), []).append(part)
    parts = [{**shards[0].spec.recipe, **_amount(Datasets(tuple(shards)))} for shards in made.values()]
    return parts[0] if len(parts) == 1 else {"parts": parts, **_amount(data)}


def _amount(data: Datasets) -> dict[str, int]:
    return {"num_episodes": data.num_episodes, "num_frames": data.num_frames}


def _counts(cache: FrameCache) -> str:
    return f"{cache.num_episodes} episodes, {int((~cache.is_train).sum())} of them held out, {cache.num_frames} frames"
