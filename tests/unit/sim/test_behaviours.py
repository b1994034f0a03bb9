from itertools import groupby, islice
from pathlib import Path

import numpy as np
import pytest

from robo_dream.config import load
from robo_dream.control.cartesian import downward_yaw
from robo_dream.errors import ConfigError
from robo_dream.runtime.collect import CollectConfig
from sim.tabletop.behaviours.arrange import bring, draw_arrangement
from sim.tabletop.behaviours.play import SKILLS, PlayConfig, play_moves
from sim.tabletop.behaviours.skills import grasp, held_beside
from sim.tabletop.scene import SceneConfig
from sim.tabletop.start import StartRanges, draw_start
from sim.tabletop.world import World


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_arranging_tries_until_the_object_lies_well(world: World, seed: int) -> None:
    rng = np.random.default_rng(seed)
    draw_start(world, rng)
    wanted = draw_arrangement(world, rng)
    assert not wanted.lies_well(world)
    for move in bring(world, rng, wanted):
        world.step(move)
    hand = world.kinematics.forward(world.measured[:-1]).pos
    assert wanted.lies_well(world) and np.linalg.norm(hand - wanted.hand) < 0.02


def test_a_hand_with_one_moving_jaw_holds_a_small_box_against_the_other() -> None:
    config = load(CollectConfig, Path("configs/collect/so101.yaml")).world
    assert isinstance(config, SceneConfig)
    off, held = [], []
    with World(config) as world:
        for seed in range(5):
            rng = np.random.default_rng(seed)
            draw_start(world, rng)
            for move in grasp(world, rng, 0.0):
                world.step(move)
            tool = world.kinematics.forward(world.measured[:-1])
            box = tool.pos[:2] + held_beside(world, downward_yaw(tool.quat))
            off.append(np.linalg.norm(world.object_poses[0, :2] - box))
            held.append(world.ground_truth().in_hand)
    assert all(held) and np.median(off) < 0.01, "the skill aims 4 mm (standard deviation) off the box's middle"


@pytest.mark.parametrize("mix", [{}, {"reach": 0.0}, {"juggle": 1.0}, {"plan": 1.0}])
def test_a_mix_that_cannot_be_played_is_refused(mix: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"give non-negative weights.*arrange"):
        PlayConfig(mix=mix)


def test_a_weight_is_a_number_from_0_and_an_episode_has_steps() -> None:
    with pytest.raises(ConfigError, match=r"PlayConfig\.mix\['reach'\] is -1\.0; allowed is a number of 0 to"):
        PlayConfig(mix={"reach": -1.0, "push": 2.0})
    with pytest.raises(ConfigError, match=r"PlayConfig\.mix\['reach'\] is nan; allowed is a finite number"):
        PlayConfig(mix={"reach": float("nan")})
    for num_steps in (0, -3):
        with pytest.raises(ConfigError, match=f"PlayConfig.num_steps is {num_steps} control steps; allowed is a whole number of 1 to"):
            PlayConfig(num_steps=num_steps)
    with pytest.raises(ConfigError, match=r"object_low\[0\] is nan m"):
        StartRanges(object_low=(float("nan"), 0.0))


def test_a_fraction_is_a_fraction() -> None:
    with pytest.raises(ConfigError, match=r"PlayConfig\.clumsy_fraction is 1\.2"):
        PlayConfig(clumsy_fraction=1.2)
    with pytest.raises(ConfigError, match=r"PlayConfig\.interrupted\['push'\] is -1"):
        PlayConfig(interrupted={"push": -1})


def test_what_is_never_played_is_not_interrupted() -> None:
    with pytest.raises(ConfigError, match=r"interrupted names \['juggle', 'wander'\], which mix never plays"):
        PlayConfig(mix={"reach": 1.0, "wander": 0.0}, interrupted={"reach": 0.5, "juggle": 0.5, "wander": 0.5})


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_interrupted_skills_end_before_they_are_done(world: World, fraction: float) -> None:
    rng = np.random.default_rng(5)
    draw_start(world, rng)
    config = PlayConfig(mix={"reach": 1.0, "wander": 1.0}, interrupted={"wander": fraction})
    labels = []
    for label, move in islice(play_moves(world, rng, config), 400):
        world.step(move)
        labels.append(SKILLS[label])
    wanders = [len(list(run)) for skill, run in groupby(labels) if skill == "wander"][:-1]
    assert wanders and all(length % 40 == 0 for length in wanders) == (fraction == 0.0)  # a wander takes 40 steps


def test_an_object_in_the_hand_is_carried_on_not_taken_anew(world: World) -> None:
    rng = np.random.default_rng(4)
    draw_start(world, rng)
    wanted = draw_arrangement(world, rng)
    moves = bring(world, rng, wanted)
    while not (world.ground_truth().in_hand and world.object_poses[0, 2] > 0.045):
        world.step(next(moves))
    for move in islice(bring(world, rng, wanted), 6):  # as if another had begun
        world.step(move)
        assert world.ground_truth().in_hand
    for move in bring(world, rng, wanted):
        world.step(move)
    assert wanted.lies_well(world)
