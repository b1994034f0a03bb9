"""The tabletop's tasks by name, and how held-out pairs are cut for them: from skills done well, where things lay still."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sim.environment import EnvironmentTask, PairRule
from sim.ground_truth import GroundTruth
from sim.tabletop.behaviours.play import calm_play
from sim.tabletop.tasks.lift import Lift
from sim.tabletop.tasks.place import Place
from sim.tabletop.tasks.push import Push
from sim.tabletop.tasks.reach import Reach
from sim.tabletop.tasks.task import Task
from sim.tabletop.world import World

TASKS: Mapping[str, Task] = {task.name: task for task in (Reach(), Push(), Lift(), Place())}
_NEAREST, _FARTHEST, _NUM_STEPS = 15, 40, 100
_MIX = {"reach": {"reach": 1.0}, "push": {"push": 0.7, "drag": 0.3}, "lift": {"lift": 1.0}, "place": {"drag": 0.3, "lift": 0.7}}
_STILL = 0.002  # m that the object may have moved in the two steps before the goal


def tasks_of(world: World) -> Mapping[str, EnvironmentTask]:
    """Its tasks, as of any environment. Goals are shown as the episode had them, hand and commands included: so they were frozen."""
    return {name: EnvironmentTask(task, _pairs(world, task), _Draw(world, task), None, shown_at_rest=False) for name, task in TASKS.items()}


@dataclass(frozen=True)
class _Draw:
    """A start of `task`, and a goal for it."""

    world: World
    task: Task

    def __call__(self, number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        self.task.draw_start(self.world, rng)
        return self.world.state, self.task.draw_goal(self.world, rng)


def _pairs(world: World, task: Task) -> PairRule:
    return PairRule(
        nearest=_NEAREST,
        farthest=60 if task.name == "place" else _FARTHEST,
        num_steps=_NUM_STEPS,
        most=2,
        play=lambda rng: calm_play(world, rng, _MIX[task.name]),
        may_start=lambda here: here.lies_flat and not here.in_hand,
        may_end=lambda truths, at: _is_goal(task, truths, at),
        chosen_apart=True,
    )


def _is_goal(task: Task, truths: Sequence[GroundTruth], at: int) -> bool:
    """Whether the object lay still, or was held still to be lifted, and the goal is met there."""
    there = truths[at]
    shift = np.linalg.norm(there.object_pose[:3] - truths[at - 2].object_pose[:3])
    lies = there.lies_flat or task.name == "lift"
    return bool(shift <= _STILL) and lies and task.moderate(there, there)
