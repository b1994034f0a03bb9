"""A run as a Rerun recording (.rrd), laid out so that futures are seen to branch off at every decision. Needs the extra `rerun`.

Two kinds of timelines. On `control_step` and `time` happens what happened: pictures, the tool's path, costs, actions, and at every decision
the tool paths of its candidates fan out. And every decision has a timeline of its own, `future_of_step_15`, on which what came next stands
beside the plan and the candidates, moment by moment.

    /world/tool, /world/goal, /world/futures/plan, /world/futures/other_1         on control_step and time
    /reality/front, /goal/front, /plots/..., /log
    /decisions/000015/real/front, .../plan/front, .../candidate_01/front          on future_of_step_15
    /decisions/000015/plan/cost/..., .../plan/disagreement
"""

import importlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image
from pydantic import Field

from robo_dream.errors import MissingExtraError
from robo_dream.files import replace_file
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import RunRecord, StepRecord
from robo_dream.recording.timeline import chosen
from robo_dream.schema import configuration
from robo_dream.viewer.page_data import action_names
from robo_dream.viewer.pictures import Draw

Paths = Callable[[Float[np.ndarray, "row channel"]], Mapping[str, Float[np.ndarray, "row 3"]]]
"""Where the pose head sees `tool` and `object` in latents, metres."""

_GREEN, _PURPLE, _ORANGE, _GREY = (95, 208, 162), (167, 147, 255), (240, 167, 92), (140, 149, 165)
_QUALITY = 90  # JPEG
_LEVELS = {"OK": "INFO", "OUT_OF_TIME": "WARN"}


Count = Annotated[int, Field(ge=1, le=100_000)]


@configuration
class RerunConfig:
    """How much goes into the file: a candidate of 12 imagined moments in 2 cameras of 96 px takes about 60 kB."""

    max_candidates: Count = 6  # of each decision, besides the plan: the best but one, and the worst
    max_tabs: Count = 24  # decisions that get a tab of the layout; the others are in the file, without one


@dataclass(frozen=True)
class Seer:
    """What a checkpoint's model makes of latents: pictures, and where things are."""

    draw: Draw
    paths: Paths


def write_rrd(
    path: Path, run: RunRecord, seer: Seer | None, config: RerunConfig | None = None, on_progress: Callable[[int, int], None] | None = None
) -> Path:
    """`path`, with the recording in it, written beside and renamed. Without a `seer`, what was imagined is not drawn.

    Raises `MissingExtraError` when rerun is not installed. `on_progress(done, all)` is called after every decision.
    """
    rr = _rerun()
    config = config or RerunConfig()
    stream = rr.RecordingStream("robo_dream", recording_id=str(run.root.resolve()))
    stream.set_log_time_enabled(False)  # when the file was made is nobody's time
    stream.set_log_tick_enabled(False)
    written = stream.binary_stream()  # rerun's own file never returns when the disk is full
    try:
        stream.send_blueprint(_layout(run, seer is not None, config))
        for done, num_all in _Log(rr, stream, run, seer, config).all():
            if on_progress is not None:
                on_progress(done, num_all)
        replace_file(path, written.read() or b"")  # in one piece: its checksum is of all of it
    finally:
        stream.disconnect()
    return path


