"""How well each cost ranks what a decision would imagine, against what really happens, by how far away the goal is.

    python benchmarks/cost_ranking.py --cache datasets/cache/frames-... --values runs/value --out runs/cost_ranking

Pairs are cut from held-out recorded episodes, whose simulator states are known. Each gets a batch of candidates as a decision sees
them: holding still, the recorded actions, proposals of the policy asked both ways for the hand, and noise of three colours.
The checkpoint imagines them and every cost judges; true physics executes each from the same state, which is the truth. Spearman's
correlation is that of cost and true distance to the goal (of the object; of the tool where the task is to reach); regret is how much
nearer the best candidate of the batch ends than the chosen one. Judging 25 of 60 executed steps shows how far beyond its horizon a cost
sees. The row `true poses` is the pose cost of what really happened: what it lacks is not imagination's fault. Intervals are bootstraps
over pairs (95 %).

Truth is kept a file a pair in `out`, so that the program can be stopped, and costs judged anew, without executing anything twice.
The picture is `out`/cost_ranking.png, table.md has every task by itself. Values are made by benchmarks/dream_value.py; without --values
there is no such row.
"""

import argparse
import json
import multiprocessing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from bar_chart import Panel, draw_panels
from jaxtyping import Bool, Float, Int
from rival_costs import released_planning, rival_costs
from tqdm import tqdm

from robo_dream.data.cache import FrameCache, load_cache
from robo_dream.embodiment import BOX, upright_turn
from robo_dream.imagination import Belief, Goal, Imagination
from robo_dream.models.policy_prior import GripperGoal, PolicyPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.candidates import NoiseStreams, bounds_of
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.training.latents import encode_frames
from robo_dream.training.probes import spearman
from sim.environment import ground_truth_at
from sim.physics.oracle import PhysicsOracle
from sim.tabletop.environment import Tabletop
from sim.tabletop.tasks.catalogue import TASKS as CRITERIA

TASKS, OBJECT_TASKS = ("push", "lift", "reach"), ("push", "lift")
BLOCKS = 12  # of a candidate, as the released settings plan
COLOURS = (0.0, 1.0, 2.0)
ORIGINS = ("hold", "recorded", "proposed", "noise")
LEAST_MOTION = {"push": 0.04, "lift": 0.04, "reach": 0.06}  # m
LIFTED, HELD, STILL, LOW = 0.08, 0.06, 0.002, 0.035  # m: an object's height in the air, from the tool, in two steps, on the table
TRUE_POSES, CHANCE = "true poses", "chance"


@dataclass(frozen=True)
class Pair:
    """Start and goal frames of the cache; `task` says what the goal is about."""

    task: str
    distance: int
    start: int

    @property
    def goal(self) -> int:
        return self.start + self.distance

    @property
    def file(self) -> str:
        return f"{self.task}-{self.distance}-{self.start}.npz"


@dataclass(frozen=True)
class Truth:
    """What really happened to each candidate after each action block."""

    actions: Float[np.ndarray, "sample time action"]
    origins: Int[np.ndarray, " sample"]
    tool: Float[np.ndarray, "sample block 3"]
    object_pose: Float[np.ndarray, "sample block 7"]
    success: Bool[np.ndarray, "sample block"]  # the task's moderate condition, at the end of a block
    goal_tool: Float[np.ndarray, "3"]
    goal_object: Float[np.ndarray, "7"]

    def left(self, task: str) -> Float[np.ndarray, "sample block"]:
        """Metres to the goal of what the task is about."""
        here, there = (self.tool, self.goal_tool) if task == "reach" else (self.object_pose[..., :3], self.goal_object[:3])
        return np.linalg.norm(here - there, axis=-1)

    def turn_left(self) -> Float[np.ndarray, "sample block"]:
        """As pose costs compare turns: 0 when equal looks, 2 when as different as can be."""
        turns = [BOX * upright_turn(pose[..., 3:], BOX) for pose in (self.object_pose, self.goal_object)]
        return 2 * np.abs(np.sin((turns[0] - turns[1]) / 2))


