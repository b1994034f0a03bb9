"""Pictures: fewer triangles change nothing but the picture, and renderers go away quietly."""

import os
import subprocess
import sys
from dataclasses import replace

import mujoco
import numpy as np
import pytest

from robo_dream.errors import ConfigError
from robo_dream.runtime.cameras import crop_image
from sim.adapters.mujoco_world import MujocoPicture, PictureConfig
from sim.rendering import SceneRenderer
from sim.tabletop.scene import CameraConfig, SceneConfig
from sim.tabletop.start import draw_start
from sim.tabletop.world import World

MAX_DIFFERENCE = 3.0  # of 255, mean over a 64 px picture


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    screen = ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "PYOPENGL_PLATFORM")
    kept = {name: value for name, value in os.environ.items() if name not in screen}
    return subprocess.run([sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=False)


def drawn_faces(world: World) -> int:
    model = world.model
    drawn = (model.geom_dataid >= 0) & (model.geom_group < 3)
    return int(model.mesh_facenum[model.geom_dataid[drawn]].sum())


def test_decimated_meshes_change_the_picture_a_little_and_physics_not_at_all():
    pytest.importorskip("fast_simplification")
    with World() as whole, World(SceneConfig(decimate=0.8)) as light:
        for world in (whole, light):
            draw_start(world, np.random.default_rng(0))
        np.testing.assert_array_equal(light.model.body_mass, whole.model.body_mass)
        np.testing.assert_array_equal(light.model.body_inertia, whole.model.body_inertia)
        start = whole.object_poses[0].copy()
        for _ in range(30):  # onto the box and through it
            down = np.append(np.clip(start[:3] - [0, 0, 0.01] - whole.arm_state().tool_pos, -0.02, 0.02), [0.0, 0.1])
            whole.step(down)
            light.step(down)
            np.testing.assert_array_equal(light.state, whole.state)
        assert np.linalg.norm(whole.object_poses[0, :2] - start[:2]) > 0.02  # meshes collided
        assert drawn_faces(light) < 0.3 * drawn_faces(whole)
        difference = np.abs(light.image("front").astype(int) - whole.image("front"))
        assert 0 < difference.mean() < MAX_DIFFERENCE


def test_an_oversampled_picture_is_what_a_larger_camera_sees_cut_and_averaged_down():
    front = CameraConfig("front", (0.86, 0.0, 0.4), (0.42, 0.0, 0.05), fovy=42.0)
    with World(SceneConfig(cameras=(replace(front, oversample=5),))) as world, World(SceneConfig(cameras=(front,))) as plain:
        with SceneRenderer(world.model, 640, 480) as larger:
            seen = crop_image(larger.draw(world.data, "front"), 96)
        np.testing.assert_array_equal(world.image("front"), seen)
        assert world.cameras == plain.cameras and (plain.image("front") != seen).any()


def test_what_is_repainted_shows_though_its_mesh_is_decimated():
    pytest.importorskip("fast_simplification")
    points = np.random.default_rng(0).normal(size=(200, 3))
    spec = mujoco.MjSpec()
    spec.add_mesh(name="ball", uservert=(0.3 * points / np.linalg.norm(points, axis=-1, keepdims=True)).ravel().tolist())
    spec.worldbody.add_light(pos=(0, 0, 2))
    spec.worldbody.add_camera(name="above", pos=(0, 0, 1))
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname="ball", rgba=(1, 0, 0, 1))
    model = spec.compile()
    data = mujoco.MjData(model)
    picture = MujocoPicture(model, spec, PictureConfig(size=64, decimate=0.5))
    try:
        red = picture.draw(data, "above")[32, 32].astype(int)
        model.geom_rgba[0] = 0, 0, 1, 1
        blue = picture.draw(data, "above")[32, 32].astype(int)
    finally:
        picture.close()
    assert len(picture._drawn) == 1 and picture._drawn[0] != 0  # a stand-in is drawn
    assert red[0] > red[2] + 50 and blue[2] > blue[0] + 50


def test_a_fraction_that_leaves_nothing_is_refused():
    with pytest.raises(ConfigError, match="decimate"):
        SceneConfig(decimate=1.0)


def test_decimating_without_its_package_says_what_to_install():
    done = run(
        "import sys; sys.modules['fast_simplification'] = None\nfrom sim.tabletop.scene import *\nbuild_scene(SceneConfig(decimate=0.5))",
        MUJOCO_GL="egl",
    )
    assert "MissingExtraError" in done.stderr and "pip install 'robo-dream[decimate]'" in done.stderr


def test_a_world_that_nobody_closed_ends_quietly():
    done = run("from sim.tabletop.world import World; a, b = World(), World(); a.image('front'); b.image('side')", MUJOCO_GL="egl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("backend", ["glfw", "bogus"])
def test_without_a_gl_the_error_names_the_debian_packages(backend):
    done = run("from sim.tabletop.world import World; World().image('front')", MUJOCO_GL=backend)
    assert "MissingExtraError" in done.stderr
    assert "libegl1" in done.stderr and "libosmesa6" in done.stderr
