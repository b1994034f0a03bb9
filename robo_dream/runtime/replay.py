"""What can be done with a recorded run: its decisions made again, planned again with a change, and exported.

In a notebook as on the command line:

    run = open_run("runs/plan/20261121-194700-020/push-3")
    print(sentences_of(recompute(run)))
    print(what_if(run, 17, ["planner.num_samples=512", "seed=3"]).text)
    export_html(run, Path("push.html"))

A run is only read, never changed. Its model is the checkpoint that run.json names; `checkpoint` says where it lies now.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from robo_dream.config import parse
from robo_dream.errors import CheckpointError, DataError, RoboDreamError
from robo_dream.files import packaged, replace_file
from robo_dream.imagination import Plan, Planner
from robo_dream.models import checkpoint as checkpoints
from robo_dream.models.perception_check import PerceptionCheck
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.candidates import bounds_of
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.scoring import FuturesConfig, FuturesCost
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import INTERRUPTED, RunRecord, decision_in_force, find_record, read_run
from robo_dream.runtime.made_with import MACHINE, made_with
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.perception import perception_again
from robo_dream.runtime.pictures import load_dreams
from robo_dream.runtime.planner import PlanningConfig, ProposalConfig, aimed_cost, build_planner
from robo_dream.runtime.run import TextGoal
from robo_dream.runtime.words import goal_in_words, goal_of_run
from robo_dream.schema import Seed, configuration
from robo_dream.viewer.again import TOLERANCE, Comparison, Question, answer, compared, fitted, question_of, recomputed
from robo_dream.viewer.dreams import ModelDreams
from robo_dream.viewer.episodes import action_spec_of, dataset_spec, write_dataset
from robo_dream.viewer.export import html_page
from robo_dream.viewer.pictures import comparison_sheet, decision_sheet, run_sheet, write_png
from robo_dream.viewer.rerun_export import Seer, write_rrd
from robo_dream.viewer.routes import Dreamer, Routes
from robo_dream.viewer.video import VideoConfig, episode_pictures, write_video
from robo_dream.viewer.watch import RunWatch

_log = logging.getLogger(__name__)
Progress = Callable[[int, int], None]  # (done, all)
Terms = Mapping[str, Float[np.ndarray, " horizon"]]
Tick = Callable[[], None]
"""Called each time that a planner looks at its clock, in every iteration and between pieces of many candidates; may raise to end it."""


def nothing() -> None:
    """Lets a planner go on."""


def open_run(path: Path | str) -> RunRecord:
    """The run in a folder, or in the record/ in it; the log names files of it that are damaged and left out."""
    run = read_run(find_record(Path(path)))
    for name, sentence in run.damaged.items():
        _log.warning("left out: %s: %s", name, sentence)
    return run


@dataclass(frozen=True)
class Setting:
    """A run's model, and what differs from the machine and the code that it was recorded with (sentences)."""

    root: Path
    model: LatentVideoModel
    check: PerceptionCheck | None  # None: the checkpoint has none
    planning: PlanningConfig
    other_machine: tuple[str, ...]
    other_code: tuple[str, ...]


@dataclass(frozen=True)
class Recomputed:
    """Decisions made again. `same`: exactly where they were made, within `TOLERANCE` on another machine or out of a search of several."""

    comparisons: tuple[Comparison, ...]
    setting: Setting

    @property
    def same(self) -> bool:
        return all(one.close if self.setting.other_machine or one.together > 1 else one.exact for one in self.comparisons)