def find_pairs(cache: FrameCache, task: str, distance: int, most: int, seed: int) -> list[Pair]:
    """At most `most` pairs from as many held-out episodes; fewer where the recordings have no more."""
    rng = np.random.default_rng((seed, distance, sorted(LEAST_MOTION).index(task)))
    pairs = []
    for episode in rng.permutation(np.flatnonzero(~np.asarray(cache.is_train))):
        first, end = cache.episode_starts[episode : episode + 2]
        thing, hand = np.asarray(cache.object_pose[first:end, :3]), np.asarray(cache.proprio[first:end, :3])
        starts = np.arange(max(0, 2 - distance), end - first - distance)
        goals = starts + distance
        moved, reached = (np.linalg.norm(what[goals] - what[starts], axis=-1) for what in (thing, hand))
        still = np.linalg.norm(thing[goals] - thing[goals - 2], axis=-1) < STILL
        held = (thing[goals, 2] > LIFTED) & (np.linalg.norm(thing[goals] - hand[goals], axis=-1) < HELD)
        on_table = (thing[:, 2] < LOW)[starts]
        fit = {
            "push": still & (thing[goals, 2] < LOW) & (moved > LEAST_MOTION["push"]),
            "lift": held & on_table & (moved > LEAST_MOTION["lift"]),
            "reach": (moved < STILL) & (reached > LEAST_MOTION["reach"]),
        }[task]
        if fit.any():
            pairs.append(Pair(task, distance, int(first + rng.choice(starts[fit]))))
        if len(pairs) == most:
            break
    return pairs


