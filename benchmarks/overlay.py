"""Acting by drawing the next frame: commands read off the strip that a video model draws, beside inverse dynamics on the same video.

    python benchmarks/overlay.py runs/train/overlay/model.safetensors --dataset datasets/jaco_memory

The checkpoint is `configs/checkpoints/jaco_recorded_s.safetensors` after `stage=video` on episodes with a strip of commands (docs/guides/
video.md). **Success** is of the first pairs of the frozen manifests: `overlay` does what the strip of the next drawn frame says,
`inverse_dynamics` what the released inverse dynamics model reads off the very same videos, `policy_alone` as released. **Errors** are of
held-out episodes of `--dataset`, to which the recorder's strip is added: root mean squares over the control steps of the next action block,
in the units of the action, and of the block's mean; `seen_strip` reads the strip of the frame that came, `kept_strip` the same drawn by the
model's principal directions, `seen_inverse` reads the latents that came; `strip` and `inverse` read one video, `strip_middle` and
`inverse_middle` the one of 16 that is nearest to all others by it, `still` commands nothing. **Frames**: those recorded above those drawn.

Outcomes are kept in `--work`, and are made again only where settings, code or checkpoint are others.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from video_planner import MANY, Note, success

from robo_dream.config import load, parse
from robo_dream.data.cache import FrameCache, frames_of, open_dataset
from robo_dream.data.overlaid import OverlayConfig, overlaid
from robo_dream.models import checkpoint
from robo_dream.models.policy_prior import VideoPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.overlay import parted, with_strip
from robo_dream.planning.video import VideoPlannerConfig, paths_of
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.train import TrainConfig
from robo_dream.training.config import TrainingConfig, VideoStage
from robo_dream.training.frames import blocks_after
from robo_dream.training.latents import encode_frames
from robo_dream.training.overlaid import Strips
from robo_dream.training.recorded import recorded, told
from robo_dream.training.video import VideoBatches
from robo_dream.viewer.pictures import contact_sheet, stacked, write_png

OUT, FRAMES = Path("docs/results/overlay.json"), Path("docs/overlay.png")
RECIPE = Path("configs/train/jaco_recorded.yaml")
SHOWN = {"m": (1e3, "mm"), "rad": (180 / np.pi, "degrees"), "1": (100.0, "percent")}  # a gripper's whole way is 1
DRAWN = 3  # windows
AMPLE = 0.4  # of the limits, root mean square, that is commanded in a window that is drawn


def held_out(path: Path, episodes: int) -> tuple[FrameCache, Strips]:
    """Episodes that nobody learned from, as joints tell them, and the strips that a recorder adds to their frames."""
    data = open_dataset(path)
    chosen = [index for index in range(data.num_episodes) if not data.is_train(index)][:episodes]
    cache, strips, camera = frames_of(data, chosen), [], data.spec.camera_names[0]
    for index in chosen:
        frames = overlaid(data.episode(index), data.spec, OverlayConfig()).images[camera]
        strips.append(parted(frames, data.spec.action_spec.size)[1].reshape(len(frames), -1))
    grasps = load(TrainConfig, RECIPE, []).training.grasps
    assert grasps is not None
    return recorded(cache, grasps, told(cache, grasps)), np.concatenate(strips)


def errors(args: argparse.Namespace, note: Note) -> None:
    """How far off the next block's commands are by each way to read them, and the frames."""
    model = checkpoint.load(args.checkpoint)
    assert model.video is not None and model.video.size.strip
    (cache, strips), size = held_out(args.dataset, args.episodes), model.video.size
    with Bars({}, "pictures into latents", "frame") as bar:
        latents = encode_frames(model, cache, progress=bar)
    stage = VideoStage(looks=size.steps, numbers=size.numbers, strip=size.strip, carried=0.5)
    config = replace(TrainingConfig(), model=model.spec.config, video=stage)
    pairs = VideoBatches(cache, latents, config, list(range(cache.num_episodes)), strips)
    start, goals = pairs.pairs(np.random.default_rng((0, 60)), args.windows)
    prompt, came = pairs.at(start, goals, np.ones(len(start), bool))
    here, there, block = prompt.latents, prompt.goals, model.action_block
    by_strip = VideoPrior(model, args.video.flow_steps, args.video.guidance, "strip")
    by_latents = replace(by_strip, read="latents")
    noise = np.random.default_rng((0, 61)).standard_normal((MANY, len(start), size.steps, by_strip.num_numbers), np.float32)
    videos = torch.stack([by_strip.imagined(here, there, args.video.temperature * torch.from_numpy(some)) for some in noise])
    done = model.normalise_actions(torch.from_numpy(blocks_after(np.asarray(cache.actions, np.float32), start, 1, block)[:, 0]))

    def read(prior: VideoPrior, video: Float[Tensor, "row look seen"]) -> Float[Tensor, "row time action"]:
        return model.normalise_actions(prior.actions(here, video)[:, :block])

    def middle(prior: VideoPrior) -> Float[Tensor, "row time action"]:
        some = torch.stack([read(prior, video) for video in videos], 1)  # (row, sample, time, action)
        paths = paths_of(some, block)
        return some[torch.arange(len(some)), torch.cdist(paths, paths).sum(-1).argmin(-1)]

    kept = came.clone()
    shown = came[..., size_of(model) :] - model.video.strip_mean
    kept[..., size_of(model) :] = model.video.strip_mean + shown @ model.video.strip_ways @ model.video.strip_ways.T
    ways = {
        "seen_strip": read(by_strip, came), "kept_strip": read(by_strip, kept), "seen_inverse": read(by_latents, came),
        "strip": read(by_strip, videos[0]), "inverse": read(by_latents, videos[0]),
        "strip_middle": middle(by_strip), "inverse_middle": middle(by_latents), "still": torch.zeros_like(done),
    }  # fmt: skip
    figures: dict[str, float | int] = {"errors/windows": len(start), "errors/episodes": cache.num_episodes}
    for name, some in ways.items():
        figures |= in_units(model, some - done, f"errors/{name}")
        figures |= in_units(model, (some - done).mean(1, keepdim=True), f"errors/block_mean/{name}")
        variance = done.flatten(0, 1).var(0, correction=0)
        r2 = 1 - (some - done).flatten(0, 1).square().mean(0) / variance
        figures |= {f"r2/{name}_{number}": round(float(value), 3) for number, value in zip(model.action_spec.names, r2, strict=True)}
    figures |= in_units(model, ways["strip"] - ways["inverse"], "errors/strip_against_inverse")
    print(json.dumps(figures, indent=1))
    note(figures)
    ample = np.flatnonzero((done.square().mean((-1, -2)).sqrt() > AMPLE).numpy() & (goals - start >= block * size.steps))
    _, first = np.unique(np.searchsorted(cache.episode_starts, start[ample], side="right"), return_index=True)
    sheet = [compared(by_strip, cache, strips, int(start[one]), int(goals[one]), videos[0, one]) for one in ample[first[:DRAWN]]]
    print(write_png(args.frames, contact_sheet(sheet, 2)))