def setting_of(about: Mapping[str, Any], root: Path, checkpoint: Path | None = None) -> Setting:
    """The model and planning configuration that `about`, the run.json of `root`, tells of.

    Sets torch's threads to the recorded number, on which the last bits may depend. Raises `CheckpointError` for another checkpoint.
    """
    if "checkpoint" not in about and "policy" in about:
        raise DataError(f"the run in {root} holds no decision to make again: its moves came from the {about['policy']}")
    kept = all(about.get(name) is not None for name in ("planning", "made_with", "checkpoint", "checkpoint_sha256"))
    if not kept or "threads" not in about["made_with"]:
        raise DataError(f"the run in {root} was recorded before its planning was kept with it; record it again with this release")
    path = checkpoint or Path(about["checkpoint"])
    if not packaged(path).is_file():
        raise CheckpointError(f"the run's checkpoint is not at {path}; say where it is with --checkpoint FILE")
    found, sha256 = checkpoints.sha256(path), about["checkpoint_sha256"]
    if found != sha256:
        raise CheckpointError(f"{path} has SHA-256 {found[:12]}; the run was made with {sha256[:12]}: give that with --checkpoint FILE")
    recorded = about["made_with"]
    torch.set_num_threads(recorded["threads"])
    described = about.get("config") or {}
    how = {name: described[name] for name in ("device", "compiled", "precision") if name in described}
    model = load_checkpoint_model(path, **how)
    now = made_with(model.device)
    changed = {name: f"{name} was {recorded.get(name)}, is {now[name]}" for name in now if now[name] != recorded.get(name)}
    usual = checkpoints.read_info(path).settings.perception
    return Setting(
        root,
        model,
        None if usual is None else PerceptionCheck(model, usual),
        parse(PlanningConfig, about["planning"], f"{root}/run.json: planning"),
        tuple(sentence for name, sentence in changed.items() if name in MACHINE),
        tuple(sentence for name, sentence in changed.items() if name not in MACHINE),
    )


def recompute(
    run: RunRecord, step: int | None = None, *, checkpoint: Path | None = None, on_progress: Progress | None = None
) -> Recomputed:
    """The decision in force at control step `step`, or every one, made again and compared with what was recorded.

    Raises `CheckpointError` where the run's checkpoint is not there or another one, and `DataError` for a run without decisions
    or without such a step.
    """
    decisions = run.decisions if step is None else (decision_in_force(run, step),)
    return recomputed_all(setting_of(run.about, run.root, checkpoint), decisions, on_progress)


def recomputed_all(
    setting: Setting, decisions: Sequence[Decision], on_progress: Progress | None = None, on_tick: Tick = nothing
) -> Recomputed:
    """Each of `decisions` made again; `on_progress(done, all)` is called after each."""
    comparisons = []
    for decision in decisions:
        comparisons.append(again(setting, decision, on_tick))
        if on_progress is not None:
            on_progress(len(comparisons), len(decisions))
    return Recomputed(tuple(comparisons), setting)


def again(setting: Setting, decision: Decision, on_tick: Tick = nothing) -> Comparison:
    """One decision made again, and compared."""
    plan, question = plan_again(setting, decision, on_tick), question_of(decision, setting.model.device)
    return compared(decision, plan, question, perception_again(setting.check, setting.root, decision))


def plan_again(setting: Setting, decision: Decision, on_tick: Tick = nothing) -> Plan:
    """The plan of `decision`, made again."""
    planning, model = setting.planning, setting.model

    def build(clock: Callable[[], float]) -> Planner:
        return build_planner(planning.planner, model, planning.cost, planning.proposals, _ticking(clock, on_tick), futures=planning.futures)

    return recomputed(build, decision, model.device)


def sentences_of(found: Recomputed) -> str:
    """What was found, for people."""
    lines, setting = [], found.setting
    for one in found.comparisons:
        if one.exact:
            lines.append(f"control step {one.step}: the very same plan, every number equal to the bit")
        else:
            names = ", ".join(one.differing[:6]) + (" and more" if len(one.differing) > 6 else "")
            within = "within" if one.close else "more than"
            apart = f"the plan is {one.error:.2g} of its largest number apart, {within} {TOLERANCE:g}"
            lines.append(f"control step {one.step}: not equal to the bit ({names}{'; searched with others' * (one.together > 1)}); {apart}")
    num_exact, num_all = sum(one.exact for one in found.comparisons), len(found.comparisons)
    lines.append(f"{num_exact} of {num_all} decisions are exactly the same")
    if setting.other_machine:
        lines.append(f"other machine or settings ({'; '.join(setting.other_machine)}): there, plans may be {TOLERANCE:g} apart")
    if setting.other_code and num_exact < num_all:
        lines.append(f"other code: {'; '.join(setting.other_code)}")
    return "\n".join(lines)


