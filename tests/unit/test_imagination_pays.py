"""What could quietly be wrong in "does imagination pay?": what the best of N chooses from, paired gains, and the merge."""

import argparse
import json
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

from robo_dream.config import Changes
from robo_dream.errors import CheckpointError, ConfigError
from robo_dream.evaluation.results import Result
from robo_dream.imagination import Belief, Goal
from robo_dream.models.policy_prior import PolicyPrior
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, Job
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import build_planner
from sim.adapters.metaworld import MetaworldConfig
from sim.adapters.ogbench import OgbenchConfig
from sim.tabletop.scene import SceneConfig

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "configs/checkpoints/ogbench_cube_single_s.safetensors"
SEED = 3


@pytest.fixture
def pays(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield import_module("imagination_pays")


def arguments(pays: ModuleType, **changes: object) -> argparse.Namespace:
    return argparse.Namespace(
        **{"pairs": 4, "oracle_pairs": 2, "oracle_rollouts": 16, "methods": pays.METHODS, "tasks": None, "goal": None, "workers": 1}
        | changes
    )


def evaluation(pays: ModuleType, **planning: object) -> Evaluation:
    """The benchmark's, of a checkpoint whose planning was changed so."""
    config = EvaluateConfig(checkpoint=CHECKPOINT, tasks=("cube",), planning=Changes(planning))
    return pays.evaluation_of(Evaluation.of(config), "cube", arguments(pays))


def result(method: str, pair: int, strict: bool, seconds: Sequence[float] = (0.1,), moderate: bool = True) -> Result:
    return Result("cube", method, pair, "same", moderate, strict, 10, 0.0, tuple(seconds), "done")


def results(method: str, outcomes: str) -> list[Result]:
    """Strict outcomes of pairs 0, 1, ... as + and -."""
    return [result(method, pair, outcome == "+") for pair, outcome in enumerate(outcomes)]


def test_every_candidate_of_the_best_of_n_is_the_policys_own_proposal_and_the_best_imagined_is_taken(pays: ModuleType) -> None:
    measured = evaluation(pays, proposals={"repeated": True, "bridge": True})  # of which nothing may compete here
    model = load_checkpoint_model(CHECKPOINT)
    generator = torch.Generator().manual_seed(0)
    belief, goal, before = (torch.randn(1, model.spec.config.latent, generator=generator) for _ in range(3))
    alone = planned(measured, "policy_alone", model, belief, goal)
    for name, number in pays.BEST_OF.items():
        planning = measured.planning_of(name, "cube")
        plan = planned(measured, name, model, belief, goal)
        proposer = PolicyProposer(model, PolicyPrior(model, model, planning.proposals.gripper_goal), planning.proposals.temperature)
        num_steps = planning.planner.horizon * model.action_block
        own = proposer.propose(Belief(belief), Goal(goal), number, num_steps, [SEED]).actions
        assert plan.trace.candidates.shape[1] == number and torch.equal(plan.trace.candidates, own)
        assert {plan.trace.origin_names[origin] for origin in plan.trace.origins[0].tolist()} == {"policy"}
        assert plan.trace.best_by_iteration.shape[1] == 1
        assert torch.equal(plan.actions[0], own[0, plan.trace.totals[0].argmin()])
        shared = min(own.shape[2], alone.actions.shape[1])
        torch.testing.assert_close(own[:, 0, :shared], alone.actions[:, :shared], atol=1e-5, rtol=0)  # the likeliest is the first
        warm = planner_of(measured, name, model).plan(Belief(belief), Goal(goal), [SEED], planned(measured, name, model, before, goal))
        assert torch.equal(warm.trace.candidates, own)  # nothing of the last decision


def planner_of(measured: Evaluation, method: str, model):
    planning = measured.planning_of(method, "cube")
    return build_planner(planning.planner, model, planning.cost, planning.proposals)


def planned(measured: Evaluation, method: str, model, belief: torch.Tensor, goal: torch.Tensor):
    return planner_of(measured, method, model).plan(Belief(belief), Goal(goal), [SEED])


def test_the_released_search_is_measured_as_it_is_and_cem_gets_no_proposals(pays: ModuleType) -> None:
    measured = evaluation(pays)
    released = Evaluation.of(EvaluateConfig(checkpoint=CHECKPOINT)).planning_of("planner", "cube")
    assert measured.planning_of("planner", "cube") == released
    cem = measured.planning_of("cem", "cube")
    assert isinstance(cem.planner, CemConfig) and cem.planner.num_proposals == 0 and cem.cost == released.cost
    small, oracle = (measured.planning_of(name, "cube") for name in ("small_search", "oracle_dynamics"))
    assert small == oracle  # but for who imagines
    assert isinstance(small.planner, PolicyGuidedConfig) and small.planner.num_samples == 16
    bridge = measured.planning_of("goal_bridge", "cube").proposals
    assert bridge.bridge and not bridge.policy and not bridge.repeated


def test_the_policy_alone_is_always_measured_and_all_methods_on_the_same_first_pairs(pays: ModuleType) -> None:
    whole = Evaluation.of(EvaluateConfig(checkpoint=CHECKPOINT, tasks=("cube",)))
    jobs = list(pays.evaluation_of(whole, "cube", arguments(pays, methods=("best_of_8", "oracle_dynamics"))).jobs())
    pairs = {method: [job.pair for job in jobs if job.method == method] for method in ("policy_alone", "best_of_8", "oracle_dynamics")}
    assert pairs == {"policy_alone": [0, 1, 2, 3], "best_of_8": [0, 1, 2, 3], "oracle_dynamics": [0, 1]}
    assert len({(job.pair, job.seed) for job in jobs}) == 4 and len(jobs) == 10


def test_a_gain_is_paired_over_the_pairs_of_both_in_points(pays: ModuleType) -> None:
    every = [*results("policy_alone", "+---"), *results("planner", "++++"), result("planner", 9, False)]
    figures = pays.figures_of("planner", every, 128)
    assert (figures["pairs"], figures["strict"], figures["rollouts"]) == (5, 80.0, 128)
    assert (figures["gain_strict"], figures["gain_moderate"], figures["gain_moderate_low"], figures["gain_moderate_high"]) == (75, 0, 0, 0)
    assert figures["gain_strict_low"] < 75 < figures["gain_strict_high"] == 100


def test_a_gain_is_surer_where_the_same_pairs_are_gained_than_where_others_are_lost(pays: ModuleType) -> None:
    alone = results("policy_alone", "+" * 10 + "-" * 10)
    kept, swapped = results("planner", "+" * 14 + "-" * 6), results("planner", "-" * 6 + "+" * 14)
    sure, unsure = (pays.figures_of("planner", [*alone, *some], 1) for some in (kept, swapped))
    assert sure["gain_strict"] == unsure["gain_strict"] == 20
    assert sure["gain_strict_low"] >= 0 > unsure["gain_strict_low"]


def test_the_policy_alone_gains_nothing_over_itself_and_times_are_of_decisions(pays: ModuleType) -> None:
    figures = pays.figures_of("policy_alone", [result("policy_alone", 0, True, (0.1, 0.2, 0.3)), result("policy_alone", 1, True, ())], 0)
    assert figures["decision_p50_ms"] == 200 and not any(name.startswith("gain") for name in figures)


def test_the_peak_is_the_fewest_of_the_best_and_a_fall_from_it_is_told(pays: ModuleType) -> None:
    every = [*results("best_of_2", "+++-"), *results("best_of_8", "+++-"), *results("best_of_512", "----"), *results("planner", "++++")]
    peak = pays.peak_of(every)
    assert (peak["peak"], peak["most"], peak["most_minus_peak_strict"]) == (2, 512, -75)
    assert peak["most_minus_peak_strict_high"] < 0
    assert pays.peak_of(results("best_of_2", "+")) == {}


def test_a_merge_replaces_that_method_of_that_world_and_nothing_else(pays: ModuleType) -> None:
    old = {
        "_checkpoint/scene/recorded": "scene 1", "scene/recorded/planner/gain_strict": 6.0,
        "_checkpoint/cube/recorded": "cube 1", "cube/recorded/planner/gain_strict": 2.0, "cube/recorded/planner/old": 1.0,
        "cube/recorded/best_of_2/strict": 50.0, "cube/recorded/best_of_2/gain_strict": 1.0, "cube/privileged/planner/gain_strict": -10.0,
        "macro_strict_gain": 99.0,
    }  # fmt: skip
    new = pays.merged(old, "cube/recorded", "cube 1", {"planner": {"gain_strict": 4.0}})
    changed = {"cube/recorded/planner/gain_strict": 4.0, "macro_strict_gain": 0.0}
    changed |= {"macro_strict_gain_recorded": 5.0, "macro_strict_gain_privileged": -10.0}
    assert new == {key: value for key, value in old.items() if key != "cube/recorded/planner/old"} | changed


def test_figures_of_another_checkpoint_of_the_same_world_and_regime_do_not_stay_beside_new_ones(pays: ModuleType) -> None:
    old = pays.merged({}, "cube/recorded", "cube 1", {"planner": {"gain_strict": 2.0}, "best_of_2": {"strict": 50.0}})
    old = pays.merged(old, "cube/privileged", "cube 9", {"best_of_2": {"strict": 70.0}})
    new = pays.merged(old, "cube/recorded", "cube 2", {"planner": {"gain_strict": 4.0}})
    assert new["cube/recorded/planner/gain_strict"] == 4.0 and "cube/recorded/best_of_2/strict" not in new
    assert new["_checkpoint/cube/recorded"] == "cube 2" and new["cube/privileged/best_of_2/strict"] == 70.0


def test_what_was_made_before_it_was_killed_is_not_made_again(pays: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured, made, whole = evaluation(pays), [], []
    case = pays.Case("cube-single/privileged", measured, "cube 1")

    def some(config: EvaluateConfig, jobs: list[Job], before_it_dies: int) -> Iterator[Result]:
        for number, job in enumerate(jobs):
            if number == before_it_dies:
                raise KeyboardInterrupt
            made.append((job.method, job.pair))
            yield Result(job.task, job.method, job.pair, job.settings, True, True, 1, 0.0, (0.1,), "done")

    monkeypatch.setattr(Evaluation, "require", lambda self: None)
    monkeypatch.setattr(pays, "attempts", lambda config, jobs: some(config, jobs, 6))
    with pytest.raises(KeyboardInterrupt):
        pays.measure(case, argparse.Namespace(out=tmp_path), lambda method, found: whole.append((method, len(found))))
    assert whole == [("policy_alone", 4)]
    monkeypatch.setattr(pays, "attempts", lambda config, jobs: some(config, jobs, 10_000))
    pays.measure(case, argparse.Namespace(out=tmp_path), lambda method, found: whole.append((method, len(found))))
    assert len(made) == len(set(made)) == len(list(measured.jobs()))
    assert [method for method, _ in whole] == ["policy_alone", *pays.METHODS]


def test_a_figure_is_written_whole_or_not_at_all(pays: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    results_file, path = import_module("results_file"), tmp_path / "figures.json"
    monkeypatch.setattr(results_file, "gflops", lambda: 1.0)
    results_file.write_figures(path, {"one": 1})

    def cut_off(self: Path, content: bytes) -> int:
        raise OSError("killed while writing")

    monkeypatch.setattr(Path, "write_bytes", cut_off)
    with pytest.raises(OSError, match="killed while writing"):
        results_file.write_figures(path, {"two": 2})
    assert json.loads(path.read_text())["one"] == 1 and list(tmp_path.iterdir()) == [path]


def test_worlds_are_called_as_in_the_other_result_files(pays: ModuleType) -> None:
    assert pays.world_name(OgbenchConfig(env="cube-double"), "cube", ("cube",)) == "cube-double"
    assert pays.world_name(OgbenchConfig(env="scene"), "five_tasks", ("scene",)) == "scene-five-goals"
    assert pays.world_name(MetaworldConfig(), "near", ("expert", "near")) == "reach-near"
    assert pays.world_name(SceneConfig(), "push", ("push",)) == "push"
    assert pays.world_name(SceneConfig(arm="so101"), "push", ("push",)) == "so101-push"


def test_a_goal_shown_otherwise_than_usual_is_in_the_evaluation_and_in_the_name(pays: ModuleType) -> None:
    usual, *other = (
        next(pays.cases_of(CHECKPOINT, arguments(pays, tasks=("cube",), goal=goal)))
        for goal in (None, "picture_and_arm", "picture_arm_at_start")
    )
    assert [case.stem for case in (usual, *other)] == ["cube-single/privileged"] * 2 + ["cube-single-picture-arm-at-start/privileged"]
    assert [case.evaluation.shown for case in (usual, *other)] == ["picture_and_arm"] * 2 + ["picture_arm_at_start"]
    settings = [case.evaluation.settings_of()["cube", "planner"] for case in (usual, *other)]
    assert settings[0] == settings[1] != settings[2]  # so that no outcome is taken for another's


def test_a_goal_that_is_a_picture_alone_is_refused_for_who_never_learned_so(pays: ModuleType) -> None:
    with pytest.raises(ConfigError, match="picture_goals=true, or set goal to picture_and_arm, or to picture_arm_at_start"):
        list(pays.cases_of(CHECKPOINT, arguments(pays, goal="picture")))


def test_a_world_whose_goals_are_shown_once_more_otherwise_counts_once(pays: ModuleType) -> None:
    gained = {"gain_strict": 4.0, "gain_strict_low": 0.0, "gain_strict_high": 8.0}
    figures = pays.merged({}, "push/recorded", "1", {"planner": gained})
    figures = pays.merged(figures, "push-picture-arm-at-start/recorded", "1", {"planner": gained | {"gain_strict": -50.0}})
    assert figures["macro_strict_gain"] == figures["macro_strict_gain_recorded"] == 4.0
    assert [line.name for line in pays.lines_of(figures)] == ["push, recorded"]


def test_a_checkpoint_that_is_not_there_is_refused(pays: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not say its regime"):
        list(pays.cases_of(tmp_path / "none.safetensors", arguments(pays, tasks=("reach",))))


def test_settings_of_a_method_that_nobody_knows_are_answered_with_the_nearest(pays: ModuleType) -> None:
    with pytest.raises(ConfigError, match="by_method names 'planer'; did you mean planner"):
        EvaluateConfig(by_method={"planer": Changes({"proposals": {"bridge": True}})})


def test_the_picture_has_a_line_for_each_world_and_regime_that_starts_at_the_policy_alone(pays: ModuleType, tmp_path: Path) -> None:
    gained = {"gain_strict": 5.0, "gain_strict_low": -1.0, "gain_strict_high": 9.0}
    figures = pays.merged({}, "cube/privileged", "1", {"best_of_2": gained, "best_of_512": gained, "cem": gained})
    figures = pays.merged(figures, "cube/recorded", "2", {"best_of_2": gained, "planner": gained})
    lines = pays.lines_of(figures)
    assert [(line.name, sorted(line.at), list(line.apart)) for line in lines] == [
        ("cube, recorded", [1, 2], ["planner"]), ("cube, privileged", [1, 2, 512], ["cem"]),
    ]  # fmt: skip
    drawn = [pays.draw_lines(tmp_path / name, lines, "title", "candidates", pays.APART).read_bytes() for name in ("a.svg", "b.svg")]
    assert drawn[0] == drawn[1] and b"<svg" in drawn[0]
