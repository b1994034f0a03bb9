"""Whether sampled futures are as likely as what they show, and what planners make of them, where a coin decides (`sim/crossing.py`).

    python benchmarks/split_futures.py runs/train/crossing_futures/model.safetensors

Odds: from starts before the corridor the same actions lead along the short way, once in the world with many tosses and once imagined with
many draws; an end in the pit and one beyond the bump cannot be taken for each other. Planners: the checkpoint's own search on drawn pairs
of start and goal, judging by one future (what the model expects) or by the mean, CVaR or worst of several; a puck that came to the bump
took the risky way. Candidates: of those of a first decision that lead to the bump, how many of their futures are imagined to pass;
whatever is steered after the toss, as many pass as the bump's odds say. split_futures.png shows one start: what happened, what is expected,
and the fan.
"""

import argparse
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported

import numpy as np
import torch
from jaxtyping import Float
from results_file import write_figures

from robo_dream.config import dump, parse
from robo_dream.evaluation.manifest import Pair
from robo_dream.imagination import Belief, Imagination
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import goal_from_observation
from robo_dream.planning.scoring import FuturesConfig, RiskConfig
from robo_dream.runtime.evaluate import Job, attempt_pair
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, build_planner, planning_for, policy_proposers
from robo_dream.viewer.pictures import banner, enlarge, stacked, write_png
from sim.crossing import Crossing, CrossingConfig
from sim.environment import observation_of

OUT, PICTURE = Path("docs/results/split_futures.json"), Path("docs/split_futures.png")
ODDS, EVEN, TASK = (0.3, 0.5, 0.8), 0.5, "cross"
HORIZON = 6  # imagined steps of the odds: 1.5 s, when the puck is beyond the bump or far down the pit
TOSSES, DRAWS = 40, 64  # of each start
TEMPERATURES = (0.0, 0.5, 1.0, 2.0)
CANDIDATES, SEEN_FALLING = 24, 15  # of a decision; control steps after the toss by which an end tells how it fell
TOSS_PASSES, TOSS_FALLS = 2, 0  # seeds of tosses at even odds
BESIDE = 0.03  # m from the end of either way, beyond which an end is neither
PLANNERS: Mapping[str, FuturesConfig | None] = {
    "one_future": None,
    "mean": FuturesConfig(count=8),
    "cvar": FuturesConfig(count=8, risk=RiskConfig("cvar", tail=0.5)),
    "worst": FuturesConfig(count=8, risk=RiskConfig("worst")),
}


@dataclass(frozen=True)
class Start:
    """A start, actions along the short way from it, and where these really led, toss by toss."""

    state: Float[np.ndarray, " state"]
    odds: float
    actions: Float[np.ndarray, "time action"]
    ends: Float[np.ndarray, "toss 2"]
    first_seed: int  # of the tosses

    @property
    def passed(self) -> Float[np.ndarray, " toss"]:
        return is_beyond(self.ends)


def is_beyond(ends: Float[np.ndarray, "*batch 2"]) -> np.ndarray:
    """Whether an end is on the goal's side of the line between the two ends that there are."""
    return ends[..., 1] > -0.06


def starts_of(world: Crossing, count: int, block: int, seed: int) -> list[Start]:
    """`count` of them, the odds in turn. The approach looks where the puck is; from the bump on actions are pure speed to the right."""
    draw, found = world.tasks[TASK].draw, []
    assert draw is not None
    for number in range(count):
        state, _ = draw(number, np.random.default_rng((seed, 7, number)))
        actions, ends, odds, first_seed = approach(world, state, HORIZON * block), [], world.odds, 1000 * (number + 1000 * seed)
        for toss in range(TOSSES):
            tossed = state.copy()
            tossed[-3] = first_seed + toss
            world.set_state(tossed)
            for action in actions:
                world.step(action)
            ends.append(world.ground_truth().tool_pos[:2])
        found.append(Start(state, odds, actions, np.stack(ends), first_seed))
    return found


