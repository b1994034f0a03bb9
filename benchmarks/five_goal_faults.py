"""Whose fault is it where OGBench's own five goals are missed? What was believed, imagined and done, beside what was true.

    python benchmarks/five_goal_faults.py configs/checkpoints/ogbench_cube_double_recorded_s.safetensors --pairs 5
    python benchmarks/five_goal_faults.py CHECKPOINT --pairs 0 # the policy alone, without a world: seconds

Pairs are of seeds that neither a dataset nor the frozen manifest has, the five goals in turn. The judge's poses stand beside each decision,
and no planner reads them. Every missed goal is laid to one cause (`world_tables.FAULTS`), that of the move under way at the end. Where an
open hand is near a cube that it is to bring, the chosen candidate and others of the same decision are carried out in true physics: how many
lift the cube as they were imagined to? And of a policy that sees poses it is asked, poses made up, how much of an offset between hand and
cube it makes good, and whether it closes beside one. Figures go to `docs/results/five_goal_faults.json`; those of other worlds stay.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parent))

from results_file import write_figures
from world_tables import FAULTS

from robo_dream.evaluation.manifest import Pair
from robo_dream.imagination import Belief, Goal, Plan, ScenePose
from robo_dream.models.policy import ActionMixture
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import AimedPlanner
from robo_dream.runtime.environment import build_environment
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, Job, attempt_pair
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import build_planner
from sim.adapters.ogbench import OgbenchConfig
from sim.environment import Environment
from sim.pairs import drawn_pair

TASK, FIRST_SEED = "five_tasks", 7_000_000  # datasets count their seeds from 0, the frozen manifests from 1,000,000
CUBES = {"cube-single": 1, "cube-double": 2, "scene": 1}
HEIGHTS = (0.15, 0.08, 0.05, 0.03)  # m above the table, of a hand that comes down on a cube
RISEN = 0.03  # m
AT_MOST, TRIED = 4, 8  # moments of an attempt, and candidates of each, that are carried out in true physics


@dataclass(frozen=True)
class Look:
    """One decision: things in the order of the judge; metres."""

    true: Float[np.ndarray, "thing 3"]
    seen: Float[np.ndarray, "thing 3"]
    goal_seen: Float[np.ndarray, "thing 3"]
    tool: Float[np.ndarray, " 3"]
    closure: float
    thing: int | None  # what is to be moved next


@dataclass(frozen=True)
class Moment:
    """A state of the world in which an open hand was near a cube, and what some candidates were imagined to do there."""

    state: np.ndarray
    cube: int
    actions: Float[np.ndarray, "sample time action"]
    lifts: list[bool]


@dataclass
class Watched:
    """A planner of far goals, whose decisions are noted."""

    aimed: AimedPlanner
    model: LatentVideoModel
    environment: Environment
    num_cubes: int
    order: list[int] | None = None  # the model's number of each of the judge's things
    looks: list[Look] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.aimed.name

    def plan(self, belief: Belief, goal: Goal, seeds: Sequence[int], previous: Plan | None = None, deadline: float | None = None) -> Plan:
        with torch.no_grad():
            aimed = self.aimed.aim.of(belief, goal, seeds)
            here, there = self.model.poses(belief.latent), self.model.poses(goal.latent)
        plan = self.aimed.planner.plan(belief, aimed, seeds, previous, deadline)
        truth = self.environment.ground_truth()
        true, seen = truth.object_poses[:, :3], here.object_pos[0].numpy()
        if self.order is None:
            self.order = list(min(permutations(range(len(true))), key=lambda order: float(np.abs(seen[list(order)] - true).sum())))
        moved = None
        if aimed.next is not None:
            moved = self.order.index(int((aimed.next.object_pos[0] - here.object_pos[0]).norm(dim=-1).argmax()))
        look = Look(
            true, seen[self.order], there.object_pos[0].numpy()[self.order], truth.tool_pos, float(here.gripper.flatten()[0]), moved
        )  # fmt: skip
        self.looks.append(look)
        self._note_moment(look, plan)
        return plan

    def _note_moment(self, look: Look, plan: Plan) -> None:
        cube = look.thing
        if cube is None or cube >= self.num_cubes or len(self.moments) == AT_MOST or look.closure > 0.3:
            return
        assert self.order is not None
        level, height = _level(look.tool - look.true[cube]), look.tool[2] - look.true[cube, 2]
        if not (level < 0.09 and 0.01 < height < 0.14 and look.true[cube, 2] < RISEN):
            return
        totals = plan.trace.totals[0]
        others = np.random.default_rng(len(self.looks)).choice(len(totals), TRIED - 1, replace=False)
        tried = torch.tensor([int(totals.argmin()), *others])
        with torch.no_grad():
            heights = self.model.poses(plan.trace.latents[0, tried]).object_pos[:, :, self.order[cube], 2]
        lifts = (heights.amax(1) > look.seen[cube, 2] + RISEN).tolist()
        self.moments.append(Moment(self.environment.state, cube, plan.trace.candidates[0, tried].numpy(), lifts))


def _level(apart: np.ndarray) -> float:
    return float(np.linalg.norm(apart[:2]))


def closings(looks: Sequence[Look], num_cubes: int) -> list[tuple[int, float, float, bool]]:
    """When the hand closed for a cube: decision, how far beside it and how far off it was seen (level, m), and whether it then rose."""
    found = []
    for i in range(1, len(looks)):
        look, cube = looks[i], looks[i].thing
        if cube is not None and cube < num_cubes and looks[i - 1].closure <= 0.3 < look.closure and look.tool[2] < 0.1:
            rose = max(one.true[cube, 2] for one in looks[i : i + 8]) > look.true[cube, 2] + RISEN
            found.append((i, _level(look.tool - look.true[cube]), _level(look.seen[cube] - look.true[cube]), rose))
    return found


def fault_of(looks: Sequence[Look], goal: Float[np.ndarray, "thing 3"], num_cubes: int) -> str:
    """Which of `FAULTS` a missed goal is laid to."""
    last = looks[-1]
    if np.linalg.norm(last.goal_seen - goal, axis=-1).max() > 0.04:
        return "goal_seen_elsewhere"
    if last.thing is None:
        return "taken_for_done"
    if last.thing >= num_cubes:
        return "not_a_cube"
    began = max((i + 1 for i, look in enumerate(looks) if look.thing != last.thing), default=0)
    since = [one for one in closings(looks, num_cubes) if one[0] >= began]
    if not since:
        return "never_closed"
    if any(rose for *_, rose in since):
        return "set_down_elsewhere"
    return "cube_seen_elsewhere" if np.median([off for _, _, off, _ in since]) > 0.025 else "closed_beside"


def truly_lifts(environment: Environment, moment: Moment) -> list[bool]:
    """Whether each of the candidates of `moment` lifts the cube when it is carried out."""
    found = []
    for actions in moment.actions:
        environment.set_state(moment.state)
        low = highest = environment.ground_truth().object_poses[moment.cube, 2]
        for action in actions:
            environment.step(environment.action_spec.clip(action))
            highest = max(highest, environment.ground_truth().object_poses[moment.cube, 2])
        found.append(bool(highest > low + RISEN))
    return found


@torch.no_grad()
def corrections(model: LatentVideoModel, num_cubes: int, rows: int = 2000) -> dict[str, float]:
    """By height of an open hand, up to 6 cm beside a cube that is to be brought elsewhere, level: percent of the offset that the policy's
    likeliest block commands to make good, and of the hands over 3 cm beside, how many close. Other things stand where they were left.
    """
    draw, found = torch.Generator().manual_seed(0), {}

    def uniform(low: float, high: float, *size: int) -> Tensor:
        return low + (high - low) * torch.rand(rows, *size, generator=draw)

    def on_table() -> Tensor:
        return torch.stack([uniform(0.32, 0.53), uniform(-0.22, 0.22), torch.full((rows,), 0.02)], -1)

    def turned(*size: int, times: int) -> Tensor:
        turn = times * uniform(-np.pi, np.pi, *size)
        return torch.stack([turn.cos(), turn.sin()], -1)

    things = model.spec.num_objects
    for height in HEIGHTS:
        cube, to, beside = on_table(), on_table(), uniform(-0.06, 0.06, 2)
        fixed = [] if model.affordances is None else [one[0].expand(rows, 3) for one in model.affordances.waypoints[num_cubes:]]
        others = [on_table() for _ in range(num_cubes - 1)] + fixed
        far = torch.stack([(to - cube).norm(dim=-1), *((one - cube).norm(dim=-1) for one in others)]).amin(0) > 0.08
        tool = torch.cat([cube[:, :2] + beside, torch.full((rows, 1), height)], -1)
        tool_yaw, yaws, is_open = turned(times=1), turned(things, times=4), torch.zeros(rows)
        here = ScenePose(tool, tool_yaw, is_open, torch.stack([cube, *others], 1), yaws)
        above = to + torch.tensor([0.0, 0.0, 0.13])
        there = ScenePose(above, tool_yaw, is_open, torch.stack([to, *others], 1), yaws)
        mixture = ActionMixture(*model.policy.numbers(model.pose_head.normal_of(here), model.pose_head.normal_of(there)))
        blocks = model.block_actions(mixture.pick(torch.zeros(rows), torch.zeros(rows, mixture.means.shape[-1])).clamp(-1, 1))
        moved, offset = blocks[far, :, :2].sum(1), beside[far]
        slope = -(moved * offset).sum() / offset.square().sum()
        closes = blocks[far, :, -1].sum(-1)[offset.norm(dim=-1) > 0.03] > 0.5
        name = f"policy/{round(1000 * height)}_mm"
        found |= {
            f"{name}/makes_good_percent": round(100 * float(slope), 1),
            f"{name}/closes_beside_percent": round(100 * float(closes.float().mean()), 1),
        }
    return found


def figures_of(attempts: Sequence[tuple[Watched, np.ndarray, bool, bool]], num_cubes: int) -> dict[str, float]:
    """Of watched attempts with the judge's goal, and whether they were moderately and strictly solved."""
    missed = Counter(fault_of(watched.looks, goal, num_cubes) for watched, goal, is_solved, _ in attempts if not is_solved)
    figures: dict[str, float] = {
        "pairs": len(attempts),
        "moderate_count": sum(one[2] for one in attempts),
        "strict_count": sum(one[3] for one in attempts),
    }
    figures |= {f"fault/{name}": missed[name] for name in FAULTS}
    closed = [one for watched, *_ in attempts for one in closings(watched.looks, num_cubes)]
    if closed:
        _, beside, off, rose = zip(*closed, strict=True)
        figures |= {
            "closings": len(closed), "closings_that_lift": int(sum(rose)), "beside_mm_p50": round(1e3 * float(np.median(beside)), 1),
            "seen_off_mm_p50": round(1e3 * float(np.median(off)), 1),
            "missed_seen_within_25_mm": int(sum(o <= 0.025 and not r for o, r in zip(off, rose, strict=True))),
        }  # fmt: skip
    return figures