class _Log:
    def __init__(self, rr: Any, stream: Any, run: RunRecord, seer: Seer | None, config: RerunConfig) -> None:
        self._rr, self._stream, self._run, self._seer, self._config = rr, stream, run, seer, config
        self._first_time = run.steps[0].observation.time if run.steps else 0.0

    def all(self) -> Iterator[tuple[int, int]]:
        """Logs everything; gives after every decision how many are done, of how many."""
        rr, run = self._rr, self._run
        self._stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
        for camera, picture in run.goal.pictures.items():
            self._stream.log(f"goal/{camera}", self._picture(picture), static=True)
        goals = [pos.reshape(-1, 3) for pos in (run.goal.object_pos, run.goal.tool_pos) if pos is not None]
        if goals:
            self._stream.log("world/goal", rr.Points3D(np.concatenate(goals), radii=0.008, colors=[_ORANGE]), static=True)
        for place, step in enumerate(run.steps):
            self._step(step, place)
        yield 0, len(run.decisions)
        for done, decision in enumerate(run.decisions):
            self._decision(decision)
            self._future(decision)
            yield done + 1, len(run.decisions)

    def _at(self, step: int, time: float) -> None:
        self._stream.reset_time()
        self._stream.set_time("control_step", sequence=step)
        self._stream.set_time("time", duration=time - self._first_time)

    def _step(self, step: StepRecord, place: int) -> None:
        rr, seen, log = self._rr, step.observation, self._stream.log
        self._at(step.number, seen.time)
        for camera, frame in seen.frames.items():
            log(f"reality/{camera}", self._picture(frame.image))
        log("world/tool", rr.Points3D([seen.arm.tool_pos], radii=0.01, colors=[_GREEN]))
        trail = [one.observation.arm.tool_pos for one in self._run.steps[: place + 1]]
        if len(trail) > 1:
            log("world/trail", rr.LineStrips3D([trail], radii=0.002, colors=[_GREEN]))
        if "object_pose" in seen.truth:
            log("world/object", rr.Points3D(seen.truth["object_pose"].reshape(-1, 7)[:, :3], radii=0.02, colors=[(217, 60, 50)]))
        for kind, action in (("sent", step.sent), ("applied", step.applied)):
            for number, name in enumerate(action_names(self._run.about, 0 if action is None else len(action))):
                log(f"plots/actions/{name['name']}/{kind}", rr.Scalars(float(action[number])))  # type: ignore[index]

    def _decision(self, decision: Decision) -> None:
        """What a decision adds to the timelines of the run."""
        rr, log = self._rr, self._stream.log
        self._at(decision.step, decision.time)
        total = decision.total if decision.total is not None else decision.cost
        for name, value in (("cost", total), ("milliseconds", 1e3 * decision.seconds.get("total", sum(decision.seconds.values())))):
            if np.isfinite(value):
                log(f"plots/{name}", rr.Scalars(float(value)))
        pick = chosen(decision)
        if pick is not None:
            log("plots/disagreement", rr.Scalars(float(np.nanmean(decision.disagreement[pick]))))
        words = f"control step {decision.step}: {decision.planner}, {decision.status}, cost {total:.4g}"
        log("log", rr.TextLog("; ".join([words, *decision.unsure_reasons]), level=_LEVELS.get(str(decision.status), "ERROR")))
        if self._seer is None:
            return
        begins = np.asarray(self._seer.paths(decision.belief[None])["tool"])
        things = [np.asarray(path) for name, path in self._seer.paths(decision.latents).items() if name != "tool"]
        log("world/futures/object", rr.LineStrips3D(things, radii=0.002, colors=[_ORANGE]))
        futures = self._futures(decision)
        for number in range(1 + self._config.max_candidates):
            entity = f"world/futures/other_{number}" if number else "world/futures/plan"
            if number >= len(futures):  # those of the decision before must not stand for it
                log(entity, rr.Clear(recursive=False))
                continue
            _, latents, colour = futures[number]
            path = np.concatenate([begins, np.asarray(self._seer.paths(latents)["tool"])])
            log(entity, rr.LineStrips3D([path], radii=0.0012 if number else 0.003, colors=[colour]))

    def _future(self, decision: Decision) -> None:
        """The decision's own timeline: what came next, beside all that was imagined of it."""
        rr, log = self._rr, self._stream.log
        home, timeline = f"decisions/{decision.step:06d}", f"future_of_step_{decision.step}"
        futures = self._futures(decision)
        drawn = {} if self._seer is None else {name: self._seer.draw(latents) for name, latents, _ in futures}
        now = {} if self._seer is None else self._seer.draw(decision.belief[None])
        samples = {name: sample for sample, name in picked_candidates(decision, self._config.max_candidates)}
        for moment in range(1 + len(decision.latents)):
            self._stream.reset_time()
            self._stream.set_time(timeline, sequence=moment)
            real = self._run.step_at(decision.step + moment * decision.action_block)
            for camera, frame in ({} if real is None else real.observation.frames).items():
                log(f"{home}/real/{camera}", self._picture(frame.image))
            if real is None and moment:
                for camera in self._run.cameras:  # it never came, or is lost: the picture before must not stand for it
                    log(f"{home}/real/{camera}", rr.Clear(recursive=False))
            for name in drawn:
                for camera in self._run.cameras:
                    picture = now[camera][0] if moment == 0 else drawn[name][camera][moment - 1]
                    log(f"{home}/{name}/{camera}", self._picture(np.asarray(picture)))
            for name, sample in samples.items():
                if moment == 0:
                    continue
                log(f"{home}/{name}/disagreement", rr.Scalars(float(decision.disagreement[sample, moment - 1])))
                costs = {term: float(values[sample, moment - 1]) for term, values in decision.terms.items()}
                for term, value in costs.items():
                    log(f"{home}/{name}/cost/{term}", rr.Scalars(value))
                log(f"{home}/costs/{name}", rr.Scalars(sum(costs.values())))

    def _futures(self, decision: Decision) -> list[tuple[str, Float[np.ndarray, "horizon channel"], tuple[int, int, int]]]:
        """The plan and the picked candidates, each with its name, latents and colour."""
        others = [
            (name, decision.candidate_latents[sample], _GREY)
            for sample, name in picked_candidates(decision, self._config.max_candidates)
            if name != "plan"
        ]
        return [("plan", decision.latents, _PURPLE), *others]

    def _picture(self, image: UInt8[np.ndarray, "height width 3"]) -> Any:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=_QUALITY)
        return self._rr.EncodedImage(contents=buffer.getvalue(), media_type="image/jpeg")


