"""Pictures of a finished run: the video and the sheet of decisions, with what the model draws of its dreams."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from robo_dream.errors import CheckpointError, DataError
from robo_dream.files import packaged
from robo_dream.models import checkpoint as checkpoints
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.recording.record import RunRecord
from robo_dream.runtime.model import device_named
from robo_dream.viewer.dreams import ModelDreams
from robo_dream.viewer.pictures import Draw, run_sheet, write_png
from robo_dream.viewer.video import VideoConfig, episode_pictures, write_video

_log = logging.getLogger(__name__)


def drawing(model: LatentVideoModel) -> Draw:
    """The model's decoder for NumPy latents."""
    return lambda latents: {name: views.cpu().numpy() for name, views in model.decode(torch.from_numpy(latents).to(model.device)).items()}


def write_pictures(
    folder: Path, run: RunRecord, draw: Draw, config: VideoConfig, distances: Sequence[float] | None, verdict: str
) -> tuple[str, str]:
    """video.mp4 and decisions.png of `run`; where each of them is, or why it is not: the episode counts all the same."""

    def place_of(write: Callable[[], Path]) -> str:
        try:
            return str(write())
        except (OSError, DataError) as error:  # a full disk, or nothing recorded on one
            return f"not written: {error}"

    frames = episode_pictures(run, draw, config, distances, verdict)
    video = place_of(lambda: write_video(folder / "video.mp4", frames, config.fps, config.crf))
    return video, place_of(lambda: write_png(folder / "decisions.png", run_sheet(run, draw)))


def load_dreams(about: Mapping[str, Any], channels: int | None, checkpoint: Path | None = None, device: str = "cpu") -> ModelDreams:
    """What draws the latents of a run with this run.json: the model it was planned with, or another with as many `channels`.

    Raises `CheckpointError` where there is none.
    """
    told = about.get("checkpoint")
    if checkpoint is None and told is None:
        raise CheckpointError(f"nothing was imagined in this run ({about.get('policy', 'it names no checkpoint')})")
    path = checkpoint or Path(str(told))
    if not packaged(path).is_file():
        raise CheckpointError(f"the run names the checkpoint {str(path)!r}, which is not here; give it with --checkpoint FILE")
    sha256 = about.get("checkpoint_sha256")
    if sha256 and checkpoints.sha256(path) != sha256:
        _log.warning("%s is not what this run was planned with (another SHA-256); its pictures may not be what was imagined", path)
    model = checkpoints.load(path, device_named(device))
    if channels and model.spec.config.latent != channels:
        raise CheckpointError(f"{path} has latents of {model.spec.config.latent} channels, the run {channels}; give the run's checkpoint")
    return ModelDreams(model)
