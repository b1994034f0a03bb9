"""`robo-dream evaluate`: how often planning succeeds, on frozen held-out pairs, beside the methods that give the figures meaning."""

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal, get_args

from tqdm import tqdm

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.config import dump
from robo_dream.errors import ConfigError
from robo_dream.evaluation.manifest import Manifest, read_manifest, write_manifest
from robo_dream.evaluation.results import Result, ResultFile
from robo_dream.evaluation.table import markdown_table
from robo_dream.models.compiled import Precision
from robo_dream.planning.baselines import PolicyAloneConfig, RandomConfig, ZeroActionConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.compose import PlanningConfig, rollouts_a_decision
from robo_dream.runtime.progress import Bars
from sim.adapters.catalogue import EnvironmentConfig
from sim.tabletop.scene import SceneConfig

Method = Literal["zero_action", "random", "policy_alone", "planner", "oracle_dynamics"]
METHODS: tuple[str, ...] = get_args(Method)

_DESCRIPTION = """\
Runs every method on every pair of the frozen manifests: `zero_action` (the arm holds still), `random`, `policy_alone` (the learned
policy without a search), `planner` (what `planning` configures), `oracle_dynamics` (search and proposals at true poses, imagined by the
true simulator: the ceiling), and the searches that `extra_planners` names, with the planner's costs and proposals. A pair's outcome
depends on nothing but the pair, the method and the seed; stop it and start it again as you like."""

