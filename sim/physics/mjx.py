"""True physics on an accelerator: the same imagination as `PhysicsOracle`, stepped by MJX for all candidates at once.

MJX collides no cylinders with boxes and is slow with detailed meshes, so it runs a model in which of the arm only the hand collides, each
of its meshes as the box around it: `with_box_hand`. Float32 unless JAX's 64-bit mode is on. Experimental: free motion equals C MuJoCo's
on the same model to 5e-7 rad after 125 physics steps; a push by the hand does not yet (a box pushed 6 cm ended 3.5 cm away).
"""

import copy
from collections.abc import Callable
from types import ModuleType
from typing import Any

import mujoco
import numpy as np
from jaxtyping import Float

from robo_dream.errors import MissingExtraError
from sim.physics.oracle import PhysicsOracle
from sim.tabletop.world import World

_MESH, _BOX = int(mujoco.mjtGeom.mjGEOM_MESH), int(mujoco.mjtGeom.mjGEOM_BOX)


class MjxOracle(PhysicsOracle):
    """A `WorldModel` whose physics runs under `jax.jit` on JAX's default device; raises `MissingExtraError` without jax and mujoco-mjx.

    The first imagination of each number of candidates compiles, for up to minutes. `iterations` bounds the constraint solver, which
    has no early end on an accelerator.
    """

    def __init__(self, world: World, action_block: int = 5, iterations: int = 10) -> None:
        super().__init__(world, action_block, num_threads=1)
        self.model = with_box_hand(world)
        self.model.opt.iterations, self.model.opt.ls_iterations = iterations, iterations
        self._advance = stepper(self.model)

    def physics(
        self, states: Float[np.ndarray, "row state"], controls: Float[np.ndarray, "row substep actuator"]
    ) -> Float[np.ndarray, "row state"]:
        layout = self.layout
        after = states.copy()
        parts = (layout.qpos, layout.qvel, layout.warm_start)
        for part, values in zip(parts, self._advance(*(states[:, part] for part in parts), controls), strict=True):
            after[:, part] = values
        after[:, layout.ctrl] = controls[:, -1]
        after[:, layout.time] += controls.shape[1] * self.model.opt.timestep
        return after


def with_box_hand(world: World) -> mujoco.MjModel:
    """A copy of the world's model in which only boxes collide: the table, the objects, and the hand's meshes as the boxes around them."""
    model = copy.deepcopy(world.model)
    hand = _bodies_below(model, int(model.site_bodyid[model.site(world.scene.tool_site).id]))
    for name in world.scene.finger_names:
        hand |= _bodies_below(model, int(model.jnt_bodyid[model.joint(name).id]))
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        is_box = model.geom_type[geom] == _BOX
        if model.geom_type[geom] == _MESH and body in hand and model.geom_contype[geom]:
            rot = np.empty(9)
            mujoco.mju_quat2Mat(rot, model.geom_quat[geom])
            model.geom_pos[geom] += rot.reshape(3, 3) @ model.geom_aabb[geom, :3]
            model.geom_size[geom] = model.geom_aabb[geom, 3:]
            model.geom_aabb[geom, :3] = 0
            model.geom_type[geom], model.geom_dataid[geom] = _BOX, -1
            model.geom_contype[geom], model.geom_conaffinity[geom] = 1, 0  # with table and objects; boxes of one hand overlap
        elif not is_box:
            model.geom_contype[geom] = model.geom_conaffinity[geom] = 0
    return model


def stepper(model: mujoco.MjModel) -> Callable[..., tuple[np.ndarray, ...]]:
    """A function of (qpos, qvel, warm start, controls), each by row, that gives the first three after the controls' last step."""
    jax, mjx = _packages()
    mjx_model = mjx.put_model(model)
    blank = mjx.make_data(mjx_model)

    def one(qpos: Any, qvel: Any, warm_start: Any, controls: Any) -> tuple[Any, ...]:
        def substep(data: Any, ctrl: Any) -> tuple[Any, None]:
            return mjx.step(mjx_model, data.replace(ctrl=ctrl)), None

        data = blank.replace(qpos=qpos, qvel=qvel, qacc_warmstart=warm_start)
        data, _ = jax.lax.scan(substep, data, controls)
        return data.qpos, data.qvel, data.qacc_warmstart

    rows = jax.jit(jax.vmap(one))

    def advance(*arguments: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.asarray(part, np.float64) for part in rows(*(jax.numpy.asarray(part) for part in arguments)))

    return advance


def _packages() -> tuple[ModuleType, ModuleType]:
    try:
        import jax  # pyright: ignore[reportMissingImports]
        from mujoco import mjx
    except ImportError as error:
        raise MissingExtraError(f"MJX needs jax and mujoco-mjx ({error}); run `pip install 'robo-dream[mjx]'`") from error
    return jax, mjx


def _bodies_below(model: mujoco.MjModel, top: int) -> set[int]:
    """`top` and every body that hangs from it."""
    found = {top}
    for body in range(top + 1, model.nbody):
        if int(model.body_parentid[body]) in found:
            found.add(body)
    return found
