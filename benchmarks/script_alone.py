"""How often the script that is imitated solves a manifest's pairs in the time that the planner gets, told where everything is.

    python benchmarks/script_alone.py --task push

Prints one line of JSON. The script carries the box to where the goal has it (`sim.tabletop.behaviours.arrange`);
seeds only vary how it grasps.
"""

import argparse
import json
from itertools import islice
from pathlib import Path

import numpy as np
from tqdm import trange

from robo_dream.control.cartesian import downward_yaw
from robo_dream.evaluation.manifest import Manifest, read_manifest
from sim.attempt import Attempt
from sim.tabletop.behaviours.arrange import Arrangement, bring
from sim.tabletop.behaviours.skills import nearest_face_yaw
from sim.tabletop.environment import Tabletop


def attempt(world: Tabletop, manifest: Manifest, pair: int) -> Attempt:
    """The pair after the script's last step: solved, out of time, or done and not solved."""
    world.set_state(manifest.goals[pair])
    pose, hand = world.object_poses[0].copy(), world.kinematics.forward(world.measured[:-1])
    wanted = Arrangement(pose[:2], nearest_face_yaw(pose), hand.pos.copy(), downward_yaw(hand.quat), float(round(world.measured[-1])))
    tried = Attempt(world, manifest.pair(pair))
    for move in islice(bring(world, np.random.default_rng(pair), wanted), manifest.budget(pair)):
        world.step(move)
        tried.record()
        if tried.progress.strict_step is not None:
            break
    return tried


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="push", choices=("push", "place"))
    parser.add_argument("--manifests", type=Path, default=Path("configs/manifests"))
    parser.add_argument("--pairs", type=int, default=200)
    args = parser.parse_args()
    manifest = read_manifest(args.manifests / f"{args.task}.safetensors")
    with Tabletop() as world:
        tried = [attempt(world, manifest, pair).progress for pair in trange(min(args.pairs, len(manifest)), unit="pair")]
    moderate, strict = (float(np.mean([getattr(one, f"{kind}_step") is not None for one in tried])) for kind in ("moderate", "strict"))
    missed = [pair for pair, one in enumerate(tried) if one.strict_step is None]
    print(json.dumps({"task": args.task, "pairs": len(tried), "moderate": moderate, "strict": strict, "missed": missed}))


if __name__ == "__main__":
    main()
