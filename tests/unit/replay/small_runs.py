"""Real small runs for the tests of this folder: the loop on the point mass, recorded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robo_dream import config
from robo_dream.control.asynchronous import DelayedWorker
from robo_dream.control.decision import goal_record
from robo_dream.control.episode import Bench, Hooks, LoopConfig
from robo_dream.control.loop import run_episode
from robo_dream.control.policies import PlannerPolicy
from robo_dream.embodiment import ArmState
from robo_dream.imagination import Goal, Planner
from robo_dream.planning.costs import CostConfig, PoseCostConfig, build_cost
from robo_dream.planning.kinds import PlannerConfig, planner_of
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import RunRecord, read_run
from robo_dream.recording.writer import RunWriter
from robo_dream.testing.clocks import ManualClock, TickingClock
from robo_dream.testing.point_mass import PointMassInverse, PointMassModel, point_action_spec
from robo_dream.testing.point_world import PointArm, PointCamera

FAR = (0.1, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass
class BumpedArm(PointArm):
    """Somebody bumps into it: from reading `bumped_at` on it is 1 mm further along x."""

    bumped_at: int = 10**9
    num_read: int = 0

    def state(self) -> ArmState:
        if self.num_read == self.bumped_at:
            self.tool = self.tool + np.array([0.001, 0, 0, 0, 0])
        self.num_read += 1
        return super().state()


@dataclass(frozen=True)
class Recipe:
    """Everything that a small run depends on."""

    planner: PlannerConfig = field(default_factory=lambda: PolicyGuidedConfig(horizon=3, num_samples=32, num_elites=6, num_proposals=8))
    cost: CostConfig = field(default_factory=lambda: CostConfig(distance=0, pose=1, pose_parts=PoseCostConfig(object_pos=0, tool_pos=1)))
    seed: int = 7
    goal: tuple[float, ...] = FAR
    goal_tool_pos: tuple[float, ...] | None = None
    known_radius: float = float("inf")  # of the model: another one stands for another checkpoint
    bumped_at: int = 10**9
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(max_steps=25))
    tick: float = 0.0  # s that each reading of the planner's clock takes
    slower_from: int | None = None  # the decision from which on the clock ticks three times as fast

    @property
    def model(self) -> PointMassModel:
        return PointMassModel(point_action_spec(), known_radius=self.known_radius)

    def planner_of(self, clock: Callable[[], float]) -> Planner:
        model = self.model
        return planner_of(self.planner, model, build_cost(self.cost, model), [PolicyProposer(model, PointMassInverse(model))], clock)

    def about(self) -> Mapping[str, Any]:
        planning = {"planner": config.dump(self.planner), "cost": config.dump(self.cost)}
        checkpoint = f"radius {self.known_radius}"
        return {"task": "reach", "planning": planning, "loop": config.dump(self.loop), "checkpoint_sha256": checkpoint, "made_with": {}}


def record_run(root: Path, recipe: Recipe) -> RunRecord:
    """The run that `recipe` gives, recorded in `root` and read back."""
    arm, clock = BumpedArm(ManualClock(), bumped_at=recipe.bumped_at), TickingClock(recipe.tick)
    tool = None if recipe.goal_tool_pos is None else torch.tensor([recipe.goal_tool_pos])
    goal = Goal(torch.tensor([recipe.goal]), tool_pos=tool)
    num_decisions = 0
    with RunWriter(root, recipe.about(), goal_record(goal, {})) as writer:

        def on_decision(decision: Decision) -> None:
            nonlocal num_decisions
            num_decisions += 1
            if num_decisions == recipe.slower_from:
                clock.tick = 3 * recipe.tick
            writer.on_decision(decision)

        worker = DelayedWorker(arm.clock, 0.2) if recipe.loop.asynchronous else None
        policy = PlannerPolicy(recipe.model, recipe.planner_of(clock), goal, recipe.seed, clock, worker)
        episode = run_episode(Bench(arm, [PointCamera(arm)], arm.clock), policy, recipe.loop, Hooks(on_decision, writer.on_step))
        writer.finish(episode.last, {"end": episode.end.value})
    return read_run(root)


def changed(recipe: Recipe, **changes: Any) -> Recipe:
    return replace(recipe, **changes)
