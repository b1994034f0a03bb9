from collections.abc import Iterator

import mujoco
import numpy as np
import pytest

from sim.ground_truth import turn_between
from sim.tabletop.objects import ROUND, Part, bounds_of, parts_of
from sim.tabletop.randomization import PhysicsRanges, Randomization
from sim.tabletop.scene import TIMESTEP, SceneConfig
from sim.tabletop.world import World

KINDS = ("box", "cylinder", "mug", "l_shape")
SAME = 1e-6  # m; one model was compiled with the shape, the other changed to it: rounding grows in contacts


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with World(SceneConfig(cameras=(), randomization=Randomization(physics=PhysicsRanges(size=(0.8, 1.2)), kinds=KINDS))) as world:
        yield world


def seed_of(world: World, kind: str) -> int:
    return next(seed for seed in range(100) if world._variation(seed, ()).objects[0].kind == kind)


def compiled(parts: tuple[Part, ...], mass: float, friction: float) -> mujoco.MjModel:
    """A table and a body of these parts, of evenly spread weight, by MuJoCo's own compiler."""
    volume = sum(part.volume for part in parts if part.is_solid)
    names = {mujoco.mjtGeom.mjGEOM_BOX: "box", mujoco.mjtGeom.mjGEOM_CYLINDER: "cylinder"}
    geoms = "".join(
        f'<geom type="{names[part.type]}" size="{" ".join(map(repr, map(float, part.size)))}" pos="{" ".join(map(str, part.pos))}" '
        f'mass="{mass * part.volume / volume}" friction="{friction} 0.01 0.0005" condim="4" priority="1"/>'
        for part in parts
        if part.is_solid
    )
    return mujoco.MjModel.from_xml_string(
        f'<mujoco><option timestep="{TIMESTEP}" cone="elliptic" impratio="5"><flag nativeccd="disable"/></option><worldbody>'
        '<geom type="box" size="0.5 0.6 0.02" pos="0.35 0 -0.02"/>'
        f'<body name="object" pos="0.43 0 0.03"><freejoint/>{geoms}</body></worldbody></mujoco>'
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_that_the_scene_is_changed_to_weighs_what_mujoco_compiles(world: World, kind: str):
    world.vary(seed_of(world, kind))
    assert world.variation is not None
    drawn = world.variation.objects[0]
    parts = parts_of(kind, (0.03 * drawn.size[0], 0.03 * drawn.size[0], 0.03 * drawn.size[1]))
    model, body = compiled(parts, 0.2, 1.0), world.model.body("object").id
    there = model.body("object").id
    assert world.model.body_mass[body] == pytest.approx(model.body_mass[there])
    np.testing.assert_allclose(world.model.body_ipos[body], model.body_ipos[there], atol=1e-9)
    np.testing.assert_allclose(tensor(world.model, body), tensor(model, there), rtol=1e-6, atol=1e-12)


def tensor(model: mujoco.MjModel, body: int) -> np.ndarray:
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, model.body_iquat[body])
    axes = turn.reshape(3, 3)
    return axes @ np.diag(model.body_inertia[body]) @ axes.T


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_falls_and_comes_to_rest_as_one_that_was_compiled(world: World, kind: str):
    world.vary(seed_of(world, kind))
    assert world.variation is not None
    drawn = world.variation.objects[0]
    model = compiled(parts_of(kind, (0.03 * drawn.size[0], 0.03 * drawn.size[0], 0.03 * drawn.size[1])), 0.2, 1.0)
    data = mujoco.MjData(model)
    pose = np.array([0.43, 0.0, 0.06, *(np.array([1.0, 0.1, 0.05, 0.3]) / np.linalg.norm([1.0, 0.1, 0.05, 0.3]))])
    data.qpos[:7] = pose
    world.home()
    world.set_object(pose)
    data.qvel[0] = 0.2
    world.data.qvel[world.model.joint("object").dofadr[0]] = 0.2
    apart = []
    for _ in range(60):
        mujoco.mj_step(model, data)
        mujoco.mj_step(world.model, world.data)
        apart.append(np.abs(world.object_poses[0, :3] - data.qpos[:3]).max())
    assert max(apart[:25]) < SAME and data.qpos[2] < 0.05  # it has fallen


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_stands_where_it_is_put(world: World, kind: str):
    world.vary(seed_of(world, kind))
    world.home()
    world.set_object(np.array([0.45, 0.1, world.half_size()[2], 1, 0, 0, 0]))
    before = world.object_poses[0].copy()
    for _ in range(10):
        world.step(np.zeros(5))
    np.testing.assert_allclose(world.object_poses[0], before, atol=2e-3)
    assert world.ground_truth().lies_flat and world.ground_truth().at_rest


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_lies_within_its_bounds(kind: str):
    bounds = np.asarray(bounds_of(kind, (0.03, 0.04, 0.02)))
    for part in parts_of(kind, (0.03, 0.04, 0.02)):
        if part.is_solid:
            assert (np.abs(part.pos) + part.half_extent <= bounds + 1e-12).all()


def test_what_is_round_looks_the_same_however_it_is_turned_and_upside_down_but_not_lying():
    upright, turned, down = np.array([1.0, 0, 0, 0]), np.array([np.cos(0.4), 0, 0, np.sin(0.4)]), np.array([0.0, 1, 0, 0])
    lying = np.array([np.cos(np.pi / 4), np.sin(np.pi / 4), 0, 0])
    half = (0.03, 0.03, 0.03)
    assert turn_between(upright, turned, half, ROUND) < 1e-6 and turn_between(upright, down, half, ROUND) < 1e-6
    assert turn_between(upright, lying, half, ROUND) == pytest.approx(np.pi / 2)
