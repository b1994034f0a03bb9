"""A checkpoint carries the settings it is planned with, task by task; a file names only what it changes."""

import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from robo_dream.config import Changes, dump, load, parse
from robo_dream.errors import CheckpointError, ConfigError
from robo_dream.models import checkpoint
from robo_dream.models.checkpoint import CheckpointInfo
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime import train
from robo_dream.runtime.planner import PlanningChanges, PlanningConfig, planning_for, require_known_tasks
from robo_dream.runtime.run import RunConfig
from robo_dream.runtime.session import run_session
from robo_dream.runtime.train import TrainConfig

RELEASED = sorted(Path("configs/checkpoints").glob("*.safetensors"))
BEGUN_WITH = {"jaco_recorded_wide_s": "jaco_recorded"}  # a late stage changes no settings
JACO = Path("configs/checkpoints/jaco_s.safetensors")


@dataclass(frozen=True)
class File:
    planning: PlanningChanges = field(default_factory=Changes)
    by_task: dict[str, PlanningChanges] = field(default_factory=dict)


def in_file(folder: Path, text: str, *overrides: str) -> File:
    path = folder / "file.yaml"
    path.write_text(text)
    return load(File, path, overrides)


@pytest.fixture(scope="module")
def jaco() -> CheckpointInfo:
    return checkpoint.read_info(JACO)


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_a_released_checkpoint_tells_its_settings_world_goal_and_regime(path: Path) -> None:
    info = checkpoint.read_info(path)
    for task in ("", *info.settings.planning["tasks"]):
        assert planning_for(info, task) != PlanningConfig()
    assert info.settings.world["kind"] in ("tabletop", "ogbench", "metaworld", "dm_control")
    assert info.settings.regime == ("recorded" if "_recorded_" in path.name else "privileged")
    assert info.settings.goal == ("picture" if info.spec.config.picture_goals else "picture_and_arm")


def test_a_task_has_its_own_settings_and_another_task_the_default_ones(jaco: CheckpointInfo) -> None:
    reach, push, other = (planning_for(jaco, task) for task in ("reach", "push", "unheard of"))
    assert isinstance(reach.planner, PolicyGuidedConfig) and reach.planner.horizon == 3 and reach.cost.pose_parts.tool_pos == 100
    assert push == other and push.proposals.gripper_goal == "above_object"


def test_without_a_checkpoint_and_without_settings_in_it_the_defaults_of_the_classes_hold(jaco: CheckpointInfo) -> None:
    assert planning_for(None, "push") == PlanningConfig()
    assert planning_for(replace(jaco, settings=checkpoint.Settings()), "push") == PlanningConfig()


def test_a_file_changes_only_what_it_names(jaco: CheckpointInfo, tmp_path: Path) -> None:
    file = in_file(tmp_path, "planning:\n  planner: {num_samples: 64}\nby_task:\n  reach:\n    cost: {pose_parts: {tool_pos: 7}}\n")
    own = planning_for(jaco, "reach")
    changed = planning_for(jaco, "reach", file.planning, file.by_task)
    assert isinstance(own.planner, PolicyGuidedConfig)
    assert changed.planner == replace(own.planner, num_samples=64)
    assert changed.cost == replace(own.cost, pose_parts=replace(own.cost.pose_parts, tool_pos=7.0))
    assert planning_for(jaco, "lift", file.planning, file.by_task).cost == planning_for(jaco, "lift").cost


def test_what_the_command_line_changes_wins(jaco: CheckpointInfo, tmp_path: Path) -> None:
    file = in_file(tmp_path, "planning:\n  planner: {num_samples: 64}\n", "planning.planner.num_samples=128", "by_task.lift.cost.pose=2")
    assert dump(planning_for(jaco, "push", file.planning).planner)["num_samples"] == 128
    assert planning_for(jaco, "lift", file.planning, file.by_task).cost.pose == 2


