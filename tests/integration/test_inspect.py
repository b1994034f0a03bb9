"""`robo-dream inspect` finds what was planted in a released model or in its data, calls the healthy one fit, and `run` heeds it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robo_dream.cli import main
from robo_dream.data.cache import FrameCache, frames_of, open_dataset
from robo_dream.errors import CheckpointError, DataError
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.collect import collect, dataset_spec
from robo_dream.runtime.inspect import beside, fresh_config, plannings, require_fit, searches_of
from robo_dream.training.inspection import Amounts, Measured, agreement, measure, sight
from robo_dream.training.verdict import LAG_GAIN, Finding, Verdict, verdict
from tests.spoiled_models import FAULTS, Planted, arm_ahead_of_its_pictures, cost_that_is_constant, encoder_that_tells_nothing

PATH = Path("configs/checkpoints/jaco_s.safetensors")
FEW = Amounts(frames=96, pictures=16, windows=16, problems=8, pool=32, others=8)


@pytest.fixture(scope="module")
def episodes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few fresh ones of the checkpoint's own world, short enough to be played in a moment."""
    out = tmp_path_factory.mktemp("fresh")
    usual = fresh_config(PATH, checkpoint.read_info(PATH), out, 8, 0, 1)
    config = replace(usual, play=replace(usual.play, num_steps=80))
    list(collect(config, dataset_spec(config), range(config.seed, config.seed + 8)))
    return out


@pytest.fixture(scope="module")
def healthy(episodes: Path) -> Planted:
    data = open_dataset(episodes)
    return checkpoint.load(PATH), frames_of(data, range(data.num_episodes))


def looked_at(model: LatentVideoModel, cache: FrameCache) -> Measured:
    return measure(model, cache, searches_of(checkpoint.read_info(PATH), model), amounts=FEW)


@pytest.fixture(scope="module")
def measured(healthy: Planted) -> Measured:
    return looked_at(*healthy)


def test_a_released_model_is_fit_in_its_own_world(measured: Measured) -> None:
    found = verdict(measured)
    assert found.word == "fit", found.reasons
    assert {one.check for one in found.findings} >= {
        "pictures",
        "collapse",
        "normaliser",
        "camera and arm",
        "horizon",
        "actions",
        "uncertainty",
    }


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found_and_named(plant: Callable[..., Planted], healthy: Planted) -> None:
    check, says = FAULTS[plant]
    found = verdict(looked_at(*plant(*healthy)))
    assert found.word == "unfit"
    named = next(one for one in found.findings if one.check == check)
    assert named.word == "unfit" and says in named.sentence and named.advice, named


def test_an_arm_that_is_read_later_than_its_pictures_is_found_with_the_time_between(healthy: Planted) -> None:
    model, cache = arm_ahead_of_its_pictures(*healthy, steps=4)
    found = agreement(model, cache, np.arange(0, len(cache.proprio), 9), 32, 0)
    assert found.best_lag == -4 and found.lags[-4] < 1 - LAG_GAIN, found.lags


def test_pictures_that_are_upside_down_are_known_best_when_turned_back(healthy: Planted) -> None:
    model, cache = healthy
    turned = replace(cache, images={name: np.asarray(view)[:, ::-1, ::-1] for name, view in cache.images.items()})
    assert sight(model, turned, np.arange(0, len(cache.proprio), 40)).best == "turned upside down"


def of(part: str, **values: Any) -> Callable[[Measured], Measured]:
    """The same measured, but for some values of a part."""
    return lambda measured: replace(measured, **{part: replace(getattr(measured, part), **values)})


def cost_of(spread: float, rank: float) -> Callable[[Measured], Measured]:
    return lambda measured: replace(measured, costs={"default": replace(measured.costs["default"], spread=spread, rank=rank)})


