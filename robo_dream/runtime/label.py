"""Pseudo-actions for video: what a checkpoint's labeller tells of a dataset, written into a copy of it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from robo_dream.data import layout, metadata
from robo_dream.data.cache import dataset_folders
from robo_dream.data.features import camera_key, camera_names, column
from robo_dream.data.labelled_copy import LabelCounts, LabelledCopy, Labels
from robo_dream.data.reader import Dataset, Video
from robo_dream.errors import CheckpointError, DataError
from robo_dream.models import checkpoint
from robo_dream.models.policy import ActionLabeller
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.training.labeller import STAGE
from robo_dream.training.latents import encode_video

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Labelled:
    """What was written."""

    out: Path
    num_episodes: int
    counts: LabelCounts


def label(dataset: Path, path: Path, out: Path, device: str = "cpu", progress: Progress | None = None) -> Labelled:
    """A copy of `dataset` in `out`, in which the checkpoint in `path` tells every action that is not there; true ones stay.

    Works in `out`.unfinished, which takes its name at the end; goes on with one that was begun with the same. A folder of shards becomes
    one. Raises `CheckpointError` for a checkpoint without a labeller, and `DataError` for a dataset that it cannot look at, in which
    nothing is missing, or whose actions have an unknown meaning; before anything is written.
    """
    info, model = checkpoint.read_info(path), load_checkpoint_model(path, device)
    if model.labeller is None:
        raise CheckpointError(
            f"{path} has not learned to tell actions; add that with `robo-dream train stage=labeller init={path} "
            f"'training.labeller={{}}'`, datasets=... and an out of its own"
        )
    sources = [open_video(folder, path, model) for folder in dataset_folders(dataset)]
    if sum(num_missing(source) for source in sources) == 0:
        raise DataError(f"{dataset} has a true action at every frame, so there is nothing to tell, and true ones are never replaced")
    about = {"checkpoint": path.name, "checkpoint_sha256": checkpoint.sha256(path), "held_out": info.metrics.get(STAGE)}
    if out.resolve().is_relative_to(dataset.resolve()):
        raise DataError(f"{out} is inside of {dataset}, which it is to be a copy of; give an --out elsewhere")

    def copies(root: Path) -> list[LabelledCopy]:
        return [LabelledCopy(source, root / source.root.relative_to(dataset), about) for source in sources]

    if out.exists():
        return _finished(out, copies(out))
    unfinished = out.with_name(f"{out.name}.unfinished")
    unfinished.mkdir(parents=True, exist_ok=True)
    with _alone(unfinished):
        begun = copies(unfinished)
        _write(begun, model, progress)
        for copy in begun:
            copy.finish()
        os.rename(unfinished, out)
    return _finished(out, copies(out))


def _finished(out: Path, copies: list[LabelledCopy]) -> Labelled:
    counts = [copy.counts for copy in copies]
    if None in counts:
        raise DataError(f"{out} is no whole copy; nothing is written over it: give another --out, or delete it")
    told = [one for one in counts if one is not None]
    total = LabelCounts(sum(one.pseudo for one in told), sum(one.true for one in told))
    return Labelled(out, sum(copy.source.num_episodes for copy in copies), total)


def open_video(folder: Path, path: Path, model: LatentVideoModel) -> Dataset:
    """The dataset in `folder` as video that the model of the checkpoint in `path` can look at; raises `DataError` where it cannot."""
    info = metadata.read_info(folder)
    _require_cameras(folder, info["features"], path, model)
    found = Dataset.open(folder, model.cameras, model.action_spec, is_video=True)
    if found.has_pseudo_actions:
        raise DataError(f"{folder} has pseudo-actions already ({layout.LABELS} says whose); label the dataset that it is a copy of")
    assert model.labeller is not None
    every, period = model.labeller.window.every, found.spec.picture_every
    if every % period:
        raise DataError(
            f"{folder} has a new picture at every {period}th control step, and {path} tells actions of pictures {every} control steps "
            f"apart; give a dataset with pictures at least as often, or a labeller that learned from such"
        )
    if not found.num_episodes:
        raise DataError(f"{folder} has no episodes; there is nothing to label")
    is_ours = (folder / layout.SPEC).exists()
    if not is_ours and "action" in info["features"] and num_missing(found) < _num_actions(found):
        raise DataError(
            f"{folder} was not written by robo_dream and has actions whose meaning it does not say, so those of {path} cannot stand beside "
            f"them; take the column action out of a copy to have all of them told"
        )
    return found


def num_missing(source: Dataset) -> int:
    """Of how many frames, after which something was done, an action is not there, or not finite."""
    if "action" not in source.info["features"]:
        return _num_actions(source)
    found, size = 0, source.spec.action_spec.size
    for path in dict.fromkeys(source.data_path(index) for index in range(source.num_episodes)):
        table = metadata.read_columns(path, ("action", "frame_index", "episode_index"))
        actions = column(table, "action", size, np.float32).reshape(table.num_rows, size)
        missing = np.asarray(~np.isfinite(actions).all(1))
        if "episode_index" not in table.column_names:
            found += int(missing[:-1].sum())
            continue
        of = column(table, "episode_index", 1, np.int64)
        is_last = np.append(of[1:] != of[:-1], True)
        found += int((missing & ~is_last & (of < source.num_episodes)).sum())
    return found


def _num_actions(source: Dataset) -> int:
    return source.num_frames - source.num_episodes


def _require_cameras(folder: Path, features: dict, path: Path, model: LatentVideoModel) -> None:
    """Raises `DataError` where the cameras of a dataset are not the model's, by name or size."""
    side, found = model.spec.config.image_size, {}
    for name in camera_names(features):
        feature = features[camera_key(features, name)]
        channels_last = feature["names"][2] in ("channel", "channels", "c")
        found[name] = tuple(feature["shape"][:2] if channels_last else feature["shape"][1:])
    if any(found.get(name) != (side, side) for name in model.cameras):
        there = ", ".join(f"{name} ({height} x {width})" for name, (height, width) in found.items()) or "none"
        needed = ", ".join(f"{name} ({side} x {side})" for name in model.cameras)
        raise DataError(
            f"{folder} has the cameras {there}, and {path} looks through {needed} (height x width in pixels); "
            f"give video of the bench that the checkpoint is for, or a checkpoint that was trained with these cameras"
        )


