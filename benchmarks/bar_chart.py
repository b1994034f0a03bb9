"""Groups of bars with intervals, drawn with Pillow alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from robo_dream.viewer.pictures import FAINT, INK, PAPER, Colour, stacked, write_png

COLOURS: tuple[Colour, ...] = (
    (122, 134, 154), (86, 156, 214), (197, 134, 192), (78, 201, 140), (220, 190, 90), (230, 230, 230), (190, 80, 70),
)  # fmt: skip
GRID: Colour = (52, 56, 66)
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 1000, 300, 60, 66, 34


@dataclass(frozen=True)
class Panel:
    """For each name and group the middle, low and high of a bar."""

    title: str
    groups: Sequence[str]
    bars: Mapping[str, Sequence[tuple[float, float, float]]]


def draw_panels(path: Path, panels: Sequence[Panel]) -> Path:
    """The panels one above the other; a name has one colour in all of them."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.bars))
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    return write_png(path, stacked([_panel(panel, colours) for panel in panels], gap=10))


def _panel(panel: Panel, colours: Mapping[str, Colour]) -> np.ndarray:
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw, small = ImageDraw.Draw(image), ImageFont.load_default(14)
    draw.text((LEFT, 10), panel.title, INK, ImageFont.load_default(18))
    x = LEFT
    for name in panel.bars:
        draw.rectangle((x, 43, x + 11, 54), colours[name])
        draw.text((x + 17, 40), name, INK, small)
        x += 36 + int(draw.textlength(name, small))
    numbers = [number for bars in panel.bars.values() for bar in bars for number in bar if math.isfinite(number)]
    low, high, step = _scale(min(0.0, *numbers), max(numbers))

    def height(number: float) -> float:
        return HEIGHT - BOTTOM - (number - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    for tick in np.arange(low, high + step / 2, step):
        draw.line((LEFT, height(tick), WIDTH - 15, height(tick)), FAINT if abs(tick) < step / 10 else GRID)
        label = f"{tick:.1f}" if step < 1 else f"{tick:.0f}"
        draw.text((LEFT - 10 - draw.textlength(label, small), height(tick) - 9), label, FAINT, small)
    group_width = (WIDTH - 15 - LEFT) / len(panel.groups)
    bar_width = 0.82 * group_width / len(panel.bars)
    for number, group in enumerate(panel.groups):
        start = LEFT + group_width * (number + 0.09)
        draw.text((LEFT + group_width * (number + 0.5) - draw.textlength(group, small) / 2, HEIGHT - BOTTOM + 8), group, INK, small)
        for place, (name, bars) in enumerate(panel.bars.items()):
            middle, bottom, top = bars[number]
            if not math.isfinite(middle):
                continue
            x = start + place * bar_width
            draw.rectangle((x + 1, min(height(middle), height(0)), x + bar_width - 3, max(height(middle), height(0))), colours[name])
            draw.line((x + bar_width / 2 - 1, height(top), x + bar_width / 2 - 1, height(bottom)), (255, 255, 255), 1)
            for end in (top, bottom):
                draw.line((x + bar_width / 2 - 4, height(end), x + bar_width / 2 + 2, height(end)), (255, 255, 255), 1)
    return np.asarray(image)


def _scale(low: float, high: float) -> tuple[float, float, float]:
    """Ends that are multiples of a round step."""
    rough = max(high - low, 1e-6) / 5
    power = 10 ** math.floor(math.log10(rough))
    step = min((one * power for one in (1, 2, 5, 10)), key=lambda one: abs(one - rough))
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, step
