"""Recorded decisions made again from their run and its checkpoint: exactly, or with a change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robo_dream import config
from robo_dream.apps import compose
from robo_dream.apps.compose import PlanningConfig, ProposalConfig
from robo_dream.apps.plan_episode import drawing
from robo_dream.errors import CheckpointError, DataError
from robo_dream.imagination import Goal, Plan, Planner
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.bounds import bounds_of
from robo_dream.planning.costs.build import CostConfig, build_cost
from robo_dream.planning.guarded import GuardedConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.replay.again import TOLERANCE, Comparison, Question, answer, compared, fitted, question_of, recomputed
from robo_dream.replay.canvas import write_png
from robo_dream.replay.comparison import comparison_sheet
from robo_dream.replay.decision import Decision
from robo_dream.replay.made_with import MACHINE, made_with
from robo_dream.replay.record import DECISIONS, RunRecord, read_run


@dataclass(frozen=True)
class Asked:
    """What `--what-if` can change of a decision: how it is planned, the seed of its search, and the goal."""

    planner: PlannerConfig = field(default_factory=GuardedConfig)
    cost: CostConfig = field(default_factory=CostConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    seed: int = 0
    goal: Path | None = None  # another recorded run, whose goal is taken


@dataclass(frozen=True)
class Setting:
    """A run's model, and what differs from the machine and the code that it was recorded with (sentences)."""

    model: LatentVideoModel
    planning: PlanningConfig
    other_machine: tuple[str, ...]
    other_code: tuple[str, ...]


@dataclass(frozen=True)
class Recomputed:
    """Decisions made again. `same`: exactly on the machine they were made on, within `TOLERANCE` on another."""

    comparisons: tuple[Comparison, ...]
    setting: Setting

    @property
    def same(self) -> bool:
        return all(one.close if self.setting.other_machine else one.exact for one in self.comparisons)


@dataclass(frozen=True)
class WhatIf:
    """A recorded decision beside the same planned with a change. `text` is both in words, `picture` both imagined strips."""

    decision: Decision
    plan: Plan
    text: str
    picture: Path


def setting_of(run: RunRecord, path: Path | None = None) -> Setting:
    """The model and planning configuration of `run`; `path` is its checkpoint where it no longer lies where it did.

    Sets torch's threads to the recorded number, on which the last bits may depend. Raises `CheckpointError` for another checkpoint.
    """
    about = run.about
    if "planning" not in about or "made_with" not in about:
        raise DataError(f"the run in {run.root} was recorded before its planning was kept with it; record it again with this release")
    path = path or Path(about["checkpoint"])
    if not path.is_file():
        raise CheckpointError(f"the run's checkpoint is not at {path}; say where it is with --checkpoint FILE")
    found, wanted = checkpoint.sha256(path), about["checkpoint_sha256"]
    if found != wanted:
        raise CheckpointError(f"{path} has SHA-256 {found[:12]}; the run was made with {wanted[:12]}: give that with --checkpoint FILE")
    recorded = about["made_with"]
    torch.set_num_threads(recorded["threads"])
    described = about.get("config", {})
    model = compose.load_checkpoint_model(path, described.get("device", "cpu"), described.get("compiled", False))
    now = made_with(model.device)
    changed = {name: f"{name} was {recorded.get(name)}, is {now[name]}" for name in now if now[name] != recorded.get(name)}
    return Setting(
        model,
        config.parse(PlanningConfig, about["planning"], f"{run.root}/run.json: planning"),
        tuple(sentence for name, sentence in changed.items() if name in MACHINE),
        tuple(sentence for name, sentence in changed.items() if name not in MACHINE),
    )


def recompute(run: RunRecord, step: int | None = None, path: Path | None = None) -> Recomputed:
    """The decision in force at control step `step`, or every one, made again. `path`: see `setting_of`."""
    decisions = run.decisions if step is None else (decision_in_force(run, step),)
    setting = setting_of(run, path)
    return Recomputed(tuple(again(setting, decision) for decision in decisions), setting)


def again(setting: Setting, decision: Decision) -> Comparison:
    """One decision made again."""
    planning, model = setting.planning, setting.model

    def build(clock: Callable[[], float]) -> Planner:
        return compose.build_planner(planning.planner, model, planning.cost, planning.proposals, clock)

    return compared(decision, recomputed(build, decision, model.device), question_of(decision, model.device))


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
            lines.append(f"control step {one.step}: not equal to the bit ({names}); {apart}")
    num_exact, num_all = sum(one.exact for one in found.comparisons), len(found.comparisons)
    lines.append(f"{num_exact} of {num_all} decisions are exactly the same")
    if setting.other_machine:
        lines.append(f"other machine or settings ({'; '.join(setting.other_machine)}): there, plans may be {TOLERANCE:g} apart")
    if setting.other_code and num_exact < num_all:
        lines.append(f"other code: {'; '.join(setting.other_code)}")
    return "\n".join(lines)


