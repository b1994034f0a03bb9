"""Recorded decisions made again from their run and its checkpoint, exactly."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from robo_dream.config import parse
from robo_dream.errors import CheckpointError, DataError
from robo_dream.imagination import Plan, Planner
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import RunRecord, decision_in_force
from robo_dream.runtime import compose
from robo_dream.runtime.compose import PlanningConfig
from robo_dream.runtime.made_with import MACHINE, made_with
from robo_dream.viewer.again import TOLERANCE, Comparison, compared, question_of, recomputed


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


def setting_of(about: Mapping[str, Any], root: Path, path: Path | None = None) -> Setting:
    """The model and planning configuration that `about`, the run.json of `root`, tells of.

    `path` is the checkpoint where it no longer lies where it did.

    Sets torch's threads to the recorded number, on which the last bits may depend. Raises `CheckpointError` for another checkpoint.
    """
    if "checkpoint" not in about and "policy" in about:
        raise DataError(f"the run in {root} holds no decision to make again: its moves came from the {about['policy']}")
    if "planning" not in about or "made_with" not in about:
        raise DataError(f"the run in {root} was recorded before its planning was kept with it; record it again with this release")
    path = path or Path(about["checkpoint"])
    if not path.is_file():
        raise CheckpointError(f"the run's checkpoint is not at {path}; say where it is with --checkpoint FILE")
    found, config = checkpoint.sha256(path), about["checkpoint_sha256"]
    if found != config:
        raise CheckpointError(f"{path} has SHA-256 {found[:12]}; the run was made with {config[:12]}: give that with --checkpoint FILE")
    recorded = about["made_with"]
    torch.set_num_threads(recorded["threads"])
    described = about.get("config", {})
    how = {name: described[name] for name in ("device", "compiled", "precision") if name in described}
    model = compose.load_checkpoint_model(path, **how)
    now = made_with(model.device)
    changed = {name: f"{name} was {recorded.get(name)}, is {now[name]}" for name in now if now[name] != recorded.get(name)}
    return Setting(
        model,
        parse(PlanningConfig, about["planning"], f"{root}/run.json: planning"),
        tuple(sentence for name, sentence in changed.items() if name in MACHINE),
        tuple(sentence for name, sentence in changed.items() if name not in MACHINE),
    )


def recompute(
    run: RunRecord, step: int | None = None, path: Path | None = None, on_progress: Callable[[int, int], None] | None = None
) -> Recomputed:
    """The decision in force at control step `step`, or every one, made again. `path`: see `setting_of`."""
    decisions = run.decisions if step is None else (decision_in_force(run, step),)
    return recomputed_all(setting_of(run.about, run.root, path), decisions, on_progress)


def recomputed_all(setting: Setting, decisions: Sequence[Decision], on_progress: Callable[[int, int], None] | None = None) -> Recomputed:
    """Each of `decisions` made again; `on_progress(done, all)` is called after each."""
    comparisons = []
    for decision in decisions:
        comparisons.append(again(setting, decision))
        if on_progress is not None:
            on_progress(len(comparisons), len(decisions))
    return Recomputed(tuple(comparisons), setting)


def again(setting: Setting, decision: Decision) -> Comparison:
    """One decision made again, and compared."""
    return compared(decision, plan_again(setting, decision), question_of(decision, setting.model.device))


def plan_again(setting: Setting, decision: Decision) -> Plan:
    """The plan of `decision`, made again."""
    planning, model = setting.planning, setting.model

    def build(clock: Callable[[], float]) -> Planner:
        return compose.build_planner(planning.planner, model, planning.cost, planning.proposals, clock)

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
            lines.append(f"control step {one.step}: not equal to the bit ({names}); {apart}")
    num_exact, num_all = sum(one.exact for one in found.comparisons), len(found.comparisons)
    lines.append(f"{num_exact} of {num_all} decisions are exactly the same")
    if setting.other_machine:
        lines.append(f"other machine or settings ({'; '.join(setting.other_machine)}): there, plans may be {TOLERANCE:g} apart")
    if setting.other_code and num_exact < num_all:
        lines.append(f"other code: {'; '.join(setting.other_code)}")
    return "\n".join(lines)
