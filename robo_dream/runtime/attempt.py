"""One attempt: a world at the start of a pair, and the loop towards its goal. `plan`, `evaluate` and a twin's `run` go through here.

What meets here: `Environment` and `Pair` (sim, manifests) → `Attempt` (keeps the goal and judges) → `Prepared`; `Devices` (arm, cameras,
clock); a `WorldModel` and its `Planner`; out comes an `EpisodeResult`, and the attempt's own progress.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from robo_dream.control.episode import Bench, EpisodeResult, Hooks, LoopConfig
from robo_dream.control.loop import run_episode
from robo_dream.control.policies import PlannerPolicy
from robo_dream.embodiment import ArmState, Observation
from robo_dream.errors import ConfigError
from robo_dream.evaluation.manifest import Pair
from robo_dream.imagination import Goal, Planner, WorldModel
from robo_dream.models.checkpoint import CheckpointInfo
from robo_dream.models.perception_check import PerceptionCheck
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import goal_from_observation
from robo_dream.recording.decision import Decision
from robo_dream.recording.events import SafetyEvent
from sim.attempt import Attempt
from sim.devices import Devices, devices_of, limits_in
from sim.environment import Environment, at_rest, truth

GoalShown = Literal["picture", "picture_and_arm", "picture_arm_at_start"]
"""What a learned model is shown of a goal: a picture alone, or also where the arm says it is there, or takes it to be at the start.

The last is what `run` does with picture files from anywhere: their arm is taken to be where it stands, at rest.
"""


@runtime_checkable
class Recorder(Protocol):
    """Who is told of everything as it happens, such as a `RunWriter`."""

    def on_event(self, event: SafetyEvent) -> None: ...

    def on_decision(self, decision: Decision) -> None: ...

    def on_step(self, before: Observation, sent: np.ndarray, applied: np.ndarray) -> None: ...


@dataclass(frozen=True)
class Prepared:
    """A world at the start of an attempt. `attempt` and `truth` are for scores, labels and oracle dynamics; no learned planner reads them.

    `loop` has the control steps that the pair is allowed, and the limits that hold in this world.
    """

    attempt: Attempt
    loop: LoopConfig
    goal_observation: Observation
    start_arm: ArmState  # what the arm says of itself there, at rest
    truth: Callable[[], Mapping[str, np.ndarray]]


def prepare(environment: Environment, pair: Pair, loop: LoopConfig) -> Prepared:
    """Puts `environment` at the start of `pair`."""
    attempt = Attempt(environment, pair)
    steps = loop.max_steps if pair.budget is None else pair.budget
    loop = replace(loop, max_steps=steps, limits=limits_in(environment, loop.limits))
    return Prepared(attempt, loop, attempt.goal_observation(), at_rest(environment.arm_state()), lambda: truth(environment))


def simulated_devices(prepared: Prepared, model: WorldModel, recorder: Recorder | None = None) -> Devices:
    """Arm, clock and the model's cameras, in the attempt's own world."""
    on_event = None if recorder is None else recorder.on_event
    return devices_of(prepared.attempt.environment, model.cameras, prepared.loop.limits, on_event)


def goal_of(prepared: Prepared, model: WorldModel, shown: GoalShown, is_told: bool = False) -> Goal:
    """The goal as `model` believes it. Only one that `is_told`, as oracle dynamics are, is given the simulator's state there."""
    seen = prepared.goal_observation
    if not is_told:
        seen = replace(seen, truth={})
    if shown == "picture":
        seen = replace(seen, arm=ArmState.unknown(seen.arm.time, len(seen.arm.joint_pos)))
    if shown == "picture_arm_at_start":
        seen = replace(seen, arm=prepared.start_arm)
    return goal_from_observation(model, seen)


def carry_out(
    prepared: Prepared,
    devices: Devices,
    model: WorldModel,
    planner: Planner,
    goal: Goal,
    seed: int,
    *,
    with_truth: bool,
    recorder: Recorder | None = None,
    check: PerceptionCheck | None = None,
    is_judged: bool = True,
) -> EpisodeResult:
    """The loop, until the goal was held, the steps are used, or something is not safe. `with_truth` labels what is seen with the truth.

    Where it `is_judged` is the attempt's goal pursued; else it ends by nothing that the attempt says.

    Where there is a `check`, it looks at what every decision is made from.
    """
    bench = Bench(devices.arm, devices.cameras, devices.clock, prepared.truth if with_truth else None)
    is_done = prepared.attempt.is_done
    end = is_done if is_judged else None
    hooks = Hooks(is_done=end) if recorder is None else Hooks(recorder.on_decision, recorder.on_step, end)
    episode = run_episode(bench, PlannerPolicy(model, planner, goal, seed, check=check), prepared.loop, hooks)
    is_done(episode.last)
    return episode


def is_told(model: WorldModel) -> bool:
    """Whether `model` is the simulator itself; a learned one never sees the simulator's state."""
    return not isinstance(model, LatentVideoModel)


def goal_shown(asked: GoalShown | None, info: CheckpointInfo | None, path: Path) -> GoalShown:
    """What is shown of goals: as `asked`, else as the checkpoint learned it. Raises `ConfigError` for what it never learned."""
    learned = info is not None and info.spec.config.picture_goals
    if asked is None:
        return "picture" if learned else "picture_and_arm"
    if asked == "picture" and info is not None and not learned:
        raise ConfigError(
            f"goal is picture, but {path} never learned to see without proprioception; train one with "
            "training.model.picture_goals=true, or set goal to picture_and_arm, or to picture_arm_at_start, as `run` takes picture files"
        )
    return asked
