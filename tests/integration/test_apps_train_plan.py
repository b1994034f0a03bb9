"""From a dataset to a checkpoint to a video, by the commands a newcomer types, with the tiny configurations."""

import json
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from robo_dream.models import checkpoint
from robo_dream.recording.record import read_run
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.train import figures
from robo_dream.runtime.training_time import training_seconds

ROOT = Path(__file__).parents[2]
COLLECT = ("--config=configs/collect/jaco_tiny.yaml", "num_episodes=4", "play.num_steps=45", "workers=1", "test_fraction=0.5")
TRAIN = (
    "--config=configs/train/jaco_tiny.yaml", "training.representation.steps=4", "training.representation.batch_windows=2",
    "training.dream.steps=4", "training.dream.batch=8", "training.dream.unroll=4", "training.dream.decoder_steps=2",
    "training.dream.decoder_batch=4", "training.log_steps=2", "training.evaluation_windows=2", "strips=1", "planning.planner.horizon=4",
)  # fmt: skip


def robo_dream(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "robo_dream.cli.main", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/, cache/ and run/, in which a tiny model was trained."""
    folder = tmp_path_factory.mktemp("tiny")
    shown = ("collect", *COLLECT, f"out={folder}/shown", "scene.cameras=[]", "seed=100")
    for words in (("collect", *COLLECT, f"out={folder}/data"), shown, train_words(folder)):
        done = robo_dream(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def train_words(folder: Path, out: str = "run") -> tuple[str, ...]:
    data = (f"datasets=[{folder}/data]", f"demonstrations=[{folder}/shown]", f"cache={folder}/cache")
    return ("train", *TRAIN, *data, f"out={folder}/{out}")


def test_a_training_leaves_a_checkpoint_with_its_recipe_and_pictures(trained: Path) -> None:
    info = checkpoint.read_info(trained / "run/model.safetensors")
    assert info.recipe["train"]["training"]["dream"]["steps"] == 4 and info.recipe["data"]["world"]["arm"] == "jaco"
    assert info.metrics["open_loop"]["windows"] == 2 and (trained / "run/strips/sheet.png").stat().st_size > 1000
    stages = [json.loads(line)["stage"] for line in (trained / "run/metrics.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(stages)) == ["representation", "dream", "policy", "decoder", "held_out"]


def test_a_checkpoint_carries_the_settings_of_its_training_and_so_does_the_file_beside_it(trained: Path) -> None:
    settings = checkpoint.read_info(trained / "run/model.safetensors").settings
    assert settings.source == str(trained / "run/model.safetensors")  # the header
    assert settings.world["kind"] == "tabletop" and settings.world["arm"] == "jaco" and settings.regime == "privileged"
    assert settings.planning["default"]["planner"]["horizon"] == 4
    beside = json.loads((trained / "run/model.json").read_text())
    assert beside["planning"] == settings.planning and beside["regime"] == "privileged"


def test_a_training_says_what_each_stage_will_cost(trained: Path) -> None:
    done = robo_dream(*train_words(trained, "fresh"), "stage=representation")
    assert done.returncode == 0, done.stderr
    said = next(line for line in done.stdout.splitlines() if line.startswith("About "))
    assert all(stage in said for stage in ("representation", "frames into latents", "dream", "policy", "decoder"))
    assert "To shorten it, lower training." in said or "lower the number of episodes" in said
    assert (
        "About " not in robo_dream(*train_words(trained, "fresh"), "stage=representation").stdout
    )  # it goes on; nothing is measured again


def test_a_resumed_training_names_the_keys_that_differ(trained: Path) -> None:
    done = robo_dream(*train_words(trained), "training.dream.batch=9")
    assert done.returncode == 2 and "config.dream.batch (8 there, 9 here)" in done.stderr


def test_a_checkpoint_says_what_it_imitates(trained: Path) -> None:
    recipe = checkpoint.read_info(trained / "run/model.safetensors").recipe
    assert recipe["demonstrations"]["world"]["cameras"] == [] and recipe["demonstrations"]["seed"] == 100
    assert [recipe[name]["num_episodes"] for name in ("data", "demonstrations")] == [4, 4]
    assert [command.split()[1] for command in recipe["commands"]] == ["collect", "collect", "train"]


def test_what_a_world_model_or_an_inverse_model_cannot_learn_from_is_said_before_training(trained: Path, tmp_path: Path) -> None:
    blind = robo_dream(*train_words(trained), f"datasets=[{trained}/shown]", f"out={tmp_path}/run")
    assert blind.returncode == 2 and "has no pictures" in blind.stderr and "name it in demonstrations" in blind.stderr
    latents = robo_dream(*train_words(trained), "training.model.policy_input=latents", f"out={tmp_path}/run")
    assert latents.returncode == 2 and "set it to poses, or name them in datasets" in latents.stderr
    assert not (tmp_path / "run").exists()


def test_training_again_goes_on_where_it_was_and_gives_the_same_weights(trained: Path) -> None:
    model = checkpoint.load(trained / "run/model.safetensors").state_dict()
    done = robo_dream(*train_words(trained))
    assert done.returncode == 0, done.stderr
    again = checkpoint.load(trained / "run/model.safetensors").state_dict()
    assert all(np.array_equal(value.numpy(), again[name].numpy()) for name, value in model.items())


def test_the_dream_can_begin_from_another_representation(trained: Path) -> None:
    first = trained / "run/representation.safetensors"
    done = robo_dream(*train_words(trained, "second"), "stage=dream", f"init={first}", "training.seed=1")
    assert done.returncode == 0, done.stderr
    encoders = [checkpoint.load(path).encoder.state_dict() for path in (first, trained / "second/representation.safetensors")]
    assert all(np.array_equal(value.numpy(), encoders[1][name].numpy()) for name, value in encoders[0].items())
    alone = robo_dream(*train_words(trained, "third"), "stage=dream")
    assert alone.returncode == 2 and "stage=representation" in alone.stderr


def test_local_goals_are_added_to_a_finished_checkpoint_and_planned_by(trained: Path, tmp_path: Path) -> None:
    init, added = trained / "run/model.safetensors", trained / "added/model.safetensors"
    few = ("training.local_goals={steps: 3, batch: 8}", "stage=local_goals", f"init={init}")
    done = robo_dream(*train_words(trained, "added"), *few)
    assert done.returncode == 0, done.stderr
    before, after = checkpoint.load(init).state_dict(), checkpoint.load(added).state_dict()
    assert all(np.array_equal(value.numpy(), after[name].numpy()) for name, value in before.items()) and len(after) > len(before)
    one, two = checkpoint.read_info(init), checkpoint.read_info(added)
    assert two.settings.planning == one.settings.planning and two.metrics == one.metrics and two.spec.local_goals == (5, 10)
    assert two.recipe["local_goals"]["train"]["training"]["local_goals"]["steps"] == 3 and two.recipe["data"] == one.recipe["data"]
    plan = ("plan", "--config=configs/plan/tiny.yaml", "loop.max_steps=5", f"out={tmp_path}", "planning.cost.local_goal={}")
    refused = robo_dream(*plan, f"checkpoint={init}")
    assert refused.returncode == 2 and "this model has learned no local goals; set cost.local_goal to null" in refused.stderr
    done = robo_dream(*plan, f"checkpoint={added}")
    assert done.returncode == 0, done.stderr
    assert "local_goal" in read_run(next(tmp_path.rglob("run.json")).parent).decisions[0].terms


def test_the_encoder_of_a_finished_checkpoint_learns_other_looks_and_nothing_else_changes(trained: Path) -> None:
    init, looks = trained / "run/model.safetensors", f"{{dataset: {trained}/data}}"
    visual = "world.randomization={visual: {colours: 1.0, camera_pos: 0.02}}"
    few = ("stage=redrawn", f"init={init}", f"redrawn=[{trained}/others]", "training.redrawn={steps: 3, batch: 8}")
    train = ("train", "--config=configs/train/jaco_tiny.yaml", f"datasets=[{trained}/data]", f"cache={trained}/cache_redrawn")
    for words in (
        ("collect", *COLLECT, f"redrawn={looks}", visual, f"out={trained}/others", "num_episodes=4"),
        (*train, f"out={trained}/seen", *few),
    ):
        done = robo_dream(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "Redrawn: 4 episodes" in done.stdout
    left = trained / "seen/model.safetensors"
    before, after = checkpoint.load(init).state_dict(), checkpoint.load(left).state_dict()
    assert {name.split(".")[0] for name, value in before.items() if not np.array_equal(value.numpy(), after[name].numpy())} == {"encoder"}
    one, two = checkpoint.read_info(init), checkpoint.read_info(left)
    assert two.settings.planning == one.settings.planning and two.recipe["data"] == one.recipe["data"]
    assert two.recipe["redrawn"]["redrawn_data"]["redrawn"]["lasts"] == 1


def test_a_plan_leaves_a_video_a_record_and_pictures(trained: Path) -> None:
    words = ("--config=configs/plan/tiny.yaml", f"checkpoint={trained}/run/model.safetensors", "task=[reach, push]", "loop.max_steps=6")
    done = robo_dream("plan", *words, f"out={trained}/plan")
    assert done.returncode == 0, done.stderr
    folders = sorted((trained / "plan").glob("*/*"))
    assert [folder.name for folder in folders] == ["push-3", "reach-3"]
    for folder in folders:
        assert str(folder / "video.mp4") in done.stdout and (folder / "decisions.png").stat().st_size > 1000
        run = read_run(folder / "record")
        assert len(run.steps) == 7 and [kept.step for kept in run.decisions] == [0, 5] and run.cameras == ("front", "side")
        assert run.about["checkpoint_sha256"] == checkpoint.sha256(trained / "run/model.safetensors")
        assert run.result is not None and run.result["end"] == "BUDGET" and len(run.result["distances"]) == 7
        with av.open(str(folder / "video.mp4")) as container:
            assert sum(1 for _ in container.decode(video=0)) == 7 + 10  # the end stays for two seconds


def test_a_checkpoint_of_another_scene_is_refused_by_name(trained: Path) -> None:
    top = "{name: top, pos: [0.9, 0, 0.6], look_at: [0.4, 0, 0]}"
    side = "{name: side, pos: [0.4, 0.6, 0.4], look_at: [0.4, 0, 0], width: 128}"
    cameras = f"scene.cameras=[{top}, {side}]"
    done = robo_dream("plan", "--config=configs/plan/tiny.yaml", f"checkpoint={trained}/run/model.safetensors", cameras)
    assert done.returncode == 2 and "'front' is missing" in done.stderr and "128 x 96" in done.stderr


def test_a_missing_checkpoint_says_how_to_get_one() -> None:
    done = robo_dream("plan", "checkpoint=nowhere.safetensors")
    assert done.returncode == 2 and "robo-dream train" in done.stderr and "Traceback" not in done.stderr


def test_training_time_leaves_interruptions_out(tmp_path: Path) -> None:
    lines = [
        {"stage": "dream", "step": 50, "time": 0, "steps_per_second": 10.0},
        {"stage": "dream", "step": 100, "time": 9e5, "steps_per_second": 5.0},  # a night later
        {"stage": "decoder", "step": 20, "time": 9e5, "steps_per_second": 2.0},
        {"stage": "held_out", "step": 20, "time": 9e5},
    ]
    (tmp_path / "log").write_text("\n".join(map(json.dumps, lines)))
    assert training_seconds(tmp_path / "log") == pytest.approx(50 / 10 + 50 / 5 + 20 / 2)


def test_the_figures_are_the_metrics_own() -> None:
    open_loop = {"copy_over_imagined": [1.0, 2.0, 3.0, 4.0, 5.25], "spearman": 0.5}
    said = list(figures({"open_loop": open_loop, "pose": {"head": {"tool_mm": 4.0}}}))
    assert any("5 steps ahead" in line and "5.25" in line for line in said) and not any("10 steps" in line for line in said)


def test_a_new_count_gets_a_new_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars({3: "dream"}, "frames", "step") as bars:
        for total in (2, 3):
            for done in range(1, total + 1):
                bars(done, total)
    shown = capsys.readouterr().err
    assert "frames: 100%" in shown and "dream: 100%" in shown
