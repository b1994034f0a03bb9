"""The perception check of a checkpoint: calibrated on held-out episodes, kept in it, and built for who asks for it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from robo_dream.data.cache import frames_of
from robo_dream.embodiment import Observation
from robo_dream.errors import ConfigError, DataError
from robo_dream.models import checkpoint
from robo_dream.models.checkpoint import CheckpointInfo
from robo_dream.models.perception_check import Perception, PerceptionCalibration, PerceptionCheck
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import STEPS, read_step
from robo_dream.runtime.collect import collect, dataset_spec
from robo_dream.runtime.inspect import fresh_config, held_out_episodes, opened_dataset
from robo_dream.runtime.train import write_described
from robo_dream.safety.limits import SafetyLimits
from robo_dream.training.perception_calibration import calibrate_perception

FIRST_SEED = 1000  # of fresh episodes, counted from those that `inspect` looks at
Progress = Callable[[str, int, int], None]
"""Told what is under way, how much of it is done, and how much there is."""


def calibrate_model(
    path: Path, out: Path, dataset: Path | None, num_episodes: int, progress: Progress | None = None
) -> PerceptionCalibration:
    """Measures what is usual and writes the checkpoint once more, with it; weights stay as they are.

    Without a `dataset` of the usual scene, fresh episodes are played; of the model's own training data the held-out ones are read.
    Raises `CheckpointError` where nobody can play its world, and `DataError` for data that do not fit or are too few.
    """
    say = progress or (lambda what, done, total: None)
    info, model = checkpoint.read_info(path), checkpoint.load(path)
    with TemporaryDirectory(prefix="robo-dream-calibrate-") as folder:
        if dataset is None:
            fresh = fresh_config(path, info, Path(folder), num_episodes, FIRST_SEED, 2)
            say("collecting", 0, num_episodes)
            for done, _ in enumerate(collect(fresh, dataset_spec(fresh), range(fresh.seed, fresh.seed + num_episodes)), 1):
                say("collecting", done, num_episodes)
        data = opened_dataset(path, model, dataset or Path(folder))
        chosen = held_out_episodes(data, info, num_episodes, 0)
        calibration = calibrate_perception(model, frames_of(data, chosen, lambda done, total: say("reading", done, total)))
    write_with_perception(path, out, calibration)
    return calibration


def write_with_perception(path: Path, out: Path, calibration: PerceptionCalibration) -> Path:
    """The checkpoint in `path` once more in `out`, carrying `calibration`; its weights are as they were."""
    info = checkpoint.read_info(path)
    return write_described(checkpoint.load(path), out, info, info.recipe, replace(info.settings, perception=calibration))


def check_of(path: Path, info: CheckpointInfo, model: LatentVideoModel, limits: SafetyLimits) -> PerceptionCheck | None:
    """The check of `model`, the checkpoint in `path`, where `limits` ask for one.

    Raises `ConfigError` where it was never calibrated, or on too few moments to tell such a share.
    """
    asked, calibration = limits.false_alarms, info.settings.perception
    if asked is None:
        return None
    if calibration is None:
        raise ConfigError(
            f"limits.false_alarms is {asked:g}, and {path} never learned what is usual to see; calibrate it with `robo-dream calibrate "
            f"perception --checkpoint {path} --write FILE`, or set limits.false_alarms to null"
        )
    if asked < calibration.least:
        raise ConfigError(
            f"limits.false_alarms is {asked:g}; {path} was calibrated on {calibration.num_moments} moments, which tell shares from "
            f"{calibration.least:.2g} on: ask for no less, or calibrate it on more episodes"
        )
    return PerceptionCheck(model, calibration)


def perception_again(check: PerceptionCheck | None, root: Path, decision: Decision) -> Perception | None:
    """What was odd to see at `decision` of the run in `root`, once more from its pictures; None where nobody checked, or they are lost."""
    seen = None if decision.perception is None else _observation_of(root, decision)
    return None if seen is None or check is None else check.of(seen)


def _observation_of(root: Path, decision: Decision) -> Observation | None:
    """What `decision` was made from: at its control step, or before where it was made for later."""
    for number in range(decision.step, -1, -1):
        try:
            seen = read_step(root / STEPS / f"{number:06d}.npz").observation
        except DataError:
            return None
        if seen.time <= decision.time:
            return seen if seen.time == decision.time else None
    return None
