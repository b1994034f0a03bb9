"""What `robo-dream inspect` found, as one HTML file that opens anywhere, offline: the verdict, its reasons, pictures and curves."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import torch
from jaxtyping import Float, UInt8

from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.frames import Frames, pictures
from robo_dream.training.inspection import AS_IS, Measured
from robo_dream.training.latents import encode_frames
from robo_dream.training.open_loop import OpenLoop, strips
from robo_dream.training.verdict import COVERED, SPREAD, UNEXPLAINED, Verdict
from robo_dream.viewer.pictures import beside, encoded, enlarge, stacked
from robo_dream.viewer.server import page_file

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_SHOWN, _STRIPS = 8, 3  # frames that are drawn again, and imagined windows
_DRAWN_WIDTH = 96  # px of a picture, at least
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 380, 190, 46, 18, 10, 34  # px of a chart and of its margins
_TICK = 36  # px from one number under a chart to the next, at least
_BINS = 8


@dataclass(frozen=True)
class Inspected:
    """What the page tells of."""

    checkpoint: str
    regime: str | None
    data: str
    measured: Measured
    verdict: Verdict


@dataclass(frozen=True)
class _Line:
    """A curve of a chart."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    dashed: bool = False


def inspection_page(about: Inspected, model: LatentVideoModel, cache: Frames) -> bytes:
    """The file: no script, no network."""
    found = about.verdict
    reasons = "".join(f"<p>{escape(reason)}</p>" for reason in found.reasons) or "<p>Nothing speaks against planning with it.</p>"
    rows = "".join(
        f'<tr><td>{escape(one.check)}</td><td><span class="word {one.word}">{one.word}</span></td><td>{escape(one.sentence)}'
        + (f'<div class="faint">{escape(one.advice)}</div>' if one.word != "fit" else "") + "</td></tr>"
        for one in found.findings
    )  # fmt: skip
    style = page_file("page.css").decode().split("* {")[0] + page_file("inspection.css").decode()  # the colours of the replay page
    body = [
        f'<h1>Fit to plan with?<span class="word {found.word}">{found.word}</span></h1>',
        f'<p class="faint">{escape(about.checkpoint)} · {escape(about.regime or "unknown")} regime · on {escape(about.data)}</p>', reasons,
        f'<h2>What was asked</h2><div class="panel"><table>{rows}</table></div>',
        f'<h2>Figures</h2><div class="charts">{"".join(_charts(about.measured))}</div>',
        "<h2>Drawn again</h2><p class=\"faint\">Above what the camera saw, below what the model draws of it from its latent.</p>",
        f'<div class="panel">{"".join(_drawn_again(about.measured, model, cache))}</div>',
        '<h2>Imagined</h2><p class="faint">Above what happened after every action block, below what is imagined from the first picture '
        "and the recorded actions alone.</p>", f'<div class="panel">{"".join(_imagined(about.measured, model, cache))}</div>',
    ]  # fmt: skip
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(about.checkpoint)}: {found.word}</title><style>{style}</style></head>\n<body>{''.join(body)}</body></html>\n"
    ).encode()


