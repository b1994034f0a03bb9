"""Training as a whole, on a world of squares."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from squares import SquareFrames, square_frames

from robo_dream.embodiment import ArmState, Frame, Observation
from robo_dream.errors import CheckpointError, ConfigError, ContractError, DataError
from robo_dream.imagination import ScenePose
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.config import DreamConfig, PolicyConfig, RepresentationConfig, TrainingConfig
from robo_dream.training.dream import DreamBatches, demonstrated_poses, train_dream
from robo_dream.training.frames import model_spec, pose_labels
from robo_dream.training.latents import encode_frames
from robo_dream.training.open_loop import bridge_strips, open_loop, strips
from robo_dream.training.policy import PolicyBatches, imitated_frames
from robo_dream.training.representation import train_representation

CONFIG = TrainingConfig(
    model=ModelConfig(image_size=32),
    representation=RepresentationConfig(steps=4, batch_windows=4, muon_lr=0.02),
    dream=DreamConfig(steps=4, batch=8, muon_lr=0.02, unroll=2, decoder_steps=2, decoder_batch=4),
    policy=PolicyConfig(steps=5, batch=8),
    evaluation_windows=4,
    log_steps=2,
)


class StoppedError(Exception):
    """A killed training."""


@pytest.fixture(scope="module")
def cache() -> SquareFrames:
    return square_frames(4, 24)


@pytest.fixture(scope="module")
def finished(cache: SquareFrames, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("finished")
    train_representation(cache, CONFIG, run_dir)
    train_dream(cache, CONFIG, run_dir)
    return run_dir


def stop_after(steps: int, total: int) -> Callable[[int, int], None]:
    def progress(done: int, of: int) -> None:
        if of == total and done == steps:
            raise StoppedError

    return progress


def test_resumed_training_ends_bitwise_where_an_uninterrupted_one_does(cache: SquareFrames, finished: Path, tmp_path: Path) -> None:
    eager = dataclasses.replace(CONFIG, save_seconds=1e-9)
    with pytest.raises(StoppedError):
        train_representation(cache, eager, tmp_path, progress=stop_after(3, 4))
    train_representation(cache, eager, tmp_path)
    for total in (4, 5):  # the dream, then the policy
        with pytest.raises(StoppedError):
            train_dream(cache, eager, tmp_path, progress=stop_after(3, total))
    train_dream(cache, eager, tmp_path)
    for name in ("representation.safetensors", "model.safetensors"):
        one, two = checkpoint.load(finished / name).state_dict(), checkpoint.load(tmp_path / name).state_dict()
        assert [key for key in one if not torch.equal(one[key], two[key])] == []


def test_another_configuration_does_not_continue_a_training(cache: SquareFrames, finished: Path) -> None:
    with pytest.raises(CheckpointError, match="another config"):
        train_representation(cache, dataclasses.replace(CONFIG, seed=1), finished)


def test_another_inverse_configuration_continues_what_comes_before_it_alone(cache: SquareFrames, finished: Path, tmp_path: Path) -> None:
    run_dir = shutil.copytree(finished, tmp_path / "run")
    other = dataclasses.replace(CONFIG, policy=PolicyConfig(steps=3, batch=8))
    train_representation(cache, other, run_dir)
    assert (run_dir / "representation.state.safetensors").read_bytes() == (finished / "representation.state.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match=r"policy\.state\.safetensors was written with another config"):
        train_dream(cache, other, run_dir)
    for name in ("policy", "decoder"):
        (run_dir / f"{name}.state.safetensors").unlink()
    train_dream(cache, other, run_dir)
    one, two = (checkpoint.load(folder / "model.safetensors").state_dict() for folder in (finished, run_dir))
    assert {name.split(".")[0] for name in one if not torch.equal(one[name], two[name])} == {"policy"}


def test_training_can_begin_from_a_checkpoint_of_a_world_with_another_number_of_objects(
    cache: SquareFrames, finished: Path, tmp_path: Path
) -> None:
    first, others = LatentVideoModel(model_spec(cache, CONFIG.model), seed=5), dataclasses.replace(cache, object_pose=two(cache))
    second = LatentVideoModel(model_spec(others, CONFIG.model), seed=5)
    assert checkpoint.load_fitting(first, finished / "model.safetensors") == ()
    fresh = checkpoint.load_fitting(second, finished / "model.safetensors")
    assert fresh and all(name.startswith(("pose_head.", "policy.")) for name in fresh)
    trained = checkpoint.load(finished / "model.safetensors").state_dict()
    assert all(torch.equal(trained[name], value) for name, value in second.state_dict().items() if name not in fresh)

    train_representation(cache, CONFIG, tmp_path, init=finished / "model.safetensors")
    plain, warm = (checkpoint.load(folder / "representation.safetensors").state_dict() for folder in (finished, tmp_path))
    assert not torch.equal(plain["encoder.out.weight"], warm["encoder.out.weight"])
    with pytest.raises(CheckpointError, match="another init"):
        train_representation(cache, CONFIG, tmp_path)


def test_a_checkpoint_for_pictures_of_another_size_is_nothing_to_begin_from(cache: SquareFrames, finished: Path) -> None:
    larger = dataclasses.replace(model_spec(cache, CONFIG.model), config=ModelConfig(image_size=64))
    with pytest.raises(CheckpointError, match=r"pictures of 32 px.*64 px"):
        checkpoint.load_fitting(LatentVideoModel(larger), finished / "model.safetensors")


def two(cache: SquareFrames) -> np.ndarray:
    """The object's poses, twice."""
    return np.concatenate([cache.object_pose, cache.object_pose], axis=-1)


