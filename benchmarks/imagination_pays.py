"""Does imagination pay? What each use of it adds to the policy alone, on identical held-out pairs.

    python benchmarks/imagination_pays.py configs/checkpoints/ogbench_cube_single_s.safetensors --pairs 100
    python benchmarks/imagination_pays.py CHECKPOINT --methods best_of_8 planner --pairs 20 --workers 1
    python benchmarks/imagination_pays.py CHECKPOINT --methods planner --goal picture_arm_at_start

For every task of a checkpoint's world, the first pairs of its frozen manifest: the policy alone; the policy's best of 2 to 512 by
imagination, where every candidate is a proposal of the policy and the first its likeliest; the checkpoint's own search as released; CEM
without proposals; a small search, and the same with oracle dynamics (fewer pairs, since true physics takes seconds); and the imagined goal
bridge (RWM), which reads actions off the line between here and the goal. `robo_dream.runtime.evaluate` makes the attempts. With --goal,
goals are shown otherwise than the checkpoint is usually shown them, and the world's name says how: `push-picture-arm-at-start`.

Stop it and start it again as you like: outcomes are kept in `out`, a line each, and are made again only where settings, code or
checkpoint are others. After each method its figures are put into `results`, whose figures of other worlds and methods stay; those
of the same world and regime but of another checkpoint are dropped, as they are not comparable. Then run `make tables`.
"""

import argparse
import fcntl
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from line_chart import Interval, Line, draw_lines
from results_file import write_figures

from robo_dream.config import Changes
from robo_dream.errors import CheckpointError, ConfigError
from robo_dream.evaluation.intervals import paired_difference
from robo_dream.evaluation.manifest import read_manifest
from robo_dream.evaluation.results import Result, ResultFile
from robo_dream.models.checkpoint import CheckpointInfo, sha256
from robo_dream.planning.baselines import BestOfConfig, PolicyAloneConfig
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.attempt import GoalShown, goal_shown
from robo_dream.runtime.environment import WorldConfig, usual_tasks
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, attempts
from robo_dream.runtime.planner import PlanningConfig, rollouts_a_decision
from robo_dream.runtime.progress import Bars
from sim.tabletop.scene import SceneConfig

CANDIDATES = (2, 4, 8, 32, 128, 512)
BEST_OF = {f"best_of_{number}": number for number in CANDIDATES}
METHODS = ("policy_alone", *BEST_OF, "planner", "cem", "small_search", "oracle_dynamics", "goal_bridge")
ALONE, RELEASED = "policy_alone", "planner"
APART = {
    "planner": "search,\nreleased",
    "cem": "CEM",
    "small_search": "small\nsearch",
    "oracle_dynamics": "true\nphysics",
    "goal_bridge": "bridge",
}
KINDS = ("moderate", "strict")
GOALS: tuple[str, ...] = get_args(GoalShown)
_POLICY_ONLY = Changes[PlanningConfig]({"proposals": {"policy": True, "repeated": False, "bridge": False}})
_BRIDGE_ONLY = Changes[PlanningConfig]({"proposals": {"policy": False, "repeated": False, "bridge": True}})

Figures = Mapping[str, float | int | str | None]


@dataclass(frozen=True)
class Case:
    """One task of one checkpoint: what is measured, and the stem of its figures' names, `<world>/<regime>`."""

    stem: str
    evaluation: Evaluation
    checkpoint: str  # name and hash

    @property
    def task(self) -> str:
        return self.evaluation.tasks[0]


def cases_of(path: Path, args: argparse.Namespace) -> Iterator[Case]:
    """A case for each task; raises `CheckpointError` for a checkpoint that does not say its regime."""
    whole = Evaluation.of(EvaluateConfig(checkpoint=path, tasks=args.tasks, goal=args.goal))
    info = whole.info
    if info is None or info.settings.regime is None:
        raise CheckpointError(
            f"{path} is not there, or does not say its regime (recorded or privileged); name one that was trained since 0.2"
        )
    named = f"{path.name} {sha256(path)[:12]}"
    for task in whole.tasks:
        name = world_name(whole.world, task, usual_tasks(whole.world, whole.manifests))
        name += "" if whole.shown == goal_shown(None, info, path) else _otherwise_shown(whole.shown)
        yield Case(f"{name}/{info.settings.regime}", evaluation_of(whole, task, args), named)


