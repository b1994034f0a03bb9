"""A process that attempts pairs: it holds a world and a model, and nothing that one attempt could leave for the next."""

from collections.abc import Callable
from dataclasses import replace

import torch

from robo_dream.cli.evaluate import EvaluateConfig, Job
from robo_dream.control.episode import Bench, Hooks, LoopConfig
from robo_dream.control.loop import run_episode
from robo_dream.control.policies import PlannerPolicy
from robo_dream.embodiment import ArmState
from robo_dream.evaluation.manifest import Manifest, read_manifest
from robo_dream.evaluation.results import Progress, Result
from robo_dream.imagination import Planner, WorldModel
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import goal_from_observation
from robo_dream.recording.decision import Decision
from robo_dream.runtime import compose
from robo_dream.runtime.stages import Stage, environment_stage, scene_stage
from sim.adapters.catalogue import build_environment
from sim.environment import Environment
from sim.physics.environment import EnvironmentOracle
from sim.physics.oracle import PhysicsOracle
from sim.tabletop.world import World

_STATE: "list[Worker]" = []  # one a process: what `start` made


class Worker:
    """The world, the models and the manifests of one process."""

    def __init__(self, config: EvaluateConfig) -> None:
        self.config = config
        self.world: World | Environment = compose.build_world(config.scene) if config.world is None else build_environment(config.world)
        size = len(self.world.state)
        self.manifests = {task: read_manifest(config.manifests / f"{task}.safetensors", size) for task in config.tasks}
        self._untrained = not config.checkpoint.is_file() and set(config.methods) <= {"zero_action", "random", "oracle_dynamics"}
        self._learned: LatentVideoModel | None = None
        self._physics: PhysicsOracle | EnvironmentOracle | None = None

    def attempt(self, job: Job) -> Result:
        """One pair, from its start until the strict condition was held or the budget is used."""
        planning, model = self.config.planning_of(job.method, job.task), self._model(job)
        planner = compose.build_planner(planning.planner, model, planning.cost, planning.proposals, teacher=self._teacher(job))
        return attempt_pair(self.world, model, planner, self.manifests[job.task], job, picture_alone=self.config.goal == "picture")

    def _model(self, job: Job) -> WorldModel:
        """The checkpoint, or the world itself: for its own method, and before anything is trained also for those that heed no future."""
        if job.method == "oracle_dynamics" or self._untrained:
            if self._physics is None:
                world = self.world
                self._physics = PhysicsOracle(world, num_threads=1) if isinstance(world, World) else EnvironmentOracle(world)
            return self._physics
        return self._checkpoint

    def _teacher(self, job: Job) -> LatentVideoModel | None:
        """True physics is proposed what the checkpoint would do if it saw the true poses, where its policy goes by poses."""
        if job.method != "oracle_dynamics" or self._untrained or self._checkpoint.spec.config.policy_input != "poses":
            return None
        return self._checkpoint

    @property
    def _checkpoint(self) -> LatentVideoModel:
        config = self.config
        self._learned = self._learned or compose.load_checkpoint_model(config.checkpoint, "cpu", config.compiled, config.precision)
        return self._learned


def attempt_pair(
    world: World | Environment, model: WorldModel, planner: Planner, manifest: Manifest, job: Job, *, picture_alone: bool = False
) -> Result:
    """The pair of `job` in closed loop, from its start until the strict condition was held or the budget is used."""
    if isinstance(world, World):
        stage = scene_stage(world, manifest, job.pair, model.cameras)
    else:
        stage = environment_stage(world, manifest, job.pair, model.cameras)
    return attempt_stage(stage, model, planner, manifest.budget(job.pair), job, picture_alone=picture_alone)


def attempt_stage(
    stage: Stage,
    model: WorldModel,
    planner: Planner,
    budget: int,
    job: Job,
    on_decision: Callable[[Decision], None] | None = None,
    *,
    picture_alone: bool = False,
) -> Result:
    """One attempt, from where `stage` is; with `picture_alone` a learned model is not told where the arm is at the goal."""
    is_told = job.method == "oracle_dynamics" or not isinstance(model, LatentVideoModel)  # a learned model never sees the simulator's state
    seen = stage.goal_observation if is_told else replace(stage.goal_observation, truth={})
    if picture_alone and not is_told:
        seen = replace(seen, arm=ArmState.unknown(seen.arm.time, len(seen.arm.joint_pos)))
    goal = goal_from_observation(model, seen)
    progress, counted = Progress(), stage.clock.now()

    def held(_: object) -> bool:
        nonlocal progress, counted
        if stage.clock.now() > counted:
            counted, now = stage.clock.now(), stage.ground_truth()
            criterion = stage.criterion
            progress = progress.after(criterion.moderate(now, stage.goal), criterion.strict(now, stage.goal), criterion.hold_steps)
        return progress.strict_step is not None

    bench = Bench(stage.arm, stage.cameras, stage.clock, stage.truth if is_told else None)
    loop, policy = LoopConfig(max_steps=budget, limits=stage.limits), PlannerPolicy(model, planner, goal, job.seed)
    episode = run_episode(bench, policy, loop, Hooks(on_decision, is_done=held))
    held(None)
    return Result(
        job.task, job.method, job.pair, job.settings, progress.moderate_step is not None, progress.strict_step is not None,
        len(episode.sent), stage.criterion.distance(stage.ground_truth(), stage.goal), tuple(episode.decision_seconds), str(episode.end),
    )  # fmt: skip


def start(config: EvaluateConfig) -> None:
    """Prepares this process."""
    torch.set_num_threads(1 if config.workers > 1 else torch.get_num_threads())
    _STATE[:] = [Worker(config)]


def attempt(job: Job) -> Result:
    return _STATE[0].attempt(job)
