"""Stop and think, or think while moving: success of both at equal decision time, in simulation: `python benchmarks/overlap.py`.

A decision takes `--seconds` of the world's time. The loop that stops to think holds still meanwhile; the one that overlaps moves on, with
the actions fixed and imagined through. Same held-out pairs, planner, cost and seeds; the guard stands in front of both.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robo_dream import config
from robo_dream.control.asynchronous import DelayedWorker
from robo_dream.control.episode import Bench, Hooks, LoopConfig
from robo_dream.control.loop import run_episode
from robo_dream.control.policies import PlannerPolicy
from robo_dream.evaluation.manifest import read_manifest
from robo_dream.imagination import Belief, Goal, Plan, Planner
from robo_dream.models.checkpoint import read_info
from robo_dream.planning.goals import goal_from_observation
from robo_dream.runtime.environment import build_environment
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.plan import PlanConfig, completed
from robo_dream.runtime.planner import PlanningConfig, build_planner, planning_for
from robo_dream.safety.limits import SafetyLimits
from sim.attempt import Attempt
from sim.devices import SimClock, devices_of
from sim.environment import Environment


@dataclass(frozen=True)
class SlowPlanner:
    """`inner`, but the world moves on by `seconds` while it thinks."""

    inner: Planner
    clock: SimClock
    seconds: float

    @property
    def name(self) -> str:
        return self.inner.name

    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        plan = self.inner.plan(belief, goal, seeds, previous, deadline)
        self.clock.sleep_until(self.clock.now() + self.seconds)
        return plan


def attempt_pair(
    world: Environment, model, wanted: PlanConfig, planning: PlanningConfig, task: str, pair: int, seconds: float, asynchronous: bool
):
    """Whether the pair was solved, moderately and strictly, and the seconds of the world's time until moderately."""
    manifest = read_manifest(wanted.manifests / f"{task}.safetensors", len(world.state))
    attempt = Attempt(world, manifest.pair(pair))
    goal = goal_from_observation(model, attempt.goal_observation())
    limits = SafetyLimits(max_plan_age=seconds + 0.35, max_state_age=0.05)
    devices = devices_of(world, model.cameras, limits)
    clock = devices.clock
    assert isinstance(clock, SimClock)
    planner: Planner = build_planner(planning.planner, model, planning.cost, planning.proposals)
    begin, counted = world.time, world.time
    solved: list[float] = []

    def held(_: object) -> bool:
        nonlocal counted
        if world.time > counted:
            counted = world.time
            attempt.record()
            if attempt.progress.moderate_step is not None and not solved:
                solved.append(world.time - begin)
        return attempt.progress.strict_step is not None

    budget = manifest.budget(pair)
    if asynchronous:
        loop = LoopConfig(max_steps=budget + round(seconds / 0.1), asynchronous=True, limits=limits)  # the first plan is waited for
        worker = DelayedWorker(clock, seconds)
    else:
        loop, worker, planner = LoopConfig(max_steps=budget, limits=limits), None, SlowPlanner(planner, clock, seconds)
    bench = Bench(devices.arm, devices.cameras, clock)
    run_episode(bench, PlannerPolicy(model, planner, goal, pair, worker=worker), loop, Hooks(is_done=held))
    held(None)
    return attempt.progress.moderate_step is not None, attempt.progress.strict_step is not None, solved[0] if solved else np.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path("configs/plan/demo.yaml"))
    parser.add_argument("--tasks", nargs="*", default=["push"])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=0.4, help="of the world's time for each decision")
    args = parser.parse_args()
    wanted = config.load(PlanConfig, args.config)
    info = read_info(wanted.checkpoint)
    wanted = completed(wanted, info)
    model = load_checkpoint_model(wanted.checkpoint)
    print("| task | loop | decision s | pairs | moderate % | strict % | s until reached, median |\n|---|---|---|---|---|---|---|")
    with build_environment(wanted.world) as world:
        for task in args.tasks:
            planning = planning_for(info, task, wanted.planning, wanted.by_task)
            for asynchronous in (False, True):
                found = np.array(
                    [attempt_pair(world, model, wanted, planning, task, pair, args.seconds, asynchronous) for pair in range(args.pairs)],
                    float,
                )
                moderate, strict = 100 * found[:, 0].mean(), 100 * found[:, 1].mean()
                name = "thinks while moving" if asynchronous else "stops to think"
                took = np.nanmedian(found[:, 2])
                print(f"| {task} | {name} | {args.seconds} | {args.pairs} | {moderate:.0f} | {strict:.0f} | {took:.1f} |", flush=True)


if __name__ == "__main__":
    main()
