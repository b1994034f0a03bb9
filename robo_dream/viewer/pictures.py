"""Small pictures made large, labelled and put side by side."""

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from robo_dream.files import replace_file
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import RunRecord
from robo_dream.recording.timeline import chosen

INK, FAINT, PAPER = (240, 240, 240), (150, 155, 165), (24, 26, 32)
Colour = tuple[int, int, int]


def enlarge(image: UInt8[np.ndarray, "height width 3"], factor: int) -> UInt8[np.ndarray, "tall wide 3"]:
    """Every pixel as a square of `factor` pixels."""
    return image.repeat(factor, 0).repeat(factor, 1)


def blank(height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    return np.full((height, width, 3), PAPER, np.uint8)


def banner(text: str, width: int, size: int = 16, colour: Colour = INK) -> UInt8[np.ndarray, "height width 3"]:
    """A line of text on dark ground, cut off at `width`."""
    image = Image.new("RGB", (width, round(size * 1.5)), PAPER)
    ImageDraw.Draw(image).text((size // 2, round(size * 0.2)), text, fill=colour, font=ImageFont.load_default(size))
    return np.asarray(image)


def beside(parts: list[np.ndarray], gap: int) -> UInt8[np.ndarray, "height width 3"]:
    """Pictures of equal height from left to right."""
    space = blank(parts[0].shape[0], gap)
    return np.concatenate([piece for image in parts for piece in (space, image)][1:], 1)


def stacked(parts: list[np.ndarray], gap: int = 0) -> UInt8[np.ndarray, "height width 3"]:
    """Pictures from top to bottom, widened on the right to the widest."""
    width = max(image.shape[1] for image in parts)
    wide = [np.concatenate([image, blank(image.shape[0], width - image.shape[1])], 1) for image in parts]
    return np.concatenate([piece for image in wide for piece in (blank(gap, width), image)][1:], 0)


def write_png(path: Path, image: UInt8[np.ndarray, "height width 3"]) -> Path:
    """`path`, with the picture in it, there whole or not at all."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    replace_file(path, buffer.getvalue())
    return path


Draw = Callable[[Float[np.ndarray, "row channel"]], Mapping[str, UInt8[np.ndarray, "row height width 3"]]]
"""Pictures of every camera from latents: the model's decoder."""

_LARGEST = 128  # px a side of a picture on a sheet


def contact_sheet(strips: Sequence[tuple[str, UInt8[np.ndarray, "_ _ 3"]]], factor: int = 1) -> UInt8[np.ndarray, "tall wide 3"]:
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


PictureFormat = Literal["JPEG", "WEBP"]
_QUALITY = {"JPEG": {"quality": 90}, "WEBP": {"quality": 72, "method": 1}}  # quick to make; small to keep


def sprite(
    views: Mapping[str, UInt8[np.ndarray, "moment height width 3"]], cameras: Sequence[str], columns: int
) -> UInt8[np.ndarray, "tall wide 3"]:
    """`columns` moments of `cameras`; a moment or a camera that is missing is left dark."""
    height, width = next(iter(views.values())).shape[1:3] if views else (64, 64)
    canvas = blank(height * max(1, len(cameras)), width * columns)
    for row, name in enumerate(cameras):
        for column, image in enumerate(views.get(name, ())[:columns]):
            tall, wide = min(height, image.shape[0]), min(width, image.shape[1])
            canvas[row * height : row * height + tall, column * width : column * width + wide] = image[:tall, :wide]
    return canvas


def encoded(image: UInt8[np.ndarray, "height width 3"], kind: PictureFormat = "JPEG") -> bytes:
    """`image` as the bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **_QUALITY[kind])
    return buffer.getvalue()


_LARGEST_PAIR = 128  # px a side of a picture
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
            factor = max(1, _LARGEST_PAIR // height)
            lines.append(beside([enlarge(np.asarray(image), factor) for image in parts], _GAP))
        rows += [banner(f"{title}: goal | seen | imagined", lines[0].shape[1], 13, FAINT), stacked(lines, 2)]
    return stacked(rows, _GAP)


_LARGEST, _SMALLEST = 128, 96  # px a side of a picture
_LABEL, _GAP = 190, 4  # px
_NUM_TERMS = 3  # of a cost, that a label has room for


def decision_sheet(
    run: RunRecord, decision: Decision, draw: Draw, num_best: int = 2, num_worst: int = 2
) -> UInt8[np.ndarray, "tall wide 3"]:
    """Camera by camera: the goal and what was seen, the plan, and candidates, a column for each imagined moment.

    What never came, or is lost, is left dark.
    """
    rows = _rows(decision, num_best, num_worst)
    drawn = [draw(latents) for _, latents in rows]
    parts: list[np.ndarray] = []
    for camera in run.cameras:
        seen, side = _seen(run, decision, camera)
        factor = max(1, _LARGEST // side, -(-_SMALLEST // side))
        goal = run.goal.pictures.get(camera, blank(side, seen[0].shape[1]))
        lines = [_line(["seen"], [goal, *seen], factor)]
        for (words, _), pictures in zip(rows, drawn, strict=True):
            lines.append(_line(words, [blank(*goal.shape[:2]), blank(*goal.shape[:2]), *np.asarray(pictures[camera])], factor))
        parts += [_titles(decision, camera, lines[0].shape[1], goal.shape[1] * factor), *lines]
    width = max(part.shape[1] for part in parts)
    status = str(decision.status) + (f": {'; '.join(decision.unsure_reasons)}" if decision.unsure_reasons else "")
    title = f"{run.about.get('task', run.root.name)}, control step {decision.step}: {decision.planner}, {status}"
    return stacked([banner(title, width, 16, INK), *parts], _GAP)


def _rows(decision: Decision, num_best: int, num_worst: int) -> list[tuple[list[str], Float[np.ndarray, "horizon channel"]]]:
    """The plan, the best candidates besides it, and the worst of finite cost: the lines of each label, and latents."""
    pick = chosen(decision)
    total = decision.total if decision.total is not None else decision.cost
    rows = [(["the plan", f"cost {total:.4g}", *([] if pick is None else _terms(decision, pick))], decision.latents)]
    others = [int(s) for s in np.argsort(decision.totals, kind="stable") if np.isfinite(decision.totals[s]) and s != pick]
    best = others[:num_best]
    worst = others[max(len(best), len(others) - num_worst) :]
    for kind, samples in (("best besides", best), ("worst", worst)):
        for sample in samples:
            origin = decision.origin_names[int(decision.origins[sample])]
            words = [f"{kind}, {origin}", f"cost {decision.totals[sample]:.4g}", *_terms(decision, sample)]
            rows.append((words, decision.candidate_latents[sample]))
    return rows


def _terms(decision: Decision, sample: int) -> list[str]:
    sums = {name.rpartition(".")[2]: float(np.nansum(term[sample])) for name, term in decision.terms.items()}
    largest = sorted(sums.items(), key=lambda item: -abs(item[1]))[:_NUM_TERMS]
    return [f"  {name} {value:.3g}" for name, value in largest] if len(sums) > 1 else []


def _seen(run: RunRecord, decision: Decision, camera: str) -> tuple[list[np.ndarray], int]:
    """What the camera saw now and at every imagined moment, and the height of a picture."""
    steps = [run.step_at(decision.step + h * decision.action_block) for h in range(1 + len(decision.latents))]
    images = [None if step is None or camera not in step.observation.frames else step.observation.frames[camera].image for step in steps]
    known = next((image for image in images if image is not None), run.goal.pictures.get(camera, blank(64, 64)))
    return [blank(*known.shape[:2]) if image is None else image for image in images], known.shape[0]


def _line(words: Sequence[str], pictures: Sequence[np.ndarray], factor: int) -> UInt8[np.ndarray, "tall wide 3"]:
    row = beside([enlarge(np.asarray(image, np.uint8), factor) for image in pictures], _GAP)
    return beside([_label(words, row.shape[0]), row], _GAP)


def _label(words: Sequence[str], height: int) -> UInt8[np.ndarray, "height wide 3"]:
    image = Image.new("RGB", (_LABEL, height), PAPER)
    drawing = ImageDraw.Draw(image)
    for number, line in enumerate(words):
        drawing.text((6, 4 + 16 * number), line, fill=FAINT if number else INK, font=ImageFont.load_default(13))
    return np.asarray(image)


def _titles(decision: Decision, camera: str, width: int, column: int) -> UInt8[np.ndarray, "tall wide 3"]:
    """The name of the camera, and above every column how many control steps ahead it is."""
    image = Image.new("RGB", (width, 22), PAPER)
    drawing, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    drawing.text((6, 3), camera, fill=INK, font=font)
    ahead = [f"+{(h + 1) * decision.action_block}" for h in range(len(decision.latents))]
    for place, text in enumerate(["goal", "now", *ahead]):
        drawing.text((_LABEL + _GAP + place * (column + _GAP) + 4, 3), text, fill=FAINT, font=font)
    return np.asarray(image)
