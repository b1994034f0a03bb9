"""Several imagined futures of one decision, one above the other, in one picture."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.replay.canvas import FAINT, banner, beside, blank, enlarge, stacked
from robo_dream.replay.record import RunRecord
from robo_dream.replay.strips import Draw

_LARGEST = 128  # px a side of a picture
_GAP = 4


def comparison_sheet(
    run: RunRecord, step: int, dreams: Sequence[tuple[str, Float[np.ndarray, "_ channel"]]], draw: Draw
) -> UInt8[np.ndarray, "tall wide 3"]:
    """For each titled dream a row of every camera: goal, what was seen at `step` (blank where that is lost), what was imagined."""
    seen = run.step_at(step)
    rows: list[np.ndarray] = []
    for title, latents in dreams:
        imagined = draw(latents)
        lines = []
        for camera, pictures in imagined.items():
            height, width = pictures.shape[1:3]
            real = blank(height, width) if seen is None else seen.observation.frames[camera].image
            parts = [run.goal.pictures.get(camera, blank(height, width)), real, *pictures]
            factor = max(1, _LARGEST // height)
            lines.append(beside([enlarge(np.asarray(image), factor) for image in parts], _GAP))
        rows += [banner(f"{title}: goal | seen | imagined", lines[0].shape[1], 13, FAINT), stacked(lines, 2)]
    return stacked(rows, _GAP)
