"""Any world by its kind: from a file, from a file of before, from a checkpoint; and what is said of what does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest

from robo_dream import config
from robo_dream.errors import CheckpointError, ConfigError, MissingExtraError
from robo_dream.models.checkpoint import CheckpointInfo, Settings, read_info
from robo_dream.planning.costs import CostConfig, PoseCostConfig
from robo_dream.runtime.collect import CollectConfig, dataset_spec
from robo_dream.runtime.environment import build_environment, manifests_of, require_fitting_cost, tasks_in, usual_tasks, world_of
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, Job, Worker
from robo_dream.runtime.plan import PlanConfig, completed
from robo_dream.runtime.planner import PlanningConfig
from robo_dream.safety.limits import SafetyLimits
from sim.adapters.dm_control import DmControlConfig
from sim.adapters.ogbench import OgbenchConfig
from sim.devices import limits_in
from sim.physics.oracle import PhysicsOracle, StillDynamics
from sim.tabletop.scene import SceneConfig

CHECKPOINTS = Path("configs/checkpoints")


def test_a_block_of_before_is_a_tabletop(caplog: pytest.LogCaptureFixture) -> None:
    old = config.parse(CollectConfig, {"scene": {"arm": "xarm6"}}, "old")
    assert old.world == SceneConfig(arm="xarm6") and "scene is now called world" in caplog.text
    assert config.load(PlanConfig, None, ["scene.arm=xarm6"]).world == SceneConfig(arm="xarm6")
    with pytest.raises(ConfigError, match="scene is now world, which is given too"):
        config.parse(CollectConfig, {"scene": {}, "world": {"kind": "tabletop"}}, "both")


@pytest.mark.parametrize("cls", [CollectConfig, PlanConfig, EvaluateConfig])
def test_every_verb_takes_every_kind_of_world(cls: type) -> None:
    for kind in ("tabletop", "ogbench", "dm_control", "metaworld", "pusht"):
        assert config.load(cls, None, [f"world.kind={kind}"]).world.kind == kind
    with pytest.raises(ConfigError, match="allowed: tabletop, ogbench, dm_control, metaworld, pusht"):
        config.load(cls, None, ["world.kind=table"])


def test_a_checkpoint_brings_its_world_its_pairs_and_what_it_is_shown() -> None:
    path = CHECKPOINTS / "dm_control_reacher_s.safetensors"
    known = completed(PlanConfig(checkpoint=path), read_info(path))
    assert isinstance(known.world, DmControlConfig) and known.goal == "picture" and known.tasks == ("reach",)
    assert known.manifests == Path("configs/manifests/dm_control_reacher")
    path = CHECKPOINTS / "jaco_s.safetensors"
    known = completed(PlanConfig(checkpoint=path, task="push"), read_info(path))
    assert known.world == SceneConfig() and known.goal == "picture_and_arm" and known.tasks == ("push",)


def test_what_is_given_counts_more_than_what_the_checkpoint_says() -> None:
    path = CHECKPOINTS / "jaco_s.safetensors"
    given = PlanConfig(world=SceneConfig(decimate=0.5), manifests=Path("elsewhere"), task="reach")
    known = completed(given, read_info(path))
    assert (known.world, known.manifests, known.tasks) == (given.world, given.manifests, ("reach",))


def test_a_recipe_of_before_names_its_world_and_one_without_is_refused() -> None:
    info = replace(read_info(CHECKPOINTS / "jaco_s.safetensors"), settings=Settings())
    parts = {"parts": [{"scene": {"arm": "so101"}}, {"scene": {"arm": "ur5e"}}]}
    assert world_of(replace(info, recipe={"data": parts}), Path("old")) == SceneConfig(arm="so101")
    assert world_of(None, Path("none")) == SceneConfig()
    with pytest.raises(CheckpointError, match=r"world\.kind=tabletop"):
        world_of(replace(info, recipe={"data": {"command": "somebody else's"}}), Path("bench"))


def test_frozen_pairs_lie_by_world() -> None:
    assert manifests_of(SceneConfig()) == Path("configs/manifests")
    assert manifests_of(OgbenchConfig(env="cube-double")) == Path("configs/manifests/ogbench_cube_double")
    so101 = manifests_of(SceneConfig(arm="so101"))
    assert so101 == Path("configs/manifests/so101") and usual_tasks(SceneConfig(arm="so101"), so101) == ("reach", "push")
    assert usual_tasks(OgbenchConfig(), manifests_of(OgbenchConfig())) == ("cube",)  # the five official goals are asked for by name
    with pytest.raises(ConfigError, match="no frozen pairs; name a task"):
        usual_tasks(OgbenchConfig(), Path("nowhere"))


def test_a_task_about_objects_wants_a_cost_that_heeds_them() -> None:
    tool = CostConfig(distance=0.0, pose=1.0, pose_parts=PoseCostConfig(object_pos=0.0, tool_pos=100.0))
    with build_environment() as environment:
        require_fitting_cost(environment, "reach", PlanningConfig(cost=tool))
        for fitting in (replace(tool, distance=1.0), replace(tool, latent=1.0), replace(tool, pose_parts=PoseCostConfig(object_pos=1.0))):
            require_fitting_cost(environment, "push", PlanningConfig(cost=fitting))
        with pytest.raises(ConfigError, match="'push' is about objects, but the cost leaves out where they are"):
            require_fitting_cost(environment, "push", PlanningConfig(cost=tool))


def test_a_misspelt_task_is_answered_with_the_tasks_that_exist() -> None:
    with pytest.raises(ConfigError, match="no task 'pish'; it has reach, push, lift, place"):
        Evaluation.of(EvaluateConfig(tasks=("pish",))).require()


def test_a_script_that_the_world_lacks_is_refused_before_anything_is_played() -> None:
    wrong = config.load(CollectConfig, None, ["world.kind=dm_control", "script.mix={juggle: 1.0}"])
    with pytest.raises(ConfigError, match=r"script.mix names \['juggle'\]; this world has reach, random"):
        dataset_spec(wrong)


def test_before_anything_is_trained_nothing_imagines_for_those_that_heed_no_future(tmp_path: Path) -> None:
    untrained = EvaluateConfig(checkpoint=tmp_path / "none", tasks=("reach",), methods=("zero_action", "random", "oracle_dynamics"))
    worker = Worker(untrained)
    job = Job("reach", "random", 0, 1, "")
    assert isinstance(worker._model(job), StillDynamics)
    assert isinstance(worker._model(replace(job, method="oracle_dynamics")), PhysicsOracle)
    result = worker.attempt(job)
    assert result.steps > 0 and not result.moderate


def test_an_arm_without_a_guard_acts_wherever_it_is_seen() -> None:
    with build_environment(DmControlConfig()) as unguarded, build_environment() as tabletop:
        assert limits_in(unguarded, SafetyLimits()).max_tool_error is None
        assert limits_in(tabletop, SafetyLimits()) == SafetyLimits()
    checkpoint = CHECKPOINTS / "dm_control_reacher_s.safetensors"
    worker = Worker(EvaluateConfig(checkpoint=checkpoint, tasks=("reach",), methods=("policy_alone",)))
    assert worker.attempt(Job("reach", "policy_alone", 0, 1, "")).steps > 0


def test_results_of_other_code_or_libraries_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    from robo_dream.evaluation.manifest import read_manifest
    from robo_dream.runtime import evaluate

    evaluation = Evaluation.of(EvaluateConfig(tasks=("push",)))
    manifest = read_manifest(evaluation.path("push"))
    one = evaluation.settings("planner", "push", manifest)
    assert one == Evaluation.of(EvaluateConfig(tasks=("push",), workers=7)).settings("planner", "push", manifest)
    for name in ("_code", "_libraries"):
        with monkeypatch.context() as patch:
            patch.setattr(evaluate, name, lambda: "other")
            assert evaluation.settings("planner", "push", manifest) != one


def test_an_info_without_settings_is_of_the_recipe() -> None:
    info = CheckpointInfo(read_info(CHECKPOINTS / "jaco_s.safetensors").spec, {"data": {"world": {"kind": "pusht"}}})
    assert world_of(info, Path("trained here")).kind == "pusht"


@pytest.mark.parametrize("kind", ["tabletop", "ogbench", "dm_control", "metaworld", "pusht"])
def test_the_names_of_tasks_are_those_of_the_world_once_it_is_built(kind: str) -> None:
    world = config.load(PlanConfig, None, [f"world.kind={kind}"]).world
    assert world is not None
    try:
        environment = build_environment(world)
    except MissingExtraError as error:
        pytest.skip(str(error))
    with environment:
        assert tasks_in(world) == tuple(environment.tasks)
