"""What a training reads: datasets as frames, checked before anything is learned, and labelled by what was recorded alone."""

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from robo_dream import store
from robo_dream.data import layout
from robo_dream.data.cache import Datasets, FrameCache, build_cache, dataset_folders, open_dataset
from robo_dream.data.reader import Dataset
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import ConfigError, DataError
from robo_dream.files import replacing
from robo_dream.models.checkpoint import Regime
from robo_dream.training.config import TrainingConfig
from robo_dream.training.frames import known
from robo_dream.training.grasps import GraspConfig, Held, held_apart
from robo_dream.training.identities import told_apart
from robo_dream.training.looking import LookConfig, looked
from robo_dream.training.perception import sighted_pictures
from robo_dream.training.policy import imitated_frames
from robo_dream.training.recorded import cycles_of, recorded, told, upright
from robo_dream.training.slides import slide_poses
from robo_dream.training.switches import switch_poses

LABELS = "labels.safetensors"
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TrainingData:
    """Frames of both, and how each was made and how many there are."""

    play: FrameCache
    demonstrations: FrameCache | None
    recipes: Mapping[str, Any]
    held: tuple[Held, ...] = ()  # what joints tell of each episode of `play`, in the recorded regime
    tasks: tuple[str, ...] = ()  # of each episode of a recording, in its own words

    def described(self) -> str:
        """How much there is, in a sentence each."""
        said = f"{_counts(self.play)} of {' and '.join(self.play.cameras)}."
        return said if self.demonstrations is None else f"{said}\nDemonstrations: {_counts(self.demonstrations)}."


def open_training_data(
    datasets: Sequence[Path],
    demonstrations: Sequence[Path],
    cache: Path,
    training: TrainingConfig,
    workers: int,
    progress: Progress | None = None,
    regime: Regime = "privileged",
    most: int | None = None,
) -> TrainingData:
    """Reads everything and raises `DataError` for what training could not learn from: now, not after the first stages.

    Of decoded pictures at most `most` bytes are kept, see `build_cache`. In the recorded regime, what is handed on is `recorded`: what
    joints tell, until it is `looked_at`.
    """
    sources = {"data": _opened(datasets, training)}
    if not sources["data"].spec.cameras:
        raise DataError(f"{datasets[0]} has no pictures, so no world model can be learned from it; name it in demonstrations")
    if demonstrations:
        sources["demonstrations"] = _opened(demonstrations, training, sources["data"].spec.action_spec, pictures=False)
    every, block = sources["data"].spec.picture_every, training.model.action_block
    if block % every:
        raise DataError(
            f"{datasets[0]} has a new picture at every {every}th control step, and one is needed after each block of {block}; set "
            f"training.model.action_block to a multiple of {every}, or collect with script.picture_every={block}"
        )
    play, held = build_cache(sources["data"], cache, progress, workers, most), ()
    is_same = regime == "recorded" and tuple(demonstrations) == tuple(datasets)
    shown = build_cache(sources["demonstrations"], cache / "demonstrations", progress, workers) if demonstrations and not is_same else None
    if regime == "recorded":
        held = () if training.grasps is None else tuple(told(play, training.grasps))
        play = recorded(play, training.grasps, held, training.num_objects)
        if shown is not None:
            if training.num_objects > 1:
                raise ConfigError(
                    f"demonstrations is {[str(folder) for folder in demonstrations]}: which of several things was held there "
                    f"(training.grasps.things), and how switches stood, only pictures tell; name the same folders as datasets, or none"
                )
            shown = recorded(shown, training.grasps, () if training.grasps is None else told(shown, training.grasps))
        shown = _blind(play) if is_same else shown
    elif shown is not None and not known(shown.object_pose).all():
        raise DataError(
            f"{demonstrations[0]} does not always say where the object is, so poses cannot be imitated from it; "
            f"leave those episodes out, or name it in datasets"
        )
    if not (regime == "recorded" and training.num_objects > 1):
        _require_learnable(play, shown, training)
    return TrainingData(play, shown, {name: _made(source) for name, source in sources.items()}, held)


def open_recording(
    datasets: Sequence[Path],
    cache: Path,
    training: TrainingConfig,
    workers: int,
    progress: Progress | None = None,
    with_cycles: bool = False,
    most: int | None = None,
) -> TrainingData:
    """Pictures, joints and actions alone, for a stage that learns from nothing else. Raises `DataError` for what does not read.

    `most` is that of `build_cache`. `with_cycles`: and what was under way, where things are picked up, as joints tell it
    (`training.grasps`).
    """
    source = _opened(datasets, training)
    if not source.spec.cameras:
        raise DataError(f"{datasets[0]} has no pictures, and nothing else is learned from here; name a dataset with cameras")
    play, grasps = build_cache(source, cache, progress, workers, most), training.grasps if with_cycles else None
    held = () if grasps is None else tuple(told(play, grasps))
    return TrainingData(recorded(play, grasps, held, training.num_objects), None, {"data": _made(source)}, held, source.tasks)