def world_name(world: WorldConfig, task: str, usual: Sequence[str]) -> str:
    """As the other result files call it: a task of the default tabletop, else arm or environment, and the task where it has several."""
    if isinstance(world, SceneConfig):
        return task if world.arm == SceneConfig().arm else f"{world.arm}-{task}"
    if task == "five_tasks":
        return f"{world.env}-five-goals"
    return world.env if (task,) == tuple(usual) else f"{world.env}-{task}"


def _otherwise_shown(shown: str) -> str:
    return f"-{shown.replace('_', '-')}"


def is_usual(world: str) -> bool:
    """Whether goals are shown as its checkpoint is usually shown them: others are the same world once more."""
    return not world.endswith(tuple(map(_otherwise_shown, GOALS)))


def evaluation_of(whole: Evaluation, task: str, args: argparse.Namespace) -> Evaluation:
    """The evaluation of one task, whose own search decides horizon and size of the others."""
    assert whole.info is not None
    released = whole.planning_of(RELEASED, task).planner
    small = small_search(released, args.oracle_rollouts)
    extra: dict[str, PlannerConfig] = {name: BestOfConfig(horizon=released.horizon, num_samples=number) for name, number in BEST_OF.items()}
    extra |= {
        "cem": CemConfig(horizon=released.horizon, num_proposals=0),
        "small_search": small,
        "goal_bridge": PolicyAloneConfig(horizon=released.horizon),
    }
    methods = [name for name in METHODS if name in (ALONE, *args.methods) and (name != "goal_bridge" or has_bridge(whole.info))]
    pairs = min(args.pairs, len(read_manifest(whole.path(task))))
    return Evaluation.of(
        replace(
            whole.config, tasks=(task,), methods=tuple(methods), num_pairs=pairs, oracle_pairs=min(pairs, args.oracle_pairs),
            oracle_planner=small, extra_planners=extra, workers=args.workers, world=whole.world, manifests=whole.manifests,
            by_method={ALONE: _POLICY_ONLY, **dict.fromkeys(BEST_OF, _POLICY_ONLY), "goal_bridge": _BRIDGE_ONLY},
        )
    )  # fmt: skip