@torch.no_grad()
def candidates(
    model: LatentVideoModel, cache: FrameCache, pair: Pair, num: int, seed: int
) -> tuple[Float[np.ndarray, "sample time action"], Int[np.ndarray, " sample"]]:
    """`num` action sequences of `BLOCKS` blocks: one held, one recorded, three eighths proposed, the rest noise."""
    latents = encode_frames(model, cache, np.array([pair.start, pair.goal]))
    belief, goal, num_steps = Belief(latents[:1]), Goal(latents[1:]), BLOCKS * model.action_block
    bounds, seeds = bounds_of(model.action_spec, belief.latent), [seed * 1_000_003 + pair.start]
    recorded = bounds.held(1, 1, num_steps)
    taken = min(pair.distance, num_steps)
    recorded[0, 0, :taken] = torch.from_numpy(np.asarray(cache.actions[pair.start : pair.start + taken]))
    temperature = released_planning(pair.task).proposals.temperature
    hands: tuple[GripperGoal, ...] = ("as_shown", "above_object")
    proposers = [PolicyProposer(model, PolicyPrior(model, model, hand), temperature) for hand in hands]
    proposed = [proposer.propose(belief, goal, num * 3 // 16, num_steps, seeds).actions for proposer in proposers]
    num_noise = num - 2 - 2 * (num * 3 // 16)
    noise = [
        NoiseStreams(seeds, f"colour {colour}", bounds.low).normal(num_noise // 3 + (i < num_noise % 3), num_steps, len(bounds.low), colour)
        for i, colour in enumerate(COLOURS)
    ]
    parts = [bounds.held(1, 1, num_steps), recorded, torch.cat(proposed, 1), bounds.clip(0.5 * bounds.half_range * torch.cat(noise, 1))]
    return torch.cat(parts, 1)[0].numpy(), np.repeat(np.arange(len(ORIGINS)), [part.shape[1] for part in parts])


class Executor:
    """A process that executes pairs in true physics."""

    def __init__(self, checkpoint: Path, cache: Path, num_candidates: int, seed: int) -> None:
        torch.set_num_threads(1)
        self.model, self.cache = load_checkpoint_model(checkpoint), load_cache(cache)
        self.num_candidates, self.seed = num_candidates, seed
        self.world = Tabletop()
        self.physics = PhysicsOracle(self.world, self.model.action_block, num_threads=1)

    def truth(self, pair: Pair) -> Truth:
        actions, origins = candidates(self.model, self.cache, pair, self.num_candidates, self.seed)
        start, goal = (np.array(self.cache.sim_state[frame]) for frame in (pair.start, pair.goal))
        states = self.physics.imagine(Belief(torch.from_numpy(start[None])), torch.from_numpy(actions[None])).latents
        poses, there = self.physics.poses(states[0]), ground_truth_at(self.world, goal)
        task, objects = CRITERIA[pair.task], states[0][..., self.physics.layout.object_pose].numpy()
        met = [[task.moderate(ground_truth_at(self.world, state), there) for state in path] for path in states[0].numpy()]
        return Truth(actions, origins, poses.tool_pos.numpy(), objects, np.array(met), there.tool_pos, there.object_pose)


_EXECUTORS: list[Executor] = []  # one a process


def start_executor(*arguments: object) -> None:
    _EXECUTORS[:] = [Executor(*arguments)]  # type: ignore[arg-type]


def execute(pair: Pair) -> tuple[Pair, Truth]:
    return pair, _EXECUTORS[0].truth(pair)


def execute_all(args: argparse.Namespace, pairs: Sequence[Pair]) -> Mapping[Pair, Truth]:
    """The truth of every pair: read where it is known, else found out and written."""
    settings = {"checkpoint": str(args.checkpoint), "cache": args.cache.name, "candidates": args.candidates, "seed": args.seed}
    args.out.mkdir(parents=True, exist_ok=True)
    said = args.out / "settings.json"
    if said.exists() and json.loads(said.read_text()) != settings:
        raise SystemExit(f"{args.out} was made with {said.read_text()}; name another folder with --out, or delete it")
    said.write_text(json.dumps(settings))
    left = [pair for pair in pairs if not (args.out / pair.file).exists()]
    with tqdm(total=len(pairs), initial=len(pairs) - len(left), desc="true physics", unit="pair", disable=not left) as bar:
        for pair, truth in _executed(args, left):
            beside = args.out / "unfinished.npz"
            np.savez(beside, **asdict(truth))
            beside.rename(args.out / pair.file)
            bar.update()
    return {pair: _read(args.out / pair.file) for pair in pairs}


def _executed(args: argparse.Namespace, left: Sequence[Pair]) -> Iterator[tuple[Pair, Truth]]:
    if left:
        arguments = (args.checkpoint, args.cache, args.candidates, args.seed)
        with multiprocessing.get_context("spawn").Pool(min(args.workers, len(left)), start_executor, arguments) as pool:
            yield from pool.imap_unordered(execute, left)


def _read(path: Path) -> Truth:
    with np.load(path, allow_pickle=False) as file:
        return Truth(**dict(file))


@torch.no_grad()
def judge(
    model: LatentVideoModel, cache: FrameCache, pair: Pair, truth: Truth, blocks: int, values: Path | None
) -> dict[str, Float[np.ndarray, " sample"]]:
    """What each cost says of the first `blocks` blocks, imagined; then what the pose cost says of what really happened."""
    latents = encode_frames(model, cache, np.array([pair.start, pair.goal]))
    imagined = model.imagine(Belief(latents[:1]), torch.from_numpy(truth.actions[None]))
    near = Imagination(imagined.latents[:, :, :blocks], imagined.disagreement[:, :, :blocks])
    planning = released_planning(pair.task)
    costs, goal = rival_costs(model, planning, values), Goal(latents[1:])
    totals = {name: cost(near, goal).total[0].double().numpy() for name, cost in costs.items()}
    parts = planning.cost.pose_parts
    far = parts.object_pos * np.linalg.norm(truth.object_pose[..., :3] - truth.goal_object[:3], axis=-1)
    far = far + parts.tool_pos * np.linalg.norm(truth.tool - truth.goal_tool, axis=-1) + parts.object_yaw * truth.turn_left()
    return totals | {TRUE_POSES: far[:, : blocks - 1].sum(1) / max(1, blocks - 1) + far[:, blocks - 1]}


@dataclass(frozen=True)
class Ranking:
    """One cost on one pair. Metres."""

    spearman: float
    suggested_spearman: float  # among the proposals alone
    regret: float
    unrecorded_regret: float  # had the recorded actions, which end in the goal's very picture, not been among the candidates
    success: float  # of the chosen one, at the end of some block
    possible: float  # of any


def rank(
    costs: Float[np.ndarray, " sample"], left: Float[np.ndarray, " sample"], success: Bool[np.ndarray, " sample"], origins: np.ndarray
) -> Ranking:
    chosen, proposed, ours = int(np.argmin(costs)), origins == ORIGINS.index("proposed"), origins != ORIGINS.index("recorded")
    return Ranking(
        spearman(costs, left), spearman(costs[proposed], left[proposed]), float(left[chosen] - left.min()),
        float(left[ours][np.argmin(costs[ours])] - left[ours].min()), float(success[chosen]), float(success.any()),
    )  # fmt: skip


def chance(left: Float[np.ndarray, " sample"], success: Bool[np.ndarray, " sample"], origins: np.ndarray) -> Ranking:
    """What to expect of a candidate drawn at random."""
    regrets = [float(some.mean() - some.min()) for some in (left, left[origins != ORIGINS.index("recorded")])]
    return Ranking(0.0, 0.0, regrets[0], regrets[1], float(success.mean()), float(success.any()))


def rank_all(truths: Mapping[Pair, Truth], args: argparse.Namespace, blocks: int, truth_blocks: int) -> dict[Pair, dict[str, Ranking]]:
    """By pair and cost: judged after `blocks` imagined blocks, against the truth after `truth_blocks`."""
    model, cache = load_checkpoint_model(args.checkpoint), load_cache(args.cache)
    ranked = {}
    for pair, truth in tqdm(truths.items(), desc=f"judging {blocks} blocks", unit="pair"):
        left, success = truth.left(pair.task)[:, truth_blocks - 1], truth.success[:, :truth_blocks].any(axis=1)
        judged = judge(model, cache, pair, truth, blocks, args.values)
        rows = {name: rank(costs, left, success, truth.origins) for name, costs in judged.items()}
        ranked[pair] = rows | {CHANCE: chance(left, success, truth.origins)}
    return ranked


def interval(numbers: Sequence[float], seed: int = 0, num_draws: int = 2000) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval over pairs (Efron 1979); pairs that have no number (every truth alike) are left out."""
    known = np.asarray(numbers)[np.isfinite(numbers)]
    if not len(known):
        return float("nan"), float("nan"), float("nan")
    draws = np.random.default_rng(seed).integers(0, len(known), (num_draws, len(known)))
    low, high = np.percentile(known[draws].mean(1), [2.5, 97.5])
    return float(known.mean()), float(low), float(high)


def table(ranked: Mapping[Pair, Mapping[str, Ranking]], distances: Sequence[int], goals: Mapping[str, Sequence[str]]) -> str:
    """A line for each of `goals`, which are tasks taken together under a name, distance and cost."""
    lines = [
        "| goals | steps away | cost | pairs | Spearman | among proposals | regret cm | without the recorded | chosen succeeds / any % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for label, distance in [(label, distance) for label in goals for distance in distances]:
        chosen = [rows for pair, rows in ranked.items() if pair.distance == distance and pair.task in goals[label]]
        for name in chosen[0] if chosen else ():
            rows = [of_pair[name] for of_pair in chosen]
            numbers = [interval([getattr(row, what) for row in rows]) for what in ("spearman", "suggested_spearman")]
            regrets = [interval([100 * getattr(row, what) for row in rows]) for what in ("regret", "unrecorded_regret")]
            met = f"{100 * np.mean([row.success for row in rows]):.0f} / {100 * np.mean([row.possible for row in rows]):.0f}"
            cells = [f"{mean:.2f} ({low:.2f} to {high:.2f})" for mean, low, high in numbers]
            cells += ["{:.1f} ({:.1f} to {:.1f})".format(*regret) for regret in regrets]
            lines.append(f"| {label} | {distance} | {name} | {len(rows)} | {' | '.join(cells)} | {met} |")
    return "\n".join(lines)


def picture(by_horizon: Mapping[str, Mapping[Pair, Mapping[str, Ranking]]], distances: Sequence[int], tasks: Sequence[str]) -> list[Panel]:
    """Two panels a horizon, of the given tasks together: Spearman and regret by distance, a bar for each cost."""
    panels = []
    for title, ranked in by_horizon.items():
        names = list(next(iter(ranked.values())))
        shown = {pair: rows for pair, rows in ranked.items() if pair.task in tasks}
        says = (f"Spearman with truth (higher is better), {title}", f"Regret in cm, recorded actions left out (lower is better), {title}")
        panels.append(_panel(says[0], shown, "spearman", 1.0, names[:-1], distances))
        panels.append(_panel(says[1], shown, "unrecorded_regret", 100.0, names, distances))
    return panels


def _panel(
    title: str, ranked: Mapping[Pair, Mapping[str, Ranking]], what: str, scale: float, names: Sequence[str], distances: Sequence[int]
) -> Panel:
    def bar(name: str, away: int) -> tuple[float, float, float]:
        return interval([scale * getattr(rows[name], what) for pair, rows in ranked.items() if pair.distance == away])

    groups = tuple(f"{away} steps away" for away in distances)
    return Panel(title, groups, {name: [bar(name, away) for away in distances] for name in names})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("configs/checkpoints/jaco_s.safetensors"))
    parser.add_argument("--cache", type=Path, required=True, help="a frames-... folder of the cache that the checkpoint was trained on")
    parser.add_argument("--values", type=Path, help="folder of values learned in the dream")
    parser.add_argument("--out", type=Path, default=Path("runs/cost_ranking"))
    parser.add_argument("--distances", type=int, nargs="+", default=(10, 25, 50, 100))
    parser.add_argument("--pairs", type=int, nargs=3, default=(12, 5, 3), metavar=("PUSH", "LIFT", "REACH"), help="pairs a distance")
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    cache = load_cache(args.cache)
    wanted = [
        pair
        for task, most in zip(TASKS, args.pairs, strict=True)
        for distance in args.distances
        for pair in find_pairs(cache, task, distance, most, args.seed)
    ]
    order = np.random.default_rng(args.seed).permutation(len(wanted))
    truths = execute_all(args, [wanted[place] for place in order])
    replayed = [100 * truth.left(pair.task)[1, pair.distance // 5 - 1] for pair, truth in truths.items() if pair.distance <= 60]
    print(f"Recorded actions, executed again, miss their goals by {np.median(replayed):.2f} cm (median), {max(replayed):.2f} at most.\n")
    horizons = {
        "60 of 60 steps judged": rank_all(truths, args, 12, 12),
        "25 of 60 steps judged": rank_all(truths, args, 5, 12),
        "25 of 25 steps judged": rank_all(truths, args, 5, 5),
    }
    whole = {"push and lift": OBJECT_TASKS, **{task: (task,) for task in TASKS}}
    text, short = (
        "\n\n".join(f"{title}\n\n{table(ranked, args.distances, goals)}" for title, ranked in horizons.items())
        for goals in (whole, {"push and lift": OBJECT_TASKS})
    )
    (args.out / "table.md").write_text(text + "\n")
    drawn = dict(list(horizons.items())[:2])
    draw_panels(args.out / "cost_ranking.png", picture(drawn, args.distances, OBJECT_TASKS))
    print(f"{short}\n\nby task: {args.out / 'table.md'}\npicture: {args.out / 'cost_ranking.png'}")


if __name__ == "__main__":
    main()
