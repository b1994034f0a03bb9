"""True physics as a world model, on CPU threads."""

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
from sim.physics.chain import Chain, ChainMoves
from sim.physics.layout import StateLayout, layout_of
from sim.tabletop.world import CONTROL_DT, SERVO_UPDATES, World


class PhysicsOracle:
    """A `WorldModel` whose latents are `World.state` vectors (float64) and whose imagination runs the simulator.

    It imagines what `World.step_move` would do, closed loop, for every candidate; it reads the simulator's state from
    `Observation.truth`, so it is a ceiling to compare with, never a policy. `world` is only read. Close it, or leave it as a
    context manager, to end its threads.

    Inverse kinematics of all candidates is done at once in another order of operations than the world's, which joint targets show in
    their last digits and a contact at the brink of happening may show in a tenth of a millimetre. `is_exact` takes the world's own,
    slower; imagination is then the world's future bit for bit.
    """

    cameras: tuple[str, ...] = ()

    def __init__(self, world: World, action_block: int = 5, num_threads: int | None = None, is_exact: bool = False) -> None:
        if action_block < 1 or (num_threads is not None and num_threads < 1):
            raise ContractError(f"action_block {action_block} and num_threads {num_threads} must be at least 1")
        self._model = world.model
        self._spec = world.moves.spec
        self._block = action_block
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

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._pool.shutdown()

    @property
    def action_spec(self) -> ActionSpec:
        return self._spec

    @property
    def action_block(self) -> int:
        return self._block

    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        """The simulator's state at the newest observation; raises `ContractError` when an observation does not carry it."""
        rows = []
        for history in histories:
            state = history[-1].truth.get("sim_state") if len(history) else None
            if state is None or np.shape(state) != (self.layout.size,):
                raise ContractError(
                    f"true physics needs `truth['sim_state']` of {self.layout.size} numbers in the newest observation, got "
                    f"{None if state is None else np.shape(state)}; observe with `World.observe` of the scene that the oracle was made for"
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
        moves = actions.detach().cpu().numpy().reshape(batch * sample, time, size)
        latents = np.empty((batch * sample, time // self._block, self.layout.size))
        for step in range(time):
            states = self.step(states, moves[:, step])
            if (step + 1) % self._block == 0:
                latents[:, step // self._block] = states
        shaped = torch.from_numpy(latents).reshape(batch, sample, -1, self.layout.size).to(belief.latent.device)
        return Imagination(shaped, torch.zeros(shaped.shape[:-1], dtype=shaped.dtype, device=shaped.device))

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
        """Servo targets of every physics step of one control step, as `World.step_move` sets them."""
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
