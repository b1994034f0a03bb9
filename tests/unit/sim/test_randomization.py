import colorsys
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from robo_dream.config import dump
from robo_dream.data.camera_effects import CameraEffectRanges
from robo_dream.embodiment import BOX
from robo_dream.errors import ConfigError, ContractError
from robo_dream.evaluation.manifest import read_manifest, write_manifest
from robo_dream.runtime.collect import CollectConfig, dataset_spec
from robo_dream.runtime.environment import MANIFESTS, oracle_dynamics
from sim.attempt import Attempt
from sim.pairs import build_manifest
from sim.physics.oracle import PhysicsOracle
from sim.scripts import scripted_episode
from sim.tabletop.behaviours.play import PlayConfig
from sim.tabletop.environment import Tabletop
from sim.tabletop.lag import Lag
from sim.tabletop.objects import ROUND
from sim.tabletop.patterns import HELD_OUT, TRAINED
from sim.tabletop.randomization import (
    ASPECTS,
    HELD_OUT_SIDES,
    PhysicsRanges,
    Randomization,
    Variation,
    VisualRanges,
    draw_variation,
    is_held_out_hue,
    lamp_side,
)
from sim.tabletop.scene import BoxConfig, CameraConfig, SceneConfig
from sim.tabletop.start import VisualRandomization
from sim.tabletop.varied import TABLE_COLOUR

CAMERAS = (
    CameraConfig("front", (0.95, 0.0, 0.58), (0.43, 0.0, 0.08), width=48, height=48),
    CameraConfig("side", (0.43, 0.62, 0.42), (0.43, 0.0, 0.09), width=48, height=48),
)
EFFECTS = CameraEffectRanges(exposure=0.3, noise=0.02, blur=0.8, jpeg=40)
VISUAL = VisualRanges(
    colours=1.0, patterns=0.7, lamp_moved=0.7, light=0.3, shadows=0.5, camera_pos=0.03, camera_turn=0.05, focal_length=0.03,
    effects=EFFECTS, distractors=5,
)  # fmt: skip
PHYSICS = PhysicsRanges(mass=(0.5, 3.0), friction=(0.4, 1.5), size=(0.85, 1.15), delay=(0.0, 0.1), backlash=(0.0, 0.02))
KINDS = ("box", "cylinder", "mug", "l_shape")
WIDE = Randomization(VISUAL, PHYSICS, KINDS)
SCENE = SceneConfig(cameras=CAMERAS, randomization=WIDE)


@pytest.fixture(scope="module")
def world() -> Iterator[Tabletop]:
    with Tabletop(SCENE) as world:
        yield world


@pytest.fixture(scope="module")
def plain() -> Iterator[Tabletop]:
    with Tabletop(replace(SCENE, randomization=None)) as world:
        yield world


def drawn(seed: int, config: Randomization = WIDE) -> Variation:
    return draw_variation(config, seed, config.held_out, [(0.85, 0.15, 0.1)], TABLE_COLOUR, ["front", "side"])


def hue(colour: tuple[float, ...]) -> float:
    return colorsys.rgb_to_hsv(*colour[:3])[0]


def hues(variation: Variation) -> list[float]:
    """Of all that is coloured."""
    things = [thing.colour for thing in (*variation.objects, *variation.distractors)]
    return [hue(colour) for colour in (*things, variation.table, variation.background) if colour is not None]


def test_the_same_seed_gives_the_same_looks_and_physics_in_another_world(world: Tabletop):
    world.reset(np.random.default_rng(3))
    with Tabletop(SCENE) as other:
        other.reset(np.random.default_rng(5))  # what was drawn before is forgotten
        other.reset(np.random.default_rng(3))
        assert other.variation == world.variation and other.variation is not None
        np.testing.assert_array_equal(other.state, world.state)
        for name in world.camera_names:
            np.testing.assert_array_equal(other.image(name), world.image(name))


def test_two_seeds_look_otherwise_and_weigh_otherwise(world: Tabletop):
    pictures, masses = [], []
    for seed in range(6):
        world.reset(np.random.default_rng(seed))
        pictures.append(world.image("front").astype(int))
        masses.append(float(world.model.body("object").mass[0]))
    assert len(set(masses)) == 6
    assert all(np.abs(one - other).mean() > 3 for i, one in enumerate(pictures) for other in pictures[:i])