def test_latents_without_proprioception_come_nearer_to_those_with_it(cache: SquareFrames, tmp_path: Path) -> None:
    steps = dataclasses.replace(CONFIG.representation, steps=60, batch_windows=8)
    config = dataclasses.replace(CONFIG, model=ModelConfig(image_size=32, picture_goals=True), representation=steps)
    fresh, model = LatentVideoModel(model_spec(cache, config.model), seed=0).eval(), train_representation(cache, config, tmp_path)
    views = [torch.from_numpy(cache.images[name][:64]) for name in cache.cameras]
    proprio = torch.from_numpy(cache.proprio[:64])

    def apart(some: LatentVideoModel) -> float:
        both, alone = (some.encode(views, told) for told in (proprio, torch.full_like(proprio, torch.nan)))
        assert torch.isfinite(alone).all()
        return ((both - alone).square().mean() / both.var(0).mean()).item()

    assert apart(model) < 0.5 * apart(fresh)


@pytest.mark.parametrize("picture_goals", [True, False])
def test_an_arm_of_which_nothing_is_known_is_for_models_that_learned_so(cache: SquareFrames, picture_goals: bool) -> None:
    model = LatentVideoModel(model_spec(cache, ModelConfig(image_size=32, picture_goals=picture_goals))).eval()
    frames = {name: Frame(0.0, cache.images[name][0], 0) for name in cache.cameras}
    unknown, partly = ArmState.unknown(0.0, 6), dataclasses.replace(ArmState.unknown(0.0, 6), gripper=0.5)
    if picture_goals:
        assert torch.isfinite(model.believe([[Observation(0.0, frames, unknown, {})]]).latent).all()
    for arm in (partly,) if picture_goals else (partly, unknown):
        with pytest.raises(ContractError, match="finite numbers"):
            model.believe([[Observation(0.0, frames, arm, {})]])


