"""Lines with intervals over a number that doubles, and single points beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Interval = tuple[float, float, float]  # middle, low, high


@dataclass(frozen=True)
class Line:
    """What was found at each number, and of each of the cases that have none; `is_dashed` tells two of one colour apart."""

    name: str
    colour: int
    is_dashed: bool
    at: Mapping[int, Interval]
    apart: Mapping[str, Interval]


def draw_lines(path: Path, lines: Sequence[Line], title: str, over: str, cases: Mapping[str, str]) -> Path:
    """`over` names the numbers; `cases` are drawn in the right part, under these names. The same lines give the same file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure  # drawing alone needs it

    figure = Figure(figsize=(10, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for place, line in enumerate(lines):
        shift = place - (len(lines) - 1) / 2
        style = {"color": f"C{line.colour}", "lw": 1.8, "ls": "--" if line.is_dashed else "-", "marker": "o", "ms": 4}
        numbers = sorted(line.at)
        left.errorbar(np.array(numbers) * 2 ** (0.06 * shift), **_bars([line.at[n] for n in numbers]), **style, label=line.name)
        named = [case for case in cases if case in line.apart]
        where = np.array([list(cases).index(case) for case in named]) + 0.7 / max(1, len(lines)) * shift
        right.errorbar(where, **_bars([line.apart[case] for case in named]), **style | {"ls": "none"}, mfc="w" if line.is_dashed else None)
    left.set_xscale("log", base=2)
    marks = sorted({number for line in lines for number in line.at})
    left.set_xticks(marks, [str(mark) for mark in marks])
    left.minorticks_off()
    left.set_xlabel(over)
    left.set_title(title, loc="left")
    right.set_xticks(range(len(cases)), list(cases.values()), fontsize="small")
    right.set_xlim(-0.5, len(cases) - 0.5)
    for axis in (left, right):
        axis.axhline(0, color="black", lw=0.8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
    left.legend(fontsize="small", frameon=False, ncols=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context({"svg.hashsalt": "lines"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else {})
    return path


def _bars(intervals: Sequence[Interval]) -> dict[str, np.ndarray | int]:
    middle, low, high = np.array(intervals, float).reshape(-1, 3).T
    return {"y": middle, "yerr": np.abs(np.stack([middle - low, high - middle])), "capsize": 2, "elinewidth": 0.9}
