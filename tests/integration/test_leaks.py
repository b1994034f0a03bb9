"""Neither the simulator's state nor success nor the true action reaches the planner: perturb each, and all decisions stay the same.

The model has random weights: what it is shown decides what it plans, which is all that matters here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from robo_dream.control.episode import LoopConfig
from robo_dream.embodiment import PROPRIO_NAMES, ArmState
from robo_dream.evaluation.manifest import Manifest
from robo_dream.imagination import Belief
from robo_dream.models.config import ModelConfig, ModelSpec, Normaliser
from robo_dream.models.heads import pose_names
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import CostConfig
from robo_dream.runtime.attempt import Prepared, carry_out, goal_of, prepare, simulated_devices
from robo_dream.runtime.planner import build_planner
from robo_dream.safety.limits import SafetyLimits
from sim.adapters.dm_control import DmControlConfig, Reacher
from sim.adapters.metaworld import Metaworld, MetaworldConfig
from sim.adapters.mujoco_world import MujocoWorld, PictureConfig
from sim.adapters.ogbench import Ogbench, OgbenchConfig
from sim.adapters.pusht import PushT, PushTConfig
from sim.environment import Environment, ground_truth_at
from sim.ground_truth import GroundTruth
from sim.pairs import build_manifest
from sim.tabletop.environment import Tabletop
from sim.tabletop.scene import CameraConfig, SceneConfig

SIZE, BUDGET = 64, 10
SEARCH = CemConfig(num_samples=8, num_iterations=2, num_elites=2, num_proposals=4)
COST = CostConfig(distance=0.0, latent=1.0)
WORLDS: dict[str, Callable[[], Environment]] = {
    "tabletop": lambda: Tabletop(
        SceneConfig(cameras=(CameraConfig("front", (0.95, 0.0, 0.58), (0.43, 0.0, 0.08), width=SIZE, height=SIZE),))
    ),
    "reacher": lambda: Reacher(DmControlConfig(picture=PictureConfig(SIZE))),
    "ogbench": lambda: Ogbench(OgbenchConfig(picture=PictureConfig(SIZE, decimate=0.95, shadow=128))),
    "metaworld": lambda: Metaworld(MetaworldConfig(picture=PictureConfig(SIZE))),
    "pusht": lambda: PushT(PushTConfig(size=SIZE)),
}
PACKAGES = {"ogbench": "ogbench", "metaworld": "metaworld", "pusht": "gym_pusht"}


@dataclass(frozen=True)
class Opinion:
    """A judge that is of one opinion about everything."""

    says: bool
    name: str = "opinion"
    is_about_objects: bool = False
    hold_steps: int = 10**6  # an attempt that has succeeded ends, which is no decision
    least_motion: float = 0.0

    def moderate(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return self.says

    def strict(self, now: GroundTruth, goal: GroundTruth) -> bool:
        return self.says

    def distance(self, now: GroundTruth, goal: GroundTruth) -> float:
        return 0.0

    def moved(self, start: GroundTruth, goal: GroundTruth) -> float:
        return 0.0


def model_of(world: Environment, picture_goals: bool = False) -> LatentVideoModel:
    flat = Normaliser((0.0,) * len(PROPRIO_NAMES), (0.1,) * len(PROPRIO_NAMES))
    num_pose = len(pose_names(len(world.ground_truth().object_poses)))
    pose = Normaliser((0.0,) * num_pose, (1.0,) * num_pose)
    config = ModelConfig(image_size=SIZE, policy_input="latents", picture_goals=picture_goals)
    return LatentVideoModel(ModelSpec(config, tuple(camera.name for camera in world.cameras), world.action_spec, flat, pose)).eval()


class Decisions:
    """What was planned, decision after decision: a `Recorder`."""

    def __init__(self) -> None:
        self.planned: list[torch.Tensor] = []

    def on_event(self, event) -> None: ...

    def on_decision(self, decision) -> None:
        self.planned.append(torch.as_tensor(decision.actions))

    def on_step(self, before, sent, applied) -> None: ...


def honestly(prepared: Prepared) -> Prepared:
    return prepared


def decisions(
    world: Environment,
    model: LatentVideoModel,
    manifest: Manifest,
    change: Callable[[Prepared], Prepared] = honestly,
    picture_alone: bool = False,
    told: bool = False,
) -> torch.Tensor:
    """What was planned in one attempt at the manifest's first pair. `told` is what a learned model never is, but for oracle dynamics."""
    planner, seen = build_planner(SEARCH, model, COST), Decisions()
    loop = LoopConfig(limits=SafetyLimits(max_tool_error=None))  # of the untrained model
    prepared = change(prepare(world, replace(manifest.pair(0), budget=BUDGET), loop))
    goal = goal_of(prepared, model, "picture" if picture_alone else "picture_and_arm", told)
    carry_out(prepared, simulated_devices(prepared, model), model, planner, goal, 1, with_truth=told, recorder=seen)
    assert len(seen.planned) == BUDGET // model.action_block
    return torch.stack(seen.planned)


