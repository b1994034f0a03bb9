"""How long a decision takes here and in stable-worldmodel 0.1.1, one problem, 2 threads of one CPU, measured in turn.

    python benchmarks/beside_stable_worldmodel.py --env runs/stable_worldmodel_env

Both sides search by the cross-entropy method: 300 samples, 30 elites, 30 iterations, 5 imagined steps of 5 actions of 5 numbers, start
and goal already encoded (neither encoder is measured), in memory, no warm start, float32 and not compiled unless a row says otherwise.

Theirs: `CEMSolver` on `LeWM` with the sizes of its training configuration (192-d token, history 3, 6-layer predictor, random
weights), through their API. Its cost is the squared distance to the goal's embedding after the last step. Once as it comes, and once
with whichever of `compile` and `bf16` (what their scripts/plan/eval_wm.py offers) is fastest on this machine.
Ours: the released checkpoint and `kind: cem`; once judged alike, by the latent after the last step, and once by poses, as
configs/evaluate/jaco.yaml does. Its settings there need fewer rollouts; here it does all 9,000, and keeps the accounts of its search.

What the ratio is not: a comparison of two implementations of one model. Our model is smaller, an MLP on one latent where theirs is a
transformer over up to three, and the table says by how much in parameters and FLOPs. The last lines part the ratio into FLOPs that are
not done and FLOPs that are done faster. Nor does it say which decides better; random weights decide nothing.

The first run makes the environment: about 2.5 GB and some minutes. Without network or a local index it ends with what pip said.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from render_rate import machine
from stable_worldmodel_env import FOLDER, ROOT, Side, environment
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from robo_dream.evaluation.manifest import read_manifest
from robo_dream.imagination import Belief, Goal
from robo_dream.models.compiled import row_runner
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import CostConfig, PoseCostConfig, StepWeights
from robo_dream.planning.goals import goal_from_observation
from robo_dream.runtime.environment import build_environment
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import ProposalConfig, build_planner
from sim.environment import goal_observation, observation_of

SEARCH = CemConfig(horizon=5, num_samples=300, num_iterations=30, num_elites=30, num_proposals=0, action_selection="mean")
COSTS = {
    "latent, last step": CostConfig(distance=0.0, latent=1.0, steps=StepWeights(0.0, 1.0)),
    "poses": CostConfig(distance=0.0, pose=1.0, pose_parts=PoseCostConfig(object_pos=100.0, object_yaw=6.0), steps=StepWeights(1.0, 1.0)),
}
SETTINGS = ("default", "compile", "bf16", "compile+bf16")
PROBE_ITERATIONS = 3  # of the solve by which the fastest setting is found


@dataclass(frozen=True)
class Row:
    """Something timed: `solve` gives the seconds of one decision, `per_round` of them are taken in turn with the other rows."""

    name: str
    solve: Callable[[], float]
    flops: float
    num_parameters: int  # of the parts that a solve runs
    per_round: int = 1
    seconds: list[list[float]] = field(default_factory=list)  # by round

    def run_round(self) -> None:
        time.sleep(0.2)  # OpenMP's threads of the other side spin on for a while after their work
        self.seconds.append([self.solve() for _ in range(self.per_round)])

    @property
    def all_seconds(self) -> np.ndarray:
        return np.concatenate(self.seconds)

    @property
    def median(self) -> float:
        return float(np.median(self.all_seconds))


class TheirSide(Side):
    """Their solver, waiting without computing between solves."""

    def __init__(self, python: Path, num_threads: int, action_block: int, action_size: int) -> None:
        super().__init__(
            python, "stable_worldmodel_side.py",
            f"--num-samples={SEARCH.num_samples}", f"--num-elites={SEARCH.num_elites}", f"--horizon={SEARCH.horizon}",
            f"--action-block={action_block}", f"--action-size={action_size}", f"--threads={num_threads}",
        )  # fmt: skip

    def solve(self, setting: str, num_iterations: int) -> float:
        """Seconds of a solve; raises `RuntimeError` with what it ended in."""
        return self.ask(setting=setting, num_iterations=num_iterations)["seconds"]

    def fastest_setting(self) -> str:
        """The fastest of `SETTINGS`, each tried for some iterations after one that compiles; says what each took."""
        took = {}
        for setting in tqdm(SETTINGS, desc="trying their settings", unit="setting"):
            try:
                self.solve(setting, 1)
                took[setting] = self.solve(setting, PROBE_ITERATIONS) / PROBE_ITERATIONS
            except RuntimeError as error:
                tqdm.write(f"their setting {setting} does not run here: {error}")
        print("their settings, ms an iteration: " + ", ".join(f"{name} {1e3 * seconds:.0f}" for name, seconds in took.items()))
        return min(took, key=lambda name: took[name])


def problem(model: LatentVideoModel) -> tuple[Belief, Goal]:
    """The first held-out push: what the model sees at its start and in its goal's pictures."""
    with build_environment() as world:
        manifest = read_manifest(ROOT / "configs/manifests/push.safetensors", len(world.state))
        goal = goal_from_observation(model, goal_observation(world, manifest.goals[0], shown_at_rest=False))
        world.set_state(manifest.starts[0])
        return model.believe([[observation_of(world)]]), goal