def _require_learnable(play: FrameCache, shown: FrameCache | None, training: TrainingConfig) -> None:
    """Raises `DataError` where what is imitated, or how far it is seen to err, is not told."""
    if shown is not None and training.policy.perception_noise > 0:
        sighted_pictures(play)
    imitated_frames(shown or play, training)


def _opened(datasets: Sequence[Path], training: TrainingConfig, action_spec: ActionSpec | None = None, pictures: bool = True) -> Datasets:
    if all(store.exists(folder / layout.SPEC) for folder in dataset_folders(datasets)):
        opened = open_dataset(datasets, action_spec=action_spec, pictures=pictures)
        if opened.spec.action_spec.kind == "choice":
            raise DataError(f"{datasets[0]} is of a game, with a choice of {opened.spec.action_spec.names}; use robo-dream dream-train")
        return opened
    from robo_dream.runtime.recordings import open_training  # a machine that only trains may have no MuJoCo

    return open_training(datasets, training.model.image_size, action_spec, pictures)


def looked_at(data: TrainingData, training: TrainingConfig, folder: Path, progress: Progress | None = None) -> TrainingData:
    """`data` with labels as pictures mend them (`training.looking`): as it is where joints told none, or nobody is to look.

    Of several things, pictures tell which was held (`training.identities`), and of slides and switches how they stand (`training.slides`,
    `training.switches`). What was found is kept in `folder`/labels.safetensors, and taken from there where recording and settings are the
    same.
    """
    if training.looks is None or training.grasps is None or not data.held:
        return data
    path = folder / LABELS
    about = {"dataset": data.play.dataset_id, "grasps": asdict(training.grasps), "looks": asdict(training.looks), "seed": training.seed}
    beside = {"slides": training.slides, "switches": training.switches}
    about |= {name: asdict(one) for name, one in beside.items() if one is not None}
    pose = _kept(path, about)
    if pose is None:
        pose = _seen_poses(data, training, training.grasps, training.looks, progress)
        with replacing(path, in_folder=True) as beside:
            save_file({"object_pose": pose}, beside, metadata={"about": json.dumps(about)})
    play, shown = replace(data.play, object_pose=pose), data.demonstrations
    if training.slides is not None or training.switches is not None:
        skill = cycles_of(pose, play.episode_starts.tolist(), training.grasps, play.control_dt)
        play = replace(play, skill=skill)
    shown = _blind(play) if shown is not None and shown.dataset_id == play.dataset_id else shown
    _require_learnable(play, shown, training)
    return replace(data, play=play, demonstrations=shown)


def _seen_poses(
    data: TrainingData, training: TrainingConfig, grasps: GraspConfig, looks: LookConfig, progress: Progress | None
) -> Float32[np.ndarray, "frame pose"]:
    """Of every thing that is picked up, every slide and every switch, 7 numbers."""
    play, seed, things = data.play, training.seed, [data.held]
    if grasps.things > 1:
        whose = told_apart(data.held, play, grasps.things, looks, seed, progress)
        spans = itertools.pairwise(play.episode_starts)
        proprio = [np.asarray(play.proprio[a:b]) for a, b in spans]
        things = held_apart(data.held, whose, proprio, grasps, play.control_dt)
    mended = [looked(one, play, looks, seed + number, progress, grasps.beside) for number, one in enumerate(things)]
    poses = [np.concatenate([one.pose for one in held]) for held in mended]
    if training.slides is not None:
        poses += list(np.moveaxis(slide_poses(play, training.slides, looks, seed, progress), 1, 0))
    if training.switches is not None:
        poses += list(np.moveaxis(switch_poses(play, training.switches, looks, seed, progress), 1, 0))
    return np.concatenate([upright(pose) for pose in poses], -1)


def labels_in_words(before: FrameCache, after: FrameCache) -> str:
    """How far looking moved the labels of `before`, or told things apart, for people."""
    told = np.isfinite(after.object_pose.reshape(len(after.object_pose), -1, 7)).all(-1).mean(0)
    if len(told) > 1:
        shares = ", ".join(f"{100 * share:.0f} %" for share in told)
        return f"Pictures told of {len(told)} things; where each is, or how it stands, is known in {shares} of the frames."
    moved = 1e3 * np.linalg.norm(after.object_pose[:, :2] - before.object_pose[:, :2], axis=-1)
    if not np.nanmax(moved, initial=0.0):
        return "Looking mended no label: hardly any picture shows a thing with the hand away (training.looks.fewest, far)."
    return (
        f"Looking moved labels by {np.nanmedian(moved):.1f} mm (median; the farthest tenth by {np.nanpercentile(moved, 90):.1f} and more)."
    )


def _blind(play: FrameCache) -> FrameCache:
    """The same recording for who imitates it: every control step, whether or not it has a picture."""
    return replace(play, cameras=(), images={}, picture_every=1)


def _kept(path: Path, about: Mapping[str, Any]) -> Float32[np.ndarray, "frame pose"] | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            is_of_this = json.loads((file.metadata() or {}).get("about", "{}")) == json.loads(json.dumps(about))
            return file.get_tensor("object_pose") if is_of_this else None
    except (SafetensorError, ValueError, OSError):
        return None  # damaged: it is made again


def _made(data: Datasets) -> dict[str, Any]:
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