def what_if(run: RunRecord, step: int, changes: Sequence[str], out: Path | None = None, path: Path | None = None) -> WhatIf:
    """The decision in force at control step `step` planned with `changes` (`key=value` of `Asked`), without its deadline.

    Both imagined strips are drawn into `out`, by default `what_if/` beside the record. Raises `ConfigError` for an unknown key.
    """
    decision = decision_in_force(run, step)
    about = {**run.about.get("planning", {}), "seed": decision.seed}
    asked = config.parse(Asked, about, f"{run.root}/run.json", changes)
    setting = setting_of(run, path)
    model = setting.model
    question = _changed(question_of(decision, model.device), asked, model)
    planner = compose.build_planner(asked.planner, model, asked.cost, asked.proposals)
    plan = answer(planner, question)
    latents = plan.latents[0].float().cpu().numpy()
    titles = [f"control step {decision.step}, recorded", f"what if {' '.join(changes)}"]
    sheet = comparison_sheet(run, decision.step, [(titles[0], decision.latents), (titles[1], latents)], drawing(model))
    out = out or run.root.parent / "what_if" / f"{decision.step:06d}.png"
    text = _both_in_words(setting, asked, decision, plan, question, changes)
    return WhatIf(decision, plan, text, write_png(out, sheet))


def decision_in_force(run: RunRecord, step: int) -> Decision:
    """The newest decision at or before control step `step`; raises `DataError` when there is none, or it is damaged."""
    steps = [decision.step for decision in run.decisions]
    found = run.decision_at(step)
    last = max([number.number for number in run.steps] + steps, default=-1)
    if found is None or not 0 <= step <= last:
        made = ", ".join(map(str, steps)) or "none"
        raise DataError(f"no decision of {run.root} is in force at control step {step}; there are decisions at {made}")
    for name, sentence in run.damaged.items():
        if name.startswith(f"{DECISIONS}/") and found.step < int(Path(name).stem) <= step:
            raise DataError(f"the decision in force at control step {step} is damaged: {sentence}")
    return found


def _changed(question: Question, asked: Asked, model: LatentVideoModel) -> Question:
    """`question` with the seed, goal and horizon that are asked for."""
    num_steps = asked.planner.horizon * model.action_block
    previous = fitted(question.previous, num_steps, bounds_of(model.action_spec, question.belief.latent))
    goal = question.goal
    if asked.goal is not None:
        other = read_run(asked.goal).goal
        if other.latent.shape != question.belief.latent.shape[1:]:
            wanted = question.belief.latent.shape[1]
            raise DataError(f"the goal of {asked.goal} has {len(other.latent)} numbers, this model's have {wanted}; take one of its own")
        positions = [None if pos is None else torch.tensor(pos, device=model.device)[None] for pos in (other.object_pos, other.tool_pos)]
        goal = Goal(torch.tensor(other.latent, device=model.device)[None], *positions)
    return replace(question, seed=asked.seed, previous=previous, goal=goal)


def _both_in_words(
    setting: Setting, asked: Asked, decision: Decision, plan: Plan, question: Question, changes: Sequence[str]
) -> str:
    """Totals, by the recorded cost and by that of the change, first block, and imagined end, of both plans."""
    model, spec = setting.model, setting.model.action_spec
    actions = [torch.tensor(decision.actions, device=model.device), plan.actions[0]]
    lines = [f"decision of control step {decision.step}: recorded | what if {' '.join(changes)}"]
    if decision.late_readings:
        lines.append("the recorded search was cut by its deadline; the other was not")
    totals = [decision.total if decision.total is not None else decision.cost, float(plan.total[0])]
    lines.append(f"  {'total, when chosen':<26} {totals[0]:>12.5g} | {totals[1]:>12.5g}   {decision.status} | {plan.status[0]}")
    for name, cost in (("recorded cost", setting.planning.cost), ("changed cost", asked.cost)):
        if name == "recorded cost" or asked.cost != setting.planning.cost or asked.goal is not None:
            judge = build_cost(cost, model, model.distance)
            with torch.no_grad():
                both = [float(judge(model.imagine(question.belief, one[None, None]), question.goal).total[0, 0]) for one in actions]
            lines.append(f"  {'total by the ' + name:<26} {both[0]:>12.5g} | {both[1]:>12.5g}")
    lines.append("  first block of actions, summed")
    blocks = [one[: model.action_block].sum(0).cpu().tolist() for one in actions]
    for name, unit, first, second in zip(spec.names, spec.units, *blocks, strict=True):
        lines.append(f"    {name + ' (' + unit + ')':<24} {first:>+12.4f} | {second:>+12.4f}")
    lines.append("  imagined end, metres")
    latents: list[Any] = [torch.tensor(decision.latents[-1], device=model.device), plan.latents[0, -1]]
    with torch.no_grad():
        ends = [model.poses(latent[None]) for latent in latents]
    for name in ("tool_pos", "object_pos"):
        first, second = (np.round(getattr(end, name)[0].cpu().numpy(), 4) for end in ends)
        lines.append(f"    {name:<24} {' '.join(f'{x:+.3f}' for x in first)} | {' '.join(f'{x:+.3f}' for x in second)}")
    return "\n".join(lines)