def _layout(run: RunRecord, is_drawn: bool, config: RerunConfig) -> Any:
    """A tab for the run, where candidates fan out in space, and one for each decision, where its futures stand side by side."""
    rrb = importlib.import_module("rerun.blueprint")
    reality = [rrb.Spatial2DView(origin=f"/reality/{camera}", name=f"{camera}, seen") for camera in run.cameras]
    goals = [rrb.Spatial2DView(origin=f"/goal/{camera}", name=f"{camera}, goal") for camera in run.goal.pictures]
    plots = [
        rrb.TimeSeriesView(origin="/plots", contents=["/plots/cost", "/plots/disagreement"], name="cost and disagreement of the plan"),
        rrb.TimeSeriesView(origin="/plots/actions", name="actions, sent and applied"),
        rrb.TextLogView(origin="/log", name="decisions"),
    ]
    world = rrb.Spatial3DView(origin="/world", name="the tool, and the futures that branch off here")
    whole = rrb.Horizontal(
        world, rrb.Vertical(rrb.Grid(*reality, *goals, grid_columns=max(1, len(reality))), rrb.Tabs(*plots)), name="the run"
    )
    picked = np.unique(np.linspace(0, len(run.decisions) - 1, min(config.max_tabs, len(run.decisions))).round().astype(int))
    tabs = [_decision_layout(rrb, run, run.decisions[index], is_drawn, config) for index in picked]
    time_panel = rrb.TimePanel(timeline="control_step", state="expanded")
    return rrb.Blueprint(rrb.Tabs(whole, *tabs), time_panel, collapse_panels=True)


def _decision_layout(rrb: Any, run: RunRecord, decision: Decision, is_drawn: bool, config: RerunConfig) -> Any:
    home = f"/decisions/{decision.step:06d}"
    names = ["real", "plan"] if is_drawn else ["real"]
    columns = [
        rrb.Vertical(*(rrb.Spatial2DView(origin=f"{home}/{name}/{camera}", name=f"{name}, {camera}") for camera in run.cameras))
        for name in names
    ]
    others = [
        rrb.Spatial2DView(origin=f"{home}/{name}/{camera}", name=f"{name}, {camera}")
        for _, name in picked_candidates(decision, config.max_candidates)
        if name != "plan"
        for camera in run.cameras
        if is_drawn
    ]
    plots = rrb.Vertical(
        rrb.TimeSeriesView(origin=f"{home}/costs", name="cost of each future, by moment"),
        rrb.TimeSeriesView(origin=home, contents=[f"{home}/*/disagreement"], name="disagreement"),
    )
    rows = [rrb.Horizontal(*columns, plots), *([rrb.Grid(*others, grid_columns=2 * max(1, len(run.cameras)))] if others else [])]
    words = f"step {decision.step}: select the timeline future_of_step_{decision.step}"
    return rrb.Vertical(*rows, name=words)


def picked_candidates(decision: Decision, most: int) -> list[tuple[int, str]]:
    """Candidates and their names: the plan where it is one of them, and `most` others numbered by rank, the best ones and the worst."""
    pick = chosen(decision)
    order = [int(sample) for sample in np.argsort(decision.totals, kind="stable") if np.isfinite(decision.totals[sample])]
    others = [(sample, f"candidate_{rank + 1:02d}") for rank, sample in enumerate(order) if sample != pick]
    if len(others) > most:
        others = [*others[: most - 1], others[-1]]
    return ([] if pick is None else [(pick, "plan")]) + others


def _rerun() -> Any:
    try:
        return importlib.import_module("rerun")
    except ImportError as error:
        raise MissingExtraError(f"rerun is not installed ({error}): pip install 'robo-dream[rerun]'") from None