@pytest.mark.parametrize(
    ("change", "check", "word", "says"),
    [
        (lambda measured: replace(measured, weights_finite=False), "weights", "unfit", "not finite"),
        (of("latents", finite=0.9), "weights", "unfit", "not finite"),
        (lambda measured: replace(measured, body=("control_dt",)), "actions of the data", "unfit", "control_dt"),
        (of("agreement", pictures=0.05), "camera and arm", "unfit", "move the latent by 5%"),
        (of("agreement", cameras={"front": 0.05, "side": 0.9}), "camera and arm", "doubtful", "camera front hardly counts"),
        (of("agreement", lags={-2: 0.7, 0: 1.0}), "camera and arm", "doubtful", "2 control steps earlier 30% better"),
        (of("agreement", shuffled=0.8), "camera and arm", "unfit", "err 0.80 times as much"),
        (of("proprio", clamped=0.1), "normaliser", "unfit", "10.0% of its numbers are cut off"),
        (of("one_step", rank=0.4), "actions", "unfit", "40% of other actions"),
        (
            lambda measured: of("loop", latent_error=2 * measured.loop.copy_latent_error)(measured),
            "horizon",
            "unfit",
            "err 0.50 times less",
        ),
        (lambda measured: of("loop", disagreement=1 / measured.loop.latent_error)(measured), "uncertainty", "doubtful", "Spearman -1.00"),
        (cost_of(0.1, 0.05), "cost (default)", "doubtful", "spread by 0.10"),
        (cost_of(0.1, 0.3), "cost (default)", "unfit", "spread by 0.10"),
        (cost_of(0.5, 0.5), "cost (default)", "unfit", "50% of random"),
        (cost_of(0.2, 0.0), "cost (default)", "doubtful", "spread by 0.20"),
    ],
)
def test_each_question_has_an_answer_of_its_own(
    change: Callable[[Measured], Measured], check: str, word: str, says: str, measured: Measured
) -> None:
    found = verdict(change(measured))
    named = next(one for one in found.findings if one.check == check)
    assert named.word == word and says in named.sentence and named.advice, named
    assert found.word == word and [one.check for one in found.findings if one.word != "fit"] == [check]


def test_frames_of_another_bench_are_refused_by_name(healthy: Planted) -> None:
    model, cache = healthy
    with pytest.raises(DataError, match=r"camera 'side' is missing; there are front.*proprioception has 3 numbers"):
        measure(model, replace(cache, cameras=("front",), proprio=cache.proprio[:, :3]), {})


