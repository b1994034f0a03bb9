"""The latent video model as a world model, and what only it does."""

import copy

import numpy as np
import pytest
import torch
from small import SIDE, observation, small_model, small_spec

from robo_dream.embodiment import Observation
from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Belief, WorldModel
from robo_dream.models.config import ModelConfig
from robo_dream.models.encoder import to_float
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.testing.model_suite import WorldModelSuite


class TestLatentVideoModel(WorldModelSuite):
    def make(self) -> WorldModel:
        return small_model()

    def make_observation(self, seed: int) -> Observation:
        return observation(seed)


def test_pictures_of_another_size_are_refused_by_name() -> None:
    with pytest.raises(ContractError, match=r"front.*48.*32"):
        small_model().believe([[observation(0, side=48)]])


def test_only_the_last_observation_of_a_history_is_believed() -> None:
    model = small_model()
    assert torch.equal(model.believe([[observation(1), observation(2)]]).latent, model.believe([[observation(2)]]).latent)


def test_every_view_and_proprioception_matter_to_the_belief() -> None:
    model, plain = small_model(), observation(0)
    other = observation(1)
    latent = model.believe([[plain]]).latent
    for name in model.cameras:
        changed = Observation(0.0, {**plain.frames, name: other.frames[name]}, plain.arm)
        assert not torch.allclose(model.believe([[changed]]).latent, latent)
    assert not torch.allclose(model.believe([[Observation(0.0, plain.frames, other.arm)]]).latent, latent)


def test_imagining_in_small_chunks_gives_the_same() -> None:
    whole, chunked = small_model(), LatentVideoModel(small_spec(), 0, imagine_rows=4).eval()
    belief, actions = whole.believe([[observation(0)], [observation(1)]]), torch.rand(2, 7, 15, 5) * 0.02
    first, second = whole.imagine(belief, actions), chunked.imagine(belief, actions)
    torch.testing.assert_close(first.latents, second.latents, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(first.disagreement, second.disagreement, atol=1e-5, rtol=1e-5)


def test_actions_that_are_not_whole_blocks_are_refused() -> None:
    with pytest.raises(ContractError, match="multiple of the action block 5"):
        small_model().imagine(Belief(torch.zeros(1, 256)), torch.zeros(1, 2, 7, 5))


def test_imagined_step_is_the_mean_of_the_heads_and_disagreement_their_spread() -> None:
    model = small_model()
    latents, actions = torch.randn(3, 256), torch.rand(3, 1, 5, 5) * 0.02
    heads = model.dynamics.unroll(latents, model.normalise_actions(actions).reshape(3, 1, 25))[1][:, :, 0].detach().numpy()
    imagined = model.imagine(Belief(latents), actions)
    np.testing.assert_allclose(imagined.latents[:, 0, 0].numpy(), heads.mean(0), atol=1e-5)
    np.testing.assert_allclose(imagined.disagreement[:, 0, 0].numpy(), heads.std(0).mean(-1), atol=1e-5)
    assert heads.std(0).min() > 0


def test_action_limits_are_minus_one_and_one_in_the_models_units() -> None:
    model = small_model()
    limits = torch.from_numpy(np.stack([model.action_spec.low, model.action_spec.high]))
    torch.testing.assert_close(model.normalise_actions(limits), torch.tensor([-1.0, 1.0])[:, None].expand(2, 5))
    beyond = model.block_actions(torch.tensor([[-3.0, 3.0] + [0.0] * 23]))
    assert beyond.shape == (1, 5, 5) and beyond[0, 0, 0] == limits[0, 0] and beyond[0, 0, 1] == limits[1, 1]


def test_decode_gives_bytes_for_every_camera_whatever_leads() -> None:
    model = small_model()
    for lead in ((), (2,), (2, 3)):
        pictures = model.decode(torch.randn(*lead, 256))
        assert set(pictures) == {"front", "side"}
        assert all(p.shape == (*lead, SIDE, SIDE, 3) and p.dtype == torch.uint8 for p in pictures.values())


def test_the_same_seed_makes_the_same_model_and_leaves_global_randomness_alone() -> None:
    before = torch.random.get_rng_state()
    first, second, other = small_model(3), small_model(3), small_model(4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))
    assert not torch.equal(first.encoder.out.weight, other.encoder.out.weight)


@pytest.mark.parametrize("side", [64, 96, 128])
def test_other_picture_sizes_work_from_the_same_configuration(side: int) -> None:
    spec = small_spec()
    spec = type(spec)(ModelConfig(image_size=side), spec.cameras, spec.action_spec, spec.proprio, spec.pose)
    model = LatentVideoModel(spec).eval()
    latent = model.believe([[observation(0, side=side)]]).latent
    assert model.decode(latent)["side"].shape == (1, side, side, 3)


def test_impossible_configurations_are_refused() -> None:
    for bad in ({"image_size": 50}, {"num_heads": 0}, {"discount": 1.0}):
        with pytest.raises(ConfigError):
            ModelConfig(**bad)  # type: ignore[arg-type]


def test_futures_apart_begin_like_the_heads_and_then_go_their_own_ways() -> None:
    model, generator = small_model(), torch.Generator().manual_seed(0)
    belief = Belief(torch.randn(2, 256, generator=generator))
    actions = 0.01 * torch.randn(2, 3, 15, 5, generator=generator)
    apart = torch.stack([future.latents for future in model.rollout_per_member(belief, actions)])
    rows, blocks = belief.latent.repeat_interleave(3, 0), model.normalise_actions(actions).reshape(6, 3, 25)
    means, heads = model.dynamics.unroll(rows, blocks)
    torch.testing.assert_close(apart[:, :, :, 0].flatten(1, 2), heads[:, :, 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(apart[:, :, :, 0].mean(0).flatten(0, 1), means[:, 0], atol=1e-5, rtol=0)
    for head, future in enumerate(apart.flatten(1, 2)):  # one head, step after step on what it said itself
        own = rows
        for step in range(3):
            own = model.dynamics.unroll(own, blocks[:, step : step + 1])[1][head, :, 0]
            torch.testing.assert_close(future[:, step], own, atol=1e-4, rtol=0)


def test_encoding_leaves_a_training_model_in_training_and_its_statistics_alone() -> None:
    model, views = small_model(), [torch.randint(0, 256, (4, SIDE, SIDE, 3), dtype=torch.uint8) for _ in range(2)]
    proprio = torch.rand(4, 11)
    expected, statistics = model.encode(views, proprio), copy.deepcopy(model.encoder.scale.state_dict())
    model.train()
    assert torch.equal(model.encode(views, proprio), expected) and model.training and model.encoder.scale.training
    model.encoder([to_float(view) for view in views], proprio)  # as training does
    assert not torch.equal(model.encoder.scale.running_mean, statistics["running_mean"])
    model.encoder.scale.load_state_dict(statistics)
    model.encode(views, proprio)
    assert all(torch.equal(value, statistics[name]) for name, value in model.encoder.scale.state_dict().items())
