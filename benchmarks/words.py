"""Goals in words on OGBench's cube-double: known and new sentences, new pairs of colour and verb, another one, none, and the goal picture.

    python benchmarks/words.py runs/train/ogbench_words/model.safetensors

The checkpoint is `configs/train/ogbench_words.yaml`'s. Whether what was asked came true is judged by the simulator's own poses, which
nothing else reads: both cubes let go, lying still for 3 control steps, and the relation true of them (`JUDGE`).

**Pairs** are two times of calm scripted play of held-out seeds at which both cubes lie, between which one was moved; what is asked is
something that came true of it. `seen` pairs are of colours and verbs that were said in training, of which `known` and `paraphrased`
sentences are tried; `unsaid` pairs are of those that never were. `picture` is the goal's picture, arm included, with the same planner.
**Head**: at whose goal what was asked is true, of all pairs, without acting. **Swapped**: another sentence's outcome, judged by
this one's; `chance` is how often what is asked of one pair came true in another. **Nothing**: the goal is how things are believed to be.

**Strip** (`--runs FOLDER ...`, of `robo-dream plan goal.text=...`): what happened above what the first decision imagined.

Outcomes are kept in `--work`; an interrupted run goes on.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from jaxtyping import Float
from results_file import write_figures

from robo_dream.control.episode import Bench, Hooks, LoopConfig
from robo_dream.control.loop import run_episode
from robo_dream.control.policies import PlannerPolicy
from robo_dream.embodiment import Observation
from robo_dream.errors import ConfigError
from robo_dream.evaluation.intervals import wilson
from robo_dream.evaluation.manifest import Pair
from robo_dream.imagination import Goal
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.recording.record import find_record, read_run
from robo_dream.runtime.attempt import Prepared, goal_of, prepare, simulated_devices
from robo_dream.runtime.planner import build_planner, planning_for
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.words import goal_in_words
from robo_dream.training.instructions import Asked, InstructionConfig, asked_in_hindsight, holds, said
from robo_dream.viewer.pictures import contact_sheet, stacked, write_png
from sim.adapters.ogbench import Ogbench, OgbenchConfig
from sim.environment import Environment, observation_of
from sim.pairs import FIRST_SEED
from sim.scripts import moves

OUT, STRIPS = Path("docs/results/words.json"), Path("docs/words.png")
THINGS = ("red cube", "blue cube")  # in the simulator's order
JUDGE = InstructionConfig(moved=0.03, apart=0.02, beside=0.11)
UNSAID = ("red cube: left_of", "blue cube: behind", "red cube: right", "blue cube: nearer")
UNKNOWN = (
    "put the green cube left of the blue one", "open the drawer", "stack the red cube on the mug", "wash the dishes", "fold the towel",
    "pour some water into the glass", "put the red cube in the basket", "hello", "move the yellow block to the right",
    "throw the blue cube out of the window", "paint the red cube black", "put the banana next to the red cube",
)  # fmt: skip
UNTUNED = FIRST_SEED + 100_000  # pairs from FIRST_SEED on were looked at while the reader of words was made
HELD, STILL, LYING, OPEN = 3, 0.002, 0.03, 0.25  # control steps; metres a step; metres above the table; closure


@dataclass(frozen=True)
class Sentence:
    """A pair of states, what is asked, and the texts of each kind that ask for it."""

    start: np.ndarray
    goal: np.ndarray
    before: Float[np.ndarray, "thing 3"]
    after: Float[np.ndarray, "thing 3"]
    asked: Asked
    texts: Mapping[str, str]

    @property
    def group(self) -> str:
        return "unsaid" if "unsaid" in self.texts else "seen"


class Judge:
    """Whether what is asked came true: asked at every observation."""

    def __init__(self, environment: Environment, sentence: Sentence) -> None:
        self.environment, self.sentence = environment, sentence
        self.last, self.held, self.step, self.true_at = sentence.before, 0, 0, -1

    def __call__(self, observation: Observation) -> bool:
        now, self.step = positions(self.environment), self.step + 1
        calm = observation.arm.gripper < OPEN and np.linalg.norm(now - self.last, axis=-1).max() < STILL and lie(now)
        self.held = self.held + 1 if calm and true_of(self.sentence, now) else 0
        self.last = now
        if self.held >= HELD and self.true_at < 0:
            self.true_at = self.step
        return self.true_at >= 0


def positions(environment: Environment) -> Float[np.ndarray, "thing 3"]:
    return environment.ground_truth().object_poses[:, :3].copy()


def lie(now: Float[np.ndarray, "thing 3"]) -> bool:
    """Each on the table, or on another that is."""
    low = now[:, 2] < LYING
    return bool(low.any()) and all(low[i] or (np.linalg.norm(now[i, :2] - now[1 - i, :2]) < 0.04 and now[i, 2] < 0.07) for i in (0, 1))


def are_apart(now: Float[np.ndarray, "thing 3"]) -> bool:
    """Whether cubes of 4 cm can lie so: 5 mm are left for errors."""
    return float(np.linalg.norm(now[0] - now[1])) > 0.035


def true_of(sentence: Sentence, now: Float[np.ndarray, "thing 3"], asked: Asked | None = None) -> bool:
    asked = asked or sentence.asked
    return holds(JUDGE, asked.relation, asked.thing, asked.other, sentence.before, now)


def sentences(environment: Environment, num: int, first_seed: int) -> list[Sentence]:
    """`num` of each group, of play from `first_seed` on, the relations in turn as far as play has them."""
    found: dict[str, list[Sentence]] = {"seen": [], "unsaid": []}
    counts: dict[tuple[str, int], int] = {}
    for seed in itertools.count(first_seed):
        rng = np.random.default_rng(seed)
        environment.reset(rng)
        options = list(_pairs_of(environment, seed, rng))
        for group in found:
            mine = [one for one in options if one.group == group]
            if mine and len(found[group]) < num:
                chosen = min(mine, key=lambda one: counts.get((one.asked.relation, one.asked.thing), 0))
                counts[chosen.asked.relation, chosen.asked.thing] = counts.get((chosen.asked.relation, chosen.asked.thing), 0) + 1
                found[group].append(chosen)
        if all(len(some) >= num for some in found.values()):
            return found["seen"] + found["unsaid"]
    raise AssertionError


def _pairs_of(environment: Environment, seed: int, rng: np.random.Generator) -> Iterator[Sentence]:
    rests: list[tuple[np.ndarray, np.ndarray]] = []
    last = positions(environment)
    for number, action in enumerate(moves(environment, str(rng.choice(environment.scripts)), rng)):
        environment.step(environment.action_spec.clip(np.asarray(action, np.float32)))
        now = positions(environment)
        if environment.arm_state().gripper < OPEN and np.linalg.norm(now - last, axis=-1).max() < 1e-4 and lie(now):
            away = environment.ground_truth().tool_pos[2] > 0.12
            if away and (not rests or np.linalg.norm(now - rests[-1][1], axis=-1).max() > 0.02):
                rests.append((environment.state, now))
        last = now
        if number >= 200:
            break
    for (start, before), (goal, after) in itertools.pairwise(rests):
        for asked in asked_in_hindsight(InstructionConfig(), before, after):
            if holds(JUDGE, asked.relation, asked.thing, asked.other, before, before):
                continue
            told, new = (said(THINGS, asked, held_out) for held_out in (False, True))
            draw = np.random.default_rng((seed, 1))
            texts = {"known": str(draw.choice(told)), "paraphrased": str(draw.choice(new))}
            if f"{THINGS[asked.thing]}: {asked.relation}" in UNSAID:
                texts = {"unsaid": texts["known"]}
            yield Sentence(start, goal, before, after, asked, texts)


def prepared_at(environment: Environment, sentence: Sentence, steps: int) -> Prepared:
    return prepare(environment, Pair("five_tasks", sentence.start, sentence.goal, steps), LoopConfig())


def believed(prepared: Prepared, model: LatentVideoModel) -> torch.Tensor:
    return model.believe([[replace(observation_of(prepared.attempt.environment), truth={})]]).latent


def goal_for(kind: str, prepared: Prepared, sentence: Sentence, model: LatentVideoModel) -> Goal | None:
    """None for a text that is refused."""
    if kind == "picture":
        return goal_of(prepared, model, "picture_and_arm")
    latent = believed(prepared, model)
    if kind == "nothing":
        return Goal(latent)
    try:
        return goal_in_words(model, sentence.texts[kind], latent)
    except ConfigError:
        return None


def head(environment: Environment, model: LatentVideoModel, order: Sequence[int], some: Sequence[Sentence]) -> dict[str, float | int]:
    """Of every kind of text, the share that is refused, and of the others that at whose goal what was asked is true."""
    found: dict[str, list[float]] = {}
    for sentence in some:
        prepared = prepared_at(environment, sentence, 1)
        for kind in sentence.texts:
            goal = goal_for(kind, prepared, sentence, model)
            value = np.nan
            if goal is not None and goal.object_pos is not None:
                told = goal.object_pos[0].numpy()[list(order)]
                now = np.where(np.isnan(told), sentence.before, told)
                value = float(true_of(sentence, now) and are_apart(now))
            for name in (kind, f"{kind}/on" if sentence.asked.relation == "on" else f"{kind}/others"):
                found.setdefault(name, []).append(value)
    figures: dict[str, float | int] = {}
    for kind, values in found.items():
        taken = np.array(values)[~np.isnan(values)]
        figures |= _share(f"head/{kind}/true", taken) | _share(f"head/{kind}/refused", np.isnan(values))
    latent = model.believe([[replace(observation_of(environment), truth={})]]).latent
    refused = [_is_refused(model, text, latent) for text in UNKNOWN]
    return figures | _share("head/unknown/refused", np.array(refused))


def _is_refused(model: LatentVideoModel, text: str, latent: torch.Tensor) -> bool:
    try:
        goal_in_words(model, text, latent)
    except ConfigError:
        return True
    return False


def attempt(
    environment: Environment, model: LatentVideoModel, kind: str, sentence: Sentence, args: argparse.Namespace
) -> dict[str, object]:
    """What came of one trial."""
    prepared = prepared_at(environment, sentence, args.steps)
    goal, judge = goal_for(kind, prepared, sentence, model), Judge(environment, sentence)
    if goal is None:
        return {"success": False, "refused": True, "after": sentence.before.tolist()}
    planning = planning_for(checkpoint.read_info(args.checkpoint), "five_tasks")
    planner = build_planner(planning.planner, model, planning.cost, planning.proposals)
    devices = simulated_devices(prepared, model)
    policy = PlannerPolicy(model, planner, goal, 0)
    episode = run_episode(Bench(devices.arm, devices.cameras, devices.clock, None), policy, prepared.loop, Hooks(is_done=judge))
    return {
        "success": judge.true_at >= 0, "refused": False, "steps": len(episode.sent), "after": positions(environment).tolist(),
        "decision_ms": 1e3 * float(np.median(episode.decision_seconds)),
    }  # fmt: skip


def success(environment: Environment, model: LatentVideoModel, some: Sequence[Sentence], args: argparse.Namespace, note: Callable) -> None:
    """Kind by kind on each sentence in turn, so that whenever it is stopped all have been tried on the same ones."""
    path = args.work / f"{checkpoint.sha256(args.checkpoint)[:12]}-{args.steps}-{args.first_seed}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(one["number"], one["kind"]): one for one in lines}
    by_turn = sorted(enumerate(some), key=lambda one: (one[0] % args.pairs, one[0]))
    jobs = [(number, kind) for number, one in by_turn for kind in (*one.texts, "picture", *(("nothing",) if number < args.nothing else ()))]
    with Bars({}, "trials", unit="attempt") as bar, open(path, "a") as file:
        for count, job in enumerate(jobs):
            if job not in done:
                done[job] = {"number": job[0], "kind": job[1], **attempt(environment, model, job[1], some[job[0]], args)}
                file.write(json.dumps(done[job]) + "\n")
                file.flush()
                note(success_of(some, done))
            bar(count + 1, len(jobs))
    note(success_of(some, done))


def success_of(some: Sequence[Sentence], done: Mapping[tuple[int, str], Mapping[str, object]]) -> dict[str, float | int]:
    """On sentences of which all kinds were tried."""
    whole = [i for i, one in enumerate(some) if all((i, kind) in done for kind in (*one.texts, "picture"))]
    figures: dict[str, float | int] = {}
    for group, kinds in (("seen", ("picture", "known", "paraphrased")), ("unsaid", ("picture", "unsaid"))):
        mine = [i for i in whole if some[i].group == group]
        for kind in kinds if mine else ():
            name = f"success/{group}/{kind}"
            figures |= _share(name, np.array([done[i, kind]["success"] for i in mine]))
            timed = [float(str(done[i, kind]["decision_ms"])) for i in mine if "decision_ms" in done[i, kind]]
            figures[f"{name}/decision_ms"] = round(float(np.median(timed)), 1) if timed else 0
    quiet = [one["success"] for (_, kind), one in done.items() if kind == "nothing"]
    figures |= _share("success/nothing", np.array(quiet)) if quiet else {}
    rng, swapped, chance = np.random.default_rng(0), [], []
    for i in whole:
        others = [j for j in range(len(some)) if some[j].asked != some[i].asked]
        for kind in some[i].texts:
            told = some[int(rng.choice(others))].asked
            if not true_of(some[i], some[i].before, told):
                swapped.append(true_of(some[i], np.array(done[i, kind]["after"]), told))
    for one, other in itertools.permutations(some, 2):
        if one.asked != other.asked and not true_of(other, other.before, one.asked):
            chance.append(true_of(other, other.after, one.asked))
    figures |= _share("success/swapped", np.array(swapped)) if swapped else {}
    return figures | _share("success/chance", np.array(chance))


def _share(name: str, values: np.ndarray) -> dict[str, float | int]:
    low, high = wilson(int(values.sum()), len(values))
    percent = 100 * float(values.mean()) if len(values) else 0.0
    return {
        f"{name}_percent": round(percent, 1),
        f"{name}_low": round(100 * low, 1),
        f"{name}_high": round(100 * high, 1),
        f"{name}_n": len(values),
    }


def strip(model: LatentVideoModel, folder: Path) -> tuple[str, np.ndarray]:
    """What was seen from the start to the end of a run, above what its first decision imagined for the same times."""
    run = read_run(find_record(folder))
    camera, first = model.cameras[0], run.decisions[0]
    drawn = model.decode(torch.from_numpy(first.latents))[camera].numpy()
    steps = [round(share * len(drawn)) * model.action_block for share in (0.25, 0.5, 0.75, 1.0)]
    seen = [run.steps[min(step, len(run.steps) - 1)].observation.frames[camera].image for step in (0, *steps, len(run.steps) - 1)]
    blank = np.full_like(seen[0], 255)
    imagined = [blank, *(drawn[step // model.action_block - 1] for step in steps), blank]
    seconds = " ".join(f"{step * model.action_spec.control_dt:.2g}" for step in (*steps, len(run.steps) - 1))
    return f"{run.about['goal']}: now, after {seconds} s; below, imagined", stacked(
        [np.concatenate(seen, 1), np.concatenate(imagined, 1)], 2
    )


def order_of(model: LatentVideoModel) -> tuple[int, ...]:
    """Where the model tells each of `THINGS`."""
    assert model.words is not None, "this checkpoint has learned no words; see configs/train/ogbench_words.yaml"
    return tuple(model.words.size.things.index(name) for name in THINGS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--pairs", type=int, default=20, help="of each group that are tried")
    parser.add_argument("--told", type=int, default=100, help="of each group that the head is asked of")
    parser.add_argument("--nothing", type=int, default=10, help="trials without instruction")
    parser.add_argument("--steps", type=int, default=250, help="control steps that a trial is allowed")
    parser.add_argument("--first-seed", type=int, default=UNTUNED, help="of play that pairs are taken from")
    parser.add_argument("--parts", nargs="+", choices=("head", "success"), default=["head", "success"])
    parser.add_argument("--work", type=Path, default=Path("runs/words"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--runs", type=Path, nargs="+", default=[], help="of `robo-dream plan`, whose strip is drawn; nothing is measured")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = checkpoint.load(args.checkpoint)
    if args.runs:
        print(write_png(STRIPS, contact_sheet([strip(model, folder) for folder in args.runs], 1)))
        return
    order = order_of(model)
    figures: dict[str, float | int | str | None] = json.loads(args.out.read_text()) if args.out.exists() else {}

    def note(some: Mapping[str, float | int]) -> None:
        figures.update(some)
        write_figures(args.out, {key: figures[key] for key in sorted(figures) if not key.startswith("_")})

    blind, environment = (Ogbench(OgbenchConfig(env="cube-double", picture=picture)) for picture in (None, OgbenchConfig().picture))
    with blind:
        told = sentences(blind, max(args.told if "head" in args.parts else 0, args.pairs), args.first_seed)
    half = len(told) // 2
    with environment:
        if "head" in args.parts:
            note(head(environment, model, order, told))
            print(json.dumps(figures, indent=1), flush=True)
        if "success" in args.parts:
            success(environment, model, [*told[: args.pairs], *told[half : half + args.pairs]], args, note)
            print(json.dumps(figures, indent=1), flush=True)


if __name__ == "__main__":
    main()
