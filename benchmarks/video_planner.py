"""Acting by imagining the video, beside the policy alone and the released search; and how far imagined videos are off what comes.

    python benchmarks/video_planner.py runs/train/video/model.safetensors --cache datasets/cache_jaco_recorded

The checkpoint is `configs/checkpoints/jaco_recorded_s.safetensors` after `stage=video` (docs/guides/video.md). **Success** is of the first
pairs of the frozen manifests: `video_N` follows one of N videos, of the way that most of them are of (`choose=agreed`), `video_N_best` the
one that ends best by the task's cost, `video_N_checked` is `video_N` whose plan the action-conditioned model must confirm (`check`): where
it does not, the arm holds. `policy_alone` and `planner` are as released, and so is the
cost. **Errors** are of held-out episodes of the cache, whose true object positions only the judge reads: what the pose head reads of a
video's looks against the truth; `one` video, the `nearest` of 16, the `middle` one (as `agreed` takes it, compared over the whole video),
the action-conditioned model told the actions that were really done (`open_loop`), the present held (`copied`), and the pictures that really
came (`seen`). Videos are led by the picture at the end of what was under way, or at most 10 s on. **Strips**: what came above videos of it.

Outcomes are kept in `--work`, and are made again only where settings, code or checkpoint are others.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from imagination_pays import figures_of, read_figures
from jaxtyping import Float
from results_file import write_figures
from safetensors.torch import load_file, save_file
from torch import Tensor

from robo_dream.config import Changes, load, parse
from robo_dream.data.cache import FrameCache, load_cache
from robo_dream.evaluation.results import Result, ResultFile
from robo_dream.imagination import Belief
from robo_dream.models import checkpoint
from robo_dream.models.policy_prior import VideoPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.video import VideoPlannerConfig
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, attempts
from robo_dream.runtime.planner import PlanningConfig, rollouts_a_decision
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.config import TrainingConfig, VideoStage
from robo_dream.training.frames import blocks_after
from robo_dream.training.latents import encode_frames
from robo_dream.training.recorded import recorded, told
from robo_dream.training.video import VideoBatches
from robo_dream.viewer.pictures import contact_sheet, stacked, write_png

OUT, STRIPS = Path("docs/results/video_planner.json"), Path("docs/video.png")
RECIPE = Path("configs/train/jaco_recorded.yaml")
MANY = 16
MOVED = 0.02  # m that the object goes in a window that counts as `moved`
DRAWN = 4  # windows


def methods_of(config: VideoPlannerConfig) -> Mapping[str, PlannerConfig]:
    agreed = {f"video_{number}": replace(config, num_samples=number) for number in (1, 4, MANY)}
    most = agreed[f"video_{MANY}"]
    return {**agreed, f"video_{MANY}_best": replace(most, choose="best"), f"video_{MANY}_checked": replace(most, check=True)}


def success(args: argparse.Namespace, note: "Note", extra: Mapping[str, PlannerConfig]) -> None:
    """Of every task and method, `extra` ones included, as `imagination_pays` counts it.

    Pair by pair, so that whenever it is stopped all methods have been tried on the same ones.
    """
    named = ("policy_alone", "planner", *extra)
    methods = tuple(name for name in named if name == "policy_alone" or name in (args.methods or named))
    one_future = dict.fromkeys(extra, Changes[PlanningConfig]({"futures": None}))
    for task in args.tasks:
        evaluation = Evaluation.of(
            EvaluateConfig(
                checkpoint=args.checkpoint, tasks=(task,), methods=methods, num_pairs=args.pairs, extra_planners=extra, workers=1,
                manifests=args.manifests, by_method=one_future,
            )
        )  # fmt: skip
        evaluation.require()
        file = ResultFile(args.work / f"{task}.jsonl", evaluation.settings_of())
        jobs = sorted(evaluation.jobs(), key=lambda job: (job.pair, methods.index(job.method)))
        results = {job: file.results[key] for job in jobs if (key := (task, job.method, job.pair)) in file.results}
        left = [job for job in jobs if job not in results]
        with Bars({}, task, unit="attempt") as bar:
            for job, result in zip(left, attempts(evaluation.config, left), strict=True):
                file.add(result)
                results[job] = result
                bar(len(results), len(jobs))
                if job.method == methods[-1]:
                    note(_success_of(evaluation, task, list(results.values())))
        note(found := _success_of(evaluation, task, list(results.values())))
        print(json.dumps(found, indent=1), flush=True)


def _success_of(evaluation: Evaluation, task: str, results: Sequence[Result]) -> dict[str, float | int | str | None]:
    """On the pairs that every method has attempted."""
    methods = evaluation.config.methods
    whole = set.intersection(*({one.pair for one in results if one.method == method} for method in methods))
    both = [one for one in results if one.pair in whole]
    found: dict[str, float | int | str | None] = {}
    for method in methods:
        figures = figures_of(method, both, rollouts_a_decision(evaluation.planning_of(method, task).planner))
        found |= {f"{task}/{method}/{name}": value for name, value in figures.items()}
    return found


class Note:
    """Puts figures into the result file, where others stay."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, figures: Mapping[str, float | int | str | None]) -> None:
        stems = {key.rpartition("/")[0] for key in figures}
        kept = {key: value for key, value in read_figures(self.path).items() if key.rpartition("/")[0] not in stems}
        both = {**kept, **figures}
        write_figures(self.path, {key: both[key] for key in sorted(both) if not key.startswith("_")})


