"""Pictures of a MuJoCo model, as cheap as they can be: no shadows, no reflections, no multisampling, unless one asks for them."""

import atexit
import os
import threading
import weakref
from collections.abc import Sequence
from types import TracebackType

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.errors import MissingExtraError

# Mesa's software rasteriser looks into the other contexts of its process while it draws: of threads that draw at once, one now and then
# reads freed memory (a segmentation fault in swrast_dri.so, 2 of 73 runs with two cameras).
_ONE_DRAWS = threading.RLock()


class SceneRenderer:
    """An offscreen renderer of one picture size; keep one per process and size, and close it.

    `as_modelled` draws shadows and reflections where the model has them.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, as_modelled: bool = False) -> None:
        os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa's software rasteriser is faster without its own threads here
        try:
            with _ONE_DRAWS:
                self._renderer = mujoco.Renderer(model, height, width)
        except Exception as error:  # the back ends raise ImportError, AttributeError, RuntimeError and their own types
            raise MissingExtraError(
                f"MuJoCo cannot open an offscreen OpenGL context ({type(error).__name__}: {error}); on Debian run "
                "`apt-get install libegl1 libgl1` and set MUJOCO_GL=egl, or `apt-get install libosmesa6` and set MUJOCO_GL=osmesa"
            ) from error
        self._close = weakref.finalize(self, _close, self._renderer)
        atexit.register(self._close)  # registered after MuJoCo's own hook, so that it runs before OpenGL is shut down
        flags = self._renderer.scene.flags
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            flags[flag] = flags[flag] and as_modelled

    def __enter__(self) -> "SceneRenderer":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._close()
        atexit.unregister(self._close)

    def upload(self, textures: Sequence[int]) -> None:
        """Takes in textures that have changed in the model."""
        with _ONE_DRAWS:
            self._renderer._gl_context.make_current()
            for texture in textures:
                mujoco.mjr_uploadTexture(self._renderer.model, self._renderer._mjr_context, texture)

    def look(self, data: mujoco.MjData, camera: str) -> None:
        """Takes in the world as it is now; quick, so that moving physics need only be held back for this."""
        self._renderer.update_scene(data, camera)

    def colour(self) -> UInt8[np.ndarray, "height width 3"]:
        """What was there when it last looked."""
        return self._drawn()

    def depth(self, to_the_right: float = 0.0) -> Float[np.ndarray, "height width"]:
        """Metres along the axis of a camera that many metres to the right of the one that last looked."""
        for eye in self._renderer.scene.camera:
            eye.pos = eye.pos + to_the_right * np.cross(eye.forward, eye.up)
        self._renderer.enable_depth_rendering()
        try:
            return self._drawn()
        finally:
            self._renderer.disable_depth_rendering()

    def draw(self, data: mujoco.MjData, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        self.look(data, camera)
        return self.colour()

    def _drawn(self) -> np.ndarray:
        with _ONE_DRAWS:
            return self._renderer.render()


def averaged_down(picture: UInt8[np.ndarray, "height width 3"], times: int) -> UInt8[np.ndarray, "smaller_height smaller_width 3"]:
    """`picture` at 1/`times` of its width and height: each pixel is the mean of those that it covers."""
    if times == 1:
        return picture
    height, width = picture.shape[0] // times, picture.shape[1] // times
    total = sum(picture[down::times, right::times].astype(np.uint16) for down in range(times) for right in range(times))
    return np.rint(np.reshape(total, (height, width, 3)) / times**2).astype(np.uint8)


def _close(renderer: mujoco.Renderer) -> None:
    with _ONE_DRAWS:
        renderer.close()


_HIDDEN_GROUP = 3  # MuJoCo draws groups 0 to 2
_STAND_IN = "decimated geom "
_FEWEST = 60  # triangles that a mesh is left with


def compile_decimated(source: mujoco.MjSpec, removed: float) -> mujoco.MjModel:
    """The model of `source`, which is left as it is, with the fraction `removed` of each drawn mesh's triangles gone.

    Each drawn mesh geom stays, with all its physics, in a group that is not drawn; a copy without mass or collisions stands in its
    place, named after its number (see `stand_ins`). Meshes whose material has a texture are left alone, as their texture coordinates
    would be lost. Raises `MissingExtraError` when fast-simplification is not installed.
    """
    try:
        import fast_simplification
    except ImportError as error:
        raise MissingExtraError("decimating meshes needs fast-simplification; run `pip install 'robo-dream[decimate]'`") from error
    spec = source.copy()
    whole = spec.compile()
    light: dict[int, str] = {}
    for index, geom in enumerate(_in_model_order(spec)):
        mesh = int(whole.geom_dataid[index])
        if mesh < 0 or not _is_drawn(whole, index) or whole.mesh_facenum[mesh] <= _FEWEST:
            continue
        if mesh not in light:
            points, faces = _triangles(whole, mesh)
            target = min(removed, 1 - _FEWEST / len(faces))
            points, faces = fast_simplification.simplify(points, faces, target)[:2]
            light[mesh] = f"{whole.mesh(mesh).name}/decimated"
            spec.add_mesh(
                name=light[mesh], uservert=np.ravel(points).tolist(), userface=np.ravel(faces).tolist(),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,  # it has no weight, and may be flat or open
            )  # fmt: skip
        geom.parent.add_geom(
            name=f"{_STAND_IN}{index}", type=mujoco.mjtGeom.mjGEOM_MESH, meshname=light[mesh],
            pos=whole.geom_pos[index], quat=whole.geom_quat[index],
            material=geom.material, rgba=whole.geom_rgba[index], group=int(whole.geom_group[index]), contype=0, conaffinity=0, mass=0,
        )  # fmt: skip
        geom.group = _HIDDEN_GROUP
    return spec.compile()


def stand_ins(model: mujoco.MjModel) -> dict[int, int]:
    """By its number in the whole model, the geom that is drawn instead of each geom."""
    names = {geom: model.geom(geom).name for geom in range(model.ngeom)}
    return {int(name.removeprefix(_STAND_IN)): geom for geom, name in names.items() if name.startswith(_STAND_IN)}


def _in_model_order(spec: mujoco.MjSpec) -> list[mujoco.MjsGeom]:
    return sorted((geom for body in spec.bodies for geom in body.geoms), key=lambda geom: geom.id)


def _is_drawn(model: mujoco.MjModel, geom: int) -> bool:
    material = int(model.geom_matid[geom])
    has_texture = material >= 0 and (model.mat_texid[material] >= 0).any()
    return bool(model.geom_group[geom] < _HIDDEN_GROUP and model.geom_rgba[geom, 3] > 0 and not has_texture)


def _triangles(model: mujoco.MjModel, mesh: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (m) and triangles of a compiled mesh, with points that coincide made one, so that the surface is connected."""
    first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    points, place = np.unique(model.mesh_vert[first : first + count], axis=0, return_inverse=True)
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    return np.ascontiguousarray(points), np.ascontiguousarray(place.reshape(-1)[model.mesh_face[first : first + count]].astype(np.int32))
