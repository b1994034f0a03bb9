"""True physics of a world that others wrote, as a world model: the ceiling of what planning can reach there."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.embodiment import ActionSpec, Observation, upright_turn
from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Imagination, ScenePose
from robo_dream.models.heads import scene_pose
from sim.environment import Environment


class EnvironmentOracle:
    """A `WorldModel` whose latents are the world's states and whose imagination steps the world itself, candidate after candidate.

    The world is left as it was. It reads the state from `Observation.truth`, so it is a ceiling to compare with, never a policy.
    """

    cameras: tuple[str, ...] = ()

    def __init__(self, environment: Environment, action_block: int = 5) -> None:
        if action_block < 1:
            raise ContractError(f"action_block is {action_block}; it must be at least 1")
        self._environment, self._block = environment, action_block

    @property
    def action_spec(self) -> ActionSpec:
        return self._environment.action_spec

    @property
    def action_block(self) -> int:
        return self._block

    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        """The state at the newest observation; one without, such as a goal's picture, raises `ContractError`."""
        states = [history[-1].truth.get("sim_state") if len(history) else None for history in histories]
        if any(state is None for state in states):
            raise ContractError("true physics needs `truth['sim_state']` in the newest observation; observe with `environment.observe`")
        return Belief(torch.from_numpy(np.stack([np.asarray(state, np.float64) for state in states])))

    def imagine(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> Imagination:
        batch, sample, time, size = actions.shape
        if size != self.action_spec.size or time % self._block or len(belief.latent) != batch:
            raise ContractError(
                f"actions of shape {tuple(actions.shape)} for {len(belief.latent)} beliefs; expected (batch, sample, time, "
                f"{self.action_spec.size}) with as many batches as beliefs and time a multiple of the action block, {self._block}"
            )
        world, before = self._environment, self._environment.state
        latents = np.empty((batch, sample, time // self._block, belief.latent.shape[-1]))
        for row, start in enumerate(belief.latent.cpu().numpy()):
            for candidate in range(sample):
                world.set_state(start)
                for step, action in enumerate(actions[row, candidate].cpu().numpy()):
                    world.step(world.action_spec.clip(action))
                    if (step + 1) % self._block == 0:
                        latents[row, candidate, step // self._block] = world.state
        world.set_state(before)
        shaped = torch.from_numpy(latents).to(belief.latent.device)
        return Imagination(shaped, torch.zeros(shaped.shape[:-1], dtype=shaped.dtype, device=shaped.device))

    def poses(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose:
        """Where tool and objects are in these states; an object's turn is times its symmetry, as a model tells it."""
        world, before, found = self._environment, self._environment.state, []
        for state in latents.reshape(-1, latents.shape[-1]).cpu().numpy():
            world.set_state(state)
            now, yaw = world.ground_truth(), world.arm_state().tool_yaw
            turns = now.object_symmetry * upright_turn(now.object_poses[:, 3:], now.object_symmetry)
            things = np.concatenate([now.object_poses[:, :3], np.stack([np.cos(turns), np.sin(turns)], -1)], -1)
            found.append([*now.tool_pos, np.cos(yaw), np.sin(yaw), now.gripper, *things.reshape(-1)])
        world.set_state(before)
        return scene_pose(torch.as_tensor(np.asarray(found)).to(latents).reshape(*latents.shape[:-1], -1))
