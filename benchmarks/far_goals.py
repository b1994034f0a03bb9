"""How often planning succeeds in closed loop with each cost, by how many control steps away the goal is.

    python benchmarks/far_goals.py --values runs/value --out runs/far_goals
    python benchmarks/far_goals.py --values runs/value --out runs/far_goals_short --horizon 5 --proposals 8

Pairs are cut from scripted episodes of seeds that no dataset has, exactly `--distances` control steps apart, by the rules of the frozen
manifests; each is given 2.5 times as many steps. Rows: the arm holding still, the policy alone, and the released search with each
cost in turn. All methods attempt the same pairs with the same seeds. Stop it and start it again as you like: methods of a pair come
one after another, so what is there can be compared. Prints and writes `out`/table.md; values come from benchmarks/dream_value.py.
"""

import argparse
import hashlib
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from dream_value import value_path
from rival_costs import hand_of, released_planning, rival_costs
from tqdm import tqdm

from robo_dream import config
from robo_dream.evaluation.intervals import paired_difference, wilson
from robo_dream.evaluation.manifest import Manifest, read_manifest, write_manifest
from robo_dream.evaluation.results import Result, ResultFile
from robo_dream.imagination import Planner
from robo_dream.planning.baselines import PolicyAloneConfig, ZeroActionConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.runtime.environment import build_environment
from robo_dream.runtime.evaluate import Job, attempt_pair, pair_seed
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import build_planner
from robo_dream.runtime.progress import Bars
from sim.environment import task_named
from sim.pairs import build_manifest

FIRST_SEED = 9_000_000  # datasets count from 0, the frozen manifests from 1,000,000, demonstrations from 20,000,000
ALONE = ("zero_action", "policy_alone")
AGAINST = "pose"  # the method with which the others are compared, pair by pair


class Attempter:
    """A process that attempts pairs."""

    def __init__(self, args: argparse.Namespace) -> None:
        torch.set_num_threads(1)
        self.args, self.world = args, build_environment()
        self.model = load_checkpoint_model(args.checkpoint)
        self.manifests = {label(args, away): read_manifest(manifest_path(args, away)) for away in args.distances}
        self.costs = rival_costs(self.model, released_planning(args.task), args.values)

    def planner(self, method: str) -> Planner:
        released = released_planning(self.args.task)
        if method in ALONE:
            plain = ZeroActionConfig() if method == "zero_action" else PolicyAloneConfig()
            return build_planner(plain, self.model, released.cost, released.proposals)
        guarded = build_planner(search(self.args), self.model, released.cost, released.proposals)
        assert isinstance(guarded, PolicyGuidedPlanner)
        return replace(guarded, cost=self.costs[method])

    def attempt(self, job: Job) -> Result:
        return attempt_pair(self.world, self.model, self.planner(job.method), self.manifests[job.task].pair(job.pair), job)


_ATTEMPTERS: list[Attempter] = []  # one a process


def start_attempter(args: argparse.Namespace) -> None:
    _ATTEMPTERS[:] = [Attempter(args)]


def attempt(job: Job) -> Result:
    return _ATTEMPTERS[0].attempt(job)


def label(args: argparse.Namespace, away: int) -> str:
    return f"{args.task} at {away}"


def manifest_path(args: argparse.Namespace, away: int) -> Path:
    return args.out / f"{args.task}-{away}.safetensors"


def search(args: argparse.Namespace) -> PolicyGuidedConfig:
    """The released search, with what the command line changes of it."""
    released = released_planning(args.task).planner
    assert isinstance(released, PolicyGuidedConfig)
    return replace(released, horizon=args.horizon or released.horizon, num_proposals=args.proposals or released.num_proposals)


def make_manifests(args: argparse.Namespace) -> Mapping[str, Manifest]:
    """Pairs of each distance: those that are there, where they are enough."""
    made = {}
    with build_environment() as world:
        for away in args.distances:
            path = manifest_path(args, away)
            if not path.exists() or len(read_manifest(path, len(world.state))) < args.pairs:
                usual = task_named(world, args.task).pairs
                assert usual is not None
                rule = replace(usual, nearest=away, farthest=away, num_steps=max(100, away + 30))
                with Bars({}, label(args, away), unit="pair") as bars:
                    write_manifest(path, build_manifest(world, args.task, args.pairs, bars, FIRST_SEED, rule))
            made[label(args, away)] = read_manifest(path, len(world.state))
    return made


