"""What a training leaves: the checkpoint with its recipe, pictures of imagined futures, and the figures in a few lines."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robo_dream.data.cache import FrameCache
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.open_loop import bridge_strips, held_out_windows, strips
from robo_dream.viewer.pictures import contact_sheet, stacked, write_png

HORIZON = 10  # imagined steps of a strip
BRIDGE = 6  # action blocks of a drawn bridge


def release(model: LatentVideoModel, written: Path, released: Path, recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Writes the finished checkpoint `written` again with its whole `recipe`, to both places, and gives its held-out metrics.

    Beside each lies a JSON file of the same name with recipe, metrics and hash, for people.
    """
    info = checkpoint.read_info(written)
    for path in dict.fromkeys((written, released)):
        checkpoint.save(model, path, recipe, info.dataset_id, info.metrics)
        about = {"recipe": recipe, "metrics": info.metrics, "dataset": info.dataset_id, "sha256": checkpoint.sha256(path)}
        path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    return info.metrics


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


def training_seconds(log: Path) -> float:
    """Seconds spent on training steps, interruptions left out, from the rates in the metrics log."""
    seconds, last = 0.0, ("", 0)
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if rate := entry.get("steps_per_second"):
            before = last[1] if last[0] == entry["stage"] and last[1] < entry["step"] else 0
            seconds += (entry["step"] - before) / rate
            last = (entry["stage"], entry["step"])
    return seconds


def figures(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The held-out metrics that matter, in sentences."""
    if "open_loop" in metrics:
        loop = metrics["open_loop"]
        for step in (1, 5, 10):
            if step <= len(loop["copy_over_imagined"]):
                ratio = loop["copy_over_imagined"][step - 1]
                yield f"Held out: {step:2d} steps ahead, imagined pictures err {ratio:.2f} times less than copying the last frame."
        yield f"Held out: disagreement against error, Spearman {loop['spearman']:.2f}."
    if "actions" in metrics:
        parts = ", ".join(f"off {name} {part:.0%}" for name, part in metrics["actions"].items())
        yield f"Held out: variance of actions that is not read {parts}."
    for name, errors in metrics.get("pose", {}).items():
        yield f"Held out: median pose errors of the {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in errors.items()) + "."