def watched_attempt(
    evaluation: Evaluation, environment: Environment, model: LatentVideoModel, number: int, num_cubes: int
) -> tuple[Watched, Pair, bool, bool]:
    """The pair of that number, attempted; and whether it was moderately and strictly solved."""
    planning = evaluation.planning_of("planner", TASK)
    pair = drawn_pair(environment, TASK, np.random.default_rng(FIRST_SEED + number), number)
    planner = build_planner(planning.planner, model, planning.cost, planning.proposals)
    assert isinstance(planner, AimedPlanner), "its settings do not plan one move at a time"
    watched = Watched(planner, model, environment, num_cubes)
    result = attempt_pair(
        environment, model, watched, pair, Job(TASK, "planner", number, number, ""), evaluation.config.loop, evaluation.shown
    )
    return watched, pair, result.moderate, result.strict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--results", type=Path, default=Path("docs/results/five_goal_faults.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    evaluation = Evaluation.of(EvaluateConfig(checkpoint=args.checkpoint, tasks=(TASK,)))
    assert evaluation.info is not None and isinstance(evaluation.world, OgbenchConfig), "a checkpoint of OGBench's"
    model, world = load_checkpoint_model(args.checkpoint), evaluation.world.env
    stem, num_cubes = f"{world}/{evaluation.info.settings.regime}/", CUBES[world]
    figures: dict[str, float] = corrections(model, num_cubes)
    attempts, lifts = [], []
    with build_environment(evaluation.world) as environment:
        for number in range(args.pairs):
            watched, pair, *solved = watched_attempt(evaluation, environment, model, number, num_cubes)
            for moment in watched.moments:
                lifts += zip(moment.lifts, truly_lifts(environment, moment), strict=True)
            environment.set_state(pair.goal)
            attempts.append((watched, environment.ground_truth().object_poses[:, :3], *solved))
            figures |= figures_of(attempts, num_cubes)
            if lifts:
                imagined, true = np.array(lifts).T
                figures |= {
                    "tried": len(lifts),
                    "imagined_lifts": int(imagined.sum()),
                    "true_lifts": int(true.sum()),
                    "both_lift": int((imagined & true).sum()),
                }
            print(f"{world}, goal {number % 5 + 1}: moderate {solved[0]}, strict {solved[1]}", flush=True)
            _write(args.results, stem, figures)
    _write(args.results, stem, figures)
    print(json.dumps(figures, indent=1))


def _write(path: Path, stem: str, figures: dict[str, float]) -> None:
    old = json.loads(path.read_text()) if path.exists() else {}
    write_figures(path, {k: v for k, v in old.items() if not k.startswith(stem)} | {stem + k: v for k, v in figures.items()})


if __name__ == "__main__":
    main()
