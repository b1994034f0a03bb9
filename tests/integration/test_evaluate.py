"""The evaluation, end to end, on the committed manifests and the released checkpoint."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robo_dream.cli.main import main
from robo_dream.errors import ConfigError
from robo_dream.evaluation.manifest import read_manifest
from robo_dream.evaluation.results import read_results
from robo_dream.models.policy_prior import PolicyPrior
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.goals import goal_from_observation
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, pair_seed
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import build_planner
from sim.environment import ground_truth_at, observation_of
from sim.physics.oracle import PhysicsOracle
from sim.tabletop.environment import Tabletop
from sim.tabletop.tasks.catalogue import TASKS as CRITERIA

MANIFESTS = Path("configs/manifests")
CHECKPOINT = EvaluateConfig().checkpoint
TASKS = ("reach", "push", "lift", "place")


@pytest.mark.parametrize("task", TASKS)
def test_no_committed_pair_is_solved_at_its_start(task: str):
    judge = CRITERIA[task]
    with Tabletop() as world:
        manifest = read_manifest(MANIFESTS / f"{task}.safetensors", len(world.state))
        assert len(manifest) >= 200
        for start, goal in zip(manifest.starts, manifest.goals, strict=True):
            here, there = ground_truth_at(world, start), ground_truth_at(world, goal)
            assert not judge.moderate(here, there) and judge.moved(here, there) >= judge.least_motion


def run(out: Path, *overrides: str) -> list:
    arguments = ["evaluate", "--config", "configs/evaluate/jaco.yaml", f"out={out}", "num_pairs=2", "tasks=[reach]", *overrides]
    assert main(arguments) == 0
    return [replace(result, decision_seconds=()) for result in sorted(read_results(out / "results.jsonl"), key=lambda r: r.key)]


def test_outcomes_depend_neither_on_workers_nor_on_resuming(tmp_path: Path):
    methods = "methods=[random,policy_alone]"
    alone = run(tmp_path / "one", "workers=1", methods)
    together = run(tmp_path / "two", "workers=2", methods)
    torn = tmp_path / "torn"
    torn.mkdir()
    lines = (tmp_path / "one" / "results.jsonl").read_bytes().split(b"\n")
    (torn / "results.jsonl").write_bytes(lines[0] + b"\n" + lines[1][:20])
    resumed = run(torn, "workers=1", methods)
    assert len(alone) == 4 and alone == together == resumed


def test_a_row_that_nobody_knows_is_answered_with_those_that_are():
    with pytest.raises(ConfigError, match="no method named 'cem'; known: zero_action, random, policy_alone, planner, oracle_dynamics"):
        Evaluation.of(EvaluateConfig()).planning_of("cem", "push")
    assert Evaluation.of(EvaluateConfig(extra_planners={"cem": CemConfig()})).planning_of("cem", "push").planner == CemConfig()
    with pytest.raises(ConfigError, match="methods names 'cem'"):
        EvaluateConfig(methods=("cem",))
    with pytest.raises(ConfigError, match="extra_planners has methods \\['planner'\\]"):
        EvaluateConfig(extra_planners={"planner": CemConfig()})


def test_the_released_reacher_goes_where_a_picture_alone_shows_it(tmp_path: Path):
    words = ["evaluate", "--config", "configs/evaluate/dm_control_reacher.yaml", f"out={tmp_path}", "num_pairs=4", "workers=1"]
    assert main([*words, "methods=[planner,zero_action]"]) == 0
    solved = [result.method for result in read_results(tmp_path / "results.jsonl") if result.moderate]
    assert solved.count("planner") >= 3 and solved.count("zero_action") == 0  # 100 of 100 and 0 of 100 when measured


def test_goals_that_are_pictures_alone_want_a_model_that_learned_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    words = ["evaluate", "--config", "configs/evaluate/jaco.yaml", f"out={tmp_path}", "goal=picture", "num_pairs=1"]
    assert main(words) == 2
    assert "training.model.picture_goals=true" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_seeds_of_pairs_differ():
    assert len({pair_seed("hash", "push", pair, seed) for pair in range(50) for seed in range(4)}) == 200


def test_a_decision_does_not_change_with_the_simulators_truth():
    model = load_checkpoint_model(CHECKPOINT)
    planner = build_planner(PolicyGuidedConfig(), model)
    with Tabletop() as world:
        manifest = read_manifest(MANIFESTS / "push.safetensors")
        world.set_state(manifest.goals[0])
        goal = goal_from_observation(model, observation_of(world))
        world.set_state(manifest.starts[0])
        seen = observation_of(world)
        lied = replace(seen, truth={name: np.full_like(value, 9.0) for name, value in seen.truth.items()})
        plans = [planner.plan(model.believe([[observation]]), goal, [1]) for observation in (seen, lied)]
        planted = replace(seen, arm=replace(seen.arm, tool_pos=seen.arm.tool_pos + 0.05))  # a leak of this size would be seen
        other = planner.plan(model.believe([[planted]]), goal, [1])
    assert (plans[0].actions == plans[1].actions).all() and not (plans[0].actions == other.actions).all()


def test_at_true_poses_the_inverse_model_suggests_what_it_does_from_pictures():
    model, manifest = load_checkpoint_model(CHECKPOINT), read_manifest(MANIFESTS / "push.safetensors")
    seen, true = [], []
    with Tabletop() as world, PhysicsOracle(world, num_threads=1) as physics:
        likeliest = torch.zeros(1), torch.zeros(1, model.spec.block_size)
        for start, goal in zip(manifest.starts[:8], manifest.goals[:8], strict=True):
            world.set_state(goal)
            there = observation_of(world)
            world.set_state(start)
            here = observation_of(world)
            for believer, found in ((model, seen), (physics, true)):
                belief = believer.believe([[here]]).latent
                inverse, goal = PolicyPrior(model, believer), goal_from_observation(believer, there)
                found.append(inverse.propose(belief, inverse.aims(goal.latent), *likeliest)[0].flatten().numpy())
    apart = np.linalg.norm(np.stack(seen)[:, None] - np.stack(true)[None], axis=-1)
    assert np.median(np.diag(apart)) < 0.5 * np.median(apart[~np.eye(len(apart), dtype=bool)])
