"""What answers the page's questions about a run: decisions made again, planned again with a change, and compared with another run's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robo_dream.recording.decision import Decision
from robo_dream.recording.record import RunRecord, find_record, read_run
from robo_dream.recording.timeline import chosen
from robo_dream.runtime.again import Recomputed, Setting, recomputed_all, sentences_of, setting_of
from robo_dream.runtime.presets import choices_of
from robo_dream.runtime.what_if import Replanned, asked_for, in_words, made_again, replanned
from robo_dream.viewer.again import compared, question_of
from robo_dream.viewer.diff import described, diff
from robo_dream.viewer.questions import Choices, OnStage, Told, ToldPlan


class RunAsker:
    """An `Asker` on the run in `root`, which is only read. The model is loaded at the first question that needs it.

    `checkpoint` is where the run's checkpoint lies now, when not where it did.
    """

    def __init__(self, root: Path, about: Mapping[str, Any], checkpoint: Path | None = None) -> None:
        self._root, self._about, self._checkpoint = root, about, checkpoint
        self._kept: Setting | None = None

    def choices(self, decision: Decision) -> Choices:
        return choices_of(self._about, self._root, decision)

    def recompute(self, decision: Decision, on_stage: OnStage) -> Told:
        setting = self._setting(on_stage)
        on_stage("planning again", 0, 0)
        found = made_again(setting, decision)
        comparison = compared(decision, found.plan, question_of(decision, setting.model.device))
        text = sentences_of(Recomputed((comparison,), setting))
        return Told(text, _both(found, "made again"), decision.step)

    def recompute_all(self, on_stage: OnStage) -> Told:
        setting = self._setting(on_stage)
        on_stage("reading the run", 0, 0)
        decisions = read_run(self._root).decisions
        found = recomputed_all(setting, decisions, lambda done, all_: on_stage("planning again", done, all_))
        return Told(sentences_of(found))

    def what_if(self, decision: Decision, changes: tuple[str, ...], on_stage: OnStage) -> Told:
        asked_for(self._about, self._root, decision, changes)  # what is misspelt is told before the model is loaded
        setting = self._setting(on_stage)
        on_stage("planning again", 0, 0)
        found = replanned(setting, self._about, self._root, decision, changes)
        return Told(in_words(found, setting.model), _both(found, f"what if {' '.join(changes)}"), decision.step)

    def diff(self, other: Path, tolerance: float, on_stage: OnStage) -> Told:
        on_stage("reading both runs", 0, 2)
        first = read_run(self._root)
        on_stage("reading both runs", 1, 2)
        second = read_run(find_record(other))
        on_stage("comparing", 0, 0)
        found = diff(first, second, tolerance)
        return Told(described(found, str(first.root), str(second.root)), _at(found.step, first, second), found.step)

    def _setting(self, on_stage: OnStage) -> Setting:
        if self._kept is None:
            on_stage("loading the model", 0, 0)
            self._kept = setting_of(self._about, self._root, self._checkpoint)
        return self._kept


def _both(found: Replanned, name: str) -> tuple[ToldPlan, ToldPlan]:
    """The recorded plan and the other one, judged alike."""
    decision, plan = found.decision, found.plan
    costs = [{cost: both[n].terms for cost, both in found.judged.items()} for n in range(2)]
    total = decision.total if decision.total is not None else decision.cost
    recorded = ToldPlan("recorded", str(decision.status), total, decision.actions, costs[0], _moments(decision.belief, decision.latents))
    other = ToldPlan(name, str(plan.status[0]), float(plan.total[0]), found.actions, costs[1], _moments(decision.belief, found.latents))
    return recorded, other


def _at(step: int | None, first: RunRecord, second: RunRecord) -> tuple[ToldPlan, ...]:
    """Both runs' plans at control step `step`, where both decided there. Pictures only by the checkpoint that imagined them."""
    both = [next((one for one in run.decisions if one.step == step), None) for run in (first, second)]
    if step is None or both[0] is None or both[1] is None:
        return ()
    is_same_model = first.about.get("checkpoint_sha256") == second.about.get("checkpoint_sha256")
    return _recorded(both[0], "A, this run", True), _recorded(both[1], "B, the other", is_same_model)


def _recorded(decision: Decision, name: str, is_drawable: bool) -> ToldPlan:
    pick = chosen(decision)
    terms = {} if pick is None else {term: values[pick] for term, values in decision.terms.items()}
    total = decision.total if decision.total is not None else decision.cost
    latents = _moments(decision.belief, decision.latents) if is_drawable else None
    return ToldPlan(name, str(decision.status), total, decision.actions, {"its own cost": terms} if terms else {}, latents)


def _moments(belief: np.ndarray, latents: np.ndarray) -> np.ndarray:
    return np.concatenate([belief[None], latents])
