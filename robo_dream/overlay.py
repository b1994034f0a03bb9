"""What was commanded, drawn into a strip below a camera's picture and read off it, as a player's keys are overlaid on a game's video.

A strip has a row for each number of a command, and in it a bar for each of the last control steps, the newest on the right. A bar goes from
its middle to the right, in red, for what is above the middle of the number's range, and to the left, in blue, for what is below; over half
of its room is the limit. Its last pixel is drawn in part, so that lengths are no whole numbers of pixels, and a length is read as how much
of the bar's colour there is on its side: errors of single pixels are averaged.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from robo_dream.embodiment import ActionSpec
from robo_dream.errors import ContractError

ROW = 4  # px of the picture for each number, the last of them a gap
SHORTEST = 2  # px on either side of a bar's middle
_ABOVE, _BELOW, _NOTHING, _MIDDLE = (np.array(colour, np.float32) for colour in ((255, 80, 40), (40, 120, 255), (24, 24, 24), (96, 96, 96)))


def strip_height(num_numbers: int) -> int:
    """Pixels that a picture grows by, at its lower edge."""
    return ROW * num_numbers


def bars(commands: Float[np.ndarray, "*batch step number"], width: int) -> UInt8[np.ndarray, "*batch number width 3"]:
    """A row of pixels for each number, with the bars of `commands`, -1 and 1 at their limits, oldest first.

    Raises `ContractError` where `width` has no room for so many.
    """
    steps = commands.shape[-2]
    half, places = _room(width, steps)
    away = np.arange(-half, half + 1)  # px from the middle
    value = np.swapaxes(commands, -1, -2)[..., None].astype(np.float32).clip(-1, 1)  # (..., number, step, 1)
    covered = (np.abs(value) * half - (np.abs(away) - 1)).clip(0, 1) * (np.sign(away) == np.sign(value))
    colour = np.where((away > 0)[:, None], _ABOVE, _BELOW)
    drawn = _NOTHING + covered[..., None] * (colour - _NOTHING)
    drawn[..., half, :] = _MIDDLE
    rows = np.broadcast_to(_NOTHING, (*drawn.shape[:-3], width, 3)).copy()
    rows[..., places.flatten(), :] = drawn.reshape(*drawn.shape[:-3], -1, 3)
    return np.rint(rows).astype(np.uint8)


def with_strip(
    pictures: UInt8[np.ndarray, "*batch height width 3"], rows: UInt8[np.ndarray, "*batch number width 3"]
) -> UInt8[np.ndarray, "*batch taller width 3"]:
    """`pictures` with `rows` below them, each `ROW` px high."""
    strip = rows.repeat(ROW, axis=-3)
    strip[..., ROW - 1 :: ROW, :, :] = _NOTHING.astype(np.uint8)
    return np.concatenate([pictures, strip], -3)


def parted(
    pictures: UInt8[np.ndarray, "*batch taller width 3"], num_numbers: int
) -> tuple[UInt8[np.ndarray, "*batch height width 3"], UInt8[np.ndarray, "*batch number width 3"]]:
    """The pictures and the rows of what `with_strip` made: of each bar its mean row."""
    height = pictures.shape[-3] - strip_height(num_numbers)
    strip = pictures[..., height:, :, :].reshape(*pictures.shape[:-3], num_numbers, ROW, *pictures.shape[-2:])
    return pictures[..., :height, :, :], np.rint(strip[..., : ROW - 1, :, :].mean(-3)).astype(np.uint8)


def commands_in(rows: UInt8[Tensor, "*batch number width 3"], steps: int) -> Float[Tensor, "*batch step number"]:
    """The commands that bars show, -1 and 1 at their limits; the inverse of `bars`, off by at most a few thousandths."""
    half, places = _room(rows.shape[-2], steps)
    found: list[Tensor] = []
    for side, colour in ((places[:, :half], _BELOW), (places[:, half + 1 :], _ABOVE)):
        towards = torch.from_numpy((colour - _NOTHING) / np.square(colour - _NOTHING).sum()).to(rows.device)
        nothing = torch.from_numpy(_NOTHING).to(rows.device)
        pixels = rows[..., torch.from_numpy(side.copy()).to(rows.device), :].float() - nothing  # (..., number, step, half, 3)
        found.append((pixels @ towards).sum(-1) / half)
    return (found[1] - found[0]).clamp(-1, 1).movedim(-1, -2)


def commands_shown(spec: ActionSpec, actions: Float[np.ndarray, "step number"], steps: int) -> Float[np.ndarray, "frame last number"]:
    """Of every observation of an episode the last `steps` commands that led to it, -1 and 1 at their limits; 0 before the first."""
    half, middle = 0.5 * (spec.high - spec.low), 0.5 * (spec.high + spec.low)
    normal = np.concatenate([np.zeros((steps, spec.size), np.float32), (actions - middle) / half]).astype(np.float32)
    return normal[np.arange(len(actions) + 1)[:, None] + np.arange(steps)]


def _room(width: int, steps: int) -> tuple[int, np.ndarray]:
    """Pixels on either side of a bar's middle, and the columns of each bar."""
    half = (width // steps - 1) // 2
    if half < SHORTEST:
        raise ContractError(
            f"a picture {width} px wide has no room for the bars of {steps} commands; it has for {width // (2 * SHORTEST + 1)}"
        )
    first = (width // steps) * np.arange(steps)
    return half, first[:, None] + np.arange(2 * half + 1)