_EPILOG = """\
example:
  robo-dream evaluate --config configs/evaluate/jaco.yaml
  robo-dream evaluate --config configs/evaluate/jaco.yaml tasks='[push]' methods='[planner]' num_pairs=20 out=runs/quick
  robo-dream evaluate --config configs/evaluate/jaco.yaml --make-manifests    (held-out pairs anew; the same seeds give the same file)

Results go to `out`: results.jsonl (a line a pair and method) and table.md, which shows all that was measured there with these settings."""


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured. `num_pairs` counts from the manifest's beginning; `oracle_pairs` is for the slow method of true physics.

    That method searches as `oracle_planner` says, and `extra_planners` as these say, with the planner's costs and proposals.
    `world` is one that others wrote, with tasks of its own; without it all happens in our own `scene`.
    """

    checkpoint: Path = Path("configs/checkpoints/jaco_s.safetensors")
    manifests: Path = Path("configs/manifests")
    out: Path = Path("runs/evaluate")
    tasks: tuple[str, ...] = ("reach", "push", "lift")
    methods: tuple[str, ...] = METHODS  # of these, and the names in `extra_planners`
    num_pairs: int = 200
    oracle_pairs: int = 20
    seed: int = 0
    workers: int = 2  # processes, one thread each; they change no outcome
    compiled: bool = False  # as in plan; it changes rounding and decision times
    precision: Precision = "float32"  # of matrix products while imagining; bfloat16 is faster where the processor has it
    planning: PlanningConfig = field(default_factory=PlanningConfig)
    by_task: Mapping[str, PlanningConfig] = field(default_factory=dict)  # instead of `planning`, for tasks that are judged otherwise
    goal: Literal["picture", "picture_and_arm"] = "picture_and_arm"  # what learned methods are shown of it: the arm's own word too, or not
    oracle_planner: PlannerConfig = field(default_factory=lambda: PolicyGuidedConfig(num_samples=16, num_elites=6, num_proposals=12))
    extra_planners: Mapping[str, PlannerConfig] = field(default_factory=dict)  # more methods, by name
    scene: SceneConfig = field(default_factory=SceneConfig)
    world: EnvironmentConfig | None = None

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in self.known_methods:
                raise ConfigError(
                    f"methods names {name!r}; known methods: {', '.join(self.known_methods)}. Add it to `extra_planners`, or leave it out"
                )
        if taken := [name for name in self.extra_planners if name in METHODS]:
            raise ConfigError(f"extra_planners has methods {taken}, which are there already; give them other names")
        for name in ("num_pairs", "oracle_pairs", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not self.tasks or not self.methods:
            raise ConfigError("name at least one task and one method, such as tasks='[push]' methods='[planner]'")

    @property
    def known_methods(self) -> tuple[str, ...]:
        return (*METHODS, *self.extra_planners)

    def planning_of(self, method: str, task: str) -> PlanningConfig:
        """How decisions are made in a method of a task; raises `ConfigError` for one of no `known_methods`."""
        planning = self.by_task.get(task, self.planning)
        match method:
            case "zero_action":
                return PlanningConfig(ZeroActionConfig(), planning.cost)
            case "random":
                return PlanningConfig(RandomConfig(), planning.cost)
            case "policy_alone":
                return PlanningConfig(PolicyAloneConfig(), planning.cost, planning.proposals)
            case "planner":
                return planning
            case "oracle_dynamics":
                return PlanningConfig(self.oracle_planner, planning.cost, planning.proposals)
            case _ if method in self.extra_planners:
                return PlanningConfig(self.extra_planners[method], planning.cost, planning.proposals)
        raise ConfigError(f"no method named {method!r}; known: {', '.join(self.known_methods)}")


@dataclass(frozen=True)
class Job:
    """One attempt: everything that decides its outcome."""

    task: str
    method: str  # one of `METHODS`, or what another program measures
    pair: int
    seed: int
    settings: str  # hash of what else decides it


CONFIG = EvaluateConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("--make-manifests", action="store_true", help="make the pairs of `tasks` anew and stop")
    add_config_arguments(parser, "evaluate")


def run(args: argparse.Namespace) -> int:
    config = load_config(EvaluateConfig, args)
    if args.make_manifests:
        return _make_manifests(config)
    _check_goal(config)
    manifests = {task: read_manifest(_path(config, task)) for task in config.tasks}
    jobs = list(_jobs(config, manifests))
    methods = config.known_methods
    settings = {(task, method): settings_hash(config, method, task, manifest) for task, manifest in manifests.items() for method in methods}
    file = ResultFile(config.out / "results.jsonl", settings)
    if file.num_other:
        print(f"{file.path} has {file.num_other} results of other settings; they are kept there and left out here.")
    left = [job for job in jobs if (job.task, job.method, job.pair) not in file.results]
    with tqdm(total=len(jobs), initial=len(jobs) - len(left), unit="pair", disable=not left) as bar:
        for result in _attempts(config, left):
            file.add(result)
            bar.update()
            rates = [other.moderate for other in file.results.values() if (other.task, other.method) == (result.task, result.method)]
            bar.set_postfix_str(f"{result.task} {result.method} {100 * sum(rates) / len(rates):.0f} %")
    results = sorted(file.results.values(), key=lambda result: (config.tasks.index(result.task), result.key))
    rollouts = {
        (task, method): rollouts_a_decision(config.planning_of(method, task).planner) for task in config.tasks for method in methods
    }
    table = markdown_table(results, methods, rollouts)  # of all that was measured with these settings, in this call or before
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {config.workers} workers, {date.today().isoformat()}"
    (config.out / "table.md").write_text(f"{table}\n\n{where}\n")
    print(f"{table}\n\n{where}\nresults: {config.out}")
    return 0


def pair_seed(manifest_hash: str, task: str, pair: int, seed: int) -> int:
    """The seed of one attempt; it depends on no order and no other pair."""
    return int.from_bytes(hashlib.sha256(f"{manifest_hash}/{task}/{pair}/{seed}".encode()).digest()[:4])


def _check_goal(config: EvaluateConfig) -> None:
    if config.goal == "picture" and config.checkpoint.is_file():
        from robo_dream.models.checkpoint import read_info

        if not read_info(config.checkpoint).spec.config.picture_goals:
            raise ConfigError(
                f"goal is picture, but {config.checkpoint} never learned to see without proprioception; train one with "
                f"training.model.picture_goals=true, or set goal to picture_and_arm"
            )


def _path(config: EvaluateConfig, task: str) -> Path:
    return config.manifests / f"{task}.safetensors"


def _jobs(config: EvaluateConfig, manifests: dict[str, Manifest]) -> Iterator[Job]:
    for task, manifest in manifests.items():
        for method in config.methods:
            asked = config.oracle_pairs if method == "oracle_dynamics" else config.num_pairs
            if asked > len(manifest):
                raise ConfigError(f"{asked} pairs were asked for; the manifest of {task} has {len(manifest)}")
            settings = settings_hash(config, method, task, manifest)
            yield from (Job(task, method, pair, pair_seed(manifest.sha256, task, pair, config.seed), settings) for pair in range(asked))


def _attempts(config: EvaluateConfig, jobs: list[Job]) -> Iterator[Result]:
    from robo_dream.runtime import evaluate_worker as worker

    if not jobs:
        return
    if config.workers == 1:
        worker.start(config)
        yield from map(worker.attempt, jobs)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(config.workers, worker.start, (config,)) as pool:
        yield from pool.imap_unordered(worker.attempt, jobs)


def settings_hash(config: EvaluateConfig, method: str, task: str, manifest: Manifest) -> str:
    """What decides the outcomes of a method besides pair and seed; a checkpoint or a cost that a method does not use changes nothing."""
    decides: dict[str, Any] = {"method": method, "seed": config.seed, "manifest": manifest.sha256}
    decides |= {"scene": dump(config.scene)} if config.world is None else {"world": dump(config.world)}
    if method not in ("zero_action", "random"):
        decides["planning"] = dump(config.planning_of(method, task))
    if config.compiled:
        decides["compiled"] = True
    if config.precision != "float32":
        decides["precision"] = config.precision
    if config.goal == "picture" and method not in ("zero_action", "random", "oracle_dynamics"):
        decides["goal"] = config.goal
    if method not in ("zero_action", "random") and config.checkpoint.is_file():
        decides["checkpoint"] = hashlib.sha256(config.checkpoint.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(decides, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _make_manifests(config: EvaluateConfig) -> int:
    for name in config.tasks:
        with Bars({}, name, unit="pair") as bars:
            manifest = _new_manifest(config, name, bars)
        path = _path(config, name)
        write_manifest(path, manifest)
        print(f"{path}: {len(manifest)} pairs, {manifest.steps.mean():.0f} steps apart on average, {manifest.sha256[:12]}")
    return 0


def _new_manifest(config: EvaluateConfig, name: str, bars: Bars) -> Manifest:
    from robo_dream.runtime.compose import build_world
    from sim import pairs as foreign
    from sim.adapters.catalogue import build_environment
    from sim.tabletop.tasks.catalogue import task_named
    from sim.tabletop.tasks.pairs import PairRule, build_manifest

    if config.world is not None:
        with build_environment(config.world) as environment:
            return foreign.build_manifest(environment, name, config.num_pairs, bars)
    with build_world(config.scene) as world:
        rule = PairRule(farthest=60) if name == "place" else PairRule()
        return build_manifest(world, task_named(name), config.num_pairs, rule, bars)