def test_a_state_brings_back_looks_and_physics_and_what_the_arm_was_late_with(world: Tabletop):
    moves = np.random.default_rng(0).uniform(-1, 1, (8, 5)) * world.moves.spec.high
    world.reset(np.random.default_rng(0))
    assert world.variation is not None and world.variation.delay > 0 and world.variation.backlash > 0
    for move in moves:
        world.step(move)
    middle = world.state
    world.set_state(middle)  # which moves drawn poses on by the one physics step that they lag behind
    seen = world.image("side")
    first = [world.step(move) is not None and world.state for move in moves]
    world.reset(np.random.default_rng(1))
    with Tabletop(SCENE) as other:
        for place in (world, other):
            place.set_state(middle)
            np.testing.assert_array_equal(place.state, middle)
            np.testing.assert_array_equal(place.image("side"), seen)
            np.testing.assert_array_equal([place.step(move) is not None and place.state for move in moves], first)


def test_the_seed_of_a_variation_keeps_its_meaning():
    """Frozen pairs say seeds; whoever changes how they are read makes all of them anew."""
    one = drawn(12345)
    assert one.objects[0].kind == "l_shape" and one.table_pattern.kind == "checker" and one.objects[0].colour is not None
    numbers = [one.delay, one.objects[0].mass, one.objects[0].colour[0], one.table_pattern.seed, one.cameras["side"].focal_length]
    np.testing.assert_allclose(numbers, [0.014977459397088555, 1.229396550835153, 0.969328691099991, 866873259, 0.9827129673202567])


def test_nothing_of_an_existing_recipe_changes():
    """What was collected and frozen before anything was randomized is what is made today."""
    recipe = dataset_spec(CollectConfig(world=SceneConfig(cameras=()))).recipe
    assert set(recipe["world"]) == {"kind", "arm", "cameras", "objects", "decimate"}
    with Tabletop() as world:
        frozen, made = read_manifest(MANIFESTS / "reach.safetensors", len(world.state)), build_manifest(world, "reach", 2)
    np.testing.assert_allclose(made.starts, frozen.starts[:2], atol=1e-6)  # bit for bit on the machine that froze them
    np.testing.assert_allclose(made.goals, frozen.goals[:2], atol=1e-6)


def test_a_scene_that_varies_nothing_looks_and_moves_like_one_that_cannot(plain: Tabletop):
    with Tabletop(replace(SCENE, randomization=Randomization())) as still:
        plain.reset(np.random.default_rng(2))
        still.vary(7)
        size = len(plain.state)
        still.set_state(np.concatenate([plain.state, still.state[size:]]))
        for move in np.random.default_rng(0).uniform(-1, 1, (5, 5)) * plain.moves.spec.high:
            np.testing.assert_array_equal(still.image("front"), plain.image("front"))
            still.step(move)
            plain.step(move)
        np.testing.assert_allclose(still.state[:size], plain.state, atol=1e-9)


def test_what_is_heavy_or_slippery_moves_otherwise(world: Tabletop):
    """Pushed at 0.6 m/s an object slides v^2 / (2 mu g): three times the way at a third of the friction."""
    ways = {}
    for friction in (0.3, 0.9):
        config = Randomization(physics=PhysicsRanges(mass=(10.0, 10.0), friction=(friction, friction)))
        with Tabletop(SceneConfig(cameras=(), randomization=config)) as table:
            table.vary(0)
            table.home()
            assert table.model.body("object").mass[0] == pytest.approx(2.0)
            table.set_object(np.array([0.4, -0.1, 0.03, 1, 0, 0, 0]))
            table.data.qvel[table.model.joint("object").dofadr[0] + 1] = 0.6
            for _ in range(8):
                table.step(np.zeros(5))
            ways[friction] = table.object_poses[0, 1] + 0.1
    assert ways[0.3] == pytest.approx(0.6**2 / (2 * 0.3 * 9.81), rel=0.15)
    assert ways[0.9] == pytest.approx(0.6**2 / (2 * 0.9 * 9.81), rel=0.25)


