"""Bring the tool somewhere."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robo_dream.control.cartesian import downward_quat
from robo_dream.embodiment import Pose
from sim.goals import ToolGoal
from sim.tabletop.start import draw_start
from sim.tabletop.world import World


@dataclass(frozen=True)
class Reach(ToolGoal):
    """Moderate: the tool within 2 cm at some step. Strict: within 1 cm for 5 steps."""

    name: str = "reach"
    hold_steps: int = 5
    moderate_radius: float = 0.02  # m
    strict_radius: float = 0.01
    least_motion: float = 0.10

    def draw_start(self, world: World, rng: np.random.Generator) -> None:
        draw_start(world, rng)

    def draw_goal(self, world: World, rng: np.random.Generator) -> Float[np.ndarray, " state"]:
        """The arm at a random pose at least `least_motion` away and clear of the object, which stays where it is."""
        before, start, limits = world.state, world.ground_truth(), world.scene.arm.limits
        pos = start.tool_pos
        for _ in range(200):
            pos = rng.uniform(limits.workspace_low, limits.workspace_high)
            pos[2] = max(pos[2], 0.04)
            if np.linalg.norm(pos - start.tool_pos) >= self.least_motion and np.linalg.norm(pos - start.object_pose[:3]) > 0.1:
                break
        joints = world.kinematics.inverse(world.measured[:-1], Pose(pos, downward_quat(rng.uniform(-0.6, 0.6))), 200)
        world.set_arm(joints, start.gripper)
        goal = world.state
        world.set_state(before)
        return goal
