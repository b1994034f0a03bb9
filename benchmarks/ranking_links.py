"""Which link fails where imagining does not pay: sight, dynamics, cost or selection. In any world with frozen pairs.

    python benchmarks/ranking_links.py configs/checkpoints/ogbench_cube_double_s.safetensors --pairs 10
    python benchmarks/ranking_links.py CHECKPOINT --pairs 5 --candidates 16 --before 0 2

At each decision the policy proposes candidates, the first its likeliest, and true physics executes each to the end of the horizon, which is
the truth: metres left of what the task is about. Then the candidates are ranked with one fault less each time:

- `imagined`: the released cost of what the model imagines, as the search ranks them;
- `true_dynamics`: the same cost of what really happens, drawn and encoded: what is gained on `imagined` is the dynamics' fault;
- `true_poses`: the same cost of the true poses, where it is of poses: what is gained on `true_dynamics` is sight's;
- `truth`: the candidate that really ends nearest: what is gained on the line before is the fault of the cost.

What counts is how much nearer the chosen one ends than the likeliest, which the policy alone would do. `promise_kept` is selection's part:
of what the chosen ones promise over the likeliest in imagination, how much the same cost finds in what really happens; far below 1, the
choice falls on the model's luckiest errors. Decisions are at the starts of pairs, or after --before blocks of the policy alone.
Intervals are bootstraps over pairs (95 %). Figures go to `results`, by world and regime; those of others stay.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from imagination_pays import alone_with, cases_of, read_figures
from jaxtyping import Bool, Float
from results_file import write_figures
from torch import Tensor
from tqdm import tqdm

from robo_dream.control.episode import LoopConfig
from robo_dream.evaluation.intervals import bootstrap
from robo_dream.evaluation.manifest import read_manifest
from robo_dream.imagination import Belief, Goal, Imagination
from robo_dream.models.policy_prior import PolicyPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import build_cost
from robo_dream.planning.goals import goal_from_observation
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.runtime.attempt import Prepared, goal_of, prepare
from robo_dream.runtime.environment import build_environment, drawn_dynamics
from robo_dream.runtime.evaluate import pair_seed
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig
from robo_dream.training.probes import spearman
from sim.environment import ground_truth_at
from sim.physics.drawn import DrawnDynamics

IMAGINED, DYNAMICS, POSES, TRUTH = "imagined", "true_dynamics", "true_poses", "truth"
LINKS = (IMAGINED, DYNAMICS, POSES, TRUTH)


@dataclass(frozen=True)
class Ranked:
    """One decision: what each link says of the candidates, the likeliest first, and what really became of them."""

    pair: int
    costs: Mapping[str, Float[np.ndarray, " sample"]]
    left: Float[np.ndarray, " sample"]  # m, at the end of the horizon
    strict: Bool[np.ndarray, " sample"]  # the strict condition there

    def chosen(self, link: str) -> int:
        return int(np.argmin(self.left if link == TRUTH else self.costs[link]))

    def gain(self, link: str) -> float:
        """Metres that the chosen one ends nearer than the likeliest."""
        return float(self.left[0] - self.left[self.chosen(link)])

    def promise(self) -> tuple[float, float]:
        """What the chosen one promises over the likeliest in imagination, and what the same cost finds of that in truth."""
        chosen = self.chosen(IMAGINED)
        promised, kept = (self.costs[link][0] - self.costs[link][chosen] for link in (IMAGINED, DYNAMICS))
        return float(promised), float(kept)


@dataclass(frozen=True)
class Decider:
    """A model, how it plans, and the world in which its candidates come true."""

    world: DrawnDynamics
    planning: PlanningConfig
    num_candidates: int

    @property
    def model(self) -> LatentVideoModel:
        return self.world.model

    def proposals(self, state: Float[Tensor, "1 state"], goal: Goal, num: int, seed: int) -> tuple[Belief, Tensor]:
        """What is believed of `state`, and `num` proposals there over the horizon."""
        belief, settings = Belief(self.world.drawn(state).float()), self.planning.proposals
        prior = PolicyPrior(self.model, self.model, settings.gripper_goal)
        proposer = PolicyProposer(self.model, prior, settings.temperature, settings.spread)
        num_steps = self.planning.planner.horizon * self.model.action_block
        return belief, proposer.propose(belief, goal, num, num_steps, [seed]).actions

    def later(self, state: Float[Tensor, "1 state"], goal: Goal, blocks: int, seed: int) -> Float[Tensor, "1 state"]:
        """The state after `blocks` blocks of the policy alone."""
        for number in range(blocks):
            _, actions = self.proposals(state, goal, 1, seed + number)
            state = self.world.physics.imagine(Belief(state), actions[:, :, : self.model.action_block]).latents[:, 0, -1]
        return state

    def ranked(self, prepared: Prepared, goal: Goal, state: Float[Tensor, "1 state"], pair: int, seed: int) -> Ranked:
        belief, actions = self.proposals(state, goal, self.num_candidates, seed)
        cost = build_cost(self.planning.cost, self.model, self.model.distance)
        true = self.world.physics.imagine(Belief(state), actions)
        drawn = self.world.drawn(true.latents.flatten(0, 2)).unflatten(0, true.latents.shape[:3]).float()
        costs = {
            IMAGINED: cost(self.model.imagine(belief, actions), goal).total,
            DYNAMICS: cost(Imagination(drawn, true.disagreement.float()), goal).total,
        }
        weights = self.planning.cost
        if not (weights.latent or weights.distance):
            there = goal_from_observation(self.world.physics, prepared.goal_observation)
            costs[POSES] = build_cost(weights, self.world.physics)(true, there).total
        ends = [ground_truth_at(self.world.world, end) for end in true.latents[0, :, -1].numpy()]
        attempt = prepared.attempt
        return Ranked(
            pair, {name: totals[0].double().numpy() for name, totals in costs.items()},
            np.array([attempt.criterion.distance(end, attempt.goal) for end in ends]),
            np.array([attempt.criterion.strict(end, attempt.goal) for end in ends]),
        )  # fmt: skip


def figures_of(decisions: Sequence[Ranked]) -> dict[str, float | int | str | None]:
    """By link: Spearman's correlation with the truth, gain over the likeliest with its interval, regret, strict success at the end."""
    figures: dict[str, float | int | str | None] = {"decisions": len(decisions), "candidates": len(decisions[0].left)}
    figures["likeliest/strict"] = percent([bool(one.strict[0]) for one in decisions])
    figures["any/strict"] = percent([bool(one.strict.any()) for one in decisions])
    for link in [link for link in LINKS if link == TRUTH or link in decisions[0].costs]:
        ranks = [1.0 if link == TRUTH else spearman(one.costs[link], one.left) for one in decisions]
        if np.isfinite(ranks).any():  # not where all candidates end alike
            figures[f"{link}/spearman"] = round(float(np.nanmean(ranks)), 3)
        figures |= interval(f"{link}/gain_mm", decisions, [1e3 * one.gain(link) for one in decisions])
        figures[f"{link}/regret_mm"] = round(1e3 * float(np.mean([one.left[one.chosen(link)] - one.left.min() for one in decisions])), 2)
        figures[f"{link}/strict"] = percent([bool(one.strict[one.chosen(link)]) for one in decisions])
    promised, kept = (float(np.sum(some)) for some in zip(*(one.promise() for one in decisions), strict=True))
    return figures | ({"promise_kept": round(kept / promised, 3)} if promised > 0 else {})


