"""Pictures of held-out windows: what happened above what was imagined."""

from pathlib import Path

import numpy as np

from robo_dream.data.cache import FrameCache
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.open_loop import bridge_strips, held_out_windows, strips
from robo_dream.viewer.pictures import contact_sheet, stacked, write_png

STRIPS = "strips"  # the folder of these in that of a training
HORIZON = 10  # imagined steps of a strip
BRIDGE = 6  # action blocks of a drawn bridge


def draw_strips(model: LatentVideoModel, cache: FrameCache, folder: Path, num_windows: int, seed: int) -> Path | None:
    """One picture for each of `num_windows` held-out windows and a sheet of all of them, whose path is given; None when there are none.

    Beside it lies bridges.png: the same windows as the straight line through latent space shows them, from their first frame to one
    some steps on.
    """
    lengths = np.diff(cache.episode_starts)[~cache.is_train]
    horizon = min(HORIZON, (int(lengths.max(initial=0)) - 1) // model.action_block)
    if not num_windows or horizon < 1:
        return None
    drawn, bridges = [], []
    for window in held_out_windows(cache, model.action_block, num_windows, horizon, seed):
        pictures, bridge = strips(model, cache, int(window), horizon), bridge_strips(model, cache, int(window), min(BRIDGE, horizon))
        apart = f"{model.action_block * cache.control_dt:.1f} s apart; {' above '.join(pictures)}"
        drawn.append((f"frame {window}: real above imagined, {apart}", stacked(list(pictures.values()), 4)))
        bridges.append((f"frame {window}: real above the bridge, {apart}", stacked(list(bridge.values()), 4)))
        write_png(folder / f"frame-{window:06d}.png", contact_sheet(drawn[-1:], 2))
    if not drawn:
        return None
    write_png(folder / "bridges.png", contact_sheet(bridges))
    return write_png(folder / "sheet.png", contact_sheet(drawn))
