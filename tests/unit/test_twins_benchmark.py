"""`benchmarks/twins.py`: rates and decision times of each policy, apart."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from robo_dream import config
from robo_dream.models import checkpoint
from robo_dream.planning.baselines import PolicyAloneConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.planner import planning_for
from robo_dream.runtime.run import RunConfig

TWIN = Path("configs/hardware/so101_twin.yaml")


@pytest.fixture
def twins(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    yield import_module("twins")


def row(seed: int, policy: str, moderate: bool, where: str = "twin", **more: object) -> dict[str, Any]:
    told = {"where": where, "policy": policy, "arm": "so101", "task": "push", "seed": seed, "moderate": moderate, "strict": False}
    return told | {"end": "DONE", "jitter_ms": {"p50": 1.0, "p95": 2.0}} | more


def test_each_policy_has_its_own_rates_and_only_what_decided_has_times(twins: ModuleType) -> None:
    planned = [row(0, "imagination", True, decision_seconds=[0.04, 0.06])]
    planned += [row(1, "imagination", False, end="SAFETY", decision_seconds=[0.05])]
    figures = twins.figures_of([*planned, row(0, "oracle", True, decision_seconds=[0.001]), row(0, "oracle", True, "plain")])
    key = "so101-push/twin/imagination"
    assert (figures[f"{key}/pairs"], figures[f"{key}/moderate"], figures[f"{key}/stopped"]) == (2, 50.0, 1)
    assert figures[f"{key}/decision_p50_ms"] == 50
    assert figures["so101-push/twin/oracle/moderate"] == figures["so101-push/plain/oracle/moderate"] == 100.0
    assert not [name for name in figures if "oracle" in name and "ms" in name]


def test_imagining_is_compared_with_the_policy_alone_on_the_seeds_of_both(twins: ModuleType) -> None:
    alone = [row(seed, "policy_alone", seed == 0) for seed in range(3)]
    figures = twins.figures_of([*alone, *(row(seed, "imagination", seed < 3) for seed in range(9))])
    key = "so101-push/twin/imagination"
    assert (figures[f"{key}/gain_pairs"], figures[f"{key}/gain_moderate"], figures[f"{key}/gain_strict"]) == (3, 66.7, 0)
    assert figures[f"{key}/gain_moderate_low"] < 66.7 < figures[f"{key}/gain_moderate_high"] == 100
    assert not [name for name in twins.figures_of([row(0, "imagination", True)]) if "gain" in name]


def test_the_policy_alone_is_the_checkpoint_that_plans_with_nothing_else_changed(twins: ModuleType) -> None:
    alone, planned = (config.load(RunConfig, TWIN, list(twins.POLICIES[policy])) for policy in ("policy_alone", "imagination"))
    assert replace(alone, planning=planned.planning) == planned and alone.policy == "imagination" and alone.checkpoint is not None
    info = checkpoint.read_info(alone.checkpoint)
    for task in twins.TASKS:
        own, searched = (planning_for(info, task, one.planning, one.by_task) for one in (alone, planned))
        assert own.planner == PolicyAloneConfig() and replace(own, planner=searched.planner) == searched
        assert isinstance(searched.planner, PolicyGuidedConfig)


def test_the_table_compares_seeds_that_both_have_tried(twins: ModuleType) -> None:
    (line,) = twins.table([row(0, "imagination", True), row(1, "imagination", False), row(0, "oracle", True, "plain")]).splitlines()[2:]
    assert line.startswith("| so101 | push | 1 | 100 (")
