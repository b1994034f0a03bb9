"""Contact sheets: what happened above what was imagined, in one picture."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.replay.canvas import FAINT, banner, beside, blank, enlarge, stacked
from robo_dream.replay.record import RunRecord

Draw = Callable[[Float[np.ndarray, "row channel"]], Mapping[str, UInt8[np.ndarray, "row height width 3"]]]
"""Pictures of every camera from latents: the model's decoder."""

_LARGEST = 128  # px a side of a picture on a sheet


def contact_sheet(
    strips: Sequence[tuple[str, UInt8[np.ndarray, "_ _ 3"]]], factor: int = 1
) -> UInt8[np.ndarray, "tall wide 3"]:
    """Titled pictures from top to bottom, each pixel enlarged `factor` times."""
    parts = []
    for title, image in strips:
        large = enlarge(image, factor)
        parts += [banner(title, large.shape[1], 13), large]
    return stacked(parts)


def run_sheet(run: RunRecord, draw: Draw, max_decisions: int = 12) -> UInt8[np.ndarray, "tall wide 3"]:
    """A row for each decision and camera: goal, what was seen, and the chosen plan imagined block by block."""
    picked = np.unique(np.linspace(0, len(run.decisions) - 1, min(max_decisions, len(run.decisions))).round().astype(int))
    rows: list[np.ndarray] = []
    for index in picked:
        decision = run.decisions[index]
        seen = run.step_at(decision.step)
        if seen is None:
            continue  # cut short before the observation was written
        observation, imagined = seen.observation, draw(decision.latents)
        lines = []
        for camera in run.cameras:
            real = observation.frames[camera].image
            factor = max(1, _LARGEST // real.shape[0])
            parts = [run.goal.pictures.get(camera, blank(*real.shape[:2])), real, *imagined[camera]]
            lines.append(beside([enlarge(np.asarray(image), factor) for image in parts], 4))
        apart = f"{decision.action_block} control steps apart"
        title = f"step {decision.step}: goal | reality | imagined, {apart}; cost {decision.cost:.4g}, {decision.status}"
        if len(decision.strategies) > 1:
            title += f"; {decision.strategies[0]} of {sum(decision.strategies)} elites agreed on this strategy"
        rows += [banner(title, lines[0].shape[1], 13, FAINT), stacked(lines, 2)]
    return stacked(rows) if rows else blank(_LARGEST, _LARGEST)