def test_what_stands_about_is_seen_and_touches_nothing_and_stands_clear_of_the_workspace():
    visual = VisualRanges(distractors=12)
    seed = next(seed for seed in range(100) if len(drawn(seed, Randomization(visual)).distractors) >= 10)
    ends, pictures = [], []
    for some in (visual, replace(visual, distractors=0)):
        with Tabletop(replace(SCENE, randomization=Randomization(some))) as world:
            world.vary(seed)
            world.home()
            for move in np.random.default_rng(0).uniform(-1, 1, (5, 5)) * world.moves.spec.high:
                world.step(move)
            ends.append(world.object_poses[0])
            pictures.append(world.image("side").astype(int))
            if some.distractors:
                limits = world.scene.arm.limits
                shown = [geom for geom in range(world.model.ngeom) if world.model.geom(geom).name.startswith("distractor")]
                shown = [geom for geom in shown if world.model.geom_group[geom] == 0]
                assert len(shown) >= 10
                for place in world.data.geom_xpos[shown]:
                    outside = np.maximum(np.subtract(limits.workspace_low, place), place - limits.workspace_high)[:2]
                    assert outside.max() > 0.1 and (np.abs(place[:2] - [0.35, 0]) < [0.5, 0.6]).all()
                assert not world.model.geom_contype[shown].any() and not world.model.geom_conaffinity[shown].any()
    np.testing.assert_array_equal(*ends)
    assert np.abs(pictures[0] - pictures[1]).max() > 50


def test_held_out_looks_never_occur_in_training():
    held_out = replace(WIDE, held_out=ASPECTS)
    for seed in range(400):
        seen, unseen = drawn(seed), drawn(seed, held_out)
        assert not any(map(is_held_out_hue, hues(seen))) and all(map(is_held_out_hue, hues(unseen)))
        assert {seen.table_pattern.kind, *(thing.pattern.kind for thing in seen.objects)} <= set(TRAINED)
        assert {unseen.table_pattern.kind, *(thing.pattern.kind for thing in unseen.objects)} <= set(HELD_OUT)
        low, high = HELD_OUT_SIDES
        assert unseen.lamp is not None and low <= lamp_side(unseen.lamp) <= high
        assert seen.lamp is None or not low <= lamp_side(seen.lamp) <= high
        for times, other in zip(seen.brightness, unseen.brightness, strict=True):
            assert abs(np.log(times)) <= np.log(1.3) + 1e-12 < abs(np.log(other)) <= 1.5 * np.log(1.3) + 1e-9
        for name in seen.cameras:
            one, other = seen.cameras[name], unseen.cameras[name]
            assert np.linalg.norm(one.shift) <= 0.03 + 1e-9 < np.linalg.norm(other.shift) <= 0.045 + 1e-9
            assert np.linalg.norm(one.turn) <= 0.05 + 1e-9 < np.linalg.norm(other.turn) <= 0.075 + 1e-9
            assert abs(np.log(one.focal_length)) <= np.log(1.03) + 1e-9 < abs(np.log(other.focal_length))
            assert one.effects.noise <= 0.02 < other.effects.noise and one.effects.blur <= 0.8 < other.effects.blur
            assert one.effects.jpeg >= 40 > other.effects.jpeg
            assert abs(np.log(one.effects.exposure)) <= np.log(1.3) + 1e-9 < abs(np.log(other.effects.exposure))


@pytest.mark.parametrize("aspect", ASPECTS)
def test_holding_one_aspect_out_changes_no_other(aspect: str):
    same, other = drawn(4), drawn(4, replace(WIDE, held_out=(aspect,)))
    assert same != other
    parts = {
        "colours": lambda one: hues(one),
        "patterns": lambda one: (one.table_pattern.kind, one.objects[0].pattern.kind),
        "lights": lambda one: (one.lamp, one.brightness),
        "cameras": lambda one: [(camera.shift, camera.turn, camera.focal_length) for camera in one.cameras.values()],
        "effects": lambda one: [camera.effects for camera in one.cameras.values()],
        "the rest": lambda one: (one.has_shadows, one.delay, one.objects[0].kind, one.objects[0].mass, len(one.distractors)),
    }
    assert {name for name, part in parts.items() if part(same) != part(other)} == {aspect}


