"""Planning for what an ensemble disagrees on, and the noisy television that tells it from planning for error."""

import numpy as np
import pytest
import torch

from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Belief, Goal
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.icem import IcemConfig
from robo_dream.planning.mppi import MppiConfig
from robo_dream.runtime.planner import build_planner
from robo_dream.testing.point_mass import PointMassModel, point_action_spec
from sim.noisy_screen import SCREEN, NoisyScreen

MODEL = PointMassModel(point_action_spec(), known_radius=0.1)  # heads disagree beyond 10 cm
CURIOUS = CostConfig(distance=0, curiosity=1)
START = torch.tensor([[0.09, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])  # m; at the edge of what is known


@pytest.mark.parametrize("config", [CemConfig(horizon=2), IcemConfig(horizon=2), MppiConfig(horizon=2)], ids=lambda config: config.kind)
def test_every_search_goes_where_heads_disagree_and_the_opposite_cost_does_not(config: CemConfig | IcemConfig | MppiConfig) -> None:
    ends = []
    for cost in (CURIOUS, CostConfig(distance=0, latent=1e-6, disagreement=1)):
        plan = build_planner(config, MODEL, cost).plan(Belief(START), Goal(START), [0])
        ends.append(float(plan.latents[0, -1, :3].norm()))
    assert ends[0] > 0.25 and ends[1] < 0.15  # m; 0.34 is as far as limits allow in x alone


def test_curiosity_and_its_opposite_are_refused_together() -> None:
    with pytest.raises(ConfigError, match=r"curiosity 1.* and disagreement 0\.5.* set one to 0"):
        CostConfig(distance=0, curiosity=1, disagreement=0.5)


def test_heads_come_to_agree_on_noise_while_their_error_stays() -> None:
    disagreement, error = zip(*(heads_on_noise(num) for num in (10, 1000)), strict=True)
    assert disagreement[1] < 0.2 * disagreement[0]  # as one over the root of their number
    assert error[1] > 0.2  # the variance of a pixel, 1/4, whatever is learned


def heads_on_noise(num: int) -> tuple[float, float]:
    """Spread of five linear heads, each fitted to frames of its own choice of a screen that was watched, and their mean's squared error."""
    world, rng = NoisyScreen(), np.random.default_rng(num)
    world.tool[:] = 0.9
    frames = [np.zeros(4 + SCREEN**2)]
    for _ in range(num + 500):
        world.play(np.zeros(2))
        frames.append(world.state)
    pixels = np.stack(frames)[:, 4:]
    seen, after = np.column_stack([np.ones(len(pixels) - 1), pixels[:-1, :3]]), pixels[1:]
    heads = []
    for _ in range(5):
        rows = rng.integers(0, num, num)
        heads.append(np.linalg.lstsq(seen[rows], after[rows], rcond=None)[0])
    said = np.stack([seen[num:] @ head for head in heads])
    return float(said.std(0).mean()), float(((said.mean(0) - after[num:]) ** 2).mean())


def test_the_screen_changes_for_who_stands_before_it_only_and_by_its_seed() -> None:
    def watched(seed: int, place: float) -> list[bytes]:
        world = NoisyScreen()
        world.reset(np.random.default_rng(seed))
        world.tool[:] = place
        pictures = []
        for _ in range(5):
            world.play(np.zeros(2))
            pictures.append(world.image("above").tobytes())
        return pictures

    assert len(set(watched(0, 0.9))) == 5 and len(set(watched(0, 0.0))) == 1
    assert watched(0, 0.9) == watched(0, 0.9) != watched(1, 0.9)


def test_a_touched_block_is_pushed_along_and_another_camera_is_refused() -> None:
    world = NoisyScreen()
    world.tool, world.block = np.array([0.3, 0.5]), np.array([0.45, 0.5])
    world.play(np.array([0.1, 0.0]))
    assert world.block == pytest.approx([0.52, 0.5])
    with pytest.raises(ContractError, match="no camera 'front'"):
        world.image("front")