def settings_hash(args: argparse.Namespace, method: str, manifest: Manifest) -> str:
    """Of all that decides the outcomes of a method."""
    decides: dict[str, object] = {"method": method, "seed": args.seed, "manifest": manifest.sha256}
    if method != "zero_action":
        decides |= {"checkpoint": _digest(args.checkpoint), "planning": config.dump(released_planning(args.task))}
    if method not in ALONE:
        decides["search"] = config.dump(search(args))
    if method == "value":
        decides["value"] = _digest(value_path(args.values, hand_of(released_planning(args.task))))
    return hashlib.sha256(json.dumps(decides, default=str, sort_keys=True).encode()).hexdigest()[:16]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def attempts(args: argparse.Namespace, jobs: Sequence[Job]) -> Iterator[Result]:
    if jobs:
        with multiprocessing.get_context("spawn").Pool(args.workers, start_attempter, (args,)) as pool:
            yield from pool.imap_unordered(attempt, jobs)


def table(results: Sequence[Result], tasks: Sequence[str], methods: Sequence[str]) -> str:
    lines = [
        f"| goals | method | pairs | moderate % | strict % | {AGAINST} minus it, moderate | strict | cm left (median) | decision p50 ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    by_key = {result.key: result for result in results}
    for task in tasks:
        for method in methods:
            some = {pair: result for (of_task, of_method, pair), result in by_key.items() if (of_task, of_method) == (task, method)}
            if some:
                kept = list(some.values())
                base = {pair: by_key[task, AGAINST, pair] for pair in some if method != AGAINST and (task, AGAINST, pair) in by_key}
                cells = [_rate([getattr(one, kind) for one in kept]) for kind in ("moderate", "strict")]
                cells += [_gain(base, some, kind) for kind in ("moderate", "strict")]
                left, seconds = np.median([one.distance for one in kept]), np.concatenate([one.decision_seconds for one in kept])
                lines.append(
                    f"| {task} | {method} | {len(kept)} | {' | '.join(cells)} | {100 * left:.1f} | {1e3 * np.median(seconds):.0f} |"
                )
    return "\n".join(lines)


def _rate(outcomes: Sequence[bool]) -> str:
    low, high = wilson(sum(outcomes), len(outcomes))
    return f"{100 * np.mean(outcomes):.0f} ({100 * low:.0f} to {100 * high:.0f})"


def _gain(base: Mapping[int, Result], some: Mapping[int, Result], kind: str) -> str:
    if not base:
        return ""
    first, second = (np.array([getattr(of[pair], kind) for pair in base]) for of in (base, some))
    return "{:+.0f} ({:+.0f} to {:+.0f})".format(*(100 * number for number in paired_difference(first, second)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("configs/checkpoints/jaco_s.safetensors"))
    parser.add_argument("--values", type=Path, help="folder of values learned in the dream")
    parser.add_argument("--out", type=Path, default=Path("runs/far_goals"))
    parser.add_argument("--task", default="push", choices=("reach", "push", "lift", "place"))
    parser.add_argument("--distances", type=int, nargs="+", default=(10, 25, 50, 100))
    parser.add_argument("--pairs", type=int, default=16, help="a distance")
    parser.add_argument("--methods", nargs="+", help="some of nothing, inverse, latent, distance, value, pose, pose+hand")
    parser.add_argument("--horizon", type=int, help="imagined steps, instead of the released number")
    parser.add_argument("--proposals", type=int, help="of the candidates, instead of the released number")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    manifests = make_manifests(args)
    methods = args.methods or [*ALONE, "latent", "distance", *(["value"] if args.values else []), "pose", "pose+hand"]
    settings = {(task, method): settings_hash(args, method, manifest) for task, manifest in manifests.items() for method in methods}
    file = ResultFile(args.out / "results.jsonl", settings)
    jobs = [
        Job(task, method, pair, pair_seed(manifest.sha256, task, pair, args.seed), settings[task, method])
        for pair in range(args.pairs)
        for task, manifest in manifests.items()
        for method in methods
    ]
    left = [job for job in jobs if (job.task, job.method, job.pair) not in file.results]
    with tqdm(total=len(jobs), initial=len(jobs) - len(left), unit="attempt", disable=not left) as bar:
        for result in attempts(args, left):
            file.add(result)
            bar.update()
    text = table(list(file.results.values()), list(manifests), methods)
    (args.out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