def test_another_kind_is_that_kind_with_its_own_defaults(jaco: CheckpointInfo, tmp_path: Path) -> None:
    file = in_file(tmp_path, "", "planning.planner.kind=cem", "planning.planner.num_iterations=2")
    changed = planning_for(jaco, "push", file.planning)
    assert changed.planner == CemConfig(num_iterations=2)
    assert changed.cost == planning_for(jaco, "push").cost


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("planning:\n  planer: {}\n", r"file\.yaml:2: unknown key planning\.planer; did you mean planning\.planner"),
        (
            "planning:\n  planner:\n    num_sample: 3\n",
            r"file\.yaml:3: unknown key planning\.planner\.num_sample; .*num_samples",
        ),
        ("planning:\n  planner: {kind: cme}\n", r"planning\.planner\.kind is 'cme'; did you mean .*cem"),
        ("by_task:\n  push:\n    cost:\n      pose_part: {}\n", r"file\.yaml:4: unknown key by_task\.push\.cost\.pose_part"),
    ],
)
def test_an_unknown_key_is_an_error_with_its_line_when_the_file_is_loaded(tmp_path: Path, text: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=wanted):
        in_file(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("planning:\n  planner:\n    num_samples: many\n", r"file\.yaml:3: planning\.planner\.num_samples is 'many'"),
        ("planning:\n  planner:\n    temperature: 3\n", r"file\.yaml:3: unknown key planning\.planner\.temperature"),  # another kind's
        ("planning:\n  proposals:\n    temperature: 11\n", r"file\.yaml:3: planning\.proposals\.temperature is 11"),
    ],
)
def test_a_value_that_cannot_be_used_is_an_error_with_its_line(jaco: CheckpointInfo, tmp_path: Path, text: str, wanted: str) -> None:
    file = in_file(tmp_path, text)
    with pytest.raises(ConfigError, match=wanted):
        planning_for(jaco, "push", file.planning, file.by_task)


def test_a_file_with_names_of_before_changes_the_same(jaco: CheckpointInfo, tmp_path: Path) -> None:
    file = in_file(tmp_path, "planning:\n  planner: {kind: guarded, returns: mean}\n  proposals: {hand: as_shown}\n")
    changed = planning_for(jaco, "push", file.planning)
    assert isinstance(changed.planner, PolicyGuidedConfig) and changed.planner.action_selection == "mean"
    assert changed.planner.horizon == 12 and changed.proposals.gripper_goal == "as_shown"


def test_changes_are_written_and_read_again_as_the_part_that_they_are(tmp_path: Path) -> None:
    file = in_file(tmp_path, "planning:\n  planner: {num_samples: 64}\n")
    assert dump(file) == {"planning": {"planner": {"num_samples": 64}}, "by_task": {}}
    assert parse(File, dump(file), "dump") == file


def test_settings_in_the_header_win_over_the_file_beside(tmp_path: Path) -> None:
    path, model = tmp_path / "m.safetensors", checkpoint.load(JACO)
    settings = checkpoint.Settings({"default": {"planner": {"kind": "cem"}}, "tasks": {}}, {"kind": "tabletop"}, "picture", "recorded")
    checkpoint.save(model, path, settings=settings)
    shutil.copyfile(JACO.with_suffix(".json"), tmp_path / "m.json")
    info = checkpoint.read_info(path)
    assert planning_for(info, "reach").planner == CemConfig()
    assert replace(info.settings, source="") == replace(settings, source="")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("{", "cannot be read"),
        ("[]", "not a description"),
        ("{}", "not a description"),
        (json.dumps({"sha256": "0" * 64, "planning": {}}), "SHA-256 000000000000"),
    ],
)
def test_a_file_beside_that_is_none_of_this_checkpoint_is_one_clear_error(tmp_path: Path, text: str, wanted: str) -> None:
    path = tmp_path / "m.safetensors"
    shutil.copyfile(JACO, path)
    assert checkpoint.read_info(path).settings == checkpoint.Settings()  # nothing beside
    path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"m\.json.*{wanted}"):
        checkpoint.read_info(path)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({"goal": "a smell"}, "goal is 'a smell'"), ({"regime": "free"}, "regime is 'free'"), ({"planning": []}, "planning is \\[\\]")],
)
def test_settings_that_say_what_is_not_allowed_are_named(tmp_path: Path, changes: dict[str, object], wanted: str) -> None:
    path = tmp_path / "m.safetensors"
    shutil.copyfile(JACO, path)
    about = json.loads(JACO.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**about, **changes}))
    with pytest.raises(CheckpointError, match=wanted):
        checkpoint.read_info(path)


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: path.stem)
def test_a_released_checkpoint_carries_what_the_file_of_its_training_says(path: Path) -> None:
    names = (BEGUN_WITH.get(path.stem, path.stem), path.stem[:-2])
    file = next(one for name in names if (one := Path(f"configs/train/{name}.yaml")).is_file())
    config, info = load(TrainConfig, file), checkpoint.read_info(path)
    assert (config.goal, config.regime) == (info.settings.goal, info.settings.regime)
    assert set(config.by_task) == set(info.settings.planning["tasks"])
    assert planning_for(info, "") == config.planning
    for task, changes in config.by_task.items():
        assert planning_for(info, task) == changes.of(config.planning)