def test_the_verb_leaves_a_verdict_and_a_page(episodes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / PATH.name
    shutil.copyfile(PATH, path)
    shutil.copyfile(PATH.with_suffix(".json"), path.with_suffix(".json"))
    words = ["inspect", str(path), "--dataset", str(episodes), "--episodes", "4", "--html", str(tmp_path / "page.html")]
    assert main.main(words) == 0
    told = json.loads(beside(path).read_text())
    assert told["verdict"] in ("fit", "doubtful") and told["sha256"] == checkpoint.sha256(PATH)  # four episodes say no more
    assert told["figures"]["cost/default/spread"] > 0.2 and "to plan with" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") == 5 and "<script" not in page and "http://" not in page.replace("http://www.w3.org", "")


def said(word: str, path: Path) -> None:
    """Leaves a verdict beside the checkpoint."""
    about = {"format": "robo_dream.inspection", "version": 1, "sha256": checkpoint.sha256(path), "verdict": word}
    beside(path).write_text(json.dumps(about | {"reasons": [f"pictures: {word} for a test"]}))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    shutil.copyfile(PATH, path)
    shutil.copyfile(PATH.with_suffix(".json"), path.with_suffix(".json"))
    return path


def run_words(path: Path) -> list[str]:
    return ["run", "--config", "configs/hardware/jaco_twin.yaml", f"checkpoint={path}", f"out={path.parent}/run"]


def test_run_refuses_an_unfit_model_with_the_reason_before_it_connects(
    copied: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connects: list[object] = []

    def connected(*args: object) -> object:
        connects.append(args)
        raise DataError("it would connect now")

    monkeypatch.setattr("robo_dream.runtime.session.connected", connected)
    said("unfit", copied)
    assert main.main(run_words(copied)) == 2 and not connects
    told = capsys.readouterr().err
    assert "unfit to plan with: pictures: unfit for a test" in told and "refuse_unfit=false" in told
    assert main.main([*run_words(copied), "refuse_unfit=false"]) == 2 and connects
    assert "it runs because refuse_unfit is false" in capsys.readouterr().out
    connects.clear()
    assert main.main([*run_words(copied), "policy=oracle"]) == 2 and connects  # an oracle needs no model


def test_a_verdict_on_another_file_does_not_count(copied: Path) -> None:
    said("unfit", copied)
    about = json.loads(beside(copied).read_text())
    beside(copied).write_text(json.dumps(about | {"sha256": "0" * 64}))
    heard = asked(copied, checkpoint.load(copied))
    assert len(heard) == 1 and "never inspected" in heard[0]


def test_a_verdict_that_cannot_be_read_says_how_to_make_it_again(copied: Path) -> None:
    beside(copied).write_text("{}")
    with pytest.raises(CheckpointError, match=r"no verdict on model.safetensors.*robo-dream inspect"):
        asked(copied, checkpoint.load(copied))


def test_a_doubtful_model_runs_and_it_is_said(copied: Path) -> None:
    said("doubtful", copied)
    assert asked(copied, checkpoint.load(copied)) == ["model.safetensors is doubtful: pictures: doubtful for a test"]


@pytest.mark.parametrize(
    ("plant", "says"),
    [(encoder_that_tells_nothing, "its encoder has collapsed"), (cost_that_is_constant, "all futures cost the same")],
    ids=["collapsed", "constant"],
)
def test_a_model_that_was_never_inspected_is_looked_at_in_a_moment(plant: Callable[..., Any], says: str, copied: Path) -> None:
    model, _ = plant(checkpoint.load(copied), None)
    with pytest.raises(CheckpointError, match=says):
        asked(copied, model)


def test_weights_that_are_not_finite_are_refused(copied: Path) -> None:
    model = checkpoint.load(copied)
    model.decoder.state_dict()[next(iter(model.decoder.state_dict()))].fill_(torch.nan)
    with pytest.raises(CheckpointError, match="not finite"):
        asked(copied, model)


def asked(path: Path, model: LatentVideoModel) -> list[str]:
    heard: list[str] = []
    require_fit(path, model, next(iter(plannings(checkpoint.read_info(path)).values())), True, heard.append)
    return heard


def test_a_verdict_is_its_worst_finding_and_gives_only_its_reasons() -> None:
    good, odd, bad = Finding("a", "fit", "because"), Finding("b", "doubtful", "because"), Finding("c", "unfit", "because")
    assert Verdict((good, odd)).word == "doubtful" and Verdict((good, bad, odd)).reasons == ("c: because",)
    assert Verdict((good,)).reasons == () and Verdict((good,)).word == "fit"


def test_fresh_episodes_are_played_as_the_training_data_were_with_seeds_of_their_own(tmp_path: Path) -> None:
    info = checkpoint.read_info("configs/checkpoints/ogbench_scene_s.safetensors")
    config = fresh_config(Path("scene"), info, tmp_path, 3, 5, 2)
    made = info.recipe["data"]["parts"][0]
    assert config.script.mix == made["script"]["mix"] and config.world.kind == "ogbench" and config.num_episodes == 3
    assert config.seed > 10 * max(part["seed"] + part["num_episodes"] for part in info.recipe["data"]["parts"])
    with pytest.raises(CheckpointError, match="--dataset"):
        fresh_config(Path("bench"), replace(info, recipe={"data": {}}), tmp_path, 3, 5, 2)