@configuration
class Asked:
    """What `--what-if` can change of a decision: how it is planned, the seed of its search, and the goal."""

    planner: PlannerConfig = field(default_factory=PolicyGuidedConfig)
    cost: CostConfig = field(default_factory=CostConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    futures: FuturesConfig | None = None
    seed: Seed = 0
    goal: Path | TextGoal | None = None  # another recorded run, whose goal is taken, or what is asked for: goal.text=...


@dataclass(frozen=True)
class Judged:
    """What one cost says of a plan: its total, and its terms at each imagined step."""

    total: float
    terms: Terms


@dataclass(frozen=True)
class Replanned:
    """A recorded decision, and the plan that the same question with `changes` gets.

    `judged` is what each cost, by name, says of both, the recorded plan first.
    """

    decision: Decision
    plan: Plan
    changes: tuple[str, ...]
    judged: Mapping[str, tuple[Judged, Judged]]

    @property
    def latents(self) -> Float[np.ndarray, "horizon channel"]:
        return self.plan.latents[0].float().cpu().numpy()

    @property
    def actions(self) -> Float[np.ndarray, "time action"]:
        return self.plan.actions[0].float().cpu().numpy()


@dataclass(frozen=True)
class WhatIf:
    """A decision planned again with a change: both plans, in words, and the file with the picture of both futures."""

    found: Replanned
    text: str
    picture: Path


def what_if(run: RunRecord, step: int, changes: Sequence[str], *, out: Path | None = None, checkpoint: Path | None = None) -> WhatIf:
    """The decision in force at control step `step` of `run`, planned with `changes`.

    A change is `key=value` of any key of the planning configuration (planner.*, cost.*, proposals.*), `seed=N`, `goal=FOLDER`, the goal of
    another run, or `goal.text=...`. The picture goes to `out`, by default into `what_if/` beside the record. Raises as `replanned` does.
    """
    decision = decision_in_force(run, step)
    asked_for(run.about, run.root, decision, changes)  # what is misspelt is told before the model is loaded
    setting = setting_of(run.about, run.root, checkpoint)
    found = replanned(setting, run.about, run.root, decision, changes)
    titles = [f"control step {decision.step}, recorded", f"what if {' '.join(changes)}"]
    sheet = comparison_sheet(
        run, decision.step, [(titles[0], decision.latents), (titles[1], found.latents)], ModelDreams(setting.model).draw
    )
    out = out or run.root.parent / "what_if" / f"{decision.step:06d}.png"
    return WhatIf(found, in_words(found, setting.model), write_png(out, sheet))


def asked_for(about: Mapping[str, Any], root: Path, decision: Decision, changes: Sequence[str]) -> Asked:
    """What `changes` (`key=value` of `Asked`) ask for; raises `ConfigError` for an unknown key."""
    return parse(Asked, {**about.get("planning", {}), "seed": decision.seed}, f"{root}/run.json", changes)


def replanned(
    setting: Setting, about: Mapping[str, Any], root: Path, decision: Decision, changes: Sequence[str], on_tick: Tick = nothing
) -> Replanned:
    """`decision` of the run in `root` planned with `changes`, without its deadline.

    Raises `ConfigError` for an unknown key, and `DataError` for a goal that is none of this model's.
    """
    asked, model = asked_for(about, root, decision, changes), setting.model
    question = _changed(question_of(decision, model.device), asked, model)
    planner = build_planner(asked.planner, model, asked.cost, asked.proposals, _ticking(time.monotonic, on_tick), futures=asked.futures)
    plan = answer(planner, question, math.inf)
    actions = (torch.tensor(decision.actions, device=model.device), plan.actions[0])
    costs = {"recorded cost": (setting.planning.cost, setting.planning.futures)}
    if (asked.cost, asked.futures) not in costs.values():
        costs["changed cost"] = asked.cost, asked.futures
    towards = "" if asked.goal is None else ", new goal"
    judged = {name + towards: _judged(*cost, model, question, actions) for name, cost in costs.items()}
    return Replanned(decision, plan, tuple(changes), judged)


def _ticking(clock: Callable[[], float], on_tick: Tick) -> Callable[[], float]:
    def read() -> float:
        on_tick()
        return clock()

    return read


def made_again(setting: Setting, decision: Decision, on_tick: Tick = nothing) -> Replanned:
    """`decision` made again with nothing changed, cut where a deadline cut it."""
    plan, question = plan_again(setting, decision, on_tick), question_of(decision, setting.model.device)
    actions = (torch.tensor(decision.actions, device=setting.model.device), plan.actions[0])
    planning = setting.planning
    return Replanned(decision, plan, (), {"recorded cost": _judged(planning.cost, planning.futures, setting.model, question, actions)})


def in_words(found: Replanned, model: LatentVideoModel) -> str:
    """Totals, by the recorded cost and by that of the change, first block, and imagined end, of both plans."""
    decision, plan, spec = found.decision, found.plan, model.action_spec
    lines = [f"decision of control step {decision.step}: recorded | what if {' '.join(found.changes)}"]
    if decision.late_readings:
        lines.append("the recorded search was cut by its deadline; the other was not")
    totals = [decision.total if decision.total is not None else decision.cost, float(plan.total[0])]
    lines.append(f"  {'total, when chosen':<26} {totals[0]:>12.5g} | {totals[1]:>12.5g}   {decision.status} | {plan.status[0]}")
    for name, (first, second) in found.judged.items():
        lines.append(f"  {'total by the ' + name:<26} {first.total:>12.5g} | {second.total:>12.5g}")
    lines.append("  first block of actions, summed")
    blocks = [one[: model.action_block].sum(0).tolist() for one in (decision.actions, found.actions)]
    for name, unit, first, second in zip(spec.names, spec.units, *blocks, strict=True):
        lines.append(f"    {name + ' (' + unit + ')':<24} {first:>+12.4f} | {second:>+12.4f}")
    lines.append("  imagined end, metres")
    with torch.no_grad():
        ends = [model.poses(torch.tensor(latents[-1], device=model.device)[None]) for latents in (decision.latents, found.latents)]
    for name in ("tool_pos", "object_pos"):
        positions = (np.round(getattr(end, name)[0].cpu().numpy().reshape(-1, 3), 4) for end in ends)
        for first, second in zip(*positions, strict=True):
            lines.append(f"    {name:<24} {' '.join(f'{x:+.3f}' for x in first)} | {' '.join(f'{x:+.3f}' for x in second)}")
    return "\n".join(lines)


def _judged(
    cost: CostConfig,
    futures: FuturesConfig | None,
    model: LatentVideoModel,
    question: Question,
    plans: tuple[torch.Tensor, torch.Tensor],
) -> tuple[Judged, Judged]:
    costing, aim = aimed_cost(cost, model, model, min(map(len, plans)) // model.action_block)
    goal = question.goal if aim is None else aim.of(question.belief, question.goal, [question.seed])

    def judged(actions: torch.Tensor) -> Judged:
        belief, judging = question.belief, costing
        if futures is not None:
            belief = replace(belief, chance=futures.chance([question.seed], len(actions) // model.action_block, belief.latent))
            judging = FuturesCost(costing, futures.risk)
        with torch.no_grad():
            costs = judging(model.imagine(belief, actions[None, None]), goal)
        return Judged(float(costs.total[0, 0]), {name: term[0, 0].cpu().numpy() for name, term in costs.terms.items()})

    return judged(plans[0]), judged(plans[1])


def _changed(question: Question, asked: Asked, model: LatentVideoModel) -> Question:
    """`question` with the seed, goal and horizon that are asked for."""
    num_steps = asked.planner.horizon * model.action_block
    previous = fitted(question.previous, num_steps, bounds_of(model.action_spec, question.belief.latent))
    goal = question.goal
    if isinstance(asked.goal, TextGoal):
        goal = goal_in_words(model, asked.goal.text, question.belief.latent)
    elif asked.goal is not None:
        goal = goal_of_run(asked.goal, question.belief.latent)
    return replace(question, seed=asked.seed, previous=previous, goal=goal)


def dreams_of(run: RunRecord, checkpoint: Path | None = None) -> ModelDreams:
    """`load_dreams` for a run that is read whole."""
    return load_dreams(run.about, len(run.decisions[0].belief) if run.decisions else None, checkpoint)


def export_html(run: RunRecord, path: Path, *, checkpoint: Path | None = None, on_progress: Progress | None = None) -> Path:
    """The page as one self-contained file, which opens anywhere, offline. Without the checkpoint it has no imagined pictures."""
    dreams: Future[Dreamer] = Future()
    try:
        dreams.set_result(dreams_of(run, checkpoint))
    except RoboDreamError as error:
        _log.warning("without imagined pictures: %s", error)
        dreams.set_exception(error)
    page = html_page(Routes(RunWatch(run.root), dreams, "WEBP"), on_progress=on_progress)
    with _written():
        replace_file(path, page)
    return path


def export_video(run: RunRecord, path: Path, *, checkpoint: Path | None = None, on_progress: Progress | None = None) -> Path:
    """A video: goal, reality and the chosen imagination side by side, as `robo-dream plan` leaves it."""
    draw = dreams_of(run, checkpoint).draw if run.decisions else _nothing
    result, config = run.result or {}, VideoConfig()
    told = np.asarray(result.get("distances", []), float)
    distances = told.tolist() if run.steps and len(told) > run.steps[-1].number else None
    verdict = "ended without a result" if run.result is None else _verdict(result)
    pictures = episode_pictures(run, draw, config, distances, verdict)
    counted = _counted(pictures, len(run.steps) + round(config.last_seconds * config.fps), on_progress)
    with _written():
        return write_video(path, counted, config.fps, config.crf)


def export_pictures(run: RunRecord, path: Path, *, step: int | None = None, checkpoint: Path | None = None) -> Path:
    """A contact sheet (PNG) of the run, or of the decision in force at control step `step`."""
    if not run.decisions:
        raise DataError(f"the run in {run.root} has no decision; there is nothing to show. --mp4 shows what the cameras saw")
    draw = dreams_of(run, checkpoint).draw
    sheet = run_sheet(run, draw) if step is None else decision_sheet(run, decision_in_force(run, step), draw)
    with _written():
        return write_png(path, sheet)


def export_rerun(run: RunRecord, path: Path, *, checkpoint: Path | None = None, on_progress: Progress | None = None) -> Path:
    """A Rerun recording (.rrd) in which futures branch off. Without the checkpoint it has no imagined pictures."""
    seer = None
    try:
        dreams = dreams_of(run, checkpoint)
        seer = Seer(dreams.draw, dreams.paths)
    except RoboDreamError as error:
        _log.warning("without imagined pictures: %s", error)
    with _written():
        return write_rrd(path, run, seer, on_progress=on_progress)


def export_dataset(
    runs: Sequence[RunRecord], root: Path, *, checkpoint: Path | None = None, on_progress: Progress | None = None
) -> tuple[int, int]:
    """The runs as a LeRobotDataset v3.0 in `root`, to train on; gives how many episodes and frames it has."""
    action_spec = action_spec_of(runs[0]) or dreams_of(runs[0], checkpoint).action_spec  # recorded before runs said it
    with _written():
        return write_dataset(root, runs, dataset_spec(runs[0], action_spec), on_progress)


@contextmanager
def _written() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot write there ({error}); make room, or choose another folder") from error


def _verdict(result: Mapping[str, Any]) -> str:
    if result.get("end") == INTERRUPTED:
        return "interrupted"
    return "success, held" if result.get("strict") else "success" if result.get("moderate") else "not reached"


def _nothing(latents: np.ndarray) -> dict[str, np.ndarray]:
    """For a run without decisions, in which nothing was imagined."""
    return {}


def _counted(pictures: Iterator[Any], total: int, on_progress: Progress | None) -> Iterator[Any]:
    for done, picture in enumerate(pictures, 1):
        yield picture
        if on_progress is not None:
            on_progress(done, max(done, total))
