"""`robo-dream evaluate`: how often planning succeeds, on frozen held-out pairs, beside the rows that give the figures meaning."""

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

from robo_dream import config
from robo_dream.runtime.progress import Bars
from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.errors import ConfigError
from robo_dream.evaluation.manifest import Manifest, read_manifest, write_manifest
from robo_dream.evaluation.results import Result, ResultFile
from robo_dream.evaluation.table import markdown_table
from robo_dream.models.compiled import Precision
from robo_dream.planning.baselines import DirectConfig, DoNothingConfig, RandomConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.policy_guided import GuardedConfig
from robo_dream.runtime.compose import PlanningConfig, rollouts_a_decision
from sim.adapters.catalogue import EnvironmentConfig
from sim.tabletop.scene import SceneConfig

Row = Literal["nothing", "random", "inverse", "planner", "physics"]
ROWS: tuple[str, ...] = get_args(Row)

_DESCRIPTION = """\
Runs every row on every pair of the committed manifests: `nothing` (the arm holds still), `random`, `inverse` (the learned inverse model
alone, no search), `planner` (what `planning` configures), `physics` (search and suggestions at true poses, imagined by the true
simulator: the ceiling), and the searches that `others` names, with the planner's costs and suggestions. A pair's outcome depends on
nothing but the pair, the row and the seed; stop it and start it again as you like."""

_EPILOG = """\
example:
  robo-dream evaluate --config configs/evaluate/jaco.yaml
  robo-dream evaluate --config configs/evaluate/jaco.yaml tasks='[push]' rows='[planner]' num_pairs=20 out=runs/quick
  robo-dream evaluate --config configs/evaluate/jaco.yaml --make-manifests    (held-out pairs anew; the same seeds give the same file)

Results go to `out`: results.jsonl (a line a pair and row) and table.md, which shows all that was measured there with these settings."""


