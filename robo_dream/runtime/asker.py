"""What the replay page may ask of a run: its decisions again, what if, a difference; and what there is to change."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from robo_dream.config import dump
from robo_dream.errors import ConfigError
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.kinds import PLANNER_CONFIGS
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import RUN, RunRecord, find_record, read_run
from robo_dream.recording.timeline import chosen
from robo_dream.runtime.perception import perception_again
from robo_dream.runtime.replay import (
    Asked,
    Recomputed,
    Replanned,
    Setting,
    asked_for,
    in_words,
    made_again,
    recomputed_all,
    replanned,
    sentences_of,
    setting_of,
)
from robo_dream.viewer.again import compared, question_of
from robo_dream.viewer.diff import described, diff
from robo_dream.viewer.questions import Choices, OnStage, Preset, Told, ToldPlan

_MAX_RUNS = 40
_MAX_BYTES = 512 << 20  # of what one search imagines and draws
_UNASKED = ("policy_guided", "zero_action", "random", "video")  # the default, what needs no imagination, and what few checkpoints learned
_SMALLER = {"cem": ("planner.num_samples=100", "planner.num_iterations=5"), "mppi": ("planner.num_samples=128",)}  # seconds, not a minute


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
        found = made_again(setting, decision, lambda: on_stage("planning again", 0, 0))
        question = question_of(decision, setting.model.device)
        comparison = compared(decision, found.plan, question, perception_again(setting.check, setting.root, decision))
        text = sentences_of(Recomputed((comparison,), setting))
        return Told(text, _both(found, "made again"), decision.step)

    def recompute_all(self, on_stage: OnStage) -> Told:
        setting = self._setting(on_stage)
        on_stage("reading the run", 0, 0)
        decisions = read_run(self._root).decisions
        told = 0

        def on_progress(done: int, all_: int) -> None:
            nonlocal told
            told = done
            on_stage("planning again", done, all_)

        found = recomputed_all(setting, decisions, on_progress, lambda: on_stage("planning again", told, len(decisions)))
        return Told(sentences_of(found))

    def what_if(self, decision: Decision, changes: tuple[str, ...], on_stage: OnStage) -> Told:
        asked = asked_for(self._about, self._root, decision, changes)  # what is misspelt is told before the model is loaded
        setting = self._setting(on_stage)
        _require_room(asked, setting.model)
        on_stage("planning again", 0, 0)
        found = replanned(setting, self._about, self._root, decision, changes, lambda: on_stage("planning again", 0, 0))
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


def _require_room(asked: Asked, model: LatentVideoModel) -> None:
    """Raises `ConfigError` where a search would take more memory than a page may ask for."""
    values, num_futures = dump(asked.planner), 1 if asked.futures is None else 1 + asked.futures.count
    samples, horizon = values.get("num_samples", 1), values["horizon"]
    at_once = min(samples, values.get("sample_budget", samples))
    numbers = horizon * (
        num_futures * at_once * model.spec.config.latent + 4 * samples * model.spec.block_size
    )  # drawn, shifted, clipped and kept
    if 4 * numbers > _MAX_BYTES:
        raise ConfigError(
            f"planner.num_samples={samples} with planner.horizon={horizon} takes about {4 * numbers / 2**30:.1f} GB; a page may ask for "
            f"{_MAX_BYTES / 2**30:.1f}: ask for fewer samples, a shorter horizon or a smaller sample_budget, or use `robo-dream replay`"
        )


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


def choices_of(about: Mapping[str, Any], root: Path, decision: Decision) -> Choices:
    """Every key that a change can name with its value in the run, presets, and other runs that lie beside this one."""
    values = dict(_leaves(about.get("planning", {})))
    values["seed"] = decision.seed
    return Choices(
        {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in values.items()},
        tuple(_presets(values, decision)),
        tuple(PLANNER_CONFIGS),
        tuple(str(path) for path in _runs_beside(root)),
    )


def _presets(values: Mapping[str, Any], decision: Decision) -> Iterator[Preset]:
    yield Preset("another seed", (f"seed={decision.seed + 1}",))
    samples, iterations, horizon = (values.get(f"planner.{name}") for name in ("num_samples", "num_iterations", "horizon"))
    if isinstance(samples, int):
        yield Preset("4 times the candidates", (f"planner.num_samples={4 * samples}",))
    if isinstance(iterations, int):
        yield Preset("2 more iterations", (f"planner.num_iterations={iterations + 2}",))
    if isinstance(horizon, int) and horizon > 1:
        yield Preset("half the look-ahead", (f"planner.horizon={horizon // 2}",))
    if values.get("proposals.policy") is True and values.get("planner.kind") != "policy_alone":
        yield Preset("no learned proposals", ("proposals.policy=false",))
    for key, value in values.items():
        if key.startswith("cost.pose_parts.") and isinstance(value, int | float) and 0 < value < 1e300 and values.get("cost.pose"):
            yield Preset(f"twice {key.rpartition('.')[2]}", (f"{key}={2 * value:g}",))
    if values.get("cost.disagreement") == 0:
        yield Preset("disagreement costs", ("cost.disagreement=1.0",))
    for kind in PLANNER_CONFIGS:
        if kind not in _UNASKED and kind != values.get("planner.kind"):
            same = (f"planner.horizon={horizon}",) if isinstance(horizon, int) else ()
            yield Preset(kind, (f"planner.kind={kind}", *same, *_SMALLER.get(kind, ())))


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else name)
    elif value is not None:
        yield key, value


def _runs_beside(root: Path) -> list[Path]:
    """Other records in the folders around `root`, the newest first."""
    home = root.resolve()
    folders = [home.parents[n] for n in range(min(3, len(home.parents)))]
    patterns = (f"*/{RUN}", f"*/record/{RUN}", f"*/*/record/{RUN}")
    times: dict[Path, float] = {}
    for folder, pattern in zip(folders, patterns, strict=False):
        with suppress(OSError):  # others may be at work there
            for file in folder.glob(pattern):
                times[file.parent.resolve()] = file.stat().st_mtime
    return sorted(times.keys() - {home}, key=lambda folder: times[folder], reverse=True)[:_MAX_RUNS]
