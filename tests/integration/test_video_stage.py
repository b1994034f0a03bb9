"""stage=video from a folder of episodes to a checkpoint that plans, and what is refused of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from robo_dream.data.overlaid import OverlayConfig
from robo_dream.data.spec import CameraSpec
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import ConfigError, DataError
from robo_dream.imagination import Belief, Goal, PlanStatus
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig, ModelSpec, Normaliser
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.video import VideoPlannerConfig
from robo_dream.runtime.collect import CollectConfig, collect, dataset_spec, seeds_of
from robo_dream.runtime.planner import build_planner
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.train import TrainConfig, train
from robo_dream.training.config import TrainingConfig, VideoStage
from tests.unit.data.episodes import make_episode, make_spec

SIDE, BLOCK = 32, 5
STAGE = VideoStage(steps=2, batch=8, looks=3, numbers=8, width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("recordings") / "data"
    spec = replace(make_spec(), test_fraction=0.25, cameras=tuple(CameraSpec(name, SIDE, SIDE) for name in ("front", "side")))
    with DatasetWriter(root, spec) as writer:
        for seed in range(5):
            writer.append(make_episode(spec, seed, num_actions=19))
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    unit = Normaliser((0.0,) * 11, (1.0,) * 11)
    spec = ModelSpec(
        ModelConfig(image_size=SIDE, latent_dim=16, policy_input="latents"), ("front", "side"), make_spec().action_spec, unit, unit
    )
    settings = checkpoint.Settings(planning={"default": {}}, goal="picture_and_arm", regime="recorded")
    return checkpoint.save(LatentVideoModel(spec), tmp_path_factory.mktemp("model") / "model.safetensors", settings=settings)


def config_of(recordings: Path, finished: Path, out: Path, **changes: object) -> TrainConfig:
    training = TrainingConfig(model=ModelConfig(policy_input="latents"), grasps=None, looks=None, video=STAGE)
    about = TrainConfig(out=out, datasets=(recordings,), cache=out / "cache", stage="video", init=finished, training=training, strips=0)
    return replace(about, **changes)  # type: ignore[arg-type]


def test_a_finished_checkpoint_learns_video_and_plans_with_it(recordings: Path, finished: Path, tmp_path: Path) -> None:
    said: list[str] = []
    left = train(config_of(recordings, finished, tmp_path), said.append, lambda name, names, unit: Bars(names, name, unit))
    before, after = checkpoint.load(finished), checkpoint.load(left)
    own = after.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in before.state_dict().items())
    info = checkpoint.read_info(left)
    assert info.settings.planning == {"default": {}} and "r2_video" in info.metrics["video"] and "video" in info.recipe
    assert any("planner.kind=video plans with it" in text for text in said)
    latents = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    plan = build_planner(VideoPlannerConfig(horizon=3, num_samples=4), after).plan(Belief(latents[:1]), Goal(latents[1:]), [0])
    assert plan.status == (PlanStatus.OK,) and plan.actions.shape == (1, 3 * BLOCK, after.action_spec.size)


def test_a_recording_with_strips_is_learned_from_and_its_strips_are_read(recordings: Path, finished: Path, tmp_path: Path) -> None:
    overlay = CollectConfig(out=tmp_path / "strips", num_episodes=5, workers=1, overlay=OverlayConfig(dataset=recordings))
    list(collect(overlay, dataset_spec(overlay), seeds_of(overlay)))
    config = config_of(tmp_path / "strips", finished, tmp_path)
    with_strips = replace(config, training=replace(config.training, video=replace(STAGE, strip=6)))
    said: list[str] = []
    left = train(with_strips, said.append, lambda name, names, unit: Bars(names, name, unit))
    model, info = checkpoint.load(left), checkpoint.read_info(left)
    assert model.spec.video is not None and model.spec.video.strip == 6
    assert {"r2_strip", "r2_strip_came"} <= set(info.metrics["video"])
    assert min(info.metrics["video"]["r2_strip_came"].values()) > 0.999, "what was commanded stands in the frames"
    latents = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    plans = [
        build_planner(VideoPlannerConfig(horizon=3, num_samples=4, read=read), model).plan(Belief(latents[:1]), Goal(latents[1:]), [0])
        for read in ("latents", "strip")
    ]
    assert plans[1].actions.shape == (1, 3 * BLOCK, model.action_spec.size) and not torch.equal(plans[0].actions, plans[1].actions)
    without = replace(with_strips, datasets=(recordings,), out=tmp_path / "without")
    with pytest.raises(DataError, match=r"with a strip they are \(52, 32, 3\): collect with overlay"):
        train(without, said.append, lambda name, names, unit: Bars(names, name, unit))


def test_the_stage_says_what_is_missing(recordings: Path, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="how video goes on, and init is null; give init=CHECKPOINT"):
        config_of(recordings, finished, tmp_path, init=None)
    with pytest.raises(ConfigError, match=r"training\.video is null"):
        config_of(recordings, finished, tmp_path, training=replace(TrainingConfig(grasps=None), video=None))