def our_rows(checkpoint: Path, per_round: int) -> tuple[list[Row], LatentVideoModel]:
    model = load_checkpoint_model(checkpoint)
    fast = model.running(row_runner(compiled=True, precision="bfloat16"))
    belief, goal = problem(model)
    rows = []
    for (name, cost), (way, running) in product(COSTS.items(), (("", model), (", compile+bf16", fast))):
        planner = build_planner(SEARCH, running, cost, ProposalConfig(policy=False))
        seeds = iter(range(10**6))

        def solve(planner: Any = planner, seeds: Any = seeds) -> float:
            start = time.perf_counter()
            planner.plan(belief, goal, [next(seeds)])
            return time.perf_counter() - start

        solve()  # compiles, and warms up
        counted = build_planner(SEARCH, model, cost, ProposalConfig(policy=False))  # compiled code hides its work
        with FlopCounterMode(display=False) as counter:
            counted.plan(belief, goal, [0])
        parts = [model.dynamics, *([model.pose_head] if cost.pose else [])]
        weights = sum(weight.numel() for part in parts for weight in (*part.parameters(), *part.buffers()))
        rows.append(Row(f"ours, {name}{way}", solve, counter.get_total_flops(), weights, per_round))
    return rows, model


def their_rows(side: TheirSide) -> list[Row]:
    size, flops = sum(side.about["weights"].values()), side.about["flops_an_iteration"] * SEARCH.num_iterations
    settings = dict.fromkeys(("default", side.fastest_setting()))
    return [Row(f"theirs, {name}", lambda name=name: side.solve(name, SEARCH.num_iterations), flops, size) for name in settings]


def report(ours: list[Row], theirs: list[Row]) -> None:
    print(f"{'':<40}{'p50 s':>9}{'p95 s':>9}{'solves':>8}{'M weights':>11}{'GFLOP':>9}{'GFLOP/s':>9}")
    for row in (*ours, *theirs):
        p50, p95 = np.percentile(row.all_seconds, [50, 95])
        print(
            f"{row.name:<40}{p50:>9.3f}{p95:>9.3f}{len(row.all_seconds):>8}{row.num_parameters / 1e6:>11.2f}{row.flops / 1e9:>9.0f}"
            f"{row.flops / 1e9 / p50:>9.0f}"
        )
    print("\nTheir median over ours (lowest and highest round) = FLOPs not done x FLOPs done faster:")
    for their in theirs:
        for our in ours:
            ratio, fewer = their.median / our.median, their.flops / our.flops
            rounds = [np.median(t) / np.median(o) for t, o in zip(their.seconds, our.seconds, strict=True)]
            print(f"{their.name} over {our.name}: {ratio:.1f} ({min(rounds):.1f} to {max(rounds):.1f}) = {fewer:.1f} x {ratio / fewer:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", type=Path, default=FOLDER, help="their environment; made if missing")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "configs/checkpoints/jaco_s.safetensors")
    parser.add_argument("--rounds", type=int, default=6, help="each measures every row once, ours --ours times")
    parser.add_argument("--ours", type=int, default=5, help="solves of each of our rows in a round")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    python = environment(args.env.absolute())
    print(f"{machine()}, {args.threads} threads")
    ours, model = our_rows(args.checkpoint, args.ours)
    with TheirSide(python, args.threads, model.action_block, model.action_spec.size) as side:
        print(f"torch {torch.__version__} here, {side.about['torch']} there; weights of theirs, encoder left out: {side.about['weights']}")
        theirs = their_rows(side)
        for _ in tqdm(range(args.rounds), desc="measuring in turn", unit="round"):
            for row in (row for pair in zip_longest(ours, theirs) for row in pair if row is not None):
                row.run_round()
    report(ours, theirs)


if __name__ == "__main__":
    main()