def approach(world: Crossing, state: Float[np.ndarray, " state"], num_steps: int) -> Float[np.ndarray, "time action"]:
    world.set_state(state)
    fastest, actions = float(world.action_spec.high[0]), []
    for _ in range(num_steps):
        x, y, _ = world.ground_truth().tool_pos
        is_there = world.num_tosses > 0 or x > -0.05
        actions.append(
            np.array([fastest if abs(y) < 0.012 or is_there else 0.0, 0.0 if is_there else np.clip(-10 * y, -fastest, fastest)], np.float32)
        )
        world.step(actions[-1])
    return np.stack(actions)


@torch.no_grad()
def imagined(model: LatentVideoModel, world: Crossing, start: Start, temperature: float | None, seed: int = 0) -> Imagination:
    """The actions of `start` from what its picture shows; None: what the model expects."""
    world.set_state(start.state)
    belief = model.believe([[replace(observation_of(world), truth={})]])
    if temperature is not None:
        chance = FuturesConfig(count=DRAWS, temperature=temperature).chance([seed], HORIZON, belief.latent)
        belief = replace(belief, chance=chance)
    return model.imagine(belief, torch.from_numpy(start.actions)[None, None])


@torch.no_grad()
def ends_of(model: LatentVideoModel, latents: torch.Tensor) -> Float[np.ndarray, "*batch 2"]:
    return model.poses(latents[..., -1, :]).tool_pos[..., :2].numpy()


def odds_figures(model: LatentVideoModel, world: Crossing, starts: list[Start]) -> dict[str, float]:
    """How likely the model holds it to pass, against how often the puck passed; and how far from either end it is expected."""
    figures: dict[str, float] = {"starts": len(starts), "tosses_a_start": TOSSES, "draws_a_start": DRAWS}
    both = np.stack(
        [np.stack([one.ends[one.passed == side].mean(0) for one in starts if (one.passed == side).any()]).mean(0) for side in (True, False)]
    )
    apart, neither, off, covered, errors = [], [], [], [], []
    shares: dict[tuple[float, float], list[float]] = {}
    for number, start in enumerate(starts):
        expected = ends_of(model, imagined(model, world, start, None).latents)[0, 0]
        apart.append(np.linalg.norm(both - expected, axis=-1).min())
        neither.append(apart[-1] > BESIDE)
        for temperature in TEMPERATURES:
            futures = imagined(model, world, start, temperature, number).futures
            assert futures is not None
            ends = ends_of(model, futures[:, 0, 0])
            share = float(is_beyond(ends).mean())
            shares.setdefault((start.odds, temperature), []).append(share)
            if temperature == 1.0:
                off.append(np.linalg.norm(ends[:, None] - both, axis=-1).min(-1).mean())
                covered.append(0.1 <= share <= 0.9)
                errors.append(abs(share - start.odds))
    for odds in ODDS:
        here = [one for one in starts if one.odds == odds]
        figures[f"odds_{odds:g}/true_percent"] = round(100 * float(np.mean([one.passed.mean() for one in here])), 1)
        for temperature in TEMPERATURES:
            figures[f"odds_{odds:g}/temperature_{temperature:g}_percent"] = round(100 * float(np.mean(shares[odds, temperature])), 1)
    found = [abs(figures[f"odds_{odds:g}/temperature_1_percent"] - figures[f"odds_{odds:g}/true_percent"]) for odds in ODDS]
    figures["odds_error_points"] = round(max(found), 1)
    figures["odds_error_a_start_points"] = round(100 * float(np.mean(errors)), 1)
    figures["sampled/covers_both_percent"] = round(100 * float(np.mean(covered)), 1)
    figures["sampled/off_an_end_mm"] = round(1e3 * float(np.mean(off)), 1)
    figures["mean_model/covers_both"] = 0
    figures["mean_model/off_an_end_mm"] = round(1e3 * float(np.mean(apart)), 1)
    figures["mean_model/neither_percent"] = round(100 * float(np.mean(neither)), 1)
    return figures