def _picture(image: UInt8[np.ndarray, "height width 3"], alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="data:image/jpeg;base64,{base64.b64encode(encoded(image)).decode()}">'


def _drawn_again(measured: Measured, model: LatentVideoModel, cache: Frames) -> Iterator[str]:
    frames = measured.sight.frames[np.linspace(0, len(measured.sight.frames) - 1, _SHOWN).astype(np.int64)]
    with torch.no_grad():
        drawn = model.decode(encode_frames(model, cache, frames))
    for name in model.cameras:
        rows = [beside([_large(image) for image in row], 4) for row in (pictures(cache.images[name], frames), drawn[name].cpu().numpy())]
        yield f'<b>{escape(name)}</b> <span class="faint">error {measured.sight.unexplained[AS_IS][name]:.2f} of the mean picture\'s</span>'
        yield _picture(stacked(rows, 4), f"{name}: seen above drawn")


def _imagined(measured: Measured, model: LatentVideoModel, cache: Frames) -> Iterator[str]:
    loop = measured.loop
    order = np.argsort(loop.latent_error.mean(1))
    for place, what in zip(np.linspace(0, len(order) - 1, _STRIPS).astype(int), ("the best", "the middle", "the worst"), strict=True):
        window = int(loop.windows[order[place]])
        drawn = strips(model, cache, window, loop.latent_error.shape[1])
        yield f'<b>{what} of {len(order)}</b> <span class="faint">from frame {window}; {", ".join(drawn)}</span>'
        yield _picture(stacked([_large(image, 2) for image in drawn.values()], 4), f"window from frame {window}")


def _large(image: UInt8[np.ndarray, "height width 3"], rows: int = 1) -> UInt8[np.ndarray, "tall wide 3"]:
    return enlarge(np.asarray(image), max(1, -(-_DRAWN_WIDTH * rows // image.shape[0])))


def _charts(measured: Measured) -> Iterator[str]:
    loop, ahead = measured.loop, [measured.action_block * (h + 1) for h in range(measured.loop.latent_error.shape[1])]
    yield _chart(
        "Error of imagined latents", "control steps ahead; below the copied last frame is knowledge",
        [_mean("imagined", ahead, loop.latent_error, "--dream"), _mean("last frame copied", ahead, loop.copy_latent_error, "--c1")],
    )  # fmt: skip
    yield _chart(
        "Squared error of imagined pictures", "control steps ahead; the floor is the decoder on the true latent",
        [
            _mean("imagined", ahead, loop.imagined_mse, "--dream"), _mean("last frame copied", ahead, loop.copy_mse, "--c1"),
            _mean("floor", ahead, loop.floor_mse, "--c5"),
        ],
    )  # fmt: skip
    scale = {value: error for value, error in measured.scale.error.items() if value > 0}
    yield _chart(
        "Recorded actions multiplied by", "error of the next latent; least at 1 where action units are the model's",
        [_Line("error", [float(np.log2(value)) for value in scale], list(scale.values()), "--dream")], [f"{value:g}" for value in scale],
    )  # fmt: skip
    lags = measured.agreement.lags
    yield _chart(
        "The arm so many control steps later", "error of drawn pictures, 1 with their own; least at 0 where camera and arm agree",
        [_Line("error", list(lags), list(lags.values()), "--real")],
    )  # fmt: skip
    yield _chart("Error by disagreement", f"the line is {COVERED:g} times disagreement, within which errors should lie", _calibration(loop))
    names = list(measured.costs)
    yield _bars(
        "Spread of candidates' costs over their mean", f"{SPREAD.doubtful:g} is enough, below {SPREAD.unfit:g} is flat",
        {name: measured.costs[name].spread for name in names}, SPREAD.doubtful,
    )  # fmt: skip
    yield _bars(
        "Cheaper than the actions that led to the goal",
        "part of random and other actions; 0.5 is chance",
        {name: measured.costs[name].rank for name in names},
        0.5,
    )
    yield _bars(
        "Pictures drawn again", "error, 1 is that of the mean picture; the others are what may have been done to them",
        {change: measured.sight.mean(change) for change in measured.sight.unexplained}, UNEXPLAINED.unfit,
    )  # fmt: skip


def _mean(name: str, ahead: Sequence[float], errors: Float[np.ndarray, "window horizon"], colour: str) -> _Line:
    return _Line(name, ahead, errors.mean(0).tolist(), colour)


def _calibration(loop: OpenLoop) -> list[_Line]:
    doubt, error = loop.disagreement.ravel(), loop.latent_error.ravel()
    parts = np.array_split(np.argsort(doubt), min(_BINS, len(doubt)))
    x = [float(doubt[part].mean()) for part in parts]
    return [
        _Line("error", x, [float(error[part].mean()) for part in parts], "--dream"),
        _Line(f"{COVERED:g} times disagreement", x, [COVERED * value for value in x], "--c5", True),
    ]


def _chart(title: str, says: str, lines: Sequence[_Line], ticks: Sequence[str] = ()) -> str:
    """Curves over one axis, from 0 upwards; `ticks` name the first line's positions."""
    every = [value for line in lines for value in line.x]
    low, high = min(every), max(every)
    top = 1.08 * max((value for line in lines for value in line.y if np.isfinite(value)), default=1.0) or 1.0

    def across(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (value - low) / max(high - low, 1e-9)

    def up(value: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * value / top

    parts = [_grid(up, top)]
    named = ticks or [f"{value:.3g}" for value in lines[0].x]
    free = 0.0
    for value, name in zip(lines[0].x, named, strict=True):
        if across(value) >= free:
            parts.append(f'<text x="{across(value):.1f}" y="{_HEIGHT - 18}" text-anchor="middle">{escape(name)}</text>')
            free = across(value) + _TICK
    for line in lines:
        points = [(across(x), up(y)) for x, y in zip(line.x, line.y, strict=True) if np.isfinite(y)]
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline{dash} style="stroke: var({line.colour})" points="{path}"/>')
        if not line.dashed:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" style="fill: var({line.colour})"/>' for x, y in points]
    keys = "".join(f'<i class="key" style="background: var({line.colour})"></i>{escape(line.name)}' for line in lines)
    return _framed(title, f"{escape(says)}<br>{keys}" if len(lines) > 1 else escape(says), parts)


def _bars(title: str, says: str, values: Mapping[str, float], mark: float) -> str:
    """A bar for each name, and a line at `mark`."""
    top = 1.1 * max([mark, *(value for value in values.values() if np.isfinite(value))])
    row = (_HEIGHT - _TOP - _BOTTOM) / max(len(values), 1)
    parts = []
    for place, (name, value) in enumerate(values.items()):
        y, long = _TOP + place * row, (_WIDTH - _LEFT - _RIGHT) * (value if np.isfinite(value) else 0.0) / top
        parts.append(f'<text x="{_LEFT - 36}" y="{y + 11:.1f}">{escape(name)}: {value:.3g}</text>')
        size = f'width="{max(long, 1):.1f}" height="{max(row - 21, 4):.1f}"'
        parts.append(f'<rect class="bar" x="{_LEFT - 36}" y="{y + 15:.1f}" {size} rx="3"/>')
    x = _LEFT - 36 + (_WIDTH - _LEFT - _RIGHT) * mark / top
    parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM + 4}"/>')
    parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 16}" text-anchor="middle">{mark:g}</text>')
    return _framed(title, escape(says), parts)


def _grid(up: Callable[[float], float], top: float) -> str:
    marks = [top * part / 4 for part in range(5)]
    return "".join(
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}"/>'
        f'<text x="{_LEFT - 5}" y="{up(value) + 4:.1f}" text-anchor="end">{value:.2g}</text>'
        for value in marks
    )


def _framed(title: str, says: str, parts: Sequence[str]) -> str:
    drawing = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    return f'<div class="panel chart"><b>{escape(title)}</b><p>{says}</p>{drawing}</div>'
