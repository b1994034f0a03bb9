"""What adapters of MuJoCo worlds share: exact states, and pictures that a processor can draw."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import Intrinsics
from robo_dream.errors import ConfigError, ContractError
from sim.decimate import compile_decimated
from sim.render import SceneRenderer

STATE_PARTS = mujoco.mjtState.mjSTATE_FULLPHYSICS | mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_WARMSTART


@dataclass(frozen=True)
class PictureConfig:
    """How pictures are drawn: their side in pixels, the fraction of each mesh's triangles that is left out, the shadow map's side in
    pixels (0: no shadows) and samples a pixel (0 or 1: edges are not smoothed)."""

    size: int = 128
    decimate: float = 0.0
    shadow: int = 0
    samples: int = 0

    def __post_init__(self) -> None:
        if self.size < 32 or self.size % 16:
            raise ConfigError(f"picture.size is {self.size} px; it must be a multiple of 16 and at least 32, such as 64, 96 or 128")
        if not 0 <= self.decimate < 1 or self.shadow < 0 or self.samples < 0:
            raise ConfigError(
                f"picture has decimate {self.decimate} (0 to just under 1), shadow {self.shadow} and samples {self.samples} (0 or more)"
            )


class MujocoPicture:
    """Draws a model's world from a copy of the model that is cheaper to look at; physics never sees the copy."""

    def __init__(self, model: mujoco.MjModel, source: tuple[str, Mapping[str, bytes]], config: PictureConfig) -> None:
        """`source` is what `model` was compiled from: XML and assets."""
        self.config, self._whole, self._source = config, model, source
        self._renderer: SceneRenderer | None = None

    def draw(self, data: mujoco.MjData, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        if self._renderer is None:
            self._open()
        assert self._renderer is not None
        self._model.geom_rgba[self._geoms] = self._whole.geom_rgba  # worlds repaint things as they go
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
        config, whole, (xml, assets) = self.config, self._whole, self._source
        if config.decimate:
            self._model = compile_decimated(xml, assets, config.decimate)
        else:
            self._model = mujoco.MjModel.from_xml_string(xml, dict(assets))
        # the k-th geom of a body is the k-th of its copy: what decimation adds comes after
        self._geoms = self._model.body_geomadr[whole.geom_bodyid] + np.arange(whole.ngeom) - whole.body_geomadr[whole.geom_bodyid]
        self._model.vis.quality.shadowsize, self._model.vis.quality.offsamples = config.shadow, config.samples
        self._model.vis.global_.offwidth = self._model.vis.global_.offheight = config.size
        self._data = mujoco.MjData(self._model)
        self._renderer = SceneRenderer(self._model, config.size, config.size, as_modelled=config.shadow > 0)


class MujocoWorld:
    """The part of an `Environment` that is the same for all MuJoCo worlds."""

    def __init__(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        source: tuple[str, Mapping[str, bytes]],
        config: PictureConfig | None,
        cameras: tuple[str, ...],
    ) -> None:
        """`source` is what `model` was compiled from: XML and assets. Without a picture's configuration the world has no cameras."""
        self.model, self.data, self.source = model, data, source
        self.picture = MujocoPicture(model, source, config) if config else None
        self.cameras = tuple(self._camera(name, config.size) for name in cameras) if config else ()

    def __enter__(self) -> Self:
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
        state = np.empty(mujoco.mj_stateSize(self.model, STATE_PARTS))
        mujoco.mj_getState(self.model, self.data, state, STATE_PARTS)
        return state

    def set_state(self, state: Float[np.ndarray, " state"]) -> None:
        """Raises `ContractError` when the state belongs to another world."""
        size = mujoco.mj_stateSize(self.model, STATE_PARTS)
        if np.shape(state) != (size,):
            raise ContractError(f"the stored state has shape {np.shape(state)}; this world needs ({size},): made with another one?")
        mujoco.mj_setState(self.model, self.data, np.asarray(state, np.float64), STATE_PARTS)
        self.refresh()

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
