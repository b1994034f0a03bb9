"""The stage that teaches a finished checkpoint how video goes on: both of two ways are imagined, and nothing else changes."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float
from small import small_model, small_spec
from squares import SquareFrames, square_frames
from torch import Tensor

from robo_dream.control.decision import decision_of
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import ConfigError, ContractError, DataError
from robo_dream.imagination import Belief, Goal
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig, ModelSpec, VideoSize
from robo_dream.models.policy_prior import VideoPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.overlay import bars, commands_in, commands_shown, parted
from robo_dream.planning.costs import LatentCost
from robo_dream.planning.moves import MoveConfig
from robo_dream.planning.video import VideoPlanner, VideoPlannerConfig, VideoProposer
from robo_dream.runtime.planner import ProposalConfig, build_planner
from robo_dream.training.config import DreamConfig, PolicyConfig, RepresentationConfig, TrainingConfig, VideoStage
from robo_dream.training.dream import train_dream
from robo_dream.training.representation import train_representation
from robo_dream.training.stage import MetricsLog, TrainingRun
from robo_dream.training.video import MODEL_FILE, STAGE, VideoBatches, learn_video, train_video
from robo_dream.viewer.again import compared, question_of, recomputed

CONFIG = TrainingConfig(
    model=ModelConfig(image_size=32, policy_input="latents"),
    representation=RepresentationConfig(steps=1, batch_windows=2),
    dream=DreamConfig(steps=1, batch=32, unroll=2, decoder_steps=0),
    policy=PolicyConfig(steps=1, batch=64),
    video=VideoStage(steps=4, batch=16, looks=3, width=16, layers=1, heads=2, numbers=32),
    evaluation_windows=1,
    log_steps=1,
)
ONE = np.ones(5, np.float32)
UNIT = ActionSpec("tool_move", ("x", "y", "z", "yaw", "gripper"), ("m", "m", "m", "rad", "1"), -ONE, ONE, 0.1)
AMBIGUOUS, LENGTH = 10, 40  # frames in which nothing tells which way an episode will take, and all of them


@pytest.fixture(scope="module")
def frames() -> SquareFrames:
    return square_frames(8, LENGTH)


@pytest.fixture(scope="module")
def finished(frames: SquareFrames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    train_representation(frames, CONFIG, folder)
    train_dream(frames, CONFIG, folder)
    return folder / MODEL_FILE


@pytest.fixture(scope="module")
def telling(frames: SquareFrames, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("telling")
    train_video(frames, CONFIG, folder, finished)
    return folder / MODEL_FILE


def two_ways(num_episodes: int = 60) -> tuple[SquareFrames, Float[Tensor, "frame channel"]]:
    """Episodes that go to one place and round something in the middle on the left or on the right, by chance."""
    frames, rng = square_frames(num_episodes, LENGTH), np.random.default_rng(3)
    time = np.arange(LENGTH)
    bow = np.sin(np.pi * (time - AMBIGUOUS).clip(0) / (LENGTH - 1 - AMBIGUOUS))
    latents = 0.02 * rng.normal(size=(num_episodes, LENGTH, 16))
    latents[..., 0] += 2 * time / (LENGTH - 1)
    latents[..., 1] += np.where(np.arange(num_episodes) % 2, 1, -1)[:, None] * bow
    return frames, torch.from_numpy(latents.reshape(-1, 16).astype(np.float32))


@dataclass(frozen=True)
class Walked:
    """Videos that were learned; what is done in them is how far their first two numbers go, a sixth of it in metres."""

    prior: VideoPrior
    num_looks: int
    num_numbers: int

    def imagined(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], noise: Float[Tensor, "row look number"]
    ) -> Float[Tensor, "row look channel"]:
        return self.prior.imagined(latents, goals, noise)

    def actions(self, latents: Float[Tensor, "row channel"], video: Float[Tensor, "row look channel"]) -> Float[Tensor, "row time action"]:
        moves = torch.cat([latents[:, None], video], 1)[..., :2].diff(dim=1) / 30
        return torch.nn.functional.pad(moves, (0, 3)).repeat_interleave(5, 1)

    def latents(self, video: Float[Tensor, "*batch look channel"]) -> Float[Tensor, "*batch look channel"]:
        return video

    def apart(
        self, video: Float[Tensor, "*batch look channel"], imagined: Float[Tensor, "*batch look channel"]
    ) -> Float[Tensor, "*batch look"]:
        return (imagined - video).square().mean(-1).sqrt()


def test_both_ways_are_imagined_and_the_planner_takes_one_of_them(tmp_path: Path) -> None:
    frames, latents = two_ways()
    stage = VideoStage(steps=350, batch=96, learning_rate=2e-3, width=32, layers=2, heads=2, numbers=3, at_end=1.0, carried=0.0)
    model = small_model(latent_dim=16)
    with MetricsLog(tmp_path) as log:
        model = learn_video(TrainingRun(replace(CONFIG, video=stage, seed=1), tmp_path, log), model, frames, latents)
    prior = VideoPrior(model)
    here, there = latents[AMBIGUOUS][None], latents[LENGTH - 1][None]
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((200, 6, 3), np.float32))
    videos = prior.imagined(here.expand(200, -1), there.expand(200, -1), noise)
    bow = videos[:, 3, 1]  # two thirds of the way, 20 frames on
    left, right = (bow < -0.5).float().mean(), (bow > 0.5).float().mean()
    assert left > 0.2 and right > 0.2 and left + right > 0.85, (left, right)
    assert (videos[:, 3, 0] - latents[AMBIGUOUS + 20, 0]).abs().mean() < 0.2
    walked = Walked(prior, prior.num_looks, prior.num_numbers)
    planner = VideoPlanner(model, LatentCost(), VideoPlannerConfig(num_samples=16, compared=4, apart=0.08), (VideoProposer(model, walked),))
    for seed in range(5):
        plan = planner.plan(Belief(here), Goal(there), [seed])
        assert abs(float(plan.latents[0, 3, 1])) > 0.4, "a mean of both ways goes straight on"
        assert torch.isin(plan.latents[0, :, 1], plan.trace.latents[0, :, :, 1]).all()


def test_nothing_else_of_the_checkpoint_changes(finished: Path, telling: Path) -> None:
    before, after = checkpoint.load(finished), checkpoint.load(telling)
    own = after.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in before.state_dict().items())
    assert {name.split(".")[0] for name in own.keys() - before.state_dict().keys()} == {"video"}
    assert replace(after.spec, video=None).to_json() == before.spec.to_json()
    assert "video" not in before.spec.to_json()
    found = checkpoint.read_info(telling).metrics[STAGE]
    assert {"one", "nearest", "copied", "spread", "r2_video", "r2_came"} <= set(found) and len(found["one"]) == 3
    assert after.video is not None and torch.isfinite(after.video.usual).all()


def test_actions_and_poses_teach_it_nothing(frames: SquareFrames, finished: Path, tmp_path: Path) -> None:
    scrambled = replace(
        frames, actions=frames.actions[::-1].copy(), object_pose=np.full_like(frames.object_pose, np.nan),
    )  # fmt: skip
    for name, some in (("told", frames), ("scrambled", scrambled)):
        train_video(some, CONFIG, tmp_path / name, finished)
    first, second = (checkpoint.load(tmp_path / name / MODEL_FILE).state_dict() for name in ("told", "scrambled"))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_video_never_goes_beyond_its_goal(frames: SquareFrames) -> None:
    latents = torch.arange(8 * LENGTH, dtype=torch.float32)[:, None].repeat(1, 4)
    pairs = VideoBatches(frames, latents, CONFIG, [0, 1])
    start, goals = pairs.pairs(np.random.default_rng(0), 200)
    prompt, looks = pairs.at(start, goals, np.ones(200, bool))
    assert (goals > start).all() and (goals // LENGTH == start // LENGTH).all() and goals.max() < 2 * LENGTH
    assert (looks[:, -1] <= prompt.goals).all() and (looks.diff(dim=1) >= 0).all()


def test_one_training_episode_is_too_few(frames: SquareFrames, finished: Path, tmp_path: Path) -> None:
    alone = replace(frames, is_train=np.arange(8) == 0)
    with pytest.raises(DataError, match=r"1 training episodes.*needs 2"):
        train_video(alone, CONFIG, tmp_path, finished)


def test_a_plan_by_video_is_made_again_to_the_bit_from_its_record(telling: Path) -> None:
    model = checkpoint.load(telling)
    config = VideoPlannerConfig(horizon=3, num_samples=8, check=True)
    latents = torch.randn(2, model.spec.config.latent, generator=torch.Generator().manual_seed(0))
    belief, goal = Belief(latents[:1]), Goal(latents[1:])
    plan = build_planner(config, model).plan(belief, goal, [11])
    decision = decision_of(plan, 0, 0, 0.0, belief, goal)
    again = recomputed(lambda clock: build_planner(config, model, clock=clock), decision)
    assert compared(decision, again, question_of(decision)).exact
    other = recomputed(lambda clock: build_planner(replace(config, guidance=2.0), model, clock=clock), decision)
    assert not compared(decision, other, question_of(decision)).exact
    videos = VideoPrior(model).imagined(latents[:1].expand(8, -1), latents[1:].expand(8, -1), torch.zeros(8, 3, 32))
    assert decision.candidate_latents.shape == tuple(videos.shape), "the record keeps every video"


def test_who_has_learned_no_video_says_how_to_add_it(telling: Path) -> None:
    with pytest.raises(ConfigError, match="stage=video init=CHECKPOINT"):
        build_planner(VideoPlannerConfig(), small_model(policy_input="latents"))
    with pytest.raises(ContractError, match="stage=video init=CHECKPOINT"):
        VideoPrior(small_model())
    model = checkpoint.load(telling)
    with pytest.raises(ConfigError, match="horizon is 6 looks of a video, and this checkpoint tells 3"):
        build_planner(VideoPlannerConfig(), model)
    with pytest.raises(ConfigError, match=r"proposals\.moves is set; set to null"):
        build_planner(VideoPlannerConfig(horizon=3), model, proposals=ProposalConfig(moves=MoveConfig()))


@pytest.mark.parametrize("video", [3, {"steps": 2}, {**VideoSize().to_json(), "steps": 0}, {**VideoSize().to_json(), "width": 130}])
def test_a_size_that_no_network_has_is_refused(video: object) -> None:
    with pytest.raises(ConfigError, match="video"):
        ModelSpec.from_json({**small_spec().to_json(), "video": video})
    assert ModelSpec.from_json({**small_spec().to_json(), "video": VideoSize().to_json()}).video == VideoSize()
    assert LatentVideoModel(small_spec()).video is None


def test_commands_are_drawn_by_a_model_that_was_told_none(tmp_path: Path) -> None:
    """The strip shows which way the next block leads, and nothing but pixels says so."""
    rng, frames = np.random.default_rng(4), square_frames(60, LENGTH)
    places = np.cumsum(rng.uniform(-1, 1, (60, LENGTH // 5, 2)).repeat(5, 1), 1)  # straight on for a block
    moves = np.diff(places, axis=1, prepend=places[:, :1])
    latents = torch.from_numpy(np.concatenate([places, moves, np.zeros((60, LENGTH, 12))], -1).reshape(-1, 16).astype(np.float32))
    actions = np.zeros((60, LENGTH, 5), np.float32)
    actions[:, :-1, :2] = np.diff(places, axis=1)
    shown = np.concatenate([commands_shown(UNIT, some[:-1], 5) for some in actions])
    strips = bars(shown, 32).reshape(len(shown), -1)
    stage = VideoStage(
        steps=350, batch=96, learning_rate=2e-3, width=32, layers=2, heads=2, numbers=4, strip=12, looks=2, at_end=0.0, longest_goal=10
    )  # fmt: skip
    with MetricsLog(tmp_path) as log:
        run = TrainingRun(replace(CONFIG, video=stage, seed=1), tmp_path, log)
        model = learn_video(run, small_model(latent_dim=16), frames, latents, strips=strips)
    prior = VideoPrior(model, read="strip")
    start = np.arange(60) * LENGTH + 10
    noise = torch.from_numpy(rng.standard_normal((60, 2, 16), np.float32))
    video = prior.imagined(latents[start], latents[start + 5], 0.3 * noise)
    told = model.normalise_actions(prior.actions(latents[start], video))[:, :5, :2]
    done = torch.from_numpy(actions.reshape(-1, 5)[start[:, None] + np.arange(5), :2])
    variance = done.square().mean()
    assert (told - done).square().mean() < 0.5 * variance, "one of several videos, half learned; who knows nothing is off by all of it"
    assert (told.roll(1, 0) - done).square().mean() > variance, "it is of this moment and no other"
    assert video.shape == (60, 2, 16 + 5 * 32 * 3) and prior.latents(video).shape == (60, 2, 16)
    drawn = prior.drawn(video[:1])
    assert drawn["front"].shape == (1, 2, 32 + 20, 32, 3) and drawn["side"].shape == (1, 2, 32, 32, 3)
    below = commands_in(torch.from_numpy(parted(drawn["front"], 5)[1]), 5)
    read = model.block_actions(below.flatten(-2)).flatten(1, 2)
    assert torch.equal(read, prior.actions(latents[start], video)[:1]), "off the pixels that are drawn"


def test_who_never_saw_a_strip_reads_none(telling: Path) -> None:
    model = checkpoint.load(telling)
    with pytest.raises(ConfigError, match=r"learned from pictures without a strip.*training\.video\.strip"):
        build_planner(VideoPlannerConfig(horizon=3, read="strip"), model)
    with pytest.raises(ContractError, match="have none"):
        VideoPrior(model, read="strip")
    with pytest.raises(ConfigError, match="a strip of 1024"):
        ModelSpec.from_json({**small_spec().to_json(), "video": {**VideoSize().to_json(), "strip": 100_000}})
