"""Planned episodes in any world: a start and a goal of a task, the loop, and record, video and pictures of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robo_dream.config import dump
from robo_dream.control.decision import goal_record
from robo_dream.control.episode import EpisodeResult, LoopConfig
from robo_dream.errors import ConfigError, DataError
from robo_dream.evaluation.manifest import Pair, read_manifest
from robo_dream.files import packaged
from robo_dream.imagination import Goal
from robo_dream.models import checkpoint
from robo_dream.models.checkpoint import CheckpointInfo
from robo_dream.models.compiled import precision_here
from robo_dream.models.config import PrecisionChoice
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.recording.record import read_run
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.attempt import GoalShown, Prepared, carry_out, goal_of, goal_shown, prepare, simulated_devices
from robo_dream.runtime.environment import WorldConfig, manifests_of, require_fitting_cost, usual_tasks, world_of
from robo_dream.runtime.made_with import made_with
from robo_dream.runtime.model import device_named
from robo_dream.runtime.perception import check_of
from robo_dream.runtime.pictures import drawing, write_pictures
from robo_dream.runtime.planner import PlanningChanges, PlanningConfig, build_planner, planning_for, require_known_tasks
from robo_dream.runtime.run import TextGoal
from robo_dream.runtime.words import goal_in_words, require_moves
from robo_dream.schema import Device, Seed, configuration
from robo_dream.viewer.video import VideoConfig
from sim.environment import Environment, observation_of, task_named
from sim.pairs import drawn_pair
from sim.tabletop.environment import Tabletop


@configuration
class PlanConfig:
    """What is tried, with which model, and how decisions are made. What is not said, the checkpoint says."""

    checkpoint: Path = Path("configs/checkpoints/jaco_recorded_s.safetensors")
    out: Path = Path("runs/plan")
    task: str | tuple[str, ...] | None = None  # one name or several; without, those that the world has frozen pairs of
    goals: Literal["manifest", "drawn"] = "manifest"  # held-out pairs of start and goal as in evaluate, or drawn freely
    manifests: Path | None = None  # the folder of held-out pairs; without, the world's own
    # what is shown of a goal: the arm's own word too, or not; without, as the checkpoint learned it. Or what is asked for: goal.text=...
    goal: GoalShown | TextGoal | None = None
    seed: Seed = 3  # which pair, or what is drawn; and of every search
    device: Device = "cpu"
    compiled: bool = False  # imagine with code made for this machine: faster decisions; a minute at the first start ever, seconds later
    precision: PrecisionChoice = "float32"  # of matrix products while imagining; bfloat16 rounds; auto: it where it is faster here
    planning: PlanningChanges = field(default_factory=PlanningChanges)  # what is changed of the checkpoint's own settings
    by_task: Mapping[str, PlanningChanges] = field(default_factory=dict)  # and of a task's, after that
    loop: LoopConfig = field(default_factory=LoopConfig)  # a pair of a manifest brings its own max_steps
    video: VideoConfig = field(default_factory=VideoConfig)
    world: WorldConfig | None = None  # without, the one that the checkpoint was trained in

    def __post_init__(self) -> None:
        if self.task is not None and not self.task:
            raise ConfigError("task is empty; name one, such as task=push")

    @property
    def tasks(self) -> tuple[str, ...]:
        return (self.task,) if isinstance(self.task, str) else self.task or ()


@dataclass(frozen=True)
class Planned:
    """How an episode ended, in numbers and in words."""

    moderate: bool
    strict: bool
    sentence: str


def completed(config: PlanConfig, info: CheckpointInfo) -> PlanConfig:
    """`config` with what it leaves to the checkpoint: world, manifests, tasks, what is shown of goals; and to this machine: precision."""
    world = config.world or world_of(info, config.checkpoint)
    manifests = config.manifests or manifests_of(world)
    shown = config.goal if isinstance(config.goal, TextGoal) else goal_shown(config.goal, info, config.checkpoint)
    precision = precision_here(config.precision, device_named(config.device))
    tasks = config.task or usual_tasks(world, manifests)
    return replace(config, world=world, manifests=manifests, task=tasks, goal=shown, precision=precision)


def planning_of(config: PlanConfig, info: CheckpointInfo, environment: Environment) -> dict[str, PlanningConfig]:
    """By task, how decisions are made. Raises `ConfigError` for a task that the world lacks, and for settings that do not fit one."""
    require_known_tasks(config.by_task, environment.tasks)
    found = {task: planning_for(info, task, config.planning, config.by_task) for task in config.tasks}
    for task, planning in found.items():
        require_fitting_cost(environment, task, planning)
    return found


def plan_episode(
    environment: Environment, model: LatentVideoModel, task: str, planning: PlanningConfig, config: PlanConfig, folder: Path
) -> Planned:
    """Plans `task` once, from the start and goal of `config.seed`; keeps record/, video.mp4 and decisions.png in `folder`.

    `config` is a `completed` one.
    """
    text, pair = config.goal.text if isinstance(config.goal, TextGoal) else None, _pair(environment, task, config)
    prepared = prepare(environment, pair if text is None else replace(pair, budget=config.loop.max_steps), config.loop)
    attempt, goal, pictures = prepared.attempt, *_goal(prepared, model, planning, config)
    planner = build_planner(planning.planner, model, planning.cost, planning.proposals, futures=planning.futures)
    check = check_of(config.checkpoint, checkpoint.read_info(config.checkpoint), model, config.loop.limits)
    with RunWriter(folder / "record", _about(prepared, model, planning, config), goal_record(goal, pictures)) as writer:
        devices = simulated_devices(prepared, model, writer)
        episode = carry_out(
            prepared, devices, model, planner, goal, config.seed, with_truth=True, recorder=writer, check=check, is_judged=text is None
        )
        progress = attempt.progress
        result: dict[str, Any] = {
            "end": episode.end.value, "reasons": list(episode.reasons), "decision_seconds": list(episode.decision_seconds),
        }  # fmt: skip
        if text is None:
            result |= {
                "moderate": attempt.is_reached, "strict": attempt.is_held, "moderate_step": progress.moderate_step,
                "strict_step": progress.strict_step, "distances": attempt.distances,
            }  # fmt: skip
        writer.finish(episode.last, result)

    verdict = "success, held" if attempt.is_held else "success" if attempt.is_reached else "not reached"
    judged = (attempt.distances, verdict) if text is None else (None, "")
    video, sheet = write_pictures(folder, read_run(writer.root), drawing(model), config.video, *judged)
    return Planned(attempt.is_reached, attempt.is_held, _sentence(prepared, episode, text, video, sheet))


def _goal(prepared: Prepared, model: LatentVideoModel, planning: PlanningConfig, config: PlanConfig) -> tuple[Goal, dict[str, np.ndarray]]:
    """The goal, and the pictures that it is shown in; in words there are none."""
    if isinstance(config.goal, TextGoal):
        require_moves(planning, model)
        seen = replace(observation_of(prepared.attempt.environment), truth={})
        return goal_in_words(model, config.goal.text, model.believe([[seen]]).latent), {}
    pictures = {name: prepared.goal_observation.frames[name].image for name in model.cameras}
    return goal_of(prepared, model, config.goal or "picture_and_arm"), pictures


def _pair(environment: Environment, task: str, config: PlanConfig) -> Pair:
    task_named(environment, task)
    if config.goals == "drawn":
        return drawn_pair(environment, task, np.random.default_rng(config.seed), config.seed)
    path = (config.manifests or Path()) / f"{task}.safetensors"
    if not packaged(path).is_file():
        raise DataError(f"no frozen pairs at {path}; draw some with goals=drawn, or make them with `robo-dream evaluate --make-manifests`")
    manifest = read_manifest(path, len(environment.state))
    return manifest.pair(config.seed % len(manifest))


def _about(prepared: Prepared, model: LatentVideoModel, planning: PlanningConfig, config: PlanConfig) -> dict[str, Any]:
    """What run.json says."""
    attempt = prepared.attempt
    environment, task = attempt.environment, attempt.pair.task
    moves = {"moves": dump(environment.moves.limits)} if isinstance(environment, Tabletop) else {}
    return {
        "task": task,
        "seed": config.seed,
        "goal": repr(config.goal.text) if isinstance(config.goal, TextGoal) else f"{task}, as in the goal pictures",
        "config": dump(config),
        "planning": dump(planning),  # of this task
        **moves,
        "action_spec": environment.action_spec.to_json(),
        "loop": dump(prepared.loop),  # with the steps that this pair is allowed, and the limits that hold in this world
        "checkpoint": str(config.checkpoint),
        "checkpoint_sha256": checkpoint.sha256(config.checkpoint),
        "made_with": made_with(model.device),
        "goal_state": [float(x) for x in attempt.goal_state],
    }


def _sentence(prepared: Prepared, episode: EpisodeResult, text: str | None, video: str, sheet: str) -> str:
    attempt, seconds = prepared.attempt, np.asarray(episode.decision_seconds) * 1e3
    progress, distances = attempt.progress, attempt.distances
    moderate = "no" if progress.moderate_step is None else f"yes, at step {progress.moderate_step}"
    strict = "no" if progress.strict_step is None else f"yes, at step {progress.strict_step}"
    timing = "no decision"
    if len(seconds):
        timing = f"{len(seconds)} decisions, {np.percentile(seconds, 50):.0f} ms each (p50), {np.percentile(seconds, 95):.0f} ms (p95)"
    lines = [
        f"{attempt.pair.task}: success {moderate}; held to the strict standard {strict}",
        f"  {100 * distances[0]:.1f} cm from the goal, then {100 * distances[-1]:.1f} cm after {len(episode.sent)} steps ({episode.end})",
    ]
    if text is not None:
        lines = [f"{attempt.pair.task}: {text!r}, {len(episode.sent)} steps ({episode.end}); nobody judged whether it came true"]
    lines += [f"  {timing}", f"  video    {video}", f"  pictures {sheet}"]
    return "\n".join([*lines, *(f"  stopped: {reason}" for reason in episode.reasons)])
