"""What `precision=bfloat16` does to imagination: `python benchmarks/half_precision.py` (a minute).

From the goals of 16 held-out pushes, 64 random futures of 25 control steps each are imagined in single and in half precision. Prints, after
one imagined step and after five, medians of: the distance between both latents over how far the latent moved, and over the model's own
disagreement; the ratio of the two disagreements (5 to 95 %); and how far apart the poses read from both are.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")

import torch

from robo_dream.evaluation.manifest import read_manifest
from robo_dream.imagination import Belief
from robo_dream.models.compiled import row_runner
from robo_dream.runtime.environment import build_environment
from robo_dream.runtime.model import load_checkpoint_model
from sim.environment import goal_observation

ROOT = Path(__file__).parents[1]
PAIRS, FUTURES, CONTROL_STEPS = 16, 64, 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "configs/checkpoints/jaco_s.safetensors")
    parser.add_argument("--compiled", action="store_true", help="half precision as compiled code, as it is planned with")
    args = parser.parse_args()
    single = load_checkpoint_model(args.checkpoint)
    half = single.running(row_runner(args.compiled, "bfloat16"))
    with build_environment() as world:
        manifest = read_manifest(ROOT / "configs/manifests/push.safetensors", len(world.state))
        belief = single.believe([[goal_observation(world, goal, shown_at_rest=False)] for goal in manifest.goals[:PAIRS]])
    high = torch.from_numpy(single.action_spec.high)
    draws = torch.rand(PAIRS, FUTURES, CONTROL_STEPS, len(high), generator=torch.Generator().manual_seed(0))
    actions = (2 * draws - 1) * high
    with torch.inference_mode():
        exact, rounded = (model.imagine(Belief(belief.latent), actions) for model in (single, half))
        poses = single.poses(exact.latents), half.poses(rounded.latents)
    error = (exact.latents - rounded.latents).norm(dim=-1)
    moved = (exact.latents - belief.latent[:, None, None]).norm(dim=-1)
    uncertainty = exact.disagreement * exact.latents.shape[-1] ** 0.5  # a mean over channels, as a length
    ratio = rounded.disagreement / exact.disagreement
    print("steps  error/moved  error/disagreement  disagreements' ratio    box mm  tool mm")
    for step in (0, exact.latents.shape[2] - 1):
        low, middle, most = torch.quantile(ratio[..., step], torch.tensor([0.05, 0.5, 0.95])).tolist()
        box, tool = (
            1e3 * float((getattr(poses[0], name) - getattr(poses[1], name)).norm(dim=-1)[..., step].median())
            for name in ("object_pos", "tool_pos")
        )
        first, second = (float((error / scale)[..., step].median()) for scale in (moved, uncertainty))
        print(f"{step + 1:>5}{first:>13.4f}{second:>20.3f}{middle:>9.3f} ({low:.3f} to {most:.3f}){box:>8.2f}{tool:>9.2f}")


if __name__ == "__main__":
    main()