def test_the_finished_checkpoint_says_where_it_comes_from_and_how_good_it_is(finished: Path) -> None:
    info = checkpoint.read_info(finished / "model.safetensors")
    assert info.dataset_id == "squares" and info.recipe["representation"]["steps"] == 4
    assert len(info.metrics["open_loop"]["imagined_mse"]) == 4  # 24 frames hold four blocks of five
    assert set(info.metrics["actions"]) == {"neighbours", "bridge"}
    assert set(info.metrics["pose"]) == {"head", "linear", "mlp"}


def test_the_dream_leaves_the_encoder_as_it_was(finished: Path) -> None:
    before, after = checkpoint.load(finished / "representation.safetensors"), checkpoint.load(finished / "model.safetensors")
    for name, value in before.encoder.state_dict().items():
        torch.testing.assert_close(after.encoder.state_dict()[name], value, atol=1e-3, rtol=1e-3)  # float16
    assert not torch.equal(before.dynamics.head_bias, after.dynamics.head_bias)


def test_true_latents_have_no_error_and_strips_show_the_real_frames(cache: SquareFrames, finished: Path) -> None:
    model = checkpoint.load(finished / "model.safetensors")
    result = open_loop(model, cache, np.array([72, 75]), horizon=3)
    assert result.imagined_mse.shape == result.disagreement.shape == (2, 3)
    expected = np.square((cache.images["front"][77].astype(float) - cache.images["front"][72]) / 255).mean()
    other = np.square((cache.images["side"][77].astype(float) - cache.images["side"][72]) / 255).mean()
    assert result.copy_mse[0, 0] == pytest.approx((expected + other) / 2, rel=1e-4)
    picture = strips(model, cache, 72, horizon=3)["side"]
    assert picture.shape == (64, 128, 3)
    np.testing.assert_array_equal(picture[:32, 32:64], cache.images["side"][77])


def test_a_drawn_bridge_begins_and_ends_as_the_decoder_shows_its_ends(cache: SquareFrames, finished: Path) -> None:
    model = checkpoint.load(finished / "model.safetensors")
    picture, imagined = bridge_strips(model, cache, 72, horizon=3)["side"], strips(model, cache, 72, horizon=3)["side"]
    np.testing.assert_array_equal(picture[:32], imagined[:32])  # what really happened
    np.testing.assert_array_equal(picture[32:, :32], imagined[32:, :32])
    last = model.decode(encode_frames(model, cache, np.array([87])))["side"][0].numpy()
    np.testing.assert_allclose(picture[32:, 96:], last, atol=1)  # a level of grey


def test_distance_triples_know_the_steps_to_their_goal(cache: SquareFrames) -> None:
    frames = torch.arange(len(cache.actions), dtype=torch.float32)[:, None]  # each latent is its frame's number
    config = dataclasses.replace(CONFIG, dream=dataclasses.replace(CONFIG.dream, batch=256))
    batch = DreamBatches(cache, config, frames)(0)
    known = batch.steps_to_goal < 1000
    assert torch.equal((batch.distance_goals - batch.distance_latents)[known, 0], batch.steps_to_goal[known])
    assert (batch.following - batch.distance_latents == 5).all()
    assert 0.2 < float((~known).float().mean()) < 0.4
    assert torch.equal(batch.latents[:, 1:, 0] - batch.latents[:, :-1, 0], torch.full((256, 2), 5.0))


