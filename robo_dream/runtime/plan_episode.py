"""One planned episode: a start and a goal are drawn, the loop runs, and record, video and pictures are kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from robo_dream.cli.plan import PlanConfig
from robo_dream.config import dump
from robo_dream.control.decision import goal_record
from robo_dream.control.episode import Bench, EpisodeResult, Hooks, LoopConfig
from robo_dream.control.loop import run_episode
from robo_dream.control.policies import PlannerPolicy
from robo_dream.embodiment import Observation
from robo_dream.errors import CheckpointError, ConfigError, DataError
from robo_dream.evaluation.manifest import read_manifest
from robo_dream.evaluation.results import Progress
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import goal_from_observation
from robo_dream.recording.record import RunRecord, read_run
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime import compose
from robo_dream.runtime.made_with import made_with
from robo_dream.viewer.pictures import Draw, run_sheet, write_png
from robo_dream.viewer.video import VideoConfig, episode_pictures, write_video
from sim.tabletop.arm import SimClock, guarded_tool_arm
from sim.tabletop.tasks.attempt import Attempt
from sim.tabletop.tasks.task import Task
from sim.tabletop.world import World

_MAX_DRAWS = 50


@dataclass(frozen=True)
class Outcome:
    """How an episode ended, in numbers and in words."""

    moderate: bool
    strict: bool
    sentence: str


class Referee:
    """Judges every new observation by the world's true state; says to stop once the goal has been held."""

    def __init__(self, attempt: Attempt, world: World) -> None:
        self._attempt, self._world = attempt, world
        self._time = world.time
        self.distances = [attempt.distance(world)]  # metres, one an observation

    @property
    def progress(self) -> Progress:
        return self._attempt.progress

    def __call__(self, observation: Observation) -> bool:
        if observation.time > self._time:
            self._time = observation.time
            self._attempt.record(self._world)
            self.distances.append(self._attempt.distance(self._world))
        return self._attempt.progress.strict_step is not None


def plan_episode(world: World, model: LatentVideoModel, task: Task, config: PlanConfig, folder: Path) -> Outcome:
    """Plans `task` once, from the start and goal of `config.seed`; keeps record/, video.mp4 and decisions.png in `folder`."""
    attempt, loop = begun_attempt(world, task, config)
    seen = attempt.goal_observation(world)
    goal = goal_from_observation(model, seen)
    planning = config.by_task.get(task.name, config.planning)
    planner = compose.build_planner(planning.planner, model, planning.cost, planning.proposals)
    about = {
        "task": task.name,
        "seed": config.seed,
        "goal": f"{task.name}, as in the goal pictures",
        "config": dump(config),
        "planning": dump(planning),  # of this task
        "moves": dump(world.moves.limits),
        "action_spec": world.moves.spec.to_json(),
        "loop": dump(loop),  # with the steps that this pair is allowed
        "checkpoint": str(config.checkpoint),
        "checkpoint_sha256": checkpoint.sha256(config.checkpoint),
        "made_with": made_with(model.device),
        "goal_state": [float(x) for x in attempt.goal_state] if attempt.goal_state is not None else [],
    }
    pictures = {name: seen.frames[name].image for name in model.cameras}
    referee = Referee(attempt, world)
    with RunWriter(folder / "record", about, goal_record(goal, pictures)) as writer:
        arm = guarded_tool_arm(world, loop.limits, writer.on_event)
        bench = Bench(arm, compose.build_cameras(world, model), SimClock(world), world.truth)
        policy, hooks = PlannerPolicy(model, planner, goal, config.seed), Hooks(writer.on_decision, writer.on_step, referee)
        episode = run_episode(bench, policy, loop, hooks)
        referee(episode.last)
        progress = attempt.progress
        moderate, strict = progress.moderate_step is not None, progress.strict_step is not None
        result = {
            "moderate": moderate, "strict": strict, "moderate_step": progress.moderate_step, "strict_step": progress.strict_step,
            "end": episode.end.value, "reasons": list(episode.reasons), "distances": referee.distances,
            "decision_seconds": list(episode.decision_seconds),
        }  # fmt: skip
        writer.finish(episode.last, result)

    verdict = "success, held" if strict else "success" if moderate else "not reached"
    video, sheet = write_pictures(folder, read_run(writer.root), drawing(model), config.video, referee.distances, verdict)
    return Outcome(moderate, strict, _sentence(task, episode, attempt, referee.distances, video, sheet))