def leaks(world: Environment, model: LatentVideoModel | None = None) -> set[str]:
    """What of the three changes a decision when it is perturbed."""
    model, manifest = model or model_of(world), build_manifest(world, next(iter(world.tasks)), 1)
    honest = decisions(world, model, manifest)
    assert torch.equal(honest, decisions(world, model, manifest))

    def lie(prepared: Prepared) -> Prepared:
        truth = {name: np.full_like(value, 9.0) for name, value in prepared.truth().items()}
        return replace(prepared, truth=lambda: truth, goal_observation=replace(prepared.goal_observation, truth=truth))

    def judged(says: bool) -> Callable[[Prepared], Prepared]:
        def change(prepared: Prepared) -> Prepared:
            prepared.attempt.criterion = Opinion(says)
            return prepared

        return change

    told = (replace(manifest, starts=recommanded(world, manifest.starts)), replace(manifest, goals=recommanded(world, manifest.goals)))
    changed = {
        "state": [decisions(world, model, manifest, lie)],
        "success": [decisions(world, model, manifest, judged(says)) for says in (True, False)],
        "action": [decisions(world, model, other) for other in told],
    }
    return {name for name, others in changed.items() if not all(torch.equal(honest, other) for other in others)}


def recommanded(world: Environment, states: np.ndarray) -> np.ndarray:
    """The same states, but that something else was commanded last; where states hold no command, or nothing is commanded, the same."""
    if not isinstance(world, MujocoWorld) or world.model.nu == 0:
        return states
    found = []
    for state in states:
        world.set_state(state)
        world.data.ctrl[:] = 0.3 + 0.5 * world.data.ctrl
        found.append(world.state)
        assert not np.array_equal(found[-1], state)
    return np.stack(found)


@pytest.fixture(params=list(WORLDS))
def world(request: pytest.FixtureRequest) -> Iterator[Environment]:
    if request.param in PACKAGES:
        pytest.importorskip(PACKAGES[request.param], exc_type=ImportError)
    with WORLDS[request.param]() as made:
        yield made


def test_nothing_leaks(world: Environment) -> None:
    assert leaks(world) == set()


def test_of_a_goal_that_is_a_picture_alone_the_arm_tells_nothing() -> None:
    def elsewhere(prepared: Prepared) -> Prepared:
        arm = prepared.goal_observation.arm
        return replace(prepared, goal_observation=replace(prepared.goal_observation, arm=replace(arm, tool_pos=arm.tool_pos + 0.1)))

    with WORLDS["reacher"]() as world:
        model, manifest = model_of(world, picture_goals=True), build_manifest(world, "reach", 1)
        told, alone = (
            [decisions(world, model, manifest, change, picture_alone) for change in (honestly, elsewhere)]
            for picture_alone in (False, True)
        )
    assert torch.equal(alone[0], alone[1]) and not torch.equal(told[0], told[1]) and not torch.equal(told[0], alone[0])