def _write(copies: list[LabelledCopy], model: LatentVideoModel, progress: Progress | None) -> None:
    """Every file that is not there yet; `progress` counts episodes, those of files that are there included."""
    files = [(copy, file, episodes) for copy in copies for file, episodes in copy.files.items()]
    total = sum(len(episodes) for _, _, episodes in files)
    done = sum(len(episodes) for copy, file, episodes in files if copy.is_written(file))
    for copy, file, episodes in files:
        if copy.is_written(file):
            continue
        labels = {}
        for index in episodes:
            labels[index] = labels_of(copy.source.video(index, model.cameras), model)
            done += 1
            if progress is not None:
                progress(done, total)
        copy.write(file, labels)


@torch.no_grad()
def labels_of(video: Video, model: LatentVideoModel) -> Labels:
    """What the model tells of every frame; of those after the last look, after which nothing is seen, that anything may have been done."""
    assert model.labeller is not None
    spec, num_frames = model.action_spec, len(video.actions)
    half, middle = 0.5 * (spec.high - spec.low), 0.5 * (spec.high + spec.low)
    actions = np.tile(spec.clip(np.zeros(spec.size, np.float32)), (num_frames, 1)).astype(np.float32)
    std = np.tile(half, (num_frames, 1)).astype(np.float32)
    looks = np.arange(0, num_frames, model.labeller.window.every)
    if len(looks) > 1:
        means, stds = (values.cpu().numpy() for values in _of_looks(model.labeller, encode_video(model, video.images, looks)))
        actions[: len(means)] = spec.clip(means * half + middle)
        std[: len(stds)] = stds * half
    return Labels(actions, std)


def _of_looks(labeller: ActionLabeller, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of all looks of an episode but the last, one after another: mean and standard deviation of each action, normalised."""
    window, num = labeller.window, len(latents)
    around = torch.arange(num - 1)[:, None] + torch.arange(-window.before, window.after + 1)
    means, stds = labeller(latents[around.clamp(0, num - 1).to(latents.device)])
    return means.flatten(0, 1), stds.flatten(0, 1)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps other processes from labelling into `folder`; raises `DataError` where one does. A killed process lets go of it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DataError(f"another process is writing {folder}; let it end, or give another --out") from None
    finally:
        os.close(handle)
