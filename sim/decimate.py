"""Meshes with fewer triangles for the pictures; bodies collide and weigh as before."""

import mujoco
import numpy as np

from robo_dream.errors import MissingExtraError

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
    return model.geom_group[geom] < _HIDDEN_GROUP and model.geom_rgba[geom, 3] > 0 and not has_texture


def _triangles(model: mujoco.MjModel, mesh: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (m) and triangles of a compiled mesh, with points that coincide made one, so that the surface is connected."""
    first, count = model.mesh_vertadr[mesh], model.mesh_vertnum[mesh]
    points, place = np.unique(model.mesh_vert[first : first + count], axis=0, return_inverse=True)
    first, count = model.mesh_faceadr[mesh], model.mesh_facenum[mesh]
    return np.ascontiguousarray(points), np.ascontiguousarray(place.reshape(-1)[model.mesh_face[first : first + count]].astype(np.int32))
