"""One decision as a picture for papers and issues: what was seen, what was imagined, and the best and worst candidates with their costs."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from robo_dream.replay.canvas import FAINT, INK, PAPER, banner, beside, blank, enlarge, stacked
from robo_dream.replay.decision import Decision
from robo_dream.replay.record import RunRecord
from robo_dream.replay.rows import chosen
from robo_dream.replay.strips import Draw

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
    status = str(decision.status) + (f": {'; '.join(decision.doubts)}" if decision.doubts else "")
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
