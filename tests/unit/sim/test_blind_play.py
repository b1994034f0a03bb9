"""Play that is told of no object picks things up all the same, and stays where the arm may be."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robo_dream.config import load
from robo_dream.control.cartesian import CartesianMoves
from robo_dream.control.kinematics import Kinematics
from robo_dream.runtime.collect import CollectConfig
from sim.tabletop.behaviours.blind import Memory, blind_play
from sim.tabletop.behaviours.skills import Body
from sim.tabletop.environment import Tabletop
from sim.tabletop.scene import Scene


@dataclass(frozen=True)
class ArmAlone:
    """A world of which nothing but the arm can be asked."""

    _world: Tabletop

    @property
    def scene(self) -> Scene:
        return self._world.scene

    @property
    def kinematics(self) -> Kinematics:
        return self._world.kinematics

    @property
    def moves(self) -> CartesianMoves:
        return self._world.moves

    @property
    def joint_target(self) -> np.ndarray:
        return self._world.joint_target

    @property
    def measured(self) -> np.ndarray:
        return self._world.measured


def test_what_was_held_once_is_found_again_without_any_pose_and_carried_about() -> None:
    world = Tabletop(load(CollectConfig, Path("configs/collect/so101.yaml")).world)
    body, memory = ArmAlone(world), Memory()
    assert isinstance(body, Body)
    memory.laid(body, misses=5)
    limits, spec = world.scene.arm.limits, world.action_spec
    visited, raised = [], 0.0
    for _, move in zip(range(2400), blind_play(body, np.random.default_rng(1), memory), strict=False):
        world.step(spec.clip(move))
        visited.append(world.object_pose[:2])
        raised = max(raised, world.object_pose[2])
        tool = world.kinematics.forward(world.joint_target[:-1]).pos
        assert (tool > np.array(limits.workspace_low) - 0.01).all() and (tool < np.array(limits.workspace_high) + 0.05).all()
    assert memory.num_held >= 6 and raised > 0.04, "by feeling alone"
    assert np.ptp(visited, axis=0).min() > 0.08, "set down here and there"