def size_of(model: LatentVideoModel) -> int:
    return model.spec.config.latent


def in_units(model: LatentVideoModel, off: Float[Tensor, "row time action"], stem: str) -> dict[str, float | int]:
    """Root mean squares of normalised errors, as people read them: mm, degrees, percent; and over all numbers, in half ranges."""
    found: dict[str, float | int] = {f"{stem}_half_ranges": round(float(off.square().mean().sqrt()), 3)}
    rms = (off.flatten(0, 1).square().mean(0).sqrt() * model.action_half).tolist()
    for name, unit, value in zip(model.action_spec.names, model.action_spec.units, rms, strict=True):
        factor, shown = SHOWN[unit]
        found[f"{stem}_{name}_{shown}"] = round(factor * value, 2)
    return found


def compared(
    prior: VideoPrior, cache: FrameCache, strips: Strips, start: int, goal: int, video: Float[Tensor, "look seen"]
) -> tuple[str, np.ndarray]:
    """Frames of the first camera with their strips, as recorded (and the goal's picture) above as drawn."""
    camera, block, steps = prior.model.cameras[0], prior.model.action_block, len(video)
    at = np.array([start, *(start + block * np.arange(1, steps + 1)), goal])
    rows = strips[at].reshape(len(at), *prior.model.video.rows) if prior.model.video is not None else strips[at]
    real = with_strip(np.asarray(cache.images[camera][at]), rows)
    drawn = prior.drawn(video[None])[camera][0]
    blank = np.full_like(real[0], 255)
    seconds = f"{block * cache.control_dt:g} s apart"
    return f"now, what was recorded ({seconds}), the goal; below: as drawn", stacked(
        [np.concatenate(list(real), 1), np.concatenate([blank, *drawn, blank], 1)], 2
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--dataset", type=Path, default=Path("datasets/jaco_memory"), help="whose held-out episodes errors are of")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--tasks", nargs="+", default=["reach", "push"])
    parser.add_argument("--manifests", type=Path, default=None, help="other pairs than the frozen ones, such as for tuning")
    parser.add_argument("--windows", type=int, default=1000)
    parser.add_argument("--episodes", type=int, default=40, help="held-out ones, for errors and frames")
    parser.add_argument("--video", type=json.loads, default={}, help="what is changed of VideoPlannerConfig, as JSON")
    parser.add_argument("--parts", nargs="+", choices=("success", "errors"), default=["errors", "success"])
    parser.add_argument("--work", type=Path, default=Path("runs/overlay"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--frames", type=Path, default=FRAMES)
    args = parser.parse_args()
    args.video = parse(VideoPlannerConfig, {"kind": "video", "horizon": 3, **args.video}, "--video")
    torch.set_num_threads(1)
    note, args.methods = Note(args.out), ["overlay", "inverse_dynamics"]
    methods = {"overlay": replace(args.video, read="strip"), "inverse_dynamics": args.video}
    if "errors" in args.parts:
        errors(args, note)
    if "success" in args.parts:
        success(args, note, methods)


if __name__ == "__main__":
    main()