def held_out(args: argparse.Namespace) -> FrameCache:
    """Frames as joints tell them, whose object positions are the simulator's: for the judge."""
    cache = load_cache(next(args.cache.glob("frames-*")))
    grasps = load(TrainConfig, RECIPE, []).training.grasps
    assert grasps is not None
    blind = replace(cache, images={name: cache.images[name][:0] for name in cache.cameras})  # its pictures are not hashed
    seen = recorded(blind, grasps, told(cache, grasps))
    return replace(cache, skill=seen.skill, skills=seen.skills)


def errors(args: argparse.Namespace, note: Note) -> None:
    """Millimetres that the object is off, look by look, and the strips."""
    model, cache = checkpoint.load(args.checkpoint), held_out(args)
    assert model.video is not None
    size = model.video.size
    stage = VideoStage(looks=size.steps, numbers=size.numbers)
    nothing = torch.zeros(int(cache.episode_starts[-1]), 0)
    config = replace(TrainingConfig(), model=model.spec.config, video=stage)
    pairs = VideoBatches(cache, nothing, config, np.flatnonzero(~cache.is_train)[: args.episodes].tolist())
    start, goals = pairs.pairs(np.random.default_rng((0, 60)), args.windows)
    block = model.action_block
    looks = np.minimum(start[:, None] + block * np.arange(1, size.steps + 1), goals[:, None])
    is_whole = looks[:, -1] - start == block * size.steps  # the goal is not before the last look
    start, goals, looks = start[is_whole], goals[is_whole], looks[is_whole]
    frames = np.unique(np.concatenate([start, goals, looks.flatten()]))
    latents = latents_of(model, cache, frames, args)
    here, there, came = (latents[np.searchsorted(frames, some)] for some in (start, goals, looks))
    prior = VideoPrior(model, args.video.flow_steps, args.video.guidance)
    noise = torch.from_numpy(np.random.default_rng((0, 61)).standard_normal((MANY, len(start), size.steps, size.numbers), np.float32))
    videos = torch.stack([prior.imagined(here, there, args.video.temperature * some) for some in noise])
    apart = (videos[:, None] - videos[None]).square().mean((-1, -2)).sqrt()
    middle = videos[apart.sum(0).argmin(0), torch.arange(len(start))]
    done = torch.from_numpy(blocks_after(np.asarray(cache.actions, np.float32), start, size.steps, block)).flatten(1, 2)
    loop = model.imagine(Belief(here), done[:, None]).latents[:, 0]
    true = torch.from_numpy(np.asarray(cache.object_pose)[looks][..., :3])
    first = torch.from_numpy(np.asarray(cache.object_pose)[start][:, None, :3])
    moved = (true - first).norm(dim=-1).amax(-1) > MOVED

    def off(some: Float[Tensor, "*some window look channel"]) -> Float[Tensor, "*some window look"]:
        return 1e3 * (model.poses(some).object_pos[..., 0, :] - true).norm(dim=-1)

    told = {
        "one": off(videos[0]), "nearest": off(videos).gather(0, off(videos).mean(-1).argmin(0)[None, :, None].expand(1, -1, size.steps))[0],
        "middle": off(middle), "open_loop": off(loop), "copied": off(here[:, None].expand_as(came)), "seen": off(came),
    }  # fmt: skip
    figures: dict[str, float | int] = {"errors/all/windows": len(start), "errors/moved/windows": int(moved.sum())}
    for name, values in told.items():
        for part, which in (("all", torch.ones_like(moved)), ("moved", moved)):
            for look in range(size.steps):
                figures[f"errors/{part}/{name}_{(look + 1) * block * cache.control_dt:g}s_mm"] = round(float(values[which, look].mean()), 1)
    distance = {
        "one": videos[0], "middle": middle, "open_loop": loop, "copied": here[:, None].expand_as(came),
    }  # fmt: skip
    for name, some in distance.items():
        for look, value in enumerate((some - came).square().mean(-1).sqrt().mean(0)):
            figures[f"latents/{name}_{(look + 1) * block * cache.control_dt:g}s"] = round(float(value), 3)
    wanted = model.normalise_actions(done[:, :block])
    variance = wanted.flatten(0, 1).var(0, correction=0)
    for name, some in (("one", videos[0]), ("middle", middle), ("seen", came)):
        read = model.normalise_actions(prior.actions(here, some)[:, :block])
        r2 = 1 - (read - wanted).flatten(0, 1).square().mean(0) / variance
        for number, value in zip(model.action_spec.names, r2, strict=True):
            figures[f"actions/{name}_r2_{number}"] = round(float(value), 3)
    led_to = model.imagine(Belief(here), prior.actions(here, middle)[:, None]).latents[:, 0]
    unsure = (prior.apart(middle, led_to) > args.video.unsure_above).any(-1)
    figures["checks/unsure_percent"] = round(100 * float(unsure.float().mean()), 1)
    for name, which in (("sure", ~unsure), ("unsure", unsure)):
        figures[f"checks/{name}/windows"] = int(which.sum())
        if which.any():
            figures[f"checks/{name}/off_mm"] = round(float(off(middle)[which].mean()), 1)
    print(json.dumps(figures, indent=1))
    note(figures)
    chosen = np.flatnonzero(moved.numpy())[np.unique(pairs_apart(cache, start[moved.numpy()]), return_index=True)[1]][:DRAWN]
    sheet = [strip(model, cache, int(start[one]), looks[one], int(goals[one]), videos[:3, one]) for one in chosen]
    print(write_png(args.strips, contact_sheet(sheet, 2)))


