"""Lines with intervals over a number that doubles, and single points beside them: an SVG, written without a drawing library."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from robo_dream.files import replace_file

Interval = tuple[float, float, float]  # middle, low, high

COLOURS = (
    "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
    "#0b3c5d", "#a34f00", "#115911", "#f4a6a6", "#4b2a73", "#d9b38c", "#8a1c66", "#333333",
)  # fmt: skip
WIDTH, HEIGHT, TOP, LEGEND_ROW, COLUMNS = 1000, 400, 44, 20, 3
LEFT, RIGHT = (60, 590), (625, 985)  # where the two parts begin and end
SPREAD = 42  # px at most between the first and the last line at the same number


@dataclass(frozen=True)
class Line:
    """What was found at each number, and of each of the cases that have none; `is_dashed` tells two of one colour apart."""

    name: str
    colour: int
    is_dashed: bool
    at: Mapping[int, Interval]
    apart: Mapping[str, Interval]

    @property
    def stroke(self) -> str:
        return COLOURS[self.colour % len(COLOURS)]


@dataclass(frozen=True)
class Scale:
    """From values to px, `low` at the bottom."""

    low: float
    high: float

    def __call__(self, value: float) -> float:
        return HEIGHT - 50 - (HEIGHT - 50 - TOP) * (value - self.low) / (self.high - self.low)

    def ticks(self) -> Iterator[float]:
        step = next(step for step in (1, 2, 5, 10, 20, 50, 100) if (self.high - self.low) / step <= 10 or step == 100)
        value = math.ceil(self.low / step) * step
        while value <= self.high:
            yield value
            value += step


def draw_lines(path: Path, lines: Sequence[Line], title: str, over: str, cases: Mapping[str, str]) -> Path:
    """`over` names the numbers; `cases` are drawn in the right part, under these names. The same lines give the same file."""
    every = [value for line in lines for found in (*line.at.values(), *line.apart.values()) for value in found]
    up = Scale(min([0.0, *every]) - 3, max([0.0, *every]) + 3)
    numbers = sorted({number for line in lines for number in line.at}) or [1]
    rows = -(-len(lines) // COLUMNS)
    height = HEIGHT + 14 + rows * LEGEND_ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13" fill="#333">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        _text(LEFT[0], 24, title, "start", size=16),
        *_axes(up),
    ]
    parts += [_text(_across(number, numbers), HEIGHT - 30, str(number)) for number in numbers]
    parts.append(_text(sum(LEFT) / 2, HEIGHT - 10, over))
    for place, name in enumerate(cases.values()):
        for row, word in enumerate(name.split("\n")):
            parts.append(_text(_beside(place, len(cases)), HEIGHT - 30 + 15 * row, word))
    for place, line in enumerate(lines):
        shift = _shift(place, len(lines))
        beside = _shift(sum(bool(other.at) for other in lines[:place]), sum(bool(other.at) for other in lines))
        at = [(_across(number, numbers) + beside, line.at[number]) for number in sorted(line.at)]
        way = " ".join(f"{x:.1f},{up(found[0]):.1f}" for x, found in at)
        dashes = ' stroke-dasharray="6 4"' if line.is_dashed else ""
        parts.append(f'<polyline points="{way}" fill="none" stroke="{line.stroke}" stroke-width="2"{dashes}/>')
        where = [(_beside(list(cases).index(case), len(cases)) + shift, line.apart[case]) for case in cases if case in line.apart]
        for x, found in (*at, *where):
            parts += _point(line, x, found, up)
        x, y = LEFT[0] + (place % COLUMNS) * (WIDTH - LEFT[0]) / COLUMNS, HEIGHT + 14 + (place // COLUMNS) * LEGEND_ROW
        parts.append(f'<path d="M {x:.1f} {y - 4} h 28" stroke="{line.stroke}" stroke-width="2"{dashes}/>')
        parts.append(_text(x + 36, y, line.name, "start"))
    replace_file(path, ("\n".join([*parts, "</svg>"]) + "\n").encode())
    return path


def _shift(place: int, count: int) -> float:
    """By how much one of several is moved, so that they do not hide each other."""
    return min(7, SPREAD / max(count, 1)) * (place - (count - 1) / 2)


def _across(number: int, numbers: Sequence[int]) -> float:
    """Where a number of the left part stands: doubling it goes equally far."""
    low, high = math.log2(numbers[0]), math.log2(numbers[-1])
    return LEFT[0] + 45 + (LEFT[1] - LEFT[0] - 90) * ((math.log2(number) - low) / (high - low) if high > low else 0.5)


def _beside(place: int, count: int) -> float:
    return RIGHT[0] + (RIGHT[1] - RIGHT[0]) * (place + 0.5) / count


def _axes(up: Scale) -> Iterator[str]:
    for value in up.ticks():
        colour, width = ("black", 1) if value == 0 else ("#ddd", 1)
        for start, end in (LEFT, RIGHT):
            yield f'<path d="M {start} {up(value):.1f} H {end}" stroke="{colour}" stroke-width="{width}"/>'
        yield _text(LEFT[0] - 8, up(value) + 4, f"{value:+g}" if value else "0", "end")


def _point(line: Line, x: float, found: Interval, up: Scale) -> Iterator[str]:
    middle, low, high = (up(value) for value in found)
    yield f'<path d="M {x:.1f} {low:.1f} V {high:.1f}" stroke="{line.stroke}" stroke-width="1"/>'
    fill = "white" if line.is_dashed else line.stroke
    yield f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="3.5" stroke="{line.stroke}" stroke-width="1.5" fill="{fill}"/>'


def _text(x: float, y: float, words: str, anchor: str = "middle", size: int = 13) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'