def test_the_inverse_model_imitates_the_chosen_skills_and_mostly_what_they_led_to(cache: SquareFrames) -> None:
    frames = torch.arange(len(cache.actions), dtype=torch.float32)[:, None]
    policy = PolicyConfig(batch=256, skills=("rest",), within_skill=1.0, at_end=0.5)
    batch = PolicyBatches(cache, dataclasses.replace(CONFIG, policy=policy), frames)(0)
    start, goal = batch.seen[:, 0].long().numpy(), batch.goals[:, 0].long().numpy()
    assert (cache.skill[start] == 1).all()
    assert (goal > start).all() and (goal <= 24 * (start // 24) + 16).all()  # rest is the steps from 8 to 16 of 24
    assert 0.5 < (goal % 24 == 16).mean() < 1.0
    assert torch.equal(batch.blocks[:, :2], torch.from_numpy(cache.actions[start][:, :2] / 0.025))


def test_doing_nothing_on_the_way_to_a_goal_is_not_imitated(cache: SquareFrames) -> None:
    frames = torch.arange(len(cache.actions), dtype=torch.float32)[:, None]
    still = dataclasses.replace(cache, proprio=np.repeat(cache.proprio[::8], 8, 0), object_pose=cache.object_pose * 0 + 1.0)
    batch = PolicyBatches(still, dataclasses.replace(CONFIG, policy=PolicyConfig(batch=256)), frames)(0)
    start, goal = batch.seen[:, 0].long().numpy(), batch.goals[:, 0].long().numpy()
    is_idle = start // 8 == (start + 5) // 8
    is_there = start // 8 == goal // 8
    assert torch.equal(batch.weights == 0, torch.from_numpy(is_idle & ~is_there))
    assert 0.1 < float((batch.weights == 0).float().mean()) < 0.9


def test_a_goal_to_which_a_thing_is_moved_may_show_the_hand_of_another_time_and_nothing_else_is_changed(cache: SquareFrames) -> None:
    poses = torch.from_numpy(pose_labels(cache, 4))
    plain = PolicyBatches(cache, CONFIG, poses)
    asked = dataclasses.replace(CONFIG, policy=dataclasses.replace(CONFIG.policy, hand_elsewhere=1.0))
    rng = np.random.default_rng(0)
    start, goals = plain.pairs(rng, 256)
    whole, other = (PolicyBatches(cache, config, poses).batch(np.random.default_rng(1), start, goals) for config in (CONFIG, asked))
    moved = (poses[goals, 6:9] - poses[start, 6:9]).norm(dim=-1) > 0.01
    differs = (whole.goals != other.goals).any(-1)
    assert (
        torch.equal(whole.seen, other.seen)
        and torch.equal(whole.goals[:, 6:], other.goals[:, 6:])
        and torch.equal(whole.blocks, other.blocks)
    )
    assert not differs[~moved].any() and differs[moved].float().mean() > 0.9
    frames = {tuple(row.tolist()) for row in poses[:, :6]}
    assert all(tuple(row.tolist()) in frames for row in other.goals[:, :6])


def test_things_that_are_not_moved_may_stand_as_at_another_time_here_and_at_the_goal(cache: SquareFrames) -> None:
    twice = dataclasses.replace(cache, object_pose=np.concatenate([cache.object_pose, np.roll(cache.object_pose, 7, 0)], -1))
    twice.object_pose[:, 7:10] = np.round(twice.object_pose[:, 7:10])  # the second mostly rests
    poses = torch.from_numpy(pose_labels(twice, 4))
    plain = PolicyBatches(twice, CONFIG, poses)
    asked = dataclasses.replace(CONFIG, policy=dataclasses.replace(CONFIG.policy, others_elsewhere=1.0))
    start, goals = plain.pairs(np.random.default_rng(0), 256)
    whole, other = (PolicyBatches(twice, config, poses).batch(np.random.default_rng(1), start, goals) for config in (CONFIG, asked))
    moved = ((poses[goals] - poses[start])[:, 6:].unflatten(1, (2, 5))[..., :3].norm(dim=-1) > 0.01) | (
        (poses[goals] - poses[start])[:, 6:].unflatten(1, (2, 5))[..., 3:].norm(dim=-1) > 0.6
    )
    for one, changed in ((whole.seen, other.seen), (whole.goals, other.goals)):
        assert torch.equal(one[:, :6], changed[:, :6])
        differs = (one != changed)[:, 6:].unflatten(1, (2, 5)).any(-1)
        assert not differs[moved].any()
    resting = ~moved & ((whole.seen != other.seen)[:, 6:].unflatten(1, (2, 5)).any(-1))
    here, there = (values[:, 6:].unflatten(1, (2, 5))[resting] for values in (other.seen, other.goals))
    assert len(here) > 50 and torch.equal(here, there)  # elsewhere, and there to stay


@pytest.mark.parametrize("name", ["hand_elsewhere", "others_elsewhere"])
def test_in_latents_nothing_can_be_shown_elsewhere(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"policy\.{name} is 0\.5, but model\.policy_input is latents"):
        TrainingConfig(model=ModelConfig(policy_input="latents"), policy=PolicyConfig(**{name: 0.5}))


def test_demonstrations_without_pictures_teach_the_inverse_model_and_nothing_else(
    cache: SquareFrames, finished: Path, tmp_path: Path
) -> None:
    shown = dataclasses.replace(square_frames(6, 30, seed=1), cameras=(), images={}, dataset_id="shown")
    train_representation(cache, CONFIG, tmp_path)
    train_dream(cache, CONFIG, tmp_path, demonstrations=shown)
    one, two = (checkpoint.load(folder / "model.safetensors").state_dict() for folder in (finished, tmp_path))
    differing = {name.split(".")[0] for name in one if not torch.equal(one[name], two[name])}
    assert differing == {"policy"}


def test_poses_of_demonstrations_are_seen_as_the_pose_head_would_tell_them(cache: SquareFrames, finished: Path) -> None:
    model = checkpoint.load(finished / "model.safetensors")
    seen = demonstrated_poses(model, cache)
    here = model.pose_head.normal_of(
        ScenePose(
            tool_pos=torch.from_numpy(cache.proprio[:, :3]), tool_yaw=torch.from_numpy(cache.proprio[:, 3:5]),
            gripper=torch.from_numpy(cache.proprio[:, 5]), object_pos=torch.from_numpy(cache.object_pose[:, None, :3]),
            object_yaw=torch.tensor([1.0, 0.0]).expand(len(cache.proprio), 1, 2),
        )
    )  # fmt: skip
    torch.testing.assert_close(seen, here)


def test_a_skill_that_the_data_lacks_is_named(cache: SquareFrames) -> None:
    config = dataclasses.replace(CONFIG, policy=PolicyConfig(skills=("juggle",)))
    with pytest.raises(DataError, match=r"juggle.*it has \['push', 'rest'\]"):
        PolicyBatches(cache, config, torch.zeros(len(cache.actions), 1))


def test_a_block_that_is_imitated_is_of_one_skill_throughout(cache: SquareFrames) -> None:
    config = dataclasses.replace(CONFIG, policy=PolicyConfig(skills=("push",)))
    block, pushes = CONFIG.model.action_block, np.asarray(cache.skill) == cache.skills.index("push")
    chosen, of_all = imitated_frames(cache, config), imitated_frames(cache, CONFIG)
    assert all(pushes[start : start + block].all() for start in chosen)
    assert 0 < len(chosen) < pushes[of_all].sum()


def test_without_a_pose_of_the_object_the_inverse_model_learns_from_latents_only(cache: SquareFrames) -> None:
    unlabelled = dataclasses.replace(cache, object_pose=np.full_like(cache.object_pose, np.nan))
    with pytest.raises(DataError, match=r"where the object is.*policy_input=latents"):
        imitated_frames(unlabelled, CONFIG)
    latents = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, policy_input="latents"))
    assert len(imitated_frames(unlabelled, latents)) == len(imitated_frames(cache, CONFIG)) > 0


def test_what_the_configuration_makes_impossible_is_refused_before_any_data_is_read() -> None:
    with pytest.raises(ConfigError, match=r"dream\.pose is 0.*policy_input"):
        dataclasses.replace(CONFIG, dream=dataclasses.replace(CONFIG.dream, pose=0.0))
    with pytest.raises(ConfigError, match=r"returning_goals is 1\.5"):
        DreamConfig(returning_goals=1.5)
