"""Pictures of a finished run: the video and the sheet of decisions, with what the model draws of its dreams."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from robo_dream.errors import DataError
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.recording.record import RunRecord
from robo_dream.viewer.pictures import Draw, run_sheet, write_png
from robo_dream.viewer.video import VideoConfig, episode_pictures, write_video


def drawing(model: LatentVideoModel) -> Draw:
    """The model's decoder for NumPy latents."""
    return lambda latents: {name: views.cpu().numpy() for name, views in model.decode(torch.from_numpy(latents).to(model.device)).items()}


def write_pictures(
    folder: Path, run: RunRecord, draw: Draw, config: VideoConfig, distances: Sequence[float], verdict: str
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
