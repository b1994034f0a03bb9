"""The method beside ours: LeWM of stable-worldmodel 0.1.1, as lewm_train.py left it, planning with its own CEM on the same frozen pairs.

    python benchmarks/lewm_evaluate.py --checkpoint runs/lewm_ogbench_cube_single/lewm.safetensors --pairs 100
    python benchmarks/lewm_evaluate.py --execute-blocks 5    (their scripts' way: a whole plan of 25 actions before the next)

World, manifests, seed, budget (50 control steps of 50 ms) and judge are those of configs/evaluate/ogbench_cube_single.yaml, and the loop
counts as `robo-dream evaluate` does. Results are lines of the same kind in the same file, so one table has both methods, with Wilson's
intervals and paired differences; stop it and start it again as you like. A pair's outcome depends on nothing but pair, seed and settings.

World and judge are in this process. Their policy and CEM run in another, in another environment, which is told a seed, the goal's picture
and the picture of the moment, and answers with actions; it knows of no state, no pose, no proprioception and no success. 300 samples, 30
iterations, 30 elites, 5 imagined steps of 5 actions, initial spread 1 and cost are their scripts/plan/config at 0.1.1. What is not:

- Replanning after every block of 5 actions instead of after 5 blocks, because it is the better of the two wherever it was measured
  (field.md), with their warm start from the rest of the last plan; `--execute-blocks 5` is theirs, in a row of its own.
- Pairs, judge and world are ours: theirs start anywhere in training episodes, solved pairs included.
- Actions are searched in units of the training actions' spread, without limits, as theirs are; what comes out is clipped to the world's.
- Pictures are normalised and scaled to the model's size by their own transforms. At 0.1.1 the policy sees one frame at a decision: its
  history of 3 is what the predictor looks back on while it imagines.
- float32, not compiled; `--compile` is their scripts' option. A decision is timed with its way there and back.
"""

import argparse
import base64
import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from render_rate import machine
from stable_worldmodel_env import FOLDER, ROOT, Side, environment
from tqdm import tqdm

from robo_dream import config
from robo_dream.control.episode import EpisodeEnd
from robo_dream.evaluation.manifest import Manifest, read_manifest
from robo_dream.evaluation.results import Progress, Result, ResultFile
from robo_dream.evaluation.table import markdown_table
from robo_dream.runtime.environment import WorldConfig, build_environment
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, Job, pair_seed
from robo_dream.runtime.planner import rollouts_a_decision
from sim.environment import Environment, goal_observation, ground_truth_at, task_named

_WORKER: "list[Worker]" = []  # one a process: what `start` made


@dataclass(frozen=True)
class Search:
    """Their planner's settings, as in scripts/plan/config at 0.1.1 but for `execute_blocks`, which is 5 there."""

    num_samples: int = 300
    num_iterations: int = 30
    num_elites: int = 30
    horizon: int = 5  # imagined steps of 5 actions
    execute_blocks: int = 1  # of a plan, before the next

    @property
    def method(self) -> str:
        return "lewm" if self.execute_blocks == 1 else f"lewm, {self.execute_blocks} blocks at once"

    @property
    def rollouts(self) -> int:
        return self.num_samples * self.num_iterations


@dataclass(frozen=True)
class Request:
    """What a process needs to attempt pairs."""

    python: Path
    checkpoint: Path
    world: WorldConfig
    manifests: Mapping[str, Manifest]
    search: Search
    threads: int
    compiled: bool
    device: str


class Worker:
    """The world is here; what decides is in the other environment, and is told pictures alone."""

    def __init__(self, request: Request) -> None:
        self.request, self.world = request, build_environment(request.world)
        search = [f"--{name.replace('_', '-')}={value}" for name, value in vars(request.search).items()]
        more = [f"--threads={request.threads}", f"--device={request.device}", *(["--compile"] if request.compiled else [])]
        self.lewm = Side(request.python, "lewm_plan_side.py", f"--checkpoint={request.checkpoint}", *search, *more)

    def close(self) -> None:
        self.lewm.__exit__()
        self.world.close()


def attempt_pair(world: Environment, lewm: Side, manifest: Manifest, job: Job) -> Result:
    """The pair of `job` in closed loop, from its start until the strict condition was held or the budget is used."""
    judge, spec, (camera,) = task_named(world, manifest.task).criterion, world.action_spec, (camera.name for camera in world.cameras)
    goal, seen = ground_truth_at(world, manifest.goals[job.pair]), goal_observation(world, manifest.goals[job.pair])
    world.set_state(manifest.starts[job.pair])
    lewm.ask(seed=job.seed, goal=_encoded(seen.frames[camera].image))
    progress, pending, seconds = Progress(), [], []
    while progress.step < manifest.budget(job.pair) and progress.strict_step is None:
        if not pending:
            picture = _encoded(world.image(camera))
            began = time.perf_counter()
            pending = lewm.ask(picture=picture)["actions"]
            seconds.append(time.perf_counter() - began)
        world.step(spec.clip(np.asarray(pending.pop(0), np.float32)))
        now = world.ground_truth()
        progress = progress.after(judge.moderate(now, goal), judge.strict(now, goal), judge.hold_steps)
    end = EpisodeEnd.BUDGET if progress.strict_step is None else EpisodeEnd.DONE
    return Result(
        job.task, job.method, job.pair, job.settings, progress.moderate_step is not None, progress.strict_step is not None, progress.step,
        judge.distance(world.ground_truth(), goal), tuple(seconds), str(end),
    )  # fmt: skip


