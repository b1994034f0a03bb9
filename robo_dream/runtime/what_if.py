"""A recorded decision planned again with a change: another planner, cost, seed or goal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from robo_dream.config import parse
from robo_dream.errors import DataError
from robo_dream.imagination import Goal, Plan
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.candidates import bounds_of
from robo_dream.planning.costs import CostConfig, build_cost
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import RunRecord, decision_in_force, find_record, read_run
from robo_dream.runtime import compose
from robo_dream.runtime.again import Setting, plan_again, setting_of
from robo_dream.runtime.compose import ProposalConfig
from robo_dream.runtime.pictures import drawing
from robo_dream.viewer.again import Question, answer, fitted, question_of
from robo_dream.viewer.pictures import comparison_sheet, write_png

Terms = Mapping[str, Float[np.ndarray, " horizon"]]


@dataclass(frozen=True)
class Asked:
    """What `--what-if` can change of a decision: how it is planned, the seed of its search, and the goal."""

    planner: PlannerConfig = field(default_factory=PolicyGuidedConfig)
    cost: CostConfig = field(default_factory=CostConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    seed: int = 0
    goal: Path | None = None  # another recorded run, whose goal is taken


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


def what_if(run: RunRecord, step: int, changes: Sequence[str], out: Path | None = None, path: Path | None = None) -> tuple[str, Path]:
    """The decision in force at control step `step` planned with `changes`: both plans in words, and the picture of both.

    The picture goes to `out`, by default into `what_if/` beside the record; `path`: see `setting_of`. Raises as `replanned` does.
    """
    decision = decision_in_force(run, step)
    asked_for(run.about, run.root, decision, changes)  # what is misspelt is told before the model is loaded
    setting = setting_of(run.about, run.root, path)
    found = replanned(setting, run.about, run.root, decision, changes)
    titles = [f"control step {decision.step}, recorded", f"what if {' '.join(changes)}"]
    sheet = comparison_sheet(run, decision.step, [(titles[0], decision.latents), (titles[1], found.latents)], drawing(setting.model))
    out = out or run.root.parent / "what_if" / f"{decision.step:06d}.png"
    return in_words(found, setting.model), write_png(out, sheet)


def asked_for(about: Mapping[str, Any], root: Path, decision: Decision, changes: Sequence[str]) -> Asked:
    """What `changes` (`key=value` of `Asked`) ask for; raises `ConfigError` for an unknown key."""
    return parse(Asked, {**about.get("planning", {}), "seed": decision.seed}, f"{root}/run.json", changes)


def replanned(setting: Setting, about: Mapping[str, Any], root: Path, decision: Decision, changes: Sequence[str]) -> Replanned:
    """`decision` of the run in `root` planned with `changes`, without its deadline.

    Raises `ConfigError` for an unknown key, and `DataError` for a goal that is none of this model's.
    """
    asked, model = asked_for(about, root, decision, changes), setting.model
    question = _changed(question_of(decision, model.device), asked, model)
    planner = compose.build_planner(asked.planner, model, asked.cost, asked.proposals)
    plan = answer(planner, question)
    actions = (torch.tensor(decision.actions, device=model.device), plan.actions[0])
    costs = {"recorded cost": setting.planning.cost}
    if asked.cost != setting.planning.cost:
        costs["changed cost"] = asked.cost
    towards = "" if asked.goal is None else ", new goal"
    judged = {name + towards: _judged(cost, model, question, actions) for name, cost in costs.items()}
    return Replanned(decision, plan, tuple(changes), judged)


def made_again(setting: Setting, decision: Decision) -> Replanned:
    """`decision` made again with nothing changed, cut where a deadline cut it."""
    plan, question = plan_again(setting, decision), question_of(decision, setting.model.device)
    actions = (torch.tensor(decision.actions, device=setting.model.device), plan.actions[0])
    return Replanned(decision, plan, (), {"recorded cost": _judged(setting.planning.cost, setting.model, question, actions)})


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
        places = (np.round(getattr(end, name)[0].cpu().numpy().reshape(-1, 3), 4) for end in ends)
        for first, second in zip(*places, strict=True):
            lines.append(f"    {name:<24} {' '.join(f'{x:+.3f}' for x in first)} | {' '.join(f'{x:+.3f}' for x in second)}")
    return "\n".join(lines)


def _judged(
    cost: CostConfig, model: LatentVideoModel, question: Question, plans: tuple[torch.Tensor, torch.Tensor]
) -> tuple[Judged, Judged]:
    costing = build_cost(cost, model, model.distance)

    def judged(actions: torch.Tensor) -> Judged:
        with torch.no_grad():
            costs = costing(model.imagine(question.belief, actions[None, None]), question.goal)
        return Judged(float(costs.total[0, 0]), {name: term[0, 0].cpu().numpy() for name, term in costs.terms.items()})

    return judged(plans[0]), judged(plans[1])


def _changed(question: Question, asked: Asked, model: LatentVideoModel) -> Question:
    """`question` with the seed, goal and horizon that are asked for."""
    num_steps = asked.planner.horizon * model.action_block
    previous = fitted(question.previous, num_steps, bounds_of(model.action_spec, question.belief.latent))
    goal = question.goal
    if asked.goal is not None:
        other = read_run(find_record(asked.goal)).goal
        if other.latent.shape != question.belief.latent.shape[1:]:
            config = question.belief.latent.shape[1]
            raise DataError(f"the goal of {asked.goal} has {len(other.latent)} numbers, this model's have {config}; take one of its own")
        positions = [None if pos is None else torch.tensor(pos, device=model.device)[None] for pos in (other.object_pos, other.tool_pos)]
        goal = Goal(torch.tensor(other.latent, device=model.device)[None], *positions)
    return replace(question, seed=asked.seed, previous=previous, goal=goal)
