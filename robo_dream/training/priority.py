"""How likely a window of the dynamics begins at each frame: as at any other, more where the model errs, or where it was seldom drawn.

Prioritised replay (Schaul et al. 2016, arXiv 1511.05952) by the error of a world model; with a bonus for what was seldom drawn, Curious
Replay (Kauvar et al. 2023, arXiv 2306.15934), whose constants are the defaults. There priorities change at every visit; here once a round,
from the errors of the model with which the round begins and from how often each window has been drawn by then, as is to be expected.
"""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field

from robo_dream.errors import DataError
from robo_dream.files import replace_file
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.schema import configuration
from robo_dream.training.frames import Frames, blocks_after, frame_index, normalised_actions
from robo_dream.training.latents import encode_frames
from robo_dream.upload import uploaded

_ROWS = 2048


@configuration
class PriorityConfig:
    """`kind` uniform draws every window as often; surprise by (error + `least`) to the power of `exponent`; curious_replay adds `novelty`
    times `decay` to the power of the number of visits. Errors are in units of their mean."""

    kind: Literal["uniform", "surprise", "curious_replay"] = "surprise"
    exponent: Annotated[float, Field(ge=0, le=4)] = 0.7
    least: Annotated[float, Field(gt=0, le=10)] = 0.01
    novelty: Annotated[float, Field(ge=0, le=1e9)] = 1e4
    decay: Annotated[float, Field(gt=0, lt=1)] = 0.7


@dataclass(frozen=True)
class Weighed:
    """Of each frame: how likely a window begins there (0 where none can), and the model's error on that window (NaN likewise)."""

    chances: Float[np.ndarray, " frame"]
    errors: Float[np.ndarray, " frame"]


@torch.no_grad()
def window_errors(model: LatentVideoModel, cache: Frames, unroll: int) -> Float[np.ndarray, " frame"]:
    """Mean squared error of the latents that `model` imagines `unroll` blocks ahead, of the training window that begins at each frame."""
    latents, actions, block = encode_frames(model, cache), normalised_actions(cache), model.action_block
    starts = frame_index(cache, unroll * block + 1).starts
    errors = np.full(int(cache.episode_starts[-1]), np.nan)
    for some in np.array_split(starts, -(-len(starts) // _ROWS)):
        frames = some[:, None] + block * np.arange(unroll + 1)
        real = latents[uploaded(frames, latents.device)]
        blocks = blocks_after(actions, some, unroll, block).reshape(len(some), unroll, -1)
        imagined, _ = model.dynamics.unroll(real[:, 0], uploaded(np.ascontiguousarray(blocks), latents.device))
        errors[some] = (imagined.float() - real[:, 1:].float()).square().mean((1, 2)).cpu().numpy()
    return errors


def weigh(errors: Float[np.ndarray, " frame"], visits: Float[np.ndarray, " frame"], config: PriorityConfig) -> Weighed:
    """The chances of all frames, summing to 1. `visits` is how often the window of each was drawn."""
    begins = np.isfinite(errors)
    chances = begins.astype(np.float64)
    if config.kind != "uniform":
        scaled = errors[begins] / max(float(errors[begins].mean()), 1e-12)
        priority = (scaled + config.least) ** config.exponent
        if config.kind == "curious_replay":
            priority = priority + config.novelty * config.decay ** visits[begins]
        chances[begins] = priority
    return Weighed(chances / chances.sum(), errors)


def window_chances(chances: Float[np.ndarray, " frame"], starts: Int[np.ndarray, " window"]) -> Float[np.ndarray, " window"]:
    """Those of the windows that begin at `starts`, summing to 1. Raises `DataError` where nothing can be drawn by them."""
    if len(chances) <= int(starts.max(initial=0)):
        raise DataError(f"chances are given for {len(chances)} frames, and windows begin as late as at frame {int(starts.max())}")
    own = np.asarray(chances, np.float64)[starts]
    if not np.isfinite(own).all() or (own < 0).any() or own.sum() <= 0:
        raise DataError("chances must be finite, not negative, and not all 0 where windows begin")
    return own / own.sum()


def write_chances(path: Path, chances: Float[np.ndarray, " frame"]) -> None:
    content = io.BytesIO()
    np.save(content, chances, allow_pickle=False)
    replace_file(path, content.getvalue())


def read_chances(path: Path, cache: Frames) -> Float[np.ndarray, " frame"]:
    """Raises `DataError` for a file that is none, or of other data."""
    try:
        chances = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} holds no chances ({error}); `robo-dream improve` writes them as an .npy") from None
    num_frames = int(cache.episode_starts[-1])
    if chances.shape != (num_frames,) or chances.dtype != np.float64:
        raise DataError(f"{path} holds {chances.dtype} {chances.shape}; these data have {num_frames} frames, each with one float64")
    return chances


def sha256_of(chances: Float[np.ndarray, " frame"]) -> str:
    return hashlib.sha256(np.ascontiguousarray(chances).tobytes()).hexdigest()
