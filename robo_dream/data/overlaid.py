"""Episodes whose pictures of the first camera have a strip below that shows what was commanded; nothing else of them changes."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from robo_dream.data.episode import Episode
from robo_dream.data.spec import DatasetSpec
from robo_dream.errors import ConfigError
from robo_dream.overlay import bars, commands_shown, strip_height, with_strip
from robo_dream.schema import Unit, configuration


@configuration
class OverlayConfig:
    """How many commands a strip shows, and whose: with a `dataset` its episodes are shown again, with strips, and nothing is played."""

    commands: Annotated[int, Field(ge=1, le=100), Unit("control steps")] = 5  # a model learns strips of one action block
    dataset: Path | None = None


def overlaid_spec(spec: DatasetSpec, overlay: OverlayConfig) -> DatasetSpec:
    """`spec` with the strip below the first camera's pictures. Raises `ConfigError` where there is no picture, no arm, or no room."""
    if not spec.cameras or spec.action_spec.kind == "choice":
        missing = "cameras" if not spec.cameras else "arm"
        raise ConfigError(f"overlay draws an arm's commands below the pictures of a camera, and here are no {missing}; leave overlay out")
    first, *others = spec.cameras
    bars(np.zeros((overlay.commands, spec.action_spec.size), np.float32), first.width)
    height = first.height + strip_height(spec.action_spec.size)
    seen = None if first.intrinsics is None else replace(first.intrinsics, height=height)
    return replace(spec, cameras=(replace(first, height=height, intrinsics=seen), *others))


def overlaid(episode: Episode, spec: DatasetSpec, overlay: OverlayConfig) -> Episode:
    """`episode` with strips, for a dataset of `spec`: each picture shows the last commands that had been sent when it was taken."""
    name, every = spec.cameras[0].name, spec.picture_every
    newest = np.arange(episode.num_frames) - np.arange(episode.num_frames) % every
    shown = commands_shown(spec.action_spec, episode.actions, overlay.commands)[newest]
    pictures = with_strip(episode.images[name], bars(shown, episode.images[name].shape[2]))
    return replace(episode, images={**episode.images, name: pictures})
