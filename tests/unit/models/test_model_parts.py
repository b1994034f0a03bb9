"""Parts of the model against closed forms."""

import math

import numpy as np
import torch
from small import small_model, small_spec
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from robo_dream.models.encoder import to_float, to_uint8
from robo_dream.models.heads import TemporalDistance
from robo_dream.models.policy import ActionMixture


def mixture(batch: int = 3, modes: int = 4, block: int = 6) -> ActionMixture:
    generator = torch.Generator().manual_seed(0)
    draw = [torch.randn(*shape, generator=generator) for shape in ((batch, modes), (batch, modes, block), (batch, modes, block))]
    return ActionMixture(draw[0], draw[1], (0.3 * draw[2]).exp())


def test_bytes_survive_the_way_in_and_out() -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(3).reshape(1, 16, 16, 3)
    inside = to_float(images)
    assert inside.shape == (1, 3, 16, 16) and inside.is_contiguous(memory_format=torch.channels_last)
    assert inside.min() == 0 and inside.max() == 1
    assert torch.equal(to_uint8(inside), images)


def test_mixture_density_agrees_with_torch_distributions() -> None:
    m, blocks = mixture(), torch.randn(3, 6)
    truth = MixtureSameFamily(Categorical(logits=m.logits), Independent(Normal(m.means, m.stds), 1))
    torch.testing.assert_close(m.log_density(blocks), truth.log_prob(blocks))


def test_picks_have_the_mixtures_mean_and_spread() -> None:
    m, generator = mixture(), torch.Generator().manual_seed(0)
    num = 20000
    many = ActionMixture(*(values.repeat_interleave(num, 0) for values in (m.logits, m.means, m.stds)))
    noise = torch.randn(3 * num, m.means.shape[-1], generator=generator)
    draws = many.pick(torch.rand(3 * num, generator=generator), noise).unflatten(0, (3, num))
    truth = MixtureSameFamily(Categorical(logits=m.logits), Independent(Normal(m.means, m.stds), 1))
    torch.testing.assert_close(draws.mean(1), truth.mean, atol=0.06, rtol=0)  # 5 standard errors
    torch.testing.assert_close(draws.var(1), truth.variance, atol=0.15, rtol=0.1)


def test_no_chance_and_no_noise_pick_the_mean_of_the_likeliest_gaussian() -> None:
    m = mixture()
    picked = m.pick(torch.zeros(3), torch.zeros(3, m.means.shape[-1]))
    for row in range(3):
        assert torch.equal(picked[row], m.means[row, int(m.logits[row].argmax())])


def test_distance_in_steps_inverts_the_discount() -> None:
    distance = TemporalDistance(small_spec())
    phi = torch.nn.Linear(256, 2, bias=False)
    torch.nn.init.zeros_(phi.weight)
    phi.weight.data[0, 0] = 1.0
    distance.phi = phi  # type: ignore[assignment]
    start, steps = torch.zeros(3, 256), torch.tensor([1.0, 20.0, 60.0])
    goal = start.clone()
    goal[:, 0] = 1 - distance.discount**steps
    torch.testing.assert_close(distance(start, goal), steps, atol=0.05, rtol=1e-3)


def test_distance_is_a_metric_up_to_the_discount() -> None:
    distance = TemporalDistance(small_spec())
    a, b, c = torch.randn(3, 50, 256)
    assert torch.equal(distance(a, b), distance(b, a))
    assert (distance(a, a) < 0.1).all() and (distance(a, b) >= 0).all()
    assert (distance.discounted(a, c) <= distance.discounted(a, b) + distance.discounted(b, c) + 1e-2).all()


def test_poses_are_unit_turns_in_physical_units() -> None:
    model = small_model()
    poses = model.poses(torch.randn(4, 2, 256))
    for turn in (poses.tool_yaw, poses.object_yaw):
        np.testing.assert_allclose(turn.norm(dim=-1).numpy(), 1.0, atol=1e-5)
    assert poses.object_pos.shape == (4, 2, 1, 3)


def test_latents_have_unit_scale_after_the_scale_is_set() -> None:
    encoder = small_model().encoder
    raw = torch.randn(500, 256) * torch.linspace(0.5, 3, 256) + 2
    encoder.set_scale(raw.mean(0), raw.var(0))
    scaled = encoder.scale(raw)
    assert math.isclose(float(scaled.mean()), 0, abs_tol=1e-4)
    np.testing.assert_allclose(scaled.std(0).detach().numpy(), 1.0, atol=1e-2)
