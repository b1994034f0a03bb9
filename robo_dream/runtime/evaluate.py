"""Success on frozen pairs: which attempts are made, by how many processes, and what decides each of their outcomes."""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import Field

import sim
from robo_dream.config import dump
from robo_dream.control.episode import LoopConfig
from robo_dream.errors import ConfigError
from robo_dream.evaluation.manifest import Manifest, Pair, read_manifest
from robo_dream.evaluation.results import Result, ResultFile
from robo_dream.files import packaged
from robo_dream.imagination import Planner, WorldModel
from robo_dream.models import checkpoint
from robo_dream.models.checkpoint import CheckpointInfo
from robo_dream.models.config import Precision
from robo_dream.models.perception_check import PerceptionCheck
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.baselines import PolicyAloneConfig, RandomConfig, ZeroActionConfig
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.attempt import GoalShown, Recorder, carry_out, goal_of, goal_shown, is_told, prepare, simulated_devices
from robo_dream.runtime.environment import (
    WorldConfig,
    build_environment,
    drawn_dynamics,
    manifests_of,
    oracle_dynamics,
    require_fitting_cost,
    require_same_world,
    still_dynamics,
    usual_tasks,
    world_of,
)
from robo_dream.runtime.made_with import code_sha256
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.perception import check_of
from robo_dream.runtime.planner import PlanningChanges, PlanningConfig, build_planner, planning_for, require_known_tasks
from robo_dream.runtime.ray_cluster import LocalRunner, RayRunner, Runner, spread
from robo_dream.schema import Seed, configuration, did_you_mean
from sim.environment import Environment, task_named
from sim.physics.drawn import DrawnDynamics
from sim.physics.oracle import OracleDynamics

Method = Literal["zero_action", "random", "policy_alone", "planner", "oracle_dynamics"]
METHODS: tuple[str, ...] = get_args(Method)
_HEEDLESS = ("zero_action", "random")  # of any future, and so of any model
_ANY_COST = CostConfig(distance=0.0, pose=1.0)
_CODE = ("imagination.py", "embodiment.py", "planning", "models", "control", "safety", "runtime/attempt.py")
_WORLDS = ("environment.py", "attempt.py", "devices.py", "goals.py", "ground_truth.py", "rendering.py", "tabletop", "adapters", "physics")
_LIBRARIES = ("torch", "numpy", "mujoco", "dm-control", "ogbench", "metaworld", "gym-pusht")


@configuration
class EvaluateConfig:
    """What is measured. `num_pairs` counts from the manifest's beginning; `oracle_pairs` is for the slow method of true physics.

    That method searches as `oracle_planner` says, and `extra_planners` as these say, with the planner's costs and proposals. Where the cost
    reads latents, what true physics leads to is drawn and encoded.
    What is not said, the checkpoint says: world, frozen pairs, tasks, what is shown of goals, and how each task is planned.
    """

    checkpoint: Path = Path("configs/checkpoints/jaco_recorded_s.safetensors")
    manifests: Path | None = None  # the folder of held-out pairs; without, the world's own
    out: Path = Path("runs/evaluate")
    tasks: tuple[str, ...] | None = None  # without, those that the world has frozen pairs of
    methods: tuple[str, ...] = METHODS  # of these, and the names in `extra_planners`
    num_pairs: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    oracle_pairs: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    seed: Seed = 0
    workers: Annotated[int, Field(ge=1, le=1_024)] = 2  # processes, one thread each; they change no outcome
    runner: Runner = field(default_factory=LocalRunner)  # where these are; kind=ray: on a cluster, with the same outcomes
    compiled: bool = False  # as in plan; it changes rounding and decision times
    precision: Precision = "float32"  # of matrix products while imagining; said outright, so that an evaluation goes on as it began
    planning: PlanningChanges = field(default_factory=PlanningChanges)  # what is changed of the checkpoint's own settings
    by_task: Mapping[str, PlanningChanges] = field(default_factory=dict)  # and of a task's, after that
    goal: GoalShown | None = None  # what learned methods are shown of it: a picture alone, or what of the arm beside; else as learned
    loop: LoopConfig = field(default_factory=LoopConfig)  # as in plan and run; a pair brings its own max_steps
    oracle_planner: PlannerConfig = field(default_factory=lambda: PolicyGuidedConfig(num_samples=16, num_elites=6, num_proposals=12))
    extra_planners: Mapping[str, PlannerConfig] = field(default_factory=dict)  # more methods, by name
    by_method: Mapping[str, PlanningChanges] = field(default_factory=dict)  # what else is changed of a method, such as its proposals
    world: WorldConfig | None = None  # without, the one that the checkpoint was trained in

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in self.known_methods:
                raise ConfigError(
                    f"methods names {name!r}; known methods: {', '.join(self.known_methods)}. Add it to `extra_planners`, or leave it out"
                )
        if taken := [name for name in self.extra_planners if name in METHODS]:
            raise ConfigError(f"extra_planners has methods {taken}, which are there already; give them other names")
        for name in self.by_method:
            if name not in self.known_methods:
                raise ConfigError(
                    f"by_method names {name!r}{did_you_mean(name, self.known_methods)}; known: {', '.join(self.known_methods)}"
                )
        if self.tasks == () or not self.methods:
            raise ConfigError("name at least one task and one method, such as tasks='[push]' methods='[planner]'")

    @property
    def known_methods(self) -> tuple[str, ...]:
        return (*METHODS, *self.extra_planners)