def _encoded(picture: UInt8[np.ndarray, "height width 3"]) -> str:
    return base64.b64encode(np.ascontiguousarray(picture).tobytes()).decode()


def settings_hash(request: Request, task: str, seed: int) -> str:
    """What decides the outcomes besides the pair."""
    decides: dict[str, Any] = {
        "method": request.search.method, "seed": seed, "manifest": request.manifests[task].sha256, "world": config.dump(request.world),
        "search": vars(request.search), "checkpoint": hashlib.sha256(request.checkpoint.read_bytes()).hexdigest(),
    }  # fmt: skip
    if request.compiled:
        decides["compiled"] = True
    return hashlib.sha256(json.dumps(decides, default=str, sort_keys=True).encode()).hexdigest()[:16]


def start(request: Request) -> None:
    """Prepares this process."""
    _WORKER[:] = [Worker(request)]


def attempt(job: Job) -> Result:
    worker = _WORKER[0]
    return attempt_pair(worker.world, worker.lewm, worker.request.manifests[job.task], job)


def attempts(request: Request, jobs: Sequence[Job], workers: int) -> Iterator[Result]:
    if not jobs:
        return
    if workers == 1:
        start(request)
        with closing(_WORKER[0]):
            yield from map(attempt, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers, start, (request,)) as pool:
        yield from pool.imap_unordered(attempt, jobs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "runs/lewm_ogbench_cube_single/lewm.safetensors")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/evaluate/ogbench_cube_single.yaml", help="world, manifests, seed")
    parser.add_argument("--env", type=Path, default=FOLDER, help="their environment; made if missing")
    parser.add_argument("--out", type=Path, help="where `robo-dream evaluate` has put ours, so that one table shows both; or elsewhere")
    parser.add_argument("--tasks", nargs="+", default=["cube"])
    parser.add_argument("--pairs", type=int, help="from the manifest's beginning; as many as the configuration says")
    parser.add_argument("--workers", type=int, default=2, help="processes; they change no outcome")
    parser.add_argument("--threads", type=int, default=1, help="of each")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="their own option; it changes rounding and decision times")
    for name, default in vars(Search()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    args = parser.parse_args()
    evaluation = Evaluation.of(config.load(EvaluateConfig, args.config, []))
    ours = evaluation.config
    if not args.checkpoint.is_file():
        raise SystemExit(f"no checkpoint at {args.checkpoint}; train it with `python benchmarks/lewm_train.py`")
    search = Search(**{name: getattr(args, name) for name in vars(Search())})
    manifests = {task: read_manifest(ROOT / evaluation.path(task)) for task in args.tasks}
    request = Request(
        environment(args.env.absolute()), args.checkpoint, evaluation.world, manifests, search, args.threads, args.compile, args.device
    )
    settings = {(task, method): evaluation.settings(method, task, manifests[task]) for task in args.tasks for method in ours.known_methods}
    settings |= {(task, search.method): settings_hash(request, task, ours.seed) for task in args.tasks}
    jobs = [
        Job(task, search.method, pair, pair_seed(manifest.sha256, task, pair, ours.seed), settings[task, search.method])
        for task, manifest in manifests.items()
        for pair in range(min(args.pairs or ours.num_pairs, len(manifest)))
    ]
    out = args.out or ROOT / ours.out
    file = ResultFile(out / "results.jsonl", settings)
    left = [job for job in jobs if (job.task, job.method, job.pair) not in file.results]
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    with tqdm(total=len(jobs), initial=len(jobs) - len(left), unit="pair", disable=not left) as bar:
        for result in attempts(request, left, args.workers):
            file.add(result)
            bar.update()
    results = sorted(file.results.values(), key=lambda result: (args.tasks.index(result.task), result.key))
    rollouts = {
        (task, method): rollouts_a_decision(ours.planning_of(method, task).planner) for task in args.tasks for method in ours.known_methods
    }
    rollouts |= {(task, search.method): search.rollouts for task in args.tasks}
    table = markdown_table(results, (*ours.known_methods, search.method), rollouts)
    where = f"{machine()}, {args.workers} workers of {args.threads} threads, {date.today().isoformat()}"
    (out / "table.md").write_text(f"{table}\n\n{where}\n")
    print(f"{table}\n\n{where}\nresults: {out}")


if __name__ == "__main__":
    main()
