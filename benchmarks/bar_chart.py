"""Groups of bars with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Panel:
    """For each name and group the middle, low and high of a bar; NaN leaves it out."""

    title: str
    groups: Sequence[str]
    bars: Mapping[str, Sequence[tuple[float, float, float]]]


def draw_panels(path: Path, panels: Sequence[Panel]) -> Path:
    """The panels one above the other; a name has one colour in all of them."""
    from matplotlib.figure import Figure  # drawing alone needs it

    names = list(dict.fromkeys(name for panel in panels for name in panel.bars))
    figure = Figure(figsize=(10, 3 * len(panels)), layout="constrained")
    for axis, panel in zip(figure.subplots(len(panels), squeeze=False).flat, panels, strict=True):
        width = 0.82 / len(panel.bars)
        for place, (name, bars) in enumerate(panel.bars.items()):
            middle, low, high = np.array(bars, float).T
            at = np.arange(len(bars)) + (place - (len(panel.bars) - 1) / 2) * width
            spread = np.abs(np.stack([middle - low, high - middle]))
            axis.bar(at, middle, 0.92 * width, yerr=spread, color=f"C{names.index(name)}", label=name, error_kw={"capsize": 2, "lw": 1})
        axis.axhline(0, color="black", lw=0.8)
        axis.set_title(panel.title, loc="left")
        axis.set_xticks(range(len(panel.groups)), panel.groups)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
        axis.set_xlim(-0.5, len(panel.groups) - 0.5)
        axis.legend(fontsize="small", frameon=False, ncols=4)
    figure.savefig(path, dpi=100)
    return path