def planner_figures(
    model: LatentVideoModel, planning: PlanningConfig, names: Sequence[str], num_pairs: int, seed: int, minutes: float
) -> dict[str, float]:
    """Of each planner how often the puck came to the bump, and how often and how soon it arrived; pair by pair, while there is time."""
    end = time.monotonic() + 60 * minutes
    planners = {name: build_planner(planning.planner, model, planning.cost, planning.proposals, futures=PLANNERS[name]) for name in names}
    found: dict[str, list[tuple[bool, bool, int, float]]] = {name: [] for name in names}
    with Crossing(CrossingConfig(odds=(EVEN,))) as world:
        draw, budget = world.tasks[TASK].draw, world.tasks[TASK].budget
        assert draw is not None
        for number in range(num_pairs):
            if time.monotonic() > end:
                break
            pair = Pair(TASK, *draw(number, np.random.default_rng((seed, 8, number))), budget)
            for name, planner in planners.items():
                result = attempt_pair(world, model, planner, pair, Job(TASK, name, number, number, ""))
                found[name].append((world.num_tosses > 0, result.moderate, result.steps, result.distance))
            print(number, {name: results[-1] for name, results in found.items()}, flush=True)
    return {"pairs": len(found[names[0]]), "bump_odds_percent": 100 * EVEN, **rates(found)}


def rates(found: Mapping[str, Sequence[tuple[bool, bool, int, float]]]) -> dict[str, float]:
    """Of each planner's pairs, in which it took the risky way, arrived, after how many steps, and how far off (m); and how many of the
    pairs in which the mean of futures took the risky way it left."""
    figures: dict[str, float] = {}
    for name, results in found.items():
        risky, reached, steps, left = map(np.array, zip(*results, strict=True))
        figures[f"{name}/risky_percent"] = round(100 * float(risky.mean()), 1)
        figures[f"{name}/success_percent"] = round(100 * float(reached.mean()), 1)
        figures[f"{name}/distance_left_mm"] = round(1e3 * float(left.mean()), 1)
        if reached.any():
            figures[f"{name}/steps_to_goal"] = round(float(steps[reached].mean()), 1)
    if "mean" in found:
        dared = [number for number, (risky, *_) in enumerate(found["mean"]) if risky]
        figures["mean/risky_pairs"] = len(dared)
        for name, results in found.items():
            if name != "mean" and dared:
                figures[f"{name}/leaves_of_these_percent"] = round(100 * float(np.mean([not results[number][0] for number in dared])), 1)
    return figures


@torch.no_grad()
def candidate_figures(model: LatentVideoModel, planning: PlanningConfig, num_decisions: int, seed: int) -> dict[str, float]:
    """Of candidates that lead to the bump, how many of their futures are imagined beyond it, against how many tosses bring them there."""
    proposer, horizon, told, true = policy_proposers(model, planning.proposals)[0], planning.planner.horizon, [], []
    with Crossing(CrossingConfig(odds=(EVEN,))) as world:
        draw = world.tasks[TASK].draw
        assert draw is not None
        for number in range(num_decisions):
            start, end = draw(number, np.random.default_rng((seed, 9, number)))
            world.set_state(end)
            goal = goal_from_observation(model, replace(observation_of(world), truth={}))
            world.set_state(start)
            belief = model.believe([[replace(observation_of(world), truth={})]])
            actions = proposer.propose(belief, goal, CANDIDATES, horizon * model.action_block, [number]).actions
            chance = FuturesConfig(count=DRAWS).chance([number], horizon, belief.latent)
            futures = model.imagine(replace(belief, chance=chance), actions).futures
            assert futures is not None
            for share, steered in zip(is_beyond(ends_of(model, futures[:, 0])).mean(0), actions[0].numpy(), strict=True):
                if (odds := true_odds(world, start, steered)) is not None:
                    told.append(float(share))
                    true.append(odds)
    shares, off = np.array(told), np.abs(np.array(told) - np.array(true))
    return {
        "candidates/decisions": num_decisions,
        "candidates/at_the_bump": len(shares),
        "candidates/true_percent": round(100 * float(np.mean(true)), 1),
        "candidates/imagined_percent": round(100 * float(shares.mean()), 1),
        "candidates/off_points": round(100 * float(off.mean()), 1),
        "candidates/imagined_above_90_percent": round(100 * float((shares > 0.9).mean()), 1),
    }