def test_held_out_pairs_keep_the_looks_of_each_and_both_ends_look_alike(world: Tabletop, tmp_path):
    unseen = replace(SCENE, randomization=replace(WIDE, held_out=("colours", "patterns")))
    with Tabletop(unseen) as other:
        write_manifest(tmp_path / "push.safetensors", build_manifest(other, "push", 3))
    manifest = read_manifest(tmp_path / "push.safetensors", len(world.state))
    seen = []
    for number in range(len(manifest)):
        attempt = Attempt(world, manifest.pair(number))  # in the world that training has
        assert world.variation is not None and world.variation.held_out == ("colours", "patterns")
        here = world.variation
        assert all(map(is_held_out_hue, hues(here)))
        attempt.goal_observation()
        assert world.variation == here
        world.set_state(attempt.goal_state)
        assert world.variation == here
        seen.append(here.seed)
    assert len(set(seen)) > 1
    usual, same = build_manifest(world, "push", 3), -world._lag.state.size - 1 if world._lag else -1  # all but which looks are held out
    np.testing.assert_array_equal(usual.starts[:, :same], manifest.starts[:, :same])
    np.testing.assert_array_equal(usual.goals[:, :same], manifest.goals[:, :same])


def test_an_episode_tells_what_was_drawn_and_where_its_cameras_stood(world: Tabletop):
    episode = scripted_episode(world, 11, PlayConfig(num_steps=3))
    info = json.loads(json.dumps(episode.info))
    assert world.variation is not None
    assert info["variation"] == json.loads(json.dumps(world.variation.to_json()))
    assert set(info["intrinsics"]) == set(info["world_from_camera"]) == {"front", "side"}
    focal = world.variation.cameras["front"].focal_length
    assert info["intrinsics"]["front"]["fx"] == pytest.approx(focal * 24 / np.tan(np.deg2rad(35 / 2)))
    shift = np.linalg.norm(np.subtract(np.array(info["world_from_camera"]["front"])[:3, 3], CAMERAS[0].pos))
    assert 0 < shift <= 0.03
    again = scripted_episode(world, 11, PlayConfig(num_steps=3))
    np.testing.assert_array_equal(again.images["front"], episode.images["front"])
    recipe = dataset_spec(CollectConfig(world=SCENE)).recipe
    assert recipe["world"]["randomization"] == dump(WIDE)


def test_tasks_have_goals_for_every_kind_and_judge_round_things_as_round(world: Tabletop):
    kinds = set()
    for seed in range(12):
        world.reset(np.random.default_rng(seed))
        kind = world._bounds(0)[0]
        kinds.add(kind)
        truth = world.ground_truth()
        assert truth.lies_flat and truth.half_size == world.half_size()
        assert (truth.object_symmetry == ROUND) == (kind == "cylinder")
    assert kinds == set(KINDS)


def test_an_episode_may_be_about_any_object_whose_goals_leave_the_others_where_they_are():
    boxes = tuple(BoxConfig(name) for name in ("one", "two", "three"))
    scene = SceneConfig(cameras=(), objects=boxes, randomization=Randomization(kinds=("box", "mug"), any_object=True))
    chosen = set()
    with Tabletop(scene) as world:
        for seed in range(12):
            rng = np.random.default_rng(seed)
            start, goal = world.tasks["push"].draw(0, rng)  # type: ignore[misc]
            world.set_state(goal)
            there = world.ground_truth()
            world.set_state(start)
            here, kinds = world.ground_truth(), [world._bounds(index)[0] for index in range(3)]
            moved = np.linalg.norm(there.object_poses[:, :3] - here.object_poses[:, :3], axis=1) > 0.01
            assert np.flatnonzero(moved).tolist() == [world.target] == [here.place]
            np.testing.assert_array_equal(here.object_poses, world.object_poses)
            assert [symmetry for _, symmetry in here.kinds] == [{"box": BOX, "mug": 1}[kind] for kind in kinds]
            chosen.add(world.target)
        before = world.object_poses
        for move in islice(world.script("push", np.random.default_rng(0)), 60):
            world.step(move)
        pushed = np.linalg.norm(world.object_poses[:, :2] - before[:, :2], axis=1)
        assert pushed.argmax() == world.target and pushed.max() > 0.03
    assert chosen == {0, 1, 2}