def test_settings_of_a_task_that_the_world_lacks_are_refused() -> None:
    require_known_tasks({"push": {}}, ("reach", "push"))
    with pytest.raises(ConfigError, match=r"by_task names 'pusch'; did you mean push\?; this world has reach, push"):
        require_known_tasks({"push": {}, "pusch": {}}, ("reach", "push"))


BY_TASK = """\
planning: {planner: {kind: policy_guided, num_iterations: 4}}
by_task:
  push:
    planner: {kind: policy_guided, num_samples: 64, num_iterations: 5}
"""


def test_what_is_typed_for_every_task_wins_over_what_the_file_says_for_one(jaco: CheckpointInfo, tmp_path: Path) -> None:
    file = in_file(tmp_path, BY_TASK, "planning.planner.num_samples=128")
    planner = dump(planning_for(jaco, "push", file.planning, file.by_task).planner)
    assert (planner["num_samples"], planner["num_iterations"]) == (128, 5)  # the file's own by_task stays above the file's planning
    assert dump(planning_for(jaco, "reach", file.planning, file.by_task).planner)["num_samples"] == 128


def test_of_what_is_typed_for_one_key_the_last_counts(jaco: CheckpointInfo, tmp_path: Path) -> None:
    words = ("planning.planner.num_samples=128", "by_task.push.planner.num_samples=256")
    for typed, wanted in ((words, 256), (words[::-1], 128)):
        file = in_file(tmp_path, BY_TASK, *typed)
        assert dump(planning_for(jaco, "push", file.planning, file.by_task).planner)["num_samples"] == wanted
    file = in_file(tmp_path, BY_TASK, "by_task={push: {planner: {num_samples: 32}}}", "planning={planner: {num_samples: 48}}")
    assert dump(planning_for(jaco, "push", file.planning, file.by_task).planner)["num_samples"] == 48


def test_a_kind_that_is_typed_wins_with_its_own_defaults(jaco: CheckpointInfo, tmp_path: Path) -> None:
    file = in_file(tmp_path, BY_TASK, "planning.planner.num_iterations=2", "planning.planner.kind=cem")
    assert planning_for(jaco, "push", file.planning, file.by_task).planner == CemConfig(num_iterations=2)


def test_what_is_typed_and_does_not_fit_the_planner_of_a_task_is_an_error(jaco: CheckpointInfo, tmp_path: Path) -> None:
    file = in_file(tmp_path, "by_task:\n  push:\n    planner: {kind: zero_action}\n", "planning.planner.num_proposals=4")
    with pytest.raises(ConfigError, match=r"override planning\.planner\.num_proposals=4: unknown key planning\.planner\.num_proposals"):
        planning_for(jaco, "push", file.planning, file.by_task)


def test_what_is_typed_reaches_the_settings_of_a_task_in_a_trained_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(BY_TASK)
    settings = load(TrainConfig, path, ["planning.planner.num_samples=128"]).settings_json
    assert settings["tasks"]["push"]["planner"]["num_samples"] == settings["default"]["planner"]["num_samples"] == 128


def test_settings_of_a_task_that_the_data_of_a_training_lack_are_refused(tmp_path: Path) -> None:
    by_task = load(TrainConfig, None, ["by_task.pusch.planner.horizon=3"]).by_task
    with pytest.raises(ConfigError, match=r"by_task names 'pusch'; did you mean push\?"):
        train._require_tasks_of({"kind": "tabletop", "arm": "jaco"}, by_task)
    with pytest.raises(ConfigError, match="this world has cube, five_tasks"):
        train._require_tasks_of({"kind": "ogbench", "env": "cube-single"}, by_task)
    train._require_tasks_of({}, by_task)  # a bench: nobody knows


def test_settings_of_a_task_that_a_run_lacks_are_refused_before_anything_is_loaded() -> None:
    config = load(RunConfig, None, ["by_task.pusch.planner.horizon=3"])
    with pytest.raises(ConfigError, match=r"by_task names 'pusch'; did you mean push\?.*snapshot, pictures, pose"):
        run_session(config, dry=True, say=print)
