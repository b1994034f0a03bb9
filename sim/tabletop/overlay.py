"""The simulated twin as a calibrated camera would see it."""

from dataclasses import replace

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.embodiment import Intrinsics
from sim.rendering import SceneRenderer
from sim.tabletop.scene import Additions, CameraConfig, SceneConfig
from sim.tabletop.world import World

_NAME = "calibrated"


class SceneOverlay:
    """A world of its own with one camera, which is where the calibration says. Close it, or use it in a `with` block."""

    def __init__(self, scene: SceneConfig, lens: Intrinsics, additions: Additions | None = None) -> None:
        self._lens = lens
        right, down = abs(lens.cx - lens.width / 2), abs(lens.cy - lens.height / 2)
        self._pad = int(np.ceil(right)), int(np.ceil(down))  # drawn larger and cut, so that the principal point is where it was
        width, height = lens.width + 2 * self._pad[0], lens.height + 2 * self._pad[1]
        fovy = float(np.rad2deg(2 * np.arctan(height / 2 / lens.fy)))
        camera = CameraConfig(_NAME, (1.0, 0.0, 0.5), (0.4, 0.0, 0.0), fovy, width, height)
        self._world = World(replace(scene, cameras=(camera,)), additions)
        for index in range(len(scene.objects)):
            self._world.set_object(np.array([0.0, 0, -5, 1, 0, 0, 0]), index)  # out of sight: nobody knows where the real ones are
        size = self._world.model.vis.global_
        size.offwidth, size.offheight = max(size.offwidth, width), max(size.offheight, height)
        self._renderer = SceneRenderer(self._world.model, width, height)

    def __enter__(self) -> "SceneOverlay":
        return self

    def __exit__(self, *exc: object) -> None:
        self._renderer.close()
        self._world.close()

    def draw(
        self, world_from_camera: Float[np.ndarray, "4 4"], joint_pos: Float[np.ndarray, " joint"], gripper: float = 0.0
    ) -> UInt8[np.ndarray, "height width 3"]:
        """What that camera sees of the arm in that pose, without lens distortion."""
        model, data = self._world.model, self._world.data
        index = model.camera(_NAME).id
        turned = world_from_camera[:3, :3] @ np.diag([1.0, -1, -1])  # MuJoCo's cameras look backward along z
        model.cam_pos[index] = world_from_camera[:3, 3]
        mujoco.mju_mat2Quat(model.cam_quat[index], np.ascontiguousarray(turned).ravel())
        self._world.set_arm(joint_pos, gripper)
        image = self._renderer.draw(data, _NAME)
        lens = self._lens
        left, top = (round(pad + (size / 2 - centre)) for pad, size, centre in
                     zip(self._pad, (lens.width, lens.height), (lens.cx, lens.cy), strict=True))  # fmt: skip
        return image[top : top + lens.height, left : left + lens.width].copy()
