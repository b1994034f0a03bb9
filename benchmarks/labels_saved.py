"""How well actions of video are told by a labeller that learned from few episodes, and how right it is about its own errors.

    python benchmarks/labels_saved.py --datasets datasets/jaco --cache datasets/cache

The encoder of the checkpoint is as it is; its latents of pictures alone are computed once and kept in `--latents`. For each share of the
training episodes, and each seed, which chooses them, a labeller is learned and asked of all held-out episodes. R2 is over the variance of
their actions; `seen/...` is R2 of where the arm is, told linearly by the same latents. Nothing is planned with what is told here: planning
success is not measured.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from results_file import write_figures
from safetensors.torch import load_file, save_file

from robo_dream.data.cache import FrameCache, build_cache, load_cache, open_dataset
from robo_dream.models import checkpoint
from robo_dream.models.heads import TOOL_NAMES
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.progress import Bars
from robo_dream.training.config import LabellerStage, TrainingConfig
from robo_dream.training.frames import true_episodes
from robo_dream.training.labeller import learn_labeller, told_actions
from robo_dream.training.latents import encode_video
from robo_dream.training.probes import linear_probe
from robo_dream.training.stage import MetricsLog, TrainingRun

CHECKPOINT = Path("configs/checkpoints/jaco_recorded_s.safetensors")
SHARES = (0.025, 0.1, 1.0)


def latents_of(model: LatentVideoModel, cache: FrameCache, path: Path, file: Path) -> torch.Tensor:
    """Of every frame; kept in `file`, for the same pictures and checkpoint."""
    about = f"{cache.dataset_id[:16]}-{checkpoint.sha256(path)[:16]}"
    if file.exists() and about in (kept := load_file(file)):
        return kept[about]
    with Bars({}, "frames into latents", "frame") as bar:
        latents = encode_video(model, cache.images, np.arange(cache.num_frames), bar)
    save_file({about: latents}, file)
    return latents


def arm_seen(cache: FrameCache, latents: torch.Tensor, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """R2, on held-out episodes, of each number of the tool that proprioception has and a line tells of pictures."""
    of = np.repeat(np.arange(cache.num_episodes), np.diff(cache.episode_starts))
    learned, asked = np.flatnonzero(np.isin(of, train))[::4], np.flatnonzero(np.isin(of, test))
    arm = torch.from_numpy(np.asarray(cache.proprio))[:, : len(TOOL_NAMES)]
    read = linear_probe(latents[learned], arm[learned], latents[asked])
    r2 = 1 - (arm[asked] - read).square().mean(0) / arm[asked].var(0, correction=0)
    return {f"seen/{name}": round(float(value), 3) for name, value in zip(TOOL_NAMES, r2, strict=True)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=Path, nargs="*", default=[], help="with actions; none: the cache is there")
    parser.add_argument("--cache", type=Path, default=Path("datasets/cache_labels"))
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--latents", type=Path, default=Path("runs/labels_saved/latents.safetensors"))
    parser.add_argument("--steps", type=int, default=LabellerStage.steps)
    parser.add_argument("--batch", type=int, default=LabellerStage.batch)
    parser.add_argument("--before", type=int, default=LabellerStage.before)
    parser.add_argument("--after", type=int, default=LabellerStage.after)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--out", type=Path, default=Path("docs/results/labels_saved.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.datasets:
        with Bars({}, "frames into the cache", "episode") as bar:
            cache = build_cache(open_dataset(args.datasets), args.cache, bar)
    else:
        cache = load_cache(next(args.cache.glob("frames-*")))
    model = checkpoint.load(args.checkpoint)
    args.latents.parent.mkdir(parents=True, exist_ok=True)
    latents = latents_of(model, cache, args.checkpoint, args.latents)

    train, test = (np.asarray(true_episodes(cache, split)) for split in ("train", "test"))
    stage = LabellerStage(steps=args.steps, batch=args.batch, before=args.before, after=args.after)
    figures: dict[str, float | int] = {
        "training_episodes": len(train), "held_out_episodes": len(test), "seeds": args.seeds,
        "steps": args.steps, "batch": args.batch, "looks": stage.before + 1 + stage.after,
    }  # fmt: skip
    figures |= arm_seen(cache, latents, train, test)
    for share in args.shares:
        count = max(2, round(share * len(train)))
        found = []
        for seed in range(args.seeds):
            chosen = np.random.default_rng((seed, 7)).permutation(train)[:count].tolist()
            config = replace(TrainingConfig(), labeller=stage, seed=seed, precision="bfloat16", log_steps=args.steps)
            with TemporaryDirectory() as folder, MetricsLog(Path(folder)) as log, Bars({}, f"{count} episodes", "step") as bar:
                labelling = learn_labeller(TrainingRun(config, Path(folder), log, bar), model, cache, latents, chosen)
                found.append(told_actions(labelling, cache, latents, test.tolist()))
        key = f"{100 * share:g}_percent"
        figures[f"{key}/episodes"] = count
        for figure in found[0]:
            for name in found[0][figure]:
                values = [one[figure][name] for one in found]
                figures[f"{key}/{name}/{figure}"] = round(float(np.mean(values)), 3)
                if figure == "r2" and len(values) > 1:
                    figures |= {f"{key}/{name}/r2_lowest": round(min(values), 3), f"{key}/{name}/r2_highest": round(max(values), 3)}
        for figure in ("error_over_std", "within_1_std", "within_2_std"):
            values = [value for one in found for value in one[figure].values()]
            figures[f"{key}/{figure}"] = round(float(np.mean(values)), 3)
            figures[f"{key}/{figure}_lowest"], figures[f"{key}/{figure}_highest"] = round(min(values), 3), round(max(values), 3)
        print({name: value for name, value in figures.items() if name.startswith(f"{key}/")}, flush=True)
        write_figures(args.out, figures)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