def true_odds(world: Crossing, start: Float[np.ndarray, " state"], actions: Float[np.ndarray, "time action"]) -> float | None:
    """Of an end beyond the bump, by both ways in which the coin may fall; None where `actions` hardly lead there, or more than once."""
    beyond = []
    for toss in TOSS_PASSES, TOSS_FALLS:
        tossed = start.copy()
        tossed[-3] = toss
        world.set_state(tossed)
        for action in actions[:-SEEN_FALLING]:
            world.step(action)
        is_there = world.num_tosses > 0
        for action in actions[-SEEN_FALLING:]:
            world.step(action)
        if not is_there or world.num_tosses > 1:
            return None
        beyond.append(bool(is_beyond(world.ground_truth().tool_pos[:2])))
    return EVEN * beyond[0] + (1 - EVEN) * beyond[1]


def picture(model: LatentVideoModel, world: Crossing, start: Start, path: Path, rows: int = 5) -> None:
    """What happened after two tosses, what is expected, and some futures."""
    block, strips = model.action_block, []
    for side in (True, False):
        toss = int(np.flatnonzero(start.passed == side)[0])
        tossed = start.state.copy()
        tossed[-3] = start.first_seed + toss
        world.set_state(tossed)
        seen = [world.image("top")]
        for step, action in enumerate(start.actions):
            world.step(action)
            if (step + 1) % block == 0:
                seen.append(world.image("top"))
        strips.append((f"seen: a toss by which the puck {'passes' if side else 'falls into the pit'}", np.concatenate(seen, 1)))
    here = model.believe([[replace(observation_of(world_at(world, start)), truth={})]])
    strips.append(("imagined: what is expected", drawn(model, here, imagined(model, world, start, None).latents[0, 0])))
    futures = imagined(model, world, start, 1.0).futures
    assert futures is not None
    strips += [(f"imagined: future {number + 1} of {DRAWS}", drawn(model, here, futures[number, 0, 0])) for number in range(rows)]
    parts = [part for title, image in strips for part in (banner(title, 2 * image.shape[1], 15), enlarge(image, 2))]
    write_png(path, stacked(parts))


def world_at(world: Crossing, start: Start) -> Crossing:
    world.set_state(start.state)
    return world


def drawn(model: LatentVideoModel, here: Belief, latents: torch.Tensor) -> np.ndarray:
    return np.concatenate(list(model.decode(torch.cat([here.latent, latents]))["top"].numpy()), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--starts", type=int, default=45, help="of the odds, in turn 0.3, 0.5 and 0.8")
    parser.add_argument("--pairs", type=int, default=40, help="of each planner, at odds of 0.5")
    parser.add_argument("--seed", type=int, default=1, help="of starts and pairs: choose settings on others than you measure on")
    parser.add_argument("--decisions", type=int, default=20, help="whose candidates are looked at")
    parser.add_argument("--planners", nargs="+", choices=PLANNERS, default=list(PLANNERS))
    parser.add_argument("--planning", nargs="+", metavar="KEY=VALUE", default=[], help="what is changed of the checkpoint's own")
    parser.add_argument("--minutes", type=float, default=60.0, help="after which no other pair is begun")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = load_checkpoint_model(args.checkpoint)
    with Crossing(CrossingConfig(odds=ODDS)) as world:
        starts = starts_of(world, args.starts, model.action_block, args.seed)
        figures = odds_figures(model, world, starts)
        print(json.dumps(figures, indent=1), flush=True)
        picture(model, world, next(one for one in starts if one.odds == EVEN), args.picture)
    planning = planning_for(checkpoint.read_info(args.checkpoint), TASK)
    planning = parse(PlanningConfig, dump(planning), f"{args.checkpoint}", args.planning)
    if args.decisions:
        figures |= candidate_figures(model, planning, args.decisions, args.seed)
        print(json.dumps({name: figures[name] for name in figures if name.startswith("candidates/")}, indent=1), flush=True)
    if args.pairs:
        figures |= planner_figures(model, planning, args.planners, args.pairs, args.seed, args.minutes)
    write_figures(args.out, figures)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
