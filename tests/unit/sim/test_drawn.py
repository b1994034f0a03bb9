"""True physics seen through a model: it imagines what would be seen, and a search over it is the model's own but for the dynamics."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from robo_dream.config import Changes
from robo_dream.control.episode import LoopConfig
from robo_dream.embodiment import Observation
from robo_dream.errors import ContractError
from robo_dream.evaluation.manifest import read_manifest
from robo_dream.imagination import Belief, Goal, WorldModel
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.baselines import BestOfConfig
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.goals import AimedPlanner
from robo_dream.planning.local_goals import LocalGoalConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.attempt import GoalShown, goal_of, prepare
from robo_dream.runtime.evaluate import EvaluateConfig, Job, Worker
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import ProposalConfig, build_planner
from robo_dream.testing.point_mass import PointMassModel, point_action_spec
from sim.environment import observation_of
from sim.physics.drawn import DrawnDynamics
from sim.physics.oracle import OracleDynamics, PhysicsOracle
from sim.tabletop.environment import Tabletop

CHECKPOINT = Path("configs/checkpoints/jaco_s.safetensors")
BY_LATENTS = CostConfig(distance=0.0, latent=1.0)
NEARLY = 1e-5  # pictures are encoded in other batches
ONE_PHYSICS_STEP = 0.1  # MuJoCo's own picture of a world that is being stepped is one physics step old


@dataclass(frozen=True)
class Scene:
    """A pair of the frozen manifest, and true physics seen through the released model."""

    world: Tabletop
    model: LatentVideoModel
    drawn: DrawnDynamics
    start: np.ndarray
    goal: np.ndarray


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    model, manifest = load_checkpoint_model(CHECKPOINT), read_manifest(Path("configs/manifests/push.safetensors"))
    with Tabletop() as world:
        drawn = DrawnDynamics(OracleDynamics(world, model.action_block), world, model, rows=3)
        yield Scene(world, model, drawn, manifest.starts[0], manifest.goals[0])


def believed(scene: Scene, model: WorldModel, state: np.ndarray) -> torch.Tensor:
    scene.world.set_state(state)
    return model.believe([[observation_of(scene.world)]]).latent


def test_what_is_imagined_is_what_the_model_believes_on_seeing_it_happen(scene: Scene) -> None:
    spec, block = scene.model.action_spec, scene.model.action_block
    actions = torch.rand(1, 2, 2 * block, spec.size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    actions = actions * torch.as_tensor(spec.high)
    belief = Belief(believed(scene, scene.drawn, scene.start))
    before = scene.world.state
    imagined = scene.drawn.imagine(belief, actions)
    np.testing.assert_array_equal(scene.world.state, before)
    for sample in range(2):
        scene.world.set_state(scene.start)
        states, alive = [], []
        for step in range(2 * block):
            scene.world.step(spec.clip(actions[0, sample, step].numpy()))
            if (step + 1) % block == 0:
                states.append(scene.world.state)
                alive.append(scene.model.believe([[observation_of(scene.world)]]).latent[0])
        found, seen = imagined.latents[0, sample], scene.drawn.seen(imagined.latents)[0, sample]
        np.testing.assert_array_equal(found[:, scene.drawn.num_seen :].numpy(), np.stack(states))
        torch.testing.assert_close(seen, torch.stack(alive), atol=ONE_PHYSICS_STEP, rtol=0)
        torch.testing.assert_close(seen, torch.cat([believed(scene, scene.model, state) for state in states]), atol=NEARLY, rtol=0)


def test_imagining_on_is_the_same_as_imagining_through(scene: Scene) -> None:
    block = scene.model.action_block
    actions = 0.5 * torch.as_tensor(scene.model.action_spec.high).expand(1, 1, 2 * block, -1)
    belief = Belief(believed(scene, scene.drawn, scene.start))
    through = scene.drawn.imagine(belief, actions).latents[:, :, -1]
    on = scene.drawn.imagine(scene.drawn.imagine(belief, actions[:, :, :block]).end(), actions[:, :, block:]).latents[:, :, -1]
    torch.testing.assert_close(on, through, atol=NEARLY, rtol=0)


def test_a_search_ranks_by_the_models_own_cost_of_what_it_would_see_and_its_policy_proposes(scene: Scene) -> None:
    belief = Belief(believed(scene, scene.drawn, scene.start))
    goal = Goal(believed(scene, scene.drawn, scene.goal))
    search = build_planner(BestOfConfig(horizon=1, num_samples=4), scene.drawn, BY_LATENTS, ProposalConfig())
    trace = search.plan(belief, goal, [1]).trace
    seen = scene.drawn.seen(trace.latents)
    far = (seen - scene.drawn.seen(goal.latent)[:, None, None]).square().mean(-1).sqrt()
    torch.testing.assert_close(trace.totals.float(), far[..., 0], atol=NEARLY, rtol=0)
    alike = build_planner(BestOfConfig(horizon=1, num_samples=4), scene.model, BY_LATENTS, ProposalConfig())
    own = alike.plan(Belief(scene.drawn.seen(belief.latent)), Goal(scene.drawn.seen(goal.latent)), [1]).trace
    torch.testing.assert_close(trace.candidates.float(), own.candidates, atol=NEARLY, rtol=0)  # one block: no dynamics yet
    assert not torch.allclose(trace.totals.float(), own.totals, atol=NEARLY)


def test_local_goals_are_those_of_what_the_model_sees(scene: Scene) -> None:
    belief, goal = (Belief(believed(scene, scene.drawn, state)) for state in (scene.start, scene.goal))
    learned, by_local_goal = scene.model.with_local_goals((5, 10)).requires_grad_(False), LocalGoalConfig(steps=5, temperature=1.0)
    cost = CostConfig(distance=0.0, local_goal=by_local_goal)
    one_block = BestOfConfig(horizon=1, num_samples=2)
    search = build_planner(one_block, replace(scene.drawn, model=learned), cost, ProposalConfig())
    trace = search.plan(belief, Goal(goal.latent), [1]).trace
    alike = build_planner(one_block, learned, cost, ProposalConfig())
    assert isinstance(search, AimedPlanner) and isinstance(alike, AimedPlanner)
    seen = Belief(scene.drawn.seen(belief.latent)), Goal(scene.drawn.seen(goal.latent))
    local, own = search.aim.of(belief, Goal(goal.latent), [1]).local, alike.aim.of(*seen, [1]).local
    assert local is not None and own is not None
    torch.testing.assert_close(local.numbers, own.numbers, atol=NEARLY, rtol=0)
    off = (learned.seen(scene.drawn.seen(trace.latents)) - own.numbers[:, None, None]) / own.stds[:, None, None]
    torch.testing.assert_close(trace.totals.float(), off.square().mean(-1).sqrt()[..., 0], atol=1e-3, rtol=1e-3)


def test_a_candidate_that_is_not_finite_is_nowhere(scene: Scene) -> None:
    states = torch.from_numpy(np.stack([scene.start, np.full_like(scene.start, np.nan)]))
    drawn = scene.drawn.drawn(states)
    assert torch.isfinite(drawn[0]).all() and torch.isnan(drawn[1]).all()


def test_physics_of_another_action_block_is_refused(scene: Scene) -> None:
    with pytest.raises(ContractError, match="action_block 3 for a model with 5"):
        replace(scene.drawn, physics=OracleDynamics(scene.world, 3))


def test_a_picture_of_the_goal_does_not_say_where_the_arm_was_even_to_who_knows_the_state(scene: Scene) -> None:
    pair = read_manifest(Path("configs/manifests/push.safetensors")).pair(0)
    prepared = prepare(scene.world, pair, LoopConfig())
    goals: list[np.ndarray] = []

    class Asking(PointMassModel):
        def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
            goals.append(histories[0][-1].arm.tool_pos)
            return Belief(torch.zeros(1, 8))

    shows: tuple[GoalShown, ...] = ("picture", "picture_and_arm", "picture_arm_at_start")
    for shown in shows:
        goal_of(prepared, Asking(point_action_spec()), shown, is_told=True)
    assert np.isnan(goals[0]).all() and np.isfinite(goals[1]).all()
    assert np.array_equal(goals[2], scene.world.arm_state().tool_pos) and not np.allclose(goals[2], goals[1])


def test_true_physics_is_drawn_where_the_cost_reads_latents_and_tells_poses_otherwise() -> None:
    job = Job("push", "oracle_dynamics", 0, 1, "")
    settings = EvaluateConfig(
        tasks=("push",), methods=("oracle_dynamics",), oracle_planner=PolicyGuidedConfig(num_samples=16, num_proposals=12)
    )
    by_latents = replace(settings, planning=Changes({"cost": {"distance": 0.0, "latent": 1.0, "pose": 0.0}}))
    workers = [Worker(config) for config in (settings, by_latents)]
    assert [type(worker._model(job)) for worker in workers] == [PhysicsOracle, DrawnDynamics]