def small_search(released: PlannerConfig, rollouts: int) -> PlannerConfig:
    """The released search with one iteration of at most `rollouts`, few enough for true physics."""
    if isinstance(released, BestOfConfig):
        return replace(released, num_samples=min(released.num_samples, rollouts))
    search = released if isinstance(released, PolicyGuidedConfig) else PolicyGuidedConfig(horizon=released.horizon)
    size = min(search.num_samples, rollouts)
    proposals, elites = min(search.num_proposals, size - 4), min(search.num_elites, size // 2)
    return replace(search, num_samples=size, num_iterations=1, num_proposals=proposals, num_elites=elites)


def has_bridge(info: CheckpointInfo) -> bool:
    """Whether the checkpoint learned to read actions off bridges; one that does not say did."""
    return info.recipe.get("train", {}).get("training", {}).get("dream", {}).get("bridge", 1.0) > 0


def measure(case: Case, args: argparse.Namespace, on_method: Callable[[str, Sequence[Result]], None]) -> None:
    """Makes the attempts that are not there yet. `on_method` is told of each method that is whole, with all results of the task.

    Not before the policy alone is whole, as the others are compared with it.
    """
    evaluation = case.evaluation
    evaluation.require()
    file = ResultFile(args.out / case.stem.replace("/", "-") / "results.jsonl", evaluation.settings_of())
    jobs = list(evaluation.jobs())
    left = [job for job in jobs if (job.task, job.method, job.pair) not in file.results]
    missing = {method: sum(job.method == method for job in left) for method in evaluation.config.methods}

    def note_whole() -> None:
        if not missing.get(ALONE):
            results = sorted(file.results.values(), key=lambda result: result.pair)
            for method in [method for method, count in missing.items() if not count]:
                del missing[method]
                on_method(method, results)

    note_whole()
    with Bars({}, case.stem, unit="pair") as bars:
        for done, result in enumerate(attempts(evaluation.config, left), start=len(jobs) - len(left) + 1):
            file.add(result)
            bars(done, len(jobs))
            bars.note(result.method)
            missing[result.method] -= 1
            note_whole()


def figures_of(method: str, results: Sequence[Result], rollouts: int) -> Figures:
    """Rates in percent, decision times, and what the method gains over the policy alone on the pairs of both, in points."""
    ours, alone = ({result.pair: result for result in results if result.method == name} for name in (method, ALONE))
    figures: dict[str, float | int | str | None] = {"pairs": len(ours), "rollouts": rollouts}
    for kind in KINDS:
        figures[kind] = round(100 * float(np.mean([getattr(result, kind) for result in ours.values()])), 2)
    seconds = np.concatenate([result.decision_seconds for result in ours.values()])
    if len(seconds):
        figures |= {f"decision_p{q}_ms": round(1e3 * float(np.percentile(seconds, q)), 1) for q in (50, 95)}
    if method != ALONE and ours.keys() & alone.keys():
        for kind in KINDS:
            figures |= _named(f"gain_{kind}", paired(ours, alone, kind))
    return figures


def paired(first: Mapping[int, Result], second: Mapping[int, Result], kind: str) -> Interval:
    """First minus second on the pairs that both have attempted, in points, with its 95 % bootstrap interval over pairs."""
    both = sorted(first.keys() & second.keys())
    ours, theirs = (np.array([getattr(some[pair], kind) for pair in both]) for some in (first, second))
    middle, low, high = (round(100 * value, 1) for value in paired_difference(ours, theirs))
    return middle, low, high


def peak_of(results: Sequence[Result]) -> Figures:
    """Of how many candidates the best is strictly best (of equals the fewest), and what the most candidates are worth against that.

    Empty until two numbers of candidates have been tried. The peak is chosen on the same pairs, so the interval errs towards a fall.
    """
    of = {number: {one.pair: one for one in results if one.method == name} for name, number in BEST_OF.items()}
    tried = {number: some for number, some in of.items() if some}
    if len(tried) < 2:
        return {}
    common = set.intersection(*(set(some) for some in tried.values()))
    if not common:
        return {}
    rates = {number: sum(some[pair].strict for pair in common) for number, some in tried.items()}
    peak, most = max(rates, key=lambda number: (rates[number], -number)), max(tried)
    return {"peak": peak, "most": most} | _named("most_minus_peak_strict", paired(tried[most], tried[peak], "strict"))


def _named(name: str, interval: Interval) -> dict[str, float | int | str | None]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))


def merged(old: Figures, stem: str, checkpoint: str, methods: Mapping[str, Figures]) -> dict[str, float | int | str | None]:
    """`old` with all figures of these methods of a world replaced.

    Figures of another checkpoint of this world and regime go; all else stays. `macro_strict_gain` is the mean over worlds and regimes of
    what the released search gains over the policy alone, goals shown as usual; with a regime behind it, over the worlds of that regime.
    """
    said = f"_checkpoint/{stem}"
    gone = [f"{stem}/{method}/" for method in methods] if old.get(said) == checkpoint else [f"{stem}/"]
    kept = {key: value for key, value in old.items() if not key.startswith(tuple(gone)) and not key.startswith("macro_")}
    new = {f"{stem}/{method}/{name}": value for method, figures in methods.items() for name, value in figures.items()}
    figures = kept | {said: checkpoint} | new
    ordered = dict(sorted(figures.items(), key=lambda item: _place(item[0])))
    return ordered | macro_gains(ordered)


def macro_gains(figures: Figures) -> dict[str, float | int | str | None]:
    gains: dict[str, list[Any]] = {}  # by regime
    for key, value in figures.items():
        if key.endswith(f"/{RELEASED}/gain_strict") and is_usual(key.split("/")[0]):
            gains.setdefault(key.split("/")[1], []).append(value)
    every = [gain for some in gains.values() for gain in some]
    found = {f"macro_strict_gain_{regime}": round(float(np.mean(some)), 1) for regime, some in gains.items()}
    return {"macro_strict_gain": round(float(np.mean(every)), 1), **found} if every else {}