@dataclass(frozen=True)
class Job:
    """One attempt: everything that decides its outcome."""

    task: str
    method: str  # one of `METHODS`, or what another program measures
    pair: int
    seed: int
    settings: str  # hash of what else decides it


@dataclass(frozen=True)
class Evaluation:
    """A configuration with all that it leaves to its checkpoint filled in, and what follows from it."""

    config: EvaluateConfig
    info: CheckpointInfo | None  # None where nothing has been trained yet
    world: WorldConfig
    manifests: Path
    tasks: tuple[str, ...]
    shown: GoalShown

    @classmethod
    def of(cls, config: EvaluateConfig) -> "Evaluation":
        info = checkpoint.read_info(config.checkpoint) if packaged(config.checkpoint).is_file() else None
        world = config.world or world_of(info, config.checkpoint)
        manifests = config.manifests or manifests_of(world)
        tasks = config.tasks or usual_tasks(world, manifests)
        return cls(config, info, world, manifests, tasks, goal_shown(config.goal, info, config.checkpoint))

    def path(self, task: str) -> Path:
        return self.manifests / f"{task}.safetensors"

    def require(self) -> None:
        """Raises `ConfigError` for a task that the world lacks, and for a cost that does not fit one."""
        with build_environment(self.world) as environment:
            require_known_tasks(self.config.by_task, environment.tasks)
            for task in self.tasks:
                task_named(environment, task)
                for method in self.config.methods:
                    require_fitting_cost(environment, task, self.planning_of(method, task))

    def planning_of(self, method: str, task: str) -> PlanningConfig:
        """How decisions are made in a method of a task; raises `ConfigError` for one of no `known_methods`."""
        planning, changes = self._unchanged(method, task), self.config.by_method.get(method)
        return planning if changes is None else changes.of(planning)

    def _unchanged(self, method: str, task: str) -> PlanningConfig:
        config = self.config
        planning = planning_for(self.info, task, config.planning, config.by_task)
        heedless_cost = planning.cost if self.info is not None else _ANY_COST  # what nothing trained can give is not asked for
        match method:
            case "zero_action":
                return PlanningConfig(ZeroActionConfig(), heedless_cost)
            case "random":
                return PlanningConfig(RandomConfig(), heedless_cost)
            case "policy_alone":
                return PlanningConfig(PolicyAloneConfig(), planning.cost, planning.proposals)
            case "planner":
                return planning
            case "oracle_dynamics":
                return PlanningConfig(config.oracle_planner, planning.cost, planning.proposals)
            case _ if method in config.extra_planners:
                return PlanningConfig(config.extra_planners[method], planning.cost, planning.proposals, planning.futures)
        raise ConfigError(f"no method named {method!r}; known: {', '.join(config.known_methods)}")

    def jobs(self) -> Iterator[Job]:
        """Every attempt that is asked for. Raises `ConfigError` where a manifest has too few pairs."""
        for task in self.tasks:
            manifest = read_manifest(self.path(task))
            for method in self.config.methods:
                asked = self.config.oracle_pairs if method == "oracle_dynamics" else self.config.num_pairs
                if asked > len(manifest):
                    raise ConfigError(f"{asked} pairs were asked for; the manifest of {task} has {len(manifest)}")
                settings = self.settings(method, task, manifest)
                for pair in range(asked):
                    yield Job(task, method, pair, pair_seed(manifest.sha256, task, pair, self.config.seed), settings)

    def settings_of(self) -> dict[tuple[str, str], str]:
        """By task and method, the hash of what decides its outcomes."""
        manifests = {task: read_manifest(self.path(task)) for task in self.tasks}
        return {(task, method): self.settings(method, task, manifests[task]) for task in self.tasks for method in self.config.known_methods}

    def settings(self, method: str, task: str, manifest: Manifest) -> str:
        """What decides the outcomes of a method besides pair and seed, the code and the libraries included.

        A checkpoint or a cost that a method does not use changes nothing.
        """
        config = self.config
        decides: dict[str, Any] = {"method": method, "seed": config.seed, "manifest": manifest.sha256, "world": dump(self.world)}
        decides |= {"loop": dump(config.loop), "code": _code(), "libraries": _libraries()}
        if method not in _HEEDLESS:
            decides |= {"planning": dump(self.planning_of(method, task)), "compiled": config.compiled, "precision": config.precision}
            decides |= {"checkpoint": checkpoint.sha256(config.checkpoint) if self.info is not None else None}
            decides |= {"goal": self.shown}
        return hashlib.sha256(json.dumps(decides, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _reads_latents(planning: PlanningConfig, info: CheckpointInfo | None) -> bool:
    """Whether candidates are ranked by what a model sees, which poses, however true, do not tell."""
    goes_by_poses = info is None or info.spec.config.policy_input == "poses"
    return planning.cost.latent > 0 or planning.cost.distance > 0 or (planning.cost.local_goal is not None and not goes_by_poses)


def pair_seed(manifest_hash: str, task: str, pair: int, seed: int) -> int:
    """The seed of one attempt; it depends on no order and no other pair."""
    return int.from_bytes(hashlib.sha256(f"{manifest_hash}/{task}/{pair}/{seed}".encode()).digest()[:4])


class Worker:
    """The world, the models and the manifests of one process; nothing that one attempt could leave for the next."""

    def __init__(self, config: EvaluateConfig) -> None:
        self.evaluation = Evaluation.of(config)
        self.environment = build_environment(self.evaluation.world)
        size = len(self.environment.state)
        self.manifests = {task: read_manifest(self.evaluation.path(task), size) for task in self.evaluation.tasks}
        self._untrained = self.evaluation.info is None and set(config.methods) <= {*_HEEDLESS, "oracle_dynamics"}
        self._learned: LatentVideoModel | None = None
        self._oracle: OracleDynamics | None = None
        self._drawn: DrawnDynamics | None = None
        self._still: OracleDynamics | None = None

    def attempt(self, job: Job) -> Result:
        """One pair, from its start until the strict condition was held or the budget is used."""
        evaluation = self.evaluation
        planning, model = evaluation.planning_of(job.method, job.task), self._model(job)
        planner = build_planner(
            planning.planner, model, planning.cost, planning.proposals, teacher=self._teacher(job), futures=planning.futures
        )
        pair = self.manifests[job.task].pair(job.pair)
        return attempt_pair(
            self.environment, model, planner, pair, job, evaluation.config.loop, evaluation.shown, check=self._check_of(model)
        )

    def _model(self, job: Job) -> WorldModel:
        """The checkpoint; for its own method the world itself; before anything is trained nothing, for those that heed no future."""
        if job.method == "oracle_dynamics":
            if not self._untrained and _reads_latents(self.evaluation.planning_of(job.method, job.task), self.evaluation.info):
                self._drawn = self._drawn or drawn_dynamics(self.environment, self._checkpoint)
                return self._drawn
            self._oracle = self._oracle or oracle_dynamics(self.environment)
            return self._oracle
        if self._untrained:
            self._still = self._still or still_dynamics(self.environment)
            return self._still
        return self._checkpoint

    def _check_of(self, model: WorldModel) -> PerceptionCheck | None:
        """Of what the checkpoint sees; the world itself sees nothing."""
        config, info = self.evaluation.config, self.evaluation.info
        if info is None or not isinstance(model, LatentVideoModel):
            return None
        return check_of(config.checkpoint, info, model, config.loop.limits)

    def _teacher(self, job: Job) -> LatentVideoModel | None:
        """True physics is proposed what the checkpoint would do if it saw the true poses, where its policy goes by poses."""
        if job.method != "oracle_dynamics" or self._untrained or self._checkpoint.spec.config.policy_input != "poses":
            return None
        return self._checkpoint

    @property
    def _checkpoint(self) -> LatentVideoModel:
        config = self.evaluation.config
        if self._learned is None:
            self._learned = load_checkpoint_model(config.checkpoint, "cpu", config.compiled, config.precision)
            require_same_world(self._learned, self.environment, config.checkpoint)
        return self._learned


def attempt_pair(
    environment: Environment,
    model: WorldModel,
    planner: Planner,
    pair: Pair,
    job: Job,
    loop: LoopConfig | None = None,
    shown: GoalShown = "picture_and_arm",
    recorder: Recorder | None = None,
    check: PerceptionCheck | None = None,
) -> Result:
    """`pair` in closed loop, from its start until the strict condition was held or the budget is used."""
    prepared, told = prepare(environment, pair, loop or LoopConfig()), is_told(model)
    goal = goal_of(prepared, model, shown, told)
    devices = simulated_devices(prepared, model, recorder)
    episode = carry_out(prepared, devices, model, planner, goal, job.seed, with_truth=told, recorder=recorder, check=check)
    attempt = prepared.attempt
    return Result(
        job.task, job.method, job.pair, job.settings, attempt.is_reached, attempt.is_held, len(episode.sent), attempt.distance,
        tuple(episode.decision_seconds), str(episode.end),
    )  # fmt: skip


def results_file(evaluation: Evaluation) -> tuple[ResultFile, list[Job]]:
    """The outcomes that `out` holds of these settings, and the attempts that are left. Raises as `Evaluation.jobs` does."""
    file = ResultFile(evaluation.config.out / "results.jsonl", evaluation.settings_of())
    return file, [job for job in evaluation.jobs() if (job.task, job.method, job.pair) not in file.results]


def attempts(config: EvaluateConfig, jobs: list[Job]) -> Iterator[Result]:
    """The result of each job, as they come."""
    if not jobs:
        return
    if isinstance(config.runner, RayRunner):
        yield from spread(config.runner, partial(_started, config), jobs, config.workers)
        return
    if config.workers == 1:
        _start(config)
        yield from map(_attempt, jobs)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(config.workers, _start, (config,)) as pool:
        yield from pool.imap_unordered(_attempt, jobs)


_STATE: list[Worker] = []  # one a process: what `_start` made


def _start(config: EvaluateConfig) -> None:
    torch.set_num_threads(1 if config.workers > 1 else torch.get_num_threads())
    _STATE[:] = [Worker(config)]


def _started(config: EvaluateConfig) -> Callable[[Job], Result]:
    """What a worker of a cluster makes attempts with."""
    torch.set_num_threads(1)
    return Worker(config).attempt


def _attempt(job: Job) -> Result:
    return _STATE[0].attempt(job)


@lru_cache(maxsize=1)
def _code() -> str:
    return code_sha256(_CODE) + code_sha256(_WORLDS, Path(sim.__file__).parent)


@lru_cache(maxsize=1)
def _libraries() -> dict[str, str]:
    """Versions of what an outcome may depend on, where it is installed."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
