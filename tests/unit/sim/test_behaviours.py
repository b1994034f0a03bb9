from pathlib import Path

import numpy as np
import pytest

from robo_dream.errors import ConfigError
from sim.behaviours.arrange import bring, draw_arrangement
from sim.behaviours.play import PlayConfig
from sim.start import draw_start
from sim.world import World


@pytest.mark.parametrize("first", ["none", "poor", "good"])
def test_arranging_tries_until_the_object_lies_well(world: World, first: str) -> None:
    rng = np.random.default_rng(2)
    draw_start(world, rng)
    wanted = draw_arrangement(world, rng)
    assert not wanted.lies_well(world)
    for move in bring(world, rng, wanted, first):
        world.step_move(move)
    hand = world.kinematics.forward(world.measured[:-1]).pos
    assert wanted.lies_well(world) and np.linalg.norm(hand - wanted.hand) < 0.02


@pytest.mark.parametrize("mix", [{}, {"reach": 0.0}, {"reach": -1.0, "push": 2.0}, {"juggle": 1.0}, {"plan": 1.0}])
def test_a_mix_that_cannot_be_played_is_refused(mix: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"give non-negative weights.*arrange"):
        PlayConfig(mix=mix)


def test_pairs_of_the_manifests_are_made_again_as_they_are(world: World) -> None:
    from robo_dream.evaluation.manifest import read_manifest
    from sim.tasks.catalogue import task_named
    from sim.tasks.pairs import PairRule, build_manifest

    made = build_manifest(world, task_named("push"), 2, PairRule())
    kept = read_manifest(Path("configs/manifests/push.safetensors"))
    np.testing.assert_array_equal(made.starts, kept.starts[:2])
    np.testing.assert_array_equal(made.goals, kept.goals[:2])