def write_pictures(
    folder: Path, run: RunRecord, draw: Draw, config: VideoConfig, distances: Sequence[float], verdict: str
) -> tuple[str, str]:
    """video.mp4 and decisions.png of `run`; where each of them is, or why it is not: the episode counts all the same."""

    def place_of(write: Callable[[], Path]) -> str:
        try:
            return str(write())
        except (OSError, DataError) as error:  # a full disk, or nothing recorded on one
            return f"not written: {error}"

    frames = episode_pictures(run, draw, config, distances, verdict)
    video = place_of(lambda: write_video(folder / "video.mp4", frames, config.fps, config.crf))
    return video, place_of(lambda: write_png(folder / "decisions.png", run_sheet(run, draw)))


def begun_attempt(world: World, task: Task, config: PlanConfig) -> tuple[Attempt, LoopConfig]:
    """An attempt at whose start `world` stands, and the loop with the steps that it is allowed."""
    if config.goals == "drawn":
        return drawn_attempt(world, task, config.seed), config.loop
    manifest = read_manifest(config.manifests / f"{task.name}.safetensors", len(world.state))
    pair, attempt = config.seed % len(manifest), Attempt(task)
    world.set_state(manifest.starts[pair])
    attempt.begin(world, manifest.goals[pair])
    return attempt, replace(config.loop, max_steps=manifest.budget(pair))


def drawn_attempt(world: World, task: Task, seed: int) -> Attempt:
    """A start, which `world` is left at, and a goal that it does not meet yet. Raises `ConfigError` when none is found."""
    rng, attempt = np.random.default_rng(seed), Attempt(task)
    for _ in range(_MAX_DRAWS):
        attempt.reset(world, rng)
        if not attempt.success(world):
            return attempt
    raise ConfigError(f"task {task.name!r} is solved at the start in {_MAX_DRAWS} draws; its goals are too easy for this scene")


def drawing(model: LatentVideoModel) -> Draw:
    """The model's decoder for NumPy latents."""
    return lambda latents: {name: views.cpu().numpy() for name, views in model.decode(torch.from_numpy(latents).to(model.device)).items()}


def require_same_world(model: LatentVideoModel, world: World, path: Path) -> None:
    """Raises `CheckpointError` listing how the checkpoint's body and cameras differ from the world's."""
    found = [f"action {sentence}" for sentence in model.action_spec.differences(world.moves.spec)]
    there = {camera.name: camera for camera in world.scene.config.cameras}
    side = model.spec.config.image_size
    for name in model.cameras:
        if name not in there:
            found.append(f"camera {name!r} is missing; the scene has {sorted(there)}")
        elif (there[name].height, there[name].width) != (side, side):
            found.append(f"camera {name!r} is {there[name].width} x {there[name].height} px; the model was trained on {side} x {side}")
    if found:
        raise CheckpointError(f"{path} was trained in another world than the scene: {'; '.join(found)}. Change `scene`, or train on it")


def _sentence(task: Task, episode: EpisodeResult, attempt: Attempt, distances: list[float], video: str, sheet: str) -> str:
    progress, seconds = attempt.progress, np.asarray(episode.decision_seconds) * 1e3
    moderate = "no" if progress.moderate_step is None else f"yes, at step {progress.moderate_step}"
    strict = "no" if progress.strict_step is None else f"yes, at step {progress.strict_step}"
    timing = "no decision"
    if len(seconds):
        timing = f"{len(seconds)} decisions, {np.percentile(seconds, 50):.0f} ms each (p50), {np.percentile(seconds, 95):.0f} ms (p95)"
    lines = [
        f"{task.name}: success {moderate}; held to the strict standard {strict}",
        f"  {100 * distances[0]:.1f} cm from the goal, then {100 * distances[-1]:.1f} cm after {len(episode.sent)} steps ({episode.end})",
        f"  {timing}",
        f"  video    {video}",
        f"  pictures {sheet}",
    ]
    return "\n".join([*lines, *(f"  stopped: {reason}" for reason in episode.reasons)])
