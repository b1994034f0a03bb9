"""Oracle dynamics: true physics as a world model, a ceiling to compare with, never a policy."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import mujoco
import numpy as np
import torch
from jaxtyping import Float
from mujoco.rollout import Rollout
from torch import Tensor

from robo_dream.embodiment import BOX, ActionSpec, Observation, upright_turn
from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Imagination, ScenePose
from robo_dream.models.heads import scene_pose
from sim.environment import Simulation
from sim.physics.chain import Chain, ChainMoves
from sim.physics.layout import StateLayout, layout_of
from sim.tabletop.world import CONTROL_DT, SERVO_UPDATES, World

States = Float[np.ndarray, "row state"]


class OracleDynamics:
    """A `WorldModel` whose latents are a simulation's states (float64) and whose imagination steps it, candidate after candidate.

    The simulation is left as it was. States come from `Observation.truth`; one without, such as a goal's picture, is refused.
    Leave it as a context manager, or close it, when done.
    """

    cameras: tuple[str, ...] = ()

    def __init__(self, world: Simulation, action_block: int = 5) -> None:
        if action_block < 1:
            raise ContractError(f"action_block is {action_block}; it must be at least 1")
        self._world, self._spec, self._block = world, world.action_spec, action_block
        self._size = len(world.state)

    def __enter__(self) -> "OracleDynamics":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """The simulation is the caller's."""
        return

    @property
    def action_spec(self) -> ActionSpec:
        return self._spec

    @property
    def action_block(self) -> int:
        return self._block

    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        """The state at the newest observation; raises `ContractError` when an observation does not carry it."""
        rows = []
        for history in histories:
            state = history[-1].truth.get("sim_state") if len(history) else None
            if state is None or np.shape(state) != (self._size,):
                raise ContractError(
                    f"true physics needs `truth['sim_state']` of {self._size} numbers in the newest observation, got "
                    f"{None if state is None else np.shape(state)}; observe with `observation_of` the world that the oracle was made for"
                )
            rows.append(np.asarray(state, np.float64))
        return Belief(torch.from_numpy(np.stack(rows)))

    def imagine(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> Imagination:
        """`latents` are the states after each action block. Raises `ContractError` for a time that is no multiple of the block."""
        batch, sample, time, size = actions.shape
        if size != self._spec.size or time % self._block or len(belief.latent) != batch:
            raise ContractError(
                f"actions of shape {tuple(actions.shape)} for {len(belief.latent)} beliefs; expected (batch, sample, time, "
                f"{self._spec.size}) with as many batches as beliefs and time a multiple of the action block, {self._block}"
            )
        states = belief.latent.detach().cpu().numpy().astype(np.float64).repeat(sample, axis=0)
        latents = self.futures(states, actions.detach().cpu().numpy().reshape(batch * sample, time, size))
        shaped = torch.from_numpy(latents).reshape(batch, sample, -1, self._size).to(belief.latent.device)
        return Imagination(shaped, torch.zeros(shaped.shape[:-1], dtype=shaped.dtype, device=shaped.device))

    def futures(self, states: States, moves: Float[np.ndarray, "row time action"]) -> Float[np.ndarray, "row block state"]:
        """The states after each action block of every row."""
        world, before = self._world, self._world.state
        found = np.empty((len(states), moves.shape[1] // self._block, self._size))
        for row, start in enumerate(states):
            world.set_state(start)
            for step, action in enumerate(moves[row]):
                world.step(self._spec.clip(action))
                if (step + 1) % self._block == 0:
                    found[row, step // self._block] = world.state
        world.set_state(before)
        return found

    def poses(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose:
        """Where tool and objects are in these states; an object's turn is times its symmetry, as a model tells it."""
        world, before, found = self._world, self._world.state, []
        for state in latents.reshape(-1, latents.shape[-1]).cpu().numpy():
            world.set_state(state)
            now, yaw = world.ground_truth(), world.arm_state().tool_yaw
            quats = now.object_poses[:, 3:]
            turns = now.object_symmetry * upright_turn(quats, now.object_symmetry)
            if now.other_kinds:
                turns = np.array([symmetry * upright_turn(quat, symmetry) for quat, (_, symmetry) in zip(quats, now.kinds, strict=True)])
            things = np.concatenate([now.object_poses[:, :3], np.stack([np.cos(turns), np.sin(turns)], -1)], -1)
            found.append([*now.tool_pos, np.cos(yaw), np.sin(yaw), now.gripper, *things.reshape(-1)])
        world.set_state(before)
        return scene_pose(torch.as_tensor(np.asarray(found)).to(latents).reshape(*latents.shape[:-1], -1))


class StillDynamics(OracleDynamics):
    """Imagines nothing: every future is the present. For planners that heed no future, where no model has been trained."""

    def futures(self, states: States, moves: Float[np.ndarray, "row time action"]) -> Float[np.ndarray, "row block state"]:
        return states[:, None].repeat(moves.shape[1] // self._block, axis=1)


class PhysicsOracle(OracleDynamics):
    """Oracle dynamics of the tabletop, all candidates at once, on CPU threads.

    It imagines what `World.step` would do, closed loop, for every candidate; `world` is only read.

    Inverse kinematics of all candidates is done at once in another order of operations than the world's, which joint targets show in
    their last digits and a contact at the brink of happening may show in a tenth of a millimetre. `is_exact` takes the world's own,
    slower; imagination is then the world's future bit for bit. A row whose move is not finite becomes NaN, and stays so.
    """

    def __init__(self, world: World, action_block: int = 5, num_threads: int | None = None, is_exact: bool = False) -> None:
        super().__init__(world, action_block)
        if world.scene.config.randomization is not None:
            raise ContractError("physics on threads has one model for all states; a randomized scene has one each: take OracleDynamics")
        if num_threads is not None and num_threads < 1:
            raise ContractError(f"num_threads is {num_threads}; it must be at least 1")
        self._model = world.model
        self.layout: StateLayout = layout_of(world)
        self._chain = Chain(world.model, world.scene.joint_names, world.scene.tool_site)
        self._moves = ChainMoves(self._chain, world.moves)
        self._exact_moves = world.moves if is_exact else None
        self._servos, self._finger_servos = world.scene.servos, world.scene.finger_servos
        self._opened, self._closed = world.scene.arm.finger_range
        self._substeps = round(CONTROL_DT / SERVO_UPDATES / world.model.opt.timestep)
        count = num_threads or len(os.sched_getaffinity(0))
        self._workers = [_Worker(world.model, self.layout) for _ in range(count)]
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="physics")

    def __enter__(self) -> "PhysicsOracle":
        return self

    def close(self) -> None:
        self._pool.shutdown()

    def futures(self, states: States, moves: Float[np.ndarray, "row time action"]) -> Float[np.ndarray, "row block state"]:
        time = moves.shape[1]
        found = np.empty((len(states), time // self._block, self.layout.size))
        for step in range(time):
            states = self.step(states, moves[:, step])
            if (step + 1) % self._block == 0:
                found[:, step // self._block] = states
        return found

    def step(self, states: Float[np.ndarray, "row state"], moves: Float[np.ndarray, "row action"]) -> Float[np.ndarray, "row state"]:
        """One control step of every row. A row whose move is not finite becomes NaN, and stays so."""
        bad = ~(np.isfinite(moves).all(axis=1) & np.isfinite(states).all(axis=1))
        good = np.flatnonzero(~bad)
        after = np.full_like(states, np.nan)
        if len(good):
            controls = self.controls(states[good], moves[good])
            after[good] = self.physics(states[good], controls)
        return after

    def physics(
        self, states: Float[np.ndarray, "row state"], controls: Float[np.ndarray, "row substep actuator"]
    ) -> Float[np.ndarray, "row state"]:
        """The states after all physics steps of `controls`."""
        parts = np.array_split(np.arange(len(states)), min(len(self._workers), len(states)))
        jobs = [self._pool.submit(worker.run, states[part], controls[part]) for worker, part in zip(self._workers, parts, strict=False)]
        return np.concatenate([job.result() for job in jobs])

    def controls(
        self, states: Float[np.ndarray, "row state"], moves: Float[np.ndarray, "row action"]
    ) -> Float[np.ndarray, "row substep actuator"]:
        """Servo targets of every physics step of one control step, as `World.step` sets them."""
        ctrl = states[:, self.layout.ctrl]
        before = np.concatenate([ctrl[:, self._servos], self._closure(ctrl[:, self._finger_servos])], axis=1)
        measured = np.concatenate([states[:, self.layout.joints], self._closure(states[:, self.layout.fingers])], axis=1)
        if self._exact_moves is None:
            target = self._moves.step(before, measured, moves)
        else:
            target = np.stack([self._exact_moves.step(*row)[0] for row in zip(before, measured, moves, strict=True)])
        controls = np.repeat(ctrl[:, None], SERVO_UPDATES, axis=1)
        for i in range(SERVO_UPDATES):
            servo = before + (target - before) * ((i + 1) / SERVO_UPDATES)
            controls[:, i, self._servos] = servo[:, :-1]
            controls[:, i, self._finger_servos] = (self._opened + servo[:, -1] * (self._closed - self._opened))[:, None]
        return controls.repeat(self._substeps, axis=1)

    def poses(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose:
        """Where tool and first object are in these states; the object's turn is that of a box."""
        states = latents.detach().cpu().numpy().reshape(-1, self.layout.size)
        tool_pos, tool_rot = self._chain.forward(states[:, self.layout.joints])
        heading = tool_rot[:, :2, 0] / np.linalg.norm(tool_rot[:, :2, 0], axis=1, keepdims=True)
        pose = states[:, self.layout.object_pose]
        turn = BOX * upright_turn(pose[:, 3:], BOX)
        parts = (
            tool_pos, heading, self._closure(states[:, self.layout.fingers])[:, 0], pose[:, None, :3],
            np.stack([np.cos(turn), np.sin(turn)], 1)[:, None],
        )  # fmt: skip
        shaped = [torch.as_tensor(part).to(latents).reshape(*latents.shape[:-1], *part.shape[1:]) for part in parts]
        return ScenePose(*shaped)

    def _closure(self, angles: np.ndarray) -> np.ndarray:
        if not angles.shape[1]:
            return np.zeros((len(angles), 1))  # an arm without a hand
        return (angles.mean(axis=1, keepdims=True) - self._opened) / (self._closed - self._opened)


class _Worker:
    """Physics of one thread. Rows run one by one, so that each one's warm start can be carried on: that makes them exact."""

    def __init__(self, model: mujoco.MjModel, layout: StateLayout) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._layout = layout
        self._rollout = Rollout(nthread=0)

    def run(self, states: np.ndarray, controls: np.ndarray) -> np.ndarray:
        layout = self._layout
        after = np.empty_like(states)
        for row, (state, control) in enumerate(zip(states, controls, strict=True)):
            path = np.empty((1, len(control), len(layout.physics)))
            self._rollout.rollout(
                self._model, self._data, state[None, layout.physics], control[None],
                initial_warmstart=state[None, layout.warm_start], state=path,
            )  # fmt: skip
            after[row, layout.physics] = path[0, -1]
            after[row, layout.ctrl] = control[-1]
            after[row, layout.warm_start] = self._data.qacc_warmstart
        return after