def percent(outcomes: Sequence[bool]) -> float:
    return round(100 * float(np.mean(outcomes)), 2)


def interval(name: str, decisions: Sequence[Ranked], values: Sequence[float]) -> dict[str, float | int | str | None]:
    """The mean, and its bootstrap interval over pairs: decisions of one pair are drawn together."""
    pairs = sorted({one.pair for one in decisions})
    of_pair = [[value for one, value in zip(decisions, values, strict=True) if one.pair == pair] for pair in pairs]
    low, high = bootstrap(lambda some: float(np.mean([value for place in some for value in of_pair[place]])), len(pairs))
    return {name: round(float(np.mean(values)), 2), f"{name}_low": round(low, 2), f"{name}_high": round(high, 2)}


def table(figures: Mapping[str, float | int | str | None]) -> str:
    lines = ["| ranked by | Spearman | nearer than the likeliest, mm | regret, mm | strict at the end % |", "|---|---|---|---|---|"]
    for link in [link for link in LINKS if f"{link}/gain_mm" in figures]:
        gained = "{} ({} to {})".format(*(figures[f"{link}/gain_mm{end}"] for end in ("", "_low", "_high")))
        rest = (figures[f"{link}/{name}"] for name in ("regret_mm", "strict"))
        lines.append(f"| {link.replace('_', ' ')} | {figures.get(f'{link}/spearman', '')} | {gained} | {' | '.join(map(str, rest))} |")
    return "\n".join([*lines, "", f"likeliest: {figures['likeliest/strict']} % strict; promise kept: {figures.get('promise_kept')}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--pairs", type=int, default=10, help="the first of each frozen manifest")
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--before", type=int, nargs="+", default=(0,), help="blocks of the policy alone before a decision")
    parser.add_argument("--tasks", nargs="+")
    parser.add_argument("--results", type=Path, default=Path("docs/results/ranking_links.json"))
    args = parser.parse_args()
    args.tasks = None if args.tasks is None else tuple(args.tasks)
    args.oracle_pairs, args.oracle_rollouts, args.workers, args.methods, args.goal = args.pairs, 16, 1, ("planner",), None
    for case in [case for path in args.checkpoints for case in cases_of(path, args)]:
        evaluation, decisions = case.evaluation, list[Ranked]()
        model = load_checkpoint_model(evaluation.config.checkpoint)
        with build_environment(evaluation.world) as environment, torch.inference_mode():
            decider = Decider(drawn_dynamics(environment, model), evaluation.planning_of("planner", case.task), args.candidates)
            manifest = read_manifest(evaluation.path(case.task), len(environment.state))
            for number in tqdm(range(evaluation.config.num_pairs), desc=case.stem, unit="pair"):
                prepared = prepare(environment, manifest.pair(number), LoopConfig())
                goal, seed = goal_of(prepared, model, evaluation.shown), pair_seed(manifest.sha256, case.task, number, 0)
                for blocks in args.before:
                    state = decider.later(torch.from_numpy(manifest.starts[number])[None], goal, blocks, seed)
                    decisions.append(decider.ranked(prepared, goal, state, number, seed + blocks))
        found = figures_of(decisions)
        with alone_with(args.results.with_suffix(".lock")):
            kept = {key: value for key, value in read_figures(args.results).items() if not key.startswith(f"{case.stem}/")}
            said = {f"_checkpoint/{case.stem}": case.checkpoint}
            write_figures(args.results, kept | said | {f"{case.stem}/{name}": value for name, value in found.items()})
        print(f"\n{case.stem}, {found['decisions']} decisions of {found['candidates']} candidates\n\n{table(found)}")
        print(json.dumps(said))


if __name__ == "__main__":
    main()
