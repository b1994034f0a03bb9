"""An episode as a video: goal, reality and the chosen imagination side by side, with what was decided below."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import numpy as np
from av.video.stream import VideoStream
from jaxtyping import UInt8
from pydantic import Field

from robo_dream.errors import DataError
from robo_dream.files import replacing
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import RunRecord
from robo_dream.schema import Unit, configuration
from robo_dream.viewer.pictures import FAINT, INK, Draw, banner, beside, blank, enlarge, stacked

GOOD, BAD = (120, 220, 130), (240, 140, 110)


@configuration
class VideoConfig:
    """`picture_size` is the height of each picture; `fps` below the control rate is slow motion, in which a dream can be seen."""

    picture_size: Annotated[int, Field(ge=32, le=2_048), Unit("px")] = 256
    fps: Annotated[float, Field(gt=0, le=240), Unit("Hz")] = 5.0
    last_seconds: Annotated[float, Field(ge=0, le=600), Unit("s")] = 2.0  # for which the end is shown
    crf: Annotated[int, Field(ge=0, le=51)] = 18  # H.264 quality, 0 lossless to 51


def episode_pictures(
    run: RunRecord, draw: Draw, config: VideoConfig, distances: Sequence[float] | None = None, verdict: str = ""
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """One picture for each control step. Between two decisions the whole chosen plan is played, imagined step by imagined step.

    `distances` are metres to the goal, one a step, shown when given; `verdict` is shown at the end. Raises `DataError` for a run
    without steps.
    """
    if not run.steps:
        raise DataError(f"the run in {run.root} has no steps yet; there is nothing to show")
    imagined: dict[int, list[dict[str, np.ndarray]]] = {}
    picture = blank(2, 2)
    for step in (kept.number for kept in run.steps):
        decision = run.decision_at(step)
        dream, ahead = None, 0
        if decision is not None:
            if decision.step not in imagined:
                drawn = draw(decision.latents)
                imagined = {decision.step: [{name: np.asarray(v[h]) for name, v in drawn.items()} for h in range(len(decision.latents))]}
            ahead = _imagined_step(run, decision, step)
            dream = imagined[decision.step][ahead]
        picture = _picture(run, step, decision, dream, ahead, config, None if distances is None else distances[step], "")
        yield picture
    if verdict:
        decision = run.decision_at(run.steps[-1].number)
        dream = imagined[decision.step][-1] if decision is not None else None
        ahead = len(decision.latents) - 1 if decision is not None else 0
        distance = None if distances is None else distances[-1]
        picture = _picture(run, run.steps[-1].number, decision, dream, ahead, config, distance, verdict)
    for _ in range(round(config.last_seconds * config.fps)):
        yield picture


def write_video(path: Path, pictures: Iterable[UInt8[np.ndarray, "height width 3"]], fps: float, crf: int = 18) -> Path:
    """`path`, an MP4 (H.264, yuv420p) that any player shows; whole or not at all. Odd sizes lose a row or column."""
    with replacing(path) as unfinished:
        with av.open(str(unfinished), "w", format="mp4") as container:
            options = {"crf": str(crf), "preset": "veryfast", "threads": "1"}
            stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=options)
            assert isinstance(stream, VideoStream)
            stream.pix_fmt = "yuv420p"
            for number, picture in enumerate(pictures):
                height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2
                if number == 0:
                    stream.height, stream.width = height, width
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[:height, :width]), "rgb24")))
            container.mux(stream.encode(None))
    return path


def _imagined_step(run: RunRecord, decision: Decision, step: int) -> int:
    """Which imagined step to show: the plan's horizon is spread over the control steps until the next decision."""
    later = [other.step for other in run.decisions if other.step > decision.step]
    until = later[0] if later else decision.step + decision.action_block
    return min((step - decision.step) * len(decision.latents) // max(1, until - decision.step), len(decision.latents) - 1)


def _picture(
    run: RunRecord, step: int, decision: Decision | None, dream: dict[str, np.ndarray] | None, ahead: int,
    config: VideoConfig, distance: float | None, verdict: str,
) -> UInt8[np.ndarray, "height width 3"]:  # fmt: skip
    seen = run.step_at(step)
    assert seen is not None
    observation = seen.observation
    rows = []
    for camera in run.cameras:
        real = observation.frames[camera].image
        factor = max(1, config.picture_size // real.shape[0])
        goal = run.goal.pictures.get(camera, blank(*real.shape[:2]))
        imagined = (dream or {}).get(camera, blank(*real.shape[:2]))  # who has no model draws nothing
        rows.append(beside([enlarge(np.asarray(image), factor) for image in (goal, real, imagined)], 6))
    seconds = observation.time - run.steps[0].observation.time
    control_dt = (run.steps[-1].observation.time - run.steps[0].observation.time) / max(1, run.steps[-1].number - run.steps[0].number)
    look_ahead = "" if decision is None else f", {(decision.step + (ahead + 1) * decision.action_block - step) * control_dt:+.1f} s"
    column = (rows[0].shape[1] - 12) // 3
    titles = beside([banner(text, column, 16, FAINT) for text in ("goal", "reality", f"imagination{look_ahead}")], 6)
    number = sum(other.step <= step for other in run.decisions)
    first = f"step {step}   {seconds:.1f} s" + ("" if distance is None else f"   distance {100 * distance:.1f} cm") + f"   {verdict}"
    second = "no decision yet"
    if decision is not None:
        second = f"decision {number}: {decision.planner}   imagined cost {decision.cost:.4g}   {decision.status}"
    width = rows[0].shape[1]
    colour = INK if not verdict else GOOD if verdict.startswith("success") else BAD
    pictures = [part for row in rows for part in (row, blank(6, width))]
    return stacked([titles, *pictures, banner(first, width, 18, colour), banner(second, width, 16, FAINT)])
