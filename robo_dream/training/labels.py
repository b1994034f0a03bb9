"""Pose labels of frames, the statistics by which they are normalised, and the description of the model to be trained."""

import numpy as np
from jaxtyping import Float

from robo_dream.errors import DataError
from robo_dream.models.config import NUM_OBJECT, ModelConfig, ModelSpec, Normaliser
from robo_dream.models.pose_head import OBJECT_START
from robo_dream.training.frames import Frames
from robo_dream.turns import upright_turn

SMALLEST_STD = {"proprio": 1e-3, "pose": 5e-3}  # numbers that hardly vary are not blown up


def pose_labels(cache: Frames, symmetry: int) -> Float[np.ndarray, "frame pose"]:
    """`pose_names` of every frame: the tool's from proprioception, the objects' from their recorded poses (NaN where unknown)."""
    pose = np.asarray(cache.object_pose, np.float64)
    pose = pose.reshape(len(pose), -1, 7)
    turn = symmetry * upright_turn(pose[..., 3:], symmetry)
    things = np.concatenate([pose[..., :3], np.cos(turn)[..., None], np.sin(turn)[..., None]], -1)
    return np.concatenate([np.asarray(cache.proprio)[:, :OBJECT_START], things.reshape(len(pose), -1)], -1).astype(np.float32)


def object_numbers(labels: Float[np.ndarray, "*batch pose"]) -> Float[np.ndarray, "*batch object 5"]:
    """The numbers of the objects, as `pose_head.objects` gives them."""
    return labels[..., OBJECT_START:].reshape(*labels.shape[:-1], -1, NUM_OBJECT)


def model_spec(cache: Frames, config: ModelConfig) -> ModelSpec:
    """The model that fits this data; raises `DataError` when the pictures have another size than the configuration says."""
    side = config.image_size
    for name in cache.cameras:
        shape = cache.images[name].shape
        if shape[1:] != (side, side, 3):
            raise DataError(
                f"camera {name!r} of {cache.dataset_id} has pictures of {shape[1:]}; the model takes ({side}, {side}, 3): "
                f"set model.image_size, or build the cache at that size"
            )
    train = np.repeat(np.asarray(cache.is_train, bool), np.diff(cache.episode_starts))
    if not train.any():
        raise DataError(f"{cache.dataset_id} has no training episode; check the dataset's split")
    proprio, labels = np.asarray(cache.proprio)[train], pose_labels(cache, config.object_symmetry)[train]
    labels = np.where(np.isfinite(labels).any(0), labels, 0.0)
    return ModelSpec(
        config, cache.cameras, cache.action_spec,
        _normaliser(proprio, SMALLEST_STD["proprio"]), _pose_normaliser(labels, SMALLEST_STD["pose"]),
    )  # fmt: skip


def _normaliser(values: np.ndarray, smallest: float) -> Normaliser:
    mean, std = np.asarray(np.nanmean(values, 0, dtype=np.float64)), np.asarray(np.nanstd(values, 0, dtype=np.float64))
    return Normaliser(tuple(float(x) for x in mean), tuple(float(max(x, smallest)) for x in std))


def _pose_normaliser(labels: np.ndarray, smallest: float) -> Normaliser:
    """Positions by their statistics (one scale for x, y and z of a thing, as millimetres are alike); turns as they are."""
    plain = _normaliser(labels, smallest)
    mean, std = list(plain.mean), list(plain.std)
    for first in (0, *range(OBJECT_START, len(mean), NUM_OBJECT)):
        std[first : first + 3] = [float(np.sqrt(np.mean(np.square(std[first : first + 3]))))] * 3
        mean[first + 3 : first + 5], std[first + 3 : first + 5] = [0.0, 0.0], [0.7, 0.7]
    return Normaliser(tuple(mean), tuple(std))