@dataclass(frozen=True)
class EvaluateConfig:
    """What is measured. `num_pairs` counts from the manifest's beginning; `physics_pairs` is for the slow row of true physics.

    That row searches as `physics` says, and those of `others` as these say, with the same costs and suggestions as the planner's.
    `world` is one that others wrote, with tasks of its own; without it all happens in our own `scene`.
    """

    checkpoint: Path = Path("configs/checkpoints/jaco_s.safetensors")
    manifests: Path = Path("configs/manifests")
    out: Path = Path("runs/evaluate")
    tasks: tuple[str, ...] = ("reach", "push", "lift")
    rows: tuple[str, ...] = ROWS  # of these, and the names in `others`
    num_pairs: int = 200
    physics_pairs: int = 20
    seed: int = 0
    workers: int = 2  # processes, one thread each; they change no outcome
    compiled: bool = False  # as in plan; it changes rounding and decision times
    precision: Precision = "float32"  # of matrix products while imagining; bfloat16 is faster where the processor has it
    planning: PlanningConfig = field(default_factory=PlanningConfig)
    by_task: Mapping[str, PlanningConfig] = field(default_factory=dict)  # instead of `planning`, for tasks that are judged otherwise
    goal: Literal["picture", "picture_and_arm"] = "picture_and_arm"  # what learned rows are shown of it: the arm's own word too, or not
    physics: PlannerConfig = field(default_factory=lambda: GuardedConfig(num_samples=16, num_elites=6, num_proposals=12))
    others: Mapping[str, PlannerConfig] = field(default_factory=dict)  # more rows, by name
    scene: SceneConfig = field(default_factory=SceneConfig)
    world: EnvironmentConfig | None = None

    def __post_init__(self) -> None:
        for name in self.rows:
            if name not in self.known_rows:
                raise ConfigError(f"rows names {name!r}; known rows: {', '.join(self.known_rows)}. Add it to `others`, or leave it out")
        if taken := [name for name in self.others if name in ROWS]:
            raise ConfigError(f"others has rows {taken}, which are there already; give them other names")
        for name in ("num_pairs", "physics_pairs", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not self.tasks or not self.rows:
            raise ConfigError("name at least one task and one row, such as tasks='[push]' rows='[planner]'")

    @property
    def known_rows(self) -> tuple[str, ...]:
        return (*ROWS, *self.others)

    def planning_of(self, row: str, task: str) -> PlanningConfig:
        """How decisions are made in a row of a task; raises `ConfigError` for one of no `known_rows`."""
        planning = self.by_task.get(task, self.planning)
        match row:
            case "nothing":
                return PlanningConfig(DoNothingConfig(), planning.cost)
            case "random":
                return PlanningConfig(RandomConfig(), planning.cost)
            case "inverse":
                return PlanningConfig(DirectConfig(), planning.cost, planning.proposals)
            case "planner":
                return planning
            case "physics":
                return PlanningConfig(self.physics, planning.cost, planning.proposals)
            case _ if row in self.others:
                return PlanningConfig(self.others[row], planning.cost, planning.proposals)
        raise ConfigError(f"no row named {row!r}; known: {', '.join(self.known_rows)}")


@dataclass(frozen=True)
class Job:
    """One attempt: everything that decides its outcome."""

    task: str
    row: str  # one of `ROWS`, or what another program measures
    pair: int
    seed: int
    settings: str  # hash of what else decides it


CONFIG = EvaluateConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.add_argument("--make-manifests", action="store_true", help="make the pairs of `tasks` anew and stop")
    add_config_arguments(parser, "evaluate")


def run(args: argparse.Namespace) -> int:
    wanted = load_config(EvaluateConfig, args)
    if args.make_manifests:
        return _make_manifests(wanted)
    _check_goal(wanted)
    manifests = {task: read_manifest(_path(wanted, task)) for task in wanted.tasks}
    jobs = list(_jobs(wanted, manifests))
    rows = wanted.known_rows
    settings = {(task, row): settings_hash(wanted, row, task, manifest) for task, manifest in manifests.items() for row in rows}
    file = ResultFile(wanted.out / "results.jsonl", settings)
    if file.num_other:
        print(f"{file.path} has {file.num_other} results of other settings; they are kept there and left out here.")
    left = [job for job in jobs if (job.task, job.row, job.pair) not in file.results]
    with tqdm(total=len(jobs), initial=len(jobs) - len(left), unit="pair", disable=not left) as bar:
        for result in _attempts(wanted, left):
            file.add(result)
            bar.update()
            rates = [other.moderate for other in file.results.values() if (other.task, other.row) == (result.task, result.row)]
            bar.set_postfix_str(f"{result.task} {result.row} {100 * sum(rates) / len(rates):.0f} %")
    results = sorted(file.results.values(), key=lambda result: (wanted.tasks.index(result.task), result.key))
    rollouts = {(task, row): rollouts_a_decision(wanted.planning_of(row, task).planner) for task in wanted.tasks for row in rows}
    table = markdown_table(results, rows, rollouts)  # of all that was measured with these settings, in this call or before
    where = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {wanted.workers} workers, {date.today().isoformat()}"
    (wanted.out / "table.md").write_text(f"{table}\n\n{where}\n")
    print(f"{table}\n\n{where}\nresults: {wanted.out}")
    return 0


def pair_seed(manifest_hash: str, task: str, pair: int, seed: int) -> int:
    """The seed of one attempt; it depends on no order and no other pair."""
    return int.from_bytes(hashlib.sha256(f"{manifest_hash}/{task}/{pair}/{seed}".encode()).digest()[:4])


def _check_goal(wanted: EvaluateConfig) -> None:
    if wanted.goal == "picture" and wanted.checkpoint.is_file():
        from robo_dream.models.checkpoint import read_info

        if not read_info(wanted.checkpoint).spec.config.picture_goals:
            raise ConfigError(
                f"goal is picture, but {wanted.checkpoint} never learned to see without proprioception; train one with "
                f"training.model.picture_goals=true, or set goal to picture_and_arm"
            )


def _path(wanted: EvaluateConfig, task: str) -> Path:
    return wanted.manifests / f"{task}.safetensors"


def _jobs(wanted: EvaluateConfig, manifests: dict[str, Manifest]) -> Iterator[Job]:
    for task, manifest in manifests.items():
        for row in wanted.rows:
            asked = wanted.physics_pairs if row == "physics" else wanted.num_pairs
            if asked > len(manifest):
                raise ConfigError(f"{asked} pairs were asked for; the manifest of {task} has {len(manifest)}")
            settings = settings_hash(wanted, row, task, manifest)
            yield from (Job(task, row, pair, pair_seed(manifest.sha256, task, pair, wanted.seed), settings) for pair in range(asked))


def _attempts(wanted: EvaluateConfig, jobs: list[Job]) -> Iterator[Result]:
    from robo_dream.runtime import evaluate_worker as worker

    if not jobs:
        return
    if wanted.workers == 1:
        worker.start(wanted)
        yield from map(worker.attempt, jobs)
        return
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with multiprocessing.get_context("spawn").Pool(wanted.workers, worker.start, (wanted,)) as pool:
        yield from pool.imap_unordered(worker.attempt, jobs)


def settings_hash(wanted: EvaluateConfig, row: str, task: str, manifest: Manifest) -> str:
    """What decides the outcomes of a row besides pair and seed; a checkpoint or a cost that a row does not use changes nothing."""
    decides: dict[str, Any] = {"row": row, "seed": wanted.seed, "manifest": manifest.sha256}
    decides |= {"scene": config.dump(wanted.scene)} if wanted.world is None else {"world": config.dump(wanted.world)}
    if row not in ("nothing", "random"):
        decides["planning"] = config.dump(wanted.planning_of(row, task))
    if wanted.compiled:
        decides["compiled"] = True
    if wanted.precision != "float32":
        decides["precision"] = wanted.precision
    if wanted.goal == "picture" and row not in ("nothing", "random", "physics"):
        decides["goal"] = wanted.goal
    if row not in ("nothing", "random") and wanted.checkpoint.is_file():
        decides["checkpoint"] = hashlib.sha256(wanted.checkpoint.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps(decides, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _make_manifests(wanted: EvaluateConfig) -> int:
    for name in wanted.tasks:
        with Bars({}, name, unit="pair") as bars:
            manifest = _new_manifest(wanted, name, bars)
        path = _path(wanted, name)
        write_manifest(path, manifest)
        print(f"{path}: {len(manifest)} pairs, {manifest.steps.mean():.0f} steps apart on average, {manifest.sha256[:12]}")
    return 0


def _new_manifest(wanted: EvaluateConfig, name: str, bars: Bars) -> Manifest:
    from robo_dream.runtime.compose import build_world
    from sim import pairs as foreign
    from sim.adapters.catalogue import build_environment
    from sim.tabletop.tasks.catalogue import task_named
    from sim.tabletop.tasks.pairs import PairRule, build_manifest

    if wanted.world is not None:
        with build_environment(wanted.world) as environment:
            return foreign.build_manifest(environment, name, wanted.num_pairs, bars)
    with build_world(wanted.scene) as world:
        rule = PairRule(farthest=60) if name == "place" else PairRule()
        return build_manifest(world, task_named(name), wanted.num_pairs, rule, bars)