def latents_of(model: LatentVideoModel, cache: FrameCache, frames: np.ndarray, args: argparse.Namespace) -> Tensor:
    """Kept in the folder of outcomes, for the same pictures, frames and checkpoint."""
    file = args.work / "latents.safetensors"
    asked = hashlib.sha256(frames.tobytes()).hexdigest()
    about = f"{cache.dataset_id[:16]}-{checkpoint.sha256(args.checkpoint)[:16]}-{asked[:16]}"
    if file.exists() and about in (kept := load_file(file)):
        return kept[about]
    with Bars({}, "pictures into latents", "frame") as bar:
        latents = encode_frames(model, cache, frames, bar)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({about: latents}, file)
    return latents


def pairs_apart(cache: FrameCache, start: np.ndarray) -> np.ndarray:
    """The episode of each."""
    return np.searchsorted(cache.episode_starts, start, side="right")


def strip(
    model: LatentVideoModel, cache: FrameCache, start: int, looks: np.ndarray, goal: int, videos: Float[Tensor, "video look channel"]
) -> tuple[str, np.ndarray]:
    """Of the first camera: what came, with the goal at its end, above three videos."""
    camera = model.cameras[0]
    real = np.concatenate([np.asarray(cache.images[camera][frame]) for frame in (start, *looks, goal)], 1)
    blank = np.full_like(np.asarray(cache.images[camera][start]), 255)
    rows = [np.concatenate([blank, *model.decode(video)[camera].cpu().numpy(), blank], 1) for video in videos]
    seconds = f"{model.action_block * cache.control_dt:g} s apart"
    return f"now, what came ({seconds}), the goal; below, three videos towards it", stacked([real, *rows], 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("datasets/cache_jaco_recorded"), help="of frames, for errors and strips")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--tasks", nargs="+", default=["push", "reach", "lift"])
    parser.add_argument("--methods", nargs="+", default=None)
    parser.add_argument("--manifests", type=Path, default=None, help="other pairs than the frozen ones, such as for tuning")
    parser.add_argument("--windows", type=int, default=600)
    parser.add_argument("--episodes", type=int, default=90, help="held-out ones, for errors and strips")
    parser.add_argument("--video", type=json.loads, default={}, help="what is changed of VideoPlannerConfig, as JSON")
    parser.add_argument("--parts", nargs="+", choices=("success", "errors"), default=["errors", "success"])
    parser.add_argument("--work", type=Path, default=Path("runs/video_planner"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--strips", type=Path, default=STRIPS)
    args = parser.parse_args()
    args.video = parse(VideoPlannerConfig, {"kind": "video", **args.video}, "--video")
    torch.set_num_threads(1)
    note = Note(args.out)
    for part in args.parts:
        errors(args, note) if part == "errors" else success(args, note, methods_of(args.video))


if __name__ == "__main__":
    main()
