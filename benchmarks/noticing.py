"""What notices that a belief is wrong: the perception check, in scenes that were changed, and in plans that are acted on.

    robo-dream collect --config configs/collect/jaco.yaml seed=70000000 num_episodes=60 out=datasets/calibrating
    robo-dream collect --config configs/collect/jaco.yaml seed=70000060 num_episodes=30 out=datasets/looked_at
    robo-dream calibrate perception --checkpoint configs/checkpoints/jaco_recorded_s.safetensors --dataset datasets/calibrating \
        --write runs/checked.safetensors
    python benchmarks/noticing.py looks --checkpoint runs/checked.safetensors --dataset datasets/looked_at
    python benchmarks/noticing.py plans --checkpoint runs/checked.safetensors    # pushes from frozen pairs, with and without the check
    python benchmarks/noticing.py cost --checkpoint runs/checked.safetensors     # milliseconds a decision

Every change of `planted_changes.py` is planted in the same held-out episodes, drawn anew, decision by decision; or in the pair, after its
goal was shown. What was believed is judged by the simulator's poses, which nothing else reads. Figures go to docs/results/noticing.json:

`auroc/KIND`: beliefs more than 2 cm wrong in that scene against sound ones of the usual scene; `auroc_of_all/KIND`: all against all.
`found_in_1s/KIND`, `false_alarms_in_1s`: percent of moments at which a change might come in from which one of the next decisions up to 1 s
later (3, every half second) is refused, at 5 % false alarms. `wrong/KIND`: percent of beliefs more than 2 cm wrong. `plans/...`: see
`plan_figures`.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported
os.environ.setdefault("LP_NUM_THREADS", "0")

import numpy as np
import torch
from jaxtyping import Float

sys.path.insert(0, str(Path(__file__).parent))

from planted_changes import ASKED, PLANTED, Planted
from results_file import write_figures

from robo_dream.config import load
from robo_dream.control.episode import LoopConfig
from robo_dream.data.cache import Datasets, open_dataset
from robo_dream.data.episode import Episode
from robo_dream.embodiment import Camera, Frame, Intrinsics, Observation
from robo_dream.evaluation.intervals import auroc
from robo_dream.evaluation.manifest import Pair, read_manifest
from robo_dream.models import checkpoint
from robo_dream.models.perception_check import KINDS, PerceptionCalibration, PerceptionCheck, residuals
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.recording.decision import Decision
from robo_dream.recording.events import SafetyEvent
from robo_dream.runtime.attempt import carry_out, goal_of, prepare, simulated_devices
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, pair_seed
from robo_dream.runtime.planner import build_planner, planning_for
from robo_dream.safety.limits import SafetyLimits
from robo_dream.status import PlanStatus
from sim.tabletop.scene import SceneConfig

WRONG = 0.02  # m
ROW = 3  # decisions in which a change is to be found: half a second apart, the first at once
RATES = (0.05, 0.01, 0.001)
USUAL = "usual"
TRUSTED = (PlanStatus.OK, PlanStatus.OUT_OF_TIME)


def name_of(rate: float) -> str:
    """As figures have it."""
    return f"{100 * rate:g}_percent"


def by_seed(data: Datasets, first: int, most: int) -> list[Episode]:
    """From a seed on, whatever their order on disk."""
    seeds = [int(row["robo_dream/seed"]) for part in data.parts for row in part.rows]
    return [data.episode(int(index)) for index in [index for index in np.argsort(seeds) if seeds[index] >= first][:most]]


@dataclass(frozen=True)
class Seen:
    """Of every decision of some episodes how odd it looks, and how far the object is believed to be off (m)."""

    residuals: Float[np.ndarray, "episode moment residual"]
    error: Float[np.ndarray, "episode moment"]


def looked_at(model: LatentVideoModel, scene: SceneConfig, planted: Planted, episodes: Sequence[Episode]) -> Seen:
    """The moments of decisions, one every action block, drawn in the changed scene."""
    found, errors = [], []
    with planted.world(scene) as world:
        for episode in episodes:
            moments = slice(0, None, model.action_block)
            tail = planted.plant(world, episode.sim_state.shape[1], episode.seed)
            pictures = []
            for state in episode.sim_state[moments]:
                world.set_state(np.concatenate([state, tail]))
                pictures.append(planted.spoilt({name: world.image(name) for name in model.cameras}, episode.seed))
            views = [torch.from_numpy(np.stack([one[name] for one in pictures])) for name in model.cameras]
            proprio = torch.from_numpy(episode.proprio[moments])
            found.append(residuals(model, views, proprio).numpy())
            believed = model.poses(model.encode(views, proprio)).object_pos[:, 0].numpy()
            errors.append(np.linalg.norm(believed - episode.object_pose[moments, :3], axis=-1))
    return Seen(np.stack(found), np.stack(errors))


def kept_look(model: LatentVideoModel, scene: SceneConfig, name: str, episodes: Sequence[Episode], folder: Path) -> Seen:
    """`looked_at`, unless `folder` has it already."""
    file = folder / f"looks-{name}.npz"
    if not file.exists():
        seen = looked_at(model, scene, PLANTED.get(name, Planted(USUAL)), episodes)
        np.savez(file, residuals=seen.residuals, error=seen.error)
        print(name, flush=True)
    with np.load(file) as kept:
        return Seen(kept["residuals"], kept["error"])


def look_figures(seen: Mapping[str, Seen], calibration: PerceptionCalibration) -> dict[str, float | int | str | None]:
    """See the head of this file."""
    odd = {name: calibration.together(one.residuals) for name, one in seen.items()}
    shares = {
        name: np.array([[calibration.usual(moment) for moment in episode] for episode in one.residuals]) for name, one in seen.items()
    }
    is_wrong, sound = {name: one.error > WRONG for name, one in seen.items()}, odd[USUAL][seen[USUAL].error <= WRONG]
    figures: dict[str, float | int | str | None] = {
        "moments_calibrated_on": calibration.num_moments, "episodes_calibrated_on": calibration.num_episodes,
        "episodes_looked_at": len(odd[USUAL]), "decisions_looked_at": odd[USUAL].size,
        f"auroc/{USUAL}": _round(auroc(odd[USUAL][is_wrong[USUAL]], sound)),
        "false_alarms_in_1s": _percent(in_a_row(shares[USUAL] <= RATES[0])),
    }  # fmt: skip
    for rate in RATES:
        refused = shares[USUAL] <= rate
        figures[f"false_alarms/{name_of(rate)}"] = _percent(refused)
        figures[f"episodes_with_false_alarms/{name_of(rate)}"] = _percent(np.asarray(refused.any(1)))
    gripper = {name: one.residuals[..., -1] for name, one in seen.items()}
    for name, one in seen.items():
        figures[f"wrong/{name}"] = _percent(is_wrong[name])
        figures[f"object_error_p50_mm/{name}"] = _round(1e3 * float(np.median(one.error)), 1)
        if name == USUAL:
            figures[f"auroc_of_gripper/{USUAL}"] = _round(auroc(gripper[USUAL][is_wrong[USUAL]], gripper[USUAL][~is_wrong[USUAL]]))
            continue
        wrong, refused = is_wrong[name], shares[name] <= RATES[0]
        figures[f"auroc/{name}"] = _round(auroc(odd[name][wrong], sound))
        figures[f"auroc_of_all/{name}"] = _round(auroc(odd[name].ravel(), odd[USUAL].ravel()))
        figures[f"auroc_of_gripper/{name}"] = _round(auroc(gripper[name][wrong], gripper[USUAL][~is_wrong[USUAL]]))
        for part, kind in enumerate(KINDS):
            largest = {which: seen[which].residuals[..., part : -1 : len(KINDS)].max(-1) for which in (name, USUAL)}
            figures[f"auroc_of_{kind}/{name}"] = _round(auroc(largest[name][wrong], largest[USUAL][~is_wrong[USUAL]]))
        figures[f"found/{name}"], figures[f"wrong_found/{name}"] = _percent(refused), _percent(refused[wrong])
        figures[f"found_in_1s/{name}"] = _percent(in_a_row(refused))
        for rate in RATES[1:]:
            figures[f"wrong_found_at_{name_of(rate)}/{name}"] = _percent((shares[name] <= rate)[wrong])
        figures[f"wrong_found_by_gripper/{name}"] = _percent((gripper[name] > (SafetyLimits().max_tool_error or np.inf))[wrong])
    return figures


def in_a_row(refused: np.ndarray) -> np.ndarray:
    """Whether any of `ROW` successive decisions was refused."""
    return np.asarray(np.lib.stride_tricks.sliding_window_view(refused, ROW, axis=1).any(-1))


class SpoilingCamera:
    """Reads every camera of the world and delivers what a change leaves of its own."""

    def __init__(self, own: Camera, every: Sequence[Camera], planted: Planted, seed: int) -> None:
        self._own, self._every, self._planted, self._seed, self.name = own, every, planted, seed, own.name

    def __enter__(self) -> "SpoilingCamera":
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    @property
    def intrinsics(self) -> Intrinsics:
        return self._own.intrinsics

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        return self._own.world_from_camera

    def read(self) -> Frame:
        pictures = {camera.name: camera.read() for camera in self._every}
        spoilt = self._planted.spoilt({name: frame.image for name, frame in pictures.items()}, self._seed)
        return replace(pictures[self.name], image=spoilt[self.name])


@dataclass
class Judge:
    """A recorder that knows where the object is at every decision."""

    world: object
    model: LatentVideoModel
    decisions: list[tuple[bool, float, float]] = field(default_factory=list)  # acted on, error (m), usual

    def on_event(self, event: SafetyEvent) -> None: ...

    def on_step(self, before: Observation, sent: np.ndarray, applied: np.ndarray) -> None: ...

    def on_decision(self, decision: Decision) -> None:
        true = self.world.object_pose[:3]  # type: ignore[attr-defined]
        believed = self.model.poses(torch.from_numpy(decision.belief)[None]).object_pos[0, 0].numpy()
        error = float(np.linalg.norm(believed - true))
        self.decisions.append((decision.status in TRUSTED, error, 1.0 if decision.perception is None else decision.perception))


@dataclass(frozen=True)
class Tried:
    """One push."""

    kind: str
    rate: float | None
    pair: int
    reached: bool
    held: bool
    end: str
    decisions: list[tuple[bool, float, float]]


def pushes(
    evaluation: Evaluation, check: PerceptionCheck, kind: str, rate: float | None, pairs: Sequence[int], tool_check: bool
) -> Iterator[Tried]:
    """Frozen pairs of push, the goal shown in the usual scene, the change planted after. `rate` None records how odd things look."""
    model, scene, task = check.model, evaluation.world, "push"
    assert isinstance(scene, SceneConfig)
    manifest, planted = read_manifest(evaluation.path(task)), PLANTED.get(kind, Planted(USUAL))
    planning = planning_for(evaluation.info, task)
    limits = SafetyLimits(false_alarms=rate) if tool_check else SafetyLimits(false_alarms=rate, max_tool_error=None)
    loop = LoopConfig(limits=limits)
    with Planted(USUAL).world(scene) as usual, planted.world(scene) as world:
        for number in pairs:
            seed = pair_seed(manifest.sha256, task, number, 0)
            pair = manifest.pair(number)
            goal = goal_of(prepare(usual, pair, loop), model, evaluation.shown)
            tail = planted.plant(world, len(pair.start), seed)
            moved = Pair(task, np.concatenate([pair.start, tail]), np.concatenate([pair.goal, tail]), pair.budget)
            prepared, judge = prepare(world, moved, loop), Judge(world, model)
            devices = simulated_devices(prepared, model, judge)
            cameras = devices.cameras
            if planted.spoil is not None:
                cameras = [SpoilingCamera(own, devices.cameras, planted, seed) for own in cameras]
            planner = build_planner(planning.planner, model, planning.cost, planning.proposals)
            episode = carry_out(
                prepared, replace(devices, cameras=cameras), model, planner, goal, seed, with_truth=False, recorder=judge, check=check
            )  # fmt: skip
            attempt = prepared.attempt
            yield Tried(kind, rate, number, attempt.is_reached, attempt.is_held, str(episode.end), judge.decisions)


def plan_figures(tried: Sequence[Tried]) -> dict[str, float | int | str | None]:
    """Of pairs that were tried at every rate. `plans/KIND/wrong`: decisions acted on with the object believed more than 2 cm off, without
    the check; `.../wrong_at_RATE` with it; `.../avoided_at_RATE`: percent fewer. `wrong_plans_avoided`: the same of the six kinds together,
    at 5 %. `.../success/RATE`, `.../held/RATE`: percent of pushes that reach their goal, moderate and strict."""
    figures: dict[str, float | int | str | None] = {}
    done = {(one.kind, one.rate, one.pair): one for one in tried}
    whole = {(kind, pair) for kind, _, pair in done if all((kind, rate, pair) in done for rate in (None, *RATES))}
    pairs = {kind: sorted(pair for known, pair in whole if known == kind) for kind in (USUAL, *PLANTED)}

    def wrong(kind: str, rate: float | None) -> int:
        return sum(acted and error > WRONG for pair in pairs[kind] for acted, error, _ in done[kind, rate, pair].decisions)

    for rate in RATES:
        before, after = (sum(wrong(kind, each) for kind in ASKED if pairs[kind]) for each in (None, rate))
        suffix = "" if rate == RATES[0] else f"/{name_of(rate)}"
        figures[f"wrong_plans_avoided{suffix}"] = _round(100 * (1 - after / before), 1) if before else None
    for kind, those in pairs.items():
        if not those:
            continue
        figures[f"plans/{kind}/pairs"], figures[f"plans/{kind}/wrong"] = len(those), wrong(kind, None)
        for rate in (None, *RATES):
            key = "unchecked" if rate is None else name_of(rate)
            figures[f"plans/{kind}/success/{key}"] = _percent(np.array([done[kind, rate, pair].reached for pair in those]))
            figures[f"plans/{kind}/held/{key}"] = _percent(np.array([done[kind, rate, pair].held for pair in those]))
            figures[f"plans/{kind}/stopped/{key}"] = _percent(np.array([done[kind, rate, pair].end == "SAFETY" for pair in those]))
            if rate is not None:
                before, after = wrong(kind, None), wrong(kind, rate)
                figures[f"plans/{kind}/wrong_at_{key}"] = after
                figures[f"plans/{kind}/avoided_at_{key}"] = _round(100 * (1 - after / before), 1) if before else None
    return figures


def all_pushes(evaluation: Evaluation, check: PerceptionCheck, counts: Mapping[str, int], kept: Path, tool_check: bool) -> list[Tried]:
    """What is asked for, those in the file `kept` not once more. Where no decision looks as odd as a rate asks, the check does nothing."""
    lines = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(one.kind, one.rate, one.pair): one for one in (Tried(**line) for line in lines)}
    with kept.open("a") as file:

        def keep(one: Tried) -> None:
            done[one.kind, one.rate, one.pair] = one
            file.write(json.dumps(asdict(one)) + "\n")
            file.flush()

        for kind, count in counts.items():
            missing = [pair for pair in range(count) if (kind, None, pair) not in done]
            for one in pushes(evaluation, check, kind, None, missing, tool_check) if missing else ():
                keep(one)
            for rate in RATES:
                plain = [done[kind, None, pair] for pair in range(count) if (kind, rate, pair) not in done]
                is_odd = [any(acted and usual <= rate for acted, _, usual in one.decisions) for one in plain]
                again = [one.pair for one, odd in zip(plain, is_odd, strict=True) if odd]
                for one, odd in zip(plain, is_odd, strict=True):
                    if not odd:
                        keep(replace(one, rate=rate))
                for one in pushes(evaluation, check, kind, rate, again, tool_check) if again else ():
                    keep(one)
                print(kind, rate, f"{len(again)} of {count} pushes were refused something", flush=True)
    return list(done.values())


def cost_figures(check: PerceptionCheck, observation: Observation, rounds: int = 200) -> dict[str, float | int | str | None]:
    """Milliseconds of one look: of the processor, on one thread, so that others on the machine do not count."""
    torch.set_num_threads(1)
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        check.of(observation)
        taken.append(1e3 * (time.process_time() - began))
    return {"ms_p50": _round(float(np.median(taken)), 2), "ms_p95": _round(float(np.percentile(taken, 95)), 2)}


def _percent(values: np.ndarray) -> float | None:
    return _round(100 * float(np.mean(values)), 1) if values.size else None


def _round(value: float, digits: int = 3) -> float | None:
    return None if np.isnan(value) else round(value, digits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("looks", "plans", "cost"))
    parser.add_argument("--checkpoint", type=Path, required=True, help="one with a calibrated perception check")
    parser.add_argument("--dataset", type=Path, help="looks: episodes of the usual scene, others than it was calibrated on")
    parser.add_argument("--first-seed", type=int, default=0, help="looks: leave out the episodes of smaller seeds")
    parser.add_argument("--episodes", type=int, default=30, help="looks: at so many of them")
    parser.add_argument("--evaluate", type=Path, default=Path("configs/evaluate/jaco.yaml"))
    parser.add_argument("--pairs", type=int, default=20, help="pushes in each changed scene; twice as many in the usual one")
    parser.add_argument("--kinds", nargs="*", default=list(PLANTED))
    parser.add_argument("--kept", type=Path, default=Path("runs/noticing"), help="what was measured, which is not measured once more")
    parser.add_argument("--without-tool-check", action="store_true", help="plans: nothing else may refuse one")
    parser.add_argument("--results", type=Path, default=Path("docs/results/noticing.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, info = checkpoint.load(args.checkpoint), checkpoint.read_info(args.checkpoint)
    calibration = info.settings.perception
    if calibration is None or (args.part == "looks" and args.dataset is None):
        parser.error("give a checkpoint of `robo-dream calibrate perception`, and to look at scenes the --dataset")
    check = PerceptionCheck(model, calibration)
    evaluation = Evaluation.of(replace(load(EvaluateConfig, args.evaluate), checkpoint=args.checkpoint))
    assert isinstance(evaluation.world, SceneConfig)
    args.kept.mkdir(parents=True, exist_ok=True)
    if args.part == "looks":
        episodes = by_seed(open_dataset(args.dataset, pictures=False), args.first_seed, args.episodes)
        seen = {name: kept_look(model, evaluation.world, name, episodes, args.kept) for name in (USUAL, *args.kinds)}
        figures = look_figures(seen, calibration)
    elif args.part == "plans":
        counts = {USUAL: 2 * args.pairs, **dict.fromkeys(args.kinds, args.pairs)}
        figures = plan_figures(all_pushes(evaluation, check, counts, args.kept / "pushes.jsonl", not args.without_tool_check))
        if args.without_tool_check:
            figures = {f"without_tool_check/{name}": value for name, value in figures.items()}
    else:
        with Planted(USUAL).world(evaluation.world) as world:
            pair = read_manifest(evaluation.path("push")).pair(0)
            figures = cost_figures(check, prepare(world, pair, LoopConfig()).goal_observation)
    for name, value in figures.items():
        print(f"{name:<55}{value}")
    kept = json.loads(args.results.read_text()) if args.results.exists() else {}
    known = {name: value for name, value in kept.items() if name[0] != "_"} | figures
    write_figures(args.results, {name: value for name, value in known.items() if value is not None})


if __name__ == "__main__":
    main()