def test_oracle_dynamics_imagine_a_randomized_world_as_it_is(world: Tabletop):
    world.reset(np.random.default_rng(0))
    moves = np.random.default_rng(1).uniform(-0.5, 0.5, (1, 5, 5)) * world.moves.spec.high
    start = world.state
    with oracle_dynamics(world) as oracle:
        imagined = oracle.futures(start[None], moves)[0, 0]
    np.testing.assert_array_equal(world.state, start)
    for move in moves[0]:
        world.step(world.action_spec.clip(move))
    np.testing.assert_array_equal(world.state, imagined)
    with pytest.raises(ContractError, match="a randomized scene has one each"):
        PhysicsOracle(world)


def test_a_state_of_another_randomization_is_refused_and_a_damaged_one_too(world: Tabletop):
    state = world.state
    with (
        Tabletop(replace(SCENE, cameras=(), randomization=replace(WIDE, kinds=("box",)))) as other,
        pytest.raises(ContractError, match="randomized in another way"),
    ):
        other.set_state(state)
    size = len(world.state) - len(world._lag.state) if world._lag else len(world.state)
    for seed in (0.5, -2.0, np.nan, 2.0**60):
        damaged = state.copy()
        damaged[size - 2] = seed
        with pytest.raises(ContractError, match="which no scene draws"):
            world.set_state(damaged)
    np.testing.assert_array_equal(world.state, state)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: VisualRanges(colours=3.0), "VisualRanges.colours is 3.0; allowed is a number of 0 to 1; did you mean 0.03?"),
        (lambda: VisualRanges(camera_turn=3.0), "VisualRanges.camera_turn is 3.0 rad"),
        (lambda: VisualRanges(distractors=-1), "VisualRanges.distractors is -1; allowed is a whole number of 0 to 12"),
        (lambda: PhysicsRanges(mass=(2.0, 1.0)), "PhysicsRanges.mass is a range from 2.0 to 1.0; give the lower end first"),
        (lambda: PhysicsRanges(delay=(0.0, 100.0)), "is 100.0 s; allowed is a number of 0 to 0.5 s"),
        (lambda: Randomization(kinds=()), "Randomization.kinds is ()"),
        (lambda: Randomization(kinds=("banana",)), "banana"),  # type: ignore[arg-type]
        (lambda: Randomization(held_out=("colours",)), "held_out names colours, which visual does not vary"),
        (lambda: CameraEffectRanges(jpeg=0), "CameraEffectRanges.jpeg is 0"),
    ],
)
def test_what_no_scene_can_vary_is_a_clear_error(make, said: str):
    with pytest.raises(ConfigError) as caught:
        make()
    assert said in str(caught.value)


def test_the_look_is_varied_in_one_place(world: Tabletop):
    with pytest.raises(ConfigError, match=r"both play\.look and world\.randomization"):
        PlayConfig(look=VisualRandomization(colour=0.1)).require(world)


def test_a_lag_passes_a_ramp_on_late_and_turns_back_after_its_play():
    lag = Lag(num_targets=2, dt=0.02, longest_delay=0.1)
    lag.delay, lag.backlash = 0.05, 0.0
    lag.settle(np.zeros(2))
    ramp = 0.02 * np.arange(1, 31)
    told = np.array([lag.passed_on(np.array([target, target])) for target in ramp])
    np.testing.assert_allclose(told[5:], np.stack([ramp, ramp], 1)[5:] - 0.05, atol=1e-12)  # a rad a second, 0.05 s late
    np.testing.assert_array_equal(lag.commanded, [ramp[-1], ramp[-1]])
    lag.delay, lag.backlash = 0.0, 0.1
    lag.settle(np.zeros(2))
    there = [lag.passed_on(np.array([target, target])) for target in (1.0, 0.97, 0.9, 0.5)]
    np.testing.assert_allclose(there, [[0.95, 1.0], [0.95, 0.97], [0.95, 0.9], [0.55, 0.5]])  # the gripper has no play


def test_a_randomization_is_known_by_what_it_says_and_not_by_what_may_be_said_one_day():
    """Frozen pairs of today are read by a scene that has more to vary, and varies it not."""
    assert Randomization().fingerprint == zlib.crc32(b"{}")
    assert Randomization(VisualRanges(light=0.3)).fingerprint == zlib.crc32(b'{"visual": {"light": 0.3}}')
    assert replace(WIDE, held_out=ASPECTS).fingerprint == WIDE.fingerprint != replace(WIDE, kinds=("box",)).fingerprint
