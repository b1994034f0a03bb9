"""What adapters of MuJoCo worlds share: exact states, an arm's state from a site, and pictures that a processor can draw."""

import copy
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from types import TracebackType
from typing import Annotated, Any

import mujoco
import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Field

from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import ActionSpec, ArmState, Intrinsics
from robo_dream.errors import ContractError
from robo_dream.schema import Unit, configuration
from sim.rendering import SceneRenderer, compile_decimated, stand_ins

_STATE_PARTS = mujoco.mjtState.mjSTATE_FULLPHYSICS | mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_WARMSTART
_MOVED = ("body_pos", "body_quat", "site_rgba", "mat_rgba")  # of a model, while the world goes on


@configuration
class PictureConfig:
    """How pictures are drawn: their side in pixels, the fraction of each mesh's triangles that is left out, the shadow map's side in
    pixels (0: no shadows) and samples a pixel (0 or 1: edges are not smoothed)."""

    size: Annotated[int, Field(ge=32, le=1024, multiple_of=16), Unit("px")] = 128
    decimate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    shadow: Annotated[int, Field(ge=0, le=16_384), Unit("px")] = 0
    samples: Annotated[int, Field(ge=0, le=64)] = 0


class MujocoPicture:
    """Draws a model's world from a copy of the model that is cheaper to look at; physics never sees the copy."""

    def __init__(self, model: mujoco.MjModel, spec: mujoco.MjSpec, config: PictureConfig) -> None:
        """`spec` is what `model` was compiled from."""
        self.config, self._whole, self._spec = config, model, spec
        self._renderer: SceneRenderer | None = None

    def draw(self, data: mujoco.MjData, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        if self._renderer is None:
            self._open()
        assert self._renderer is not None
        for name in _MOVED:
            getattr(self._model, name)[...] = getattr(self._whole, name)
        self._model.geom_rgba[self._drawn] = self._whole.geom_rgba
        for name in ("qpos", "mocap_pos", "mocap_quat"):
            getattr(self._data, name)[:] = getattr(data, name)
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        return self._renderer.draw(self._data, camera)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = None

    def _open(self) -> None:
        """The first picture: not before, as meshes take seconds to decimate and physics alone needs none of it."""
        config, whole = self.config, self._whole
        self._model = compile_decimated(self._spec, config.decimate) if config.decimate else copy.deepcopy(whole)
        # the k-th geom of a body is the k-th of its copy: what decimation adds comes after
        self._drawn = self._model.body_geomadr[whole.geom_bodyid] + np.arange(whole.ngeom) - whole.body_geomadr[whole.geom_bodyid]
        for geom, stand_in in stand_ins(self._model).items():
            self._drawn[geom] = stand_in
        self._model.vis.quality.shadowsize, self._model.vis.quality.offsamples = config.shadow, config.samples
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = config.size
        self._data = mujoco.MjData(self._model)
        self._renderer = SceneRenderer(self._model, config.size, config.size, as_modelled=config.shadow > 0)


class MujocoWorld:
    """The part of an `Environment` that is the same for all MuJoCo worlds.

    The state is MuJoCo's, warm start and last command included; `state_parts` is for worlds that have more, such as mocap bodies that pull.
    """

    state_parts = _STATE_PARTS
    action_spec: ActionSpec  # an adapter says

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        spec: mujoco.MjSpec,
        config: PictureConfig | None,
        cameras: tuple[str, ...],
        package: str,
        placed: tuple[str, ...] = (),
    ) -> None:
        """`spec` is what `model` was compiled from, and `package` is where it came from.

        `placed` are bodies that `reset` puts elsewhere in the model itself, not in `data`. Without a picture's configuration the world has
        no cameras.
        """
        self.model, self.data, self.spec = model, data, spec
        self.picture = MujocoPicture(model, spec, config) if config else None
        self.cameras = tuple(self._camera(name, config.size) for name in cameras) if config else ()
        self.about: Mapping[str, Any] = {
            "package": f"{package} {metadata.version(package)}", "camera": ", ".join(cameras), "picture": config and asdict(config),
        }  # fmt: skip
        self._placed_bodies = [model.body(name).id for name in placed]

    def __enter__(self) -> "MujocoWorld":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        if self.picture is not None:
            self.picture.close()

    def image(self, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        if self.picture is None or camera not in (spec.name for spec in self.cameras):
            raise ContractError(f"no camera {camera!r} in this world; it has {[spec.name for spec in self.cameras]}")
        return self.picture.draw(self.data, camera)

    @property
    def time(self) -> float:
        return float(self.data.time)

    @property
    def state(self) -> Float[np.ndarray, " state"]:
        state = np.empty(mujoco.mj_stateSize(self.model, self.state_parts))
        mujoco.mj_getState(self.model, self.data, state, self.state_parts)
        return np.append(state, self.model.body_pos[self._placed_bodies])

    def set_state(self, state: Float[np.ndarray, " state"]) -> None:
        """Raises `ContractError` when the state belongs to another world."""
        size = mujoco.mj_stateSize(self.model, self.state_parts)
        if np.shape(state) != (whole := size + 3 * len(self._placed_bodies),):
            raise ContractError(f"the stored state has shape {np.shape(state)}; this world needs ({whole},): made with another one?")
        mujoco.mj_setState(self.model, self.data, np.asarray(state[:size], np.float64), self.state_parts)
        self.model.body_pos[self._placed_bodies] = np.reshape(state[size:], (-1, 3))
        self.refresh()

    def arm_at(
        self,
        site: str,
        joint_pos: Float[np.ndarray, " joint"],
        joint_vel: Float[np.ndarray, " joint"],
        gripper: float = 0.0,
        gripper_vel: float = 0.0,
    ) -> ArmState:
        """An arm's state with its tool at `site`. The targets are where it will be in a control step at its present speed."""
        tool, speed, quat, ahead = self.data.site(site), np.zeros(6), np.zeros(4), self.action_spec.control_dt
        mujoco.mj_objectVelocity(self.model, self.data, mujoco.mjtObj.mjOBJ_SITE, tool.id, speed, 0)
        mujoco.mju_mat2Quat(quat, tool.xmat)
        yaw = float(np.arctan2(tool.xmat[3], tool.xmat[0]))
        return ArmState(
            time=self.time, joint_pos=joint_pos.copy(), joint_vel=joint_vel.copy(), tool_pos=tool.xpos.copy(), tool_quat=quat,
            tool_yaw=yaw, gripper=gripper, target_pos=tool.xpos + ahead * speed[3:], target_yaw=yaw + ahead * float(speed[2]),
            target_gripper=gripper + ahead * gripper_vel,
        )  # fmt: skip

    def refresh(self) -> None:
        """Makes all that follows from the state fit it: after a step MuJoCo leaves positions as they were one physics step before."""
        warm_start = self.data.qacc_warmstart.copy()
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_rnePostConstraint(self.model, self.data)
        self.data.qacc_warmstart[:] = warm_start

    def _camera(self, name: str, size: int) -> CameraSpec:
        fixed = self.data.cam(name)
        focal = size / 2 / np.tan(np.deg2rad(float(self.model.cam(name).fovy[0])) / 2)
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = fixed.xmat.reshape(3, 3) * [1, -1, -1], fixed.xpos
        intrinsics = Intrinsics(size, size, float(focal), float(focal), size / 2, size / 2)
        return CameraSpec(name, size, size, intrinsics, tuple(tuple(float(x) for x in row) for row in pose))
