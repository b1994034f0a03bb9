"""A printed board in the world: held by the tool, or lying somewhere, for cameras to be calibrated by."""

import io
from dataclasses import dataclass
from typing import Literal

import mujoco
import numpy as np
from dm_control import mjcf
from jaxtyping import Float, UInt8
from PIL import Image

from sim.tabletop.arms.model import ArmModel
from sim.tabletop.scene import Additions
from sim.tabletop.world import World

_THICKNESS = 0.003  # m


@dataclass(frozen=True)
class PlacedBoard:
    """A picture on a plate of that size (m).

    `pose` is tool_from_board or world_from_board: origin at the picture's top left corner, x along its upper edge, y down, z inwards.
    """

    image: UInt8[np.ndarray, "height width"]
    size: tuple[float, float]
    on: Literal["tool", "world"]
    pose: Float[np.ndarray, "4 4"]


def holding(board: PlacedBoard) -> Additions:
    """Puts `board` into a scene. It touches nothing and weighs next to nothing."""

    def add(root: mjcf.RootElement, arm: ArmModel) -> None:
        if board.on == "tool":
            site = arm.tool_site
            body, assets = site.parent, site.root.asset
            matrix = _pose_of(site) @ board.pose
        else:
            body, assets = root.worldbody, root.asset
            matrix = board.pose
        picture = io.BytesIO()
        Image.fromarray(board.image).convert("RGB").save(picture, "PNG")
        width, height = board.size
        corners = [(0, 0), (width, 0), (width, height), (0, height)]
        vertices = [(x, y, z) for z in (0.0, _THICKNESS) for x, y in corners]
        faces = [(0, 2, 1), (0, 3, 2), (4, 5, 6), (4, 6, 7)]
        faces += [(0, 1, 5), (0, 5, 4), (1, 2, 6), (1, 6, 5), (2, 3, 7), (2, 7, 6), (3, 0, 4), (3, 4, 7)]
        assets.add("texture", name="board", type="2d", file=mjcf.Asset(picture.getvalue(), ".png"))
        assets.add("material", name="board", texture="board", emission=0.5, specular=0.0, shininess=0.0)
        assets.add(
            "mesh", name="board", vertex=np.ravel(vertices), face=np.ravel(faces),
            texcoord=np.ravel([(x / width, y / height) for _ in range(2) for x, y in corners]),
        )  # fmt: skip
        quat = np.empty(4)
        mujoco.mju_mat2Quat(quat, matrix[:3, :3].ravel())
        plate = body.add("body", name="board", pos=matrix[:3, 3], quat=quat)
        plate.add("geom", name="board", type="mesh", mesh="board", material="board", mass=0.001, contype=0, conaffinity=0)

    return add


def mount_on_tool(world: World, camera: str, tool_from_camera: Float[np.ndarray, "4 4"]) -> None:
    """Moves a camera of `world` from its stand to the tool; axes x right, y down, z forward."""
    model, site = world.model, world.model.site(world.scene.tool_site)
    body_from_tool = np.eye(4)
    body_from_tool[:3, :3], body_from_tool[:3, 3] = _matrix(np.array(site.quat)), site.pos
    placed = body_from_tool @ tool_from_camera @ np.diag([1.0, -1, -1, 1])  # MuJoCo's cameras look backward along z
    index = model.camera(camera).id
    model.cam_bodyid[index] = site.bodyid[0]
    model.cam_pos[index] = placed[:3, 3]
    mujoco.mju_mat2Quat(model.cam_quat[index], np.ascontiguousarray(placed[:3, :3]).ravel())
    mujoco.mj_forward(model, world.data)


def _pose_of(site: mjcf.Element) -> Float[np.ndarray, "4 4"]:
    """The site in its body's frame."""
    matrix = np.eye(4)
    matrix[:3, 3] = 0.0 if site.pos is None else site.pos
    if site.quat is not None:
        matrix[:3, :3] = _matrix(np.asarray(site.quat, float))
    elif any(getattr(site, name) is not None for name in ("axisangle", "euler", "xyaxes", "zaxis")):
        raise NotImplementedError(f"site {site.full_identifier} gives its orientation otherwise than by a quaternion")
    return matrix


def _matrix(quat: Float[np.ndarray, "4"]) -> Float[np.ndarray, "3 3"]:
    result = np.empty(9)
    mujoco.mju_quat2Mat(result, quat / np.linalg.norm(quat))
    return result.reshape(3, 3)