def _place(key: str) -> tuple[bool, str, str, int]:
    """Where a figure stands in the file: worlds by name, methods as in `METHODS`, figures as they were noted (sorting is stable)."""
    world, regime, method = (*key.split("/"), "", "")[:3]
    return key.startswith("_"), world, regime, METHODS.index(method) if method in METHODS else len(METHODS)


@contextmanager
def alone_with(path: Path) -> Iterator[None]:
    """Another run that wants to change the same file waits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_figures(path: Path) -> Figures:
    return json.loads(path.read_text()) if path.exists() else {}


def lines_of(figures: Figures) -> list[Line]:
    """One for each world and regime: strict gain over the policy alone, by the number of candidates. The recorded regime first.

    Goals are shown as usual.
    """
    gained = [key.rsplit("/", 2)[0] for key in figures if key.endswith("/gain_strict")]
    stems = list(dict.fromkeys(stem for stem in gained if is_usual(stem.split("/")[0])))
    worlds = list(dict.fromkeys(stem.split("/")[0] for stem in stems))

    def gain(stem: str, method: str) -> Interval | None:
        key = f"{stem}/{method}/gain_strict"
        return tuple(float(figures[key + end]) for end in ("", "_low", "_high")) if key in figures else None  # type: ignore[return-value]

    lines = []
    for stem in sorted(stems, key=lambda stem: (not stem.endswith("/recorded"), stem)):
        at = {number: found for name, number in BEST_OF.items() if (found := gain(stem, name))}
        apart = {name: found for name in APART if (found := gain(stem, name))}
        world, regime = stem.split("/")
        start = {1: (0.0, 0.0, 0.0)} if at else {}  # the policy alone
        lines.append(Line(f"{world}, {regime}", worlds.index(world), regime != "recorded", start | at, apart))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--pairs", type=int, default=100, help="the first of each frozen manifest")
    parser.add_argument("--oracle-pairs", type=int, default=20, help="of these, with oracle dynamics")
    parser.add_argument(
        "--oracle-rollouts", type=int, default=16, help="of a decision of the small search and of that with oracle dynamics"
    )
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS, help="policy_alone is always among them")
    parser.add_argument("--goal", choices=GOALS, help="what is shown of goals; without, as the checkpoint learned it")
    parser.add_argument("--tasks", nargs="+", help="without, those that the world has frozen pairs of, but for OGBench's five goals")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, default=Path("runs/imagination_pays"), help="outcomes, a line a pair")
    parser.add_argument("--results", type=Path, default=Path("docs/results/imagination_pays.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/imagination_pays.svg"))
    args = parser.parse_args()
    args.tasks = None if args.tasks is None else tuple(args.tasks)
    if args.oracle_rollouts < 6:
        raise ConfigError(f"--oracle-rollouts is {args.oracle_rollouts}; allowed is at least 6")
    for case in [case for path in args.checkpoints for case in cases_of(path, args)]:

        def note(method: str, results: Sequence[Result], case: Case = case) -> None:
            rollouts = rollouts_a_decision(case.evaluation.planning_of(method, case.task).planner)
            found = {method: figures_of(method, results, rollouts)} | ({"best_of": peak_of(results)} if method in BEST_OF else {})
            with alone_with(args.out / "lock"):
                figures = merged(read_figures(args.results), case.stem, case.checkpoint, found)
                write_figures(args.results, figures)

        measure(case, args, note)
    lines = lines_of(read_figures(args.results))
    apart = {name: label for name, label in APART.items() if any(name in line.apart for line in lines)}
    draw_lines(args.picture, lines, "What imagining adds to the policy alone, strict, points", "candidates, all the policy's own", apart)
    print(f"{args.results}\n{args.picture}\nThe tables of the pages: make tables")


if __name__ == "__main__":
    main()
