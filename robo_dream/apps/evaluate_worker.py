"""A process that attempts pairs: it holds a world and a model, and nothing that one attempt could leave for the next."""

import torch

from robo_dream.apps import compose
from robo_dream.apps.evaluate import EvaluateConfig, Job
from robo_dream.control.loop import LoopConfig, run_episode
from robo_dream.evaluation.manifest import Manifest, read_manifest
from robo_dream.evaluation.results import Result
from robo_dream.imagination import Planner, WorldModel
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import goal_from_observation
from sim.arm import SimClock, guarded_tool_arm
from sim.physics.oracle import PhysicsOracle
from sim.tasks.attempt import Attempt
from sim.tasks.catalogue import task_named
from sim.world import World

_STATE: "list[Worker]" = []  # one a process: what `start` made


class Worker:
    """The world, the models and the manifests of one process."""

    def __init__(self, wanted: EvaluateConfig) -> None:
        self.wanted = wanted
        self.world = compose.build_world(wanted.scene)
        size = len(self.world.state)
        self.manifests = {task: read_manifest(wanted.manifests / f"{task}.safetensors", size) for task in wanted.tasks}
        self._learned: LatentVideoModel | None = None
        self._physics: PhysicsOracle | None = None

    def attempt(self, job: Job) -> Result:
        """One pair, from its start until the strict condition was held or the budget is used."""
        planning, model = self.wanted.planning_of(job.row, job.task), self._model(job)
        planner = compose.build_planner(planning.planner, model, planning.cost, planning.proposals, teacher=self._teacher(job))
        return attempt_pair(self.world, model, planner, self.manifests[job.task], job)

    def _model(self, job: Job) -> WorldModel:
        if job.row == "physics":
            self._physics = self._physics or PhysicsOracle(self.world, num_threads=1)
            return self._physics
        return self._checkpoint

    def _teacher(self, job: Job) -> LatentVideoModel | None:
        """True physics is suggested what the checkpoint would do if it saw the true poses, where its inverse model goes by poses."""
        if job.row != "physics" or self._checkpoint.spec.config.inverse_sees != "poses":
            return None
        return self._checkpoint

    @property
    def _checkpoint(self) -> LatentVideoModel:
        wanted = self.wanted
        self._learned = self._learned or compose.load_checkpoint_model(wanted.checkpoint, "cpu", wanted.compiled, wanted.precision)
        return self._learned


def attempt_pair(world: World, model: WorldModel, planner: Planner, manifest: Manifest, job: Job) -> Result:
    """The pair of `job` in closed loop, from its start until the strict condition was held or the budget is used."""
    attempt = Attempt(task_named(manifest.task))
    world.set_state(manifest.starts[job.pair])
    attempt.begin(world, manifest.goals[job.pair])
    goal = goal_from_observation(model, attempt.goal_observation(world))

    def held(_: object) -> bool:
        nonlocal counted
        if world.time > counted:
            counted = world.time
            attempt.record(world)
        return attempt.progress.strict_step is not None

    counted, loop = world.time, LoopConfig(max_steps=manifest.budget(job.pair))
    episode = run_episode(
        guarded_tool_arm(world, loop.limits), compose.build_cameras(world, model), SimClock(world), model, planner, goal,
        loop, job.seed,
        truth=world.truth if job.row == "physics" else None,  # a learned model never sees the simulator's state
        is_done=held,
    )  # fmt: skip
    held(None)
    progress = attempt.progress
    return Result(
        job.task, job.row, job.pair, job.settings, progress.moderate_step is not None, progress.strict_step is not None,
        len(episode.sent), attempt.distance(world), tuple(episode.decision_seconds), str(episode.end),
    )  # fmt: skip


def start(wanted: EvaluateConfig) -> None:
    """Prepares this process."""
    torch.set_num_threads(1 if wanted.workers > 1 else torch.get_num_threads())
    _STATE[:] = [Worker(wanted)]


def attempt(job: Job) -> Result:
    return _STATE[0].attempt(job)