class CommandTold(Reacher):
    """The arm tells what it was told last, which at a start or a goal is what the episode's own script did."""

    def arm_state(self) -> ArmState:
        state = super().arm_state()
        return replace(state, joint_vel=self.data.ctrl.copy(), tool_pos=state.tool_pos + 0.01 * self.data.ctrl[0])


class SuccessPainted(Reacher):
    """A corner of the picture turns white as the goal is met, as OGBench's cube turns pale."""

    opinion: Opinion | None = None

    def image(self, camera: str) -> np.ndarray:
        image = super().image(camera).copy()
        if self.opinion is not None and self.opinion.moderate(self.ground_truth(), self.ground_truth()):
            image[:16, :16] = 255
        return image


class TruthTold(LatentVideoModel):
    """A model that reads what only labels and scores may."""

    def believe(self, histories) -> Belief:
        belief = super().believe(histories)
        told = [sum(float(np.nansum(value)) for value in history[-1].truth.values()) for history in histories]
        return replace(belief, latent=belief.latent + 0.01 * torch.tensor(told, dtype=torch.float32)[:, None])


def test_a_command_that_is_told_is_found() -> None:
    with CommandTold(DmControlConfig(picture=PictureConfig(SIZE))) as world:
        assert leaks(world) == {"action"}


def test_success_that_is_painted_is_found() -> None:
    with SuccessPainted(DmControlConfig(picture=PictureConfig(SIZE))) as world:
        model, manifest = model_of(world), build_manifest(world, "reach", 1)
        honest = decisions(world, model, manifest)
        world.opinion = Opinion(True)
        assert not torch.equal(honest, decisions(world, model, manifest))


def test_truth_that_is_told_is_found() -> None:
    with WORLDS["reacher"]() as world:
        model = model_of(world)
        model.__class__ = TruthTold
        assert leaks(world, model) == set()  # it would read it, but there is none
        manifest = build_manifest(world, "reach", 1)

        def telling(what: float) -> Callable[[Prepared], Prepared]:
            return lambda prepared: replace(prepared, truth=lambda: {"object_pose": np.full(7, what)})

        planned = [decisions(world, model, manifest, telling(what), told=True) for what in (1.0, 9.0)]
        assert not torch.equal(planned[0], planned[1])


def test_ogbenchs_own_target_and_success_are_not_seen() -> None:
    """Its cube turns pale at the target of its own episode; here it must not."""
    pytest.importorskip("ogbench")
    with WORLDS["ogbench"]() as world:
        assert isinstance(world, Ogbench)
        manifest = build_manifest(world, "cube", 1)
        world.set_state(manifest.starts[0])
        before = world.image("front_pixels")
        world.data.mocap_pos[:] = ground_truth_at(world, manifest.starts[0]).object_pose[:3]
        world._env.post_step()
        assert world._env._success
        np.testing.assert_array_equal(world.image("front_pixels"), before)


def test_metaworlds_own_target_is_not_seen() -> None:
    pytest.importorskip("metaworld", exc_type=ImportError)
    with WORLDS["metaworld"]() as world:
        assert isinstance(world, Metaworld)
        world.reset(np.random.default_rng(0))
        hidden, target = world.image("corner4"), world.model.site("goal")
        target.pos = world.ground_truth().tool_pos + [0.0, 0.0, 0.1]
        world.refresh()
        np.testing.assert_array_equal(world.image("corner4"), hidden)
        target.rgba[3] = 1
        assert not np.array_equal(world.image("corner4"), hidden)


def test_push_ts_own_goal_is_not_seen() -> None:
    pytest.importorskip("gym_pusht", exc_type=ImportError)
    with WORLDS["pusht"]() as world:
        assert isinstance(world, PushT)
        world.reset(np.random.default_rng(0))
        hidden, where = world.image("top"), np.array([256.0, 256.0, 0.0])
        world._env.goal_pose = where
        assert not np.array_equal(world.image("top"), hidden)
        world.set_state(world.state)
        np.testing.assert_array_equal(world.image("top"), hidden)
