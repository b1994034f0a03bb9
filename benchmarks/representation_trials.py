"""Representations side by side, small: what is learned without labels, by probes that only the judge may see and by what planning reaches.

    python benchmarks/representation_trials.py --data datasets/ogbench_cube_single/shard-00 --work runs/trials [--only keypoints]

Every variant learns for the same number of steps from the same episodes, one after the other; what is finished is not done again, and
the figures of each are written as soon as they are known. `privileged` is the reference: the simulator's poses, and its scripts' names.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from results_file import write_figures

from robo_dream.config import load
from robo_dream.data.cache import build_cache
from robo_dream.evaluation.results import ResultFile
from robo_dream.models import checkpoint
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, attempts
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.train import TrainConfig, train
from robo_dream.training.metrics import pose_metrics

BASE = Path("configs/train/ogbench_cube_single_recorded.yaml")
SHORT = ["training.representation.steps=400", "training.dream.steps=900", "training.policy.steps=3000", "strips=0"]
_LATENTS = [
    "training.grasps=null", "training.representation.pose=0", "training.dream.pose=0", "training.model.policy_input=latents",
    "training.policy.skills=[]", "training.policy.perception_noise=0", "demonstrations=[]",
    "planning.cost.pose=0", "planning.cost.latent=1", "planning.planner.horizon=5", "by_task={}",
]  # fmt: skip
VARIANTS: Mapping[str, list[str]] = {
    "flattened": [*_LATENTS, "training.model.num_keypoints=0", "training.model.feature_grid=16"],
    "keypoints": _LATENTS,
    "keypoints_16": [*_LATENTS, "training.model.num_keypoints=16"],
    "inverse_dynamics_alone": [*_LATENTS, "training.representation.reconstruction=0", "training.representation.prediction=0"],
    "straightened": [*_LATENTS, "training.representation.bridge_consistency=0.3"],
    "held": [],
    "privileged": [
        "regime=privileged", "training.grasps=null", "training.policy.skills=[plan,markov]", "training.policy.within_skill=1.0",
    ],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=VARIANTS)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--manifests", type=Path, metavar="FOLDER", help="other pairs than the frozen ones")
    parser.add_argument("--change", action="append", default=[], help="of every variant's training")
    parser.add_argument("--out", type=Path, default=Path("docs/results/representation_trials.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.only or VARIANTS:
        found = figures(name, args)
        before = json.loads(args.out.read_text()) if args.out.is_file() else {}
        kept = {key: value for key, value in before.items() if key[0] != "_" and not key.startswith(f"{name}/")}
        write_figures(args.out, {**kept, **found})
        print(name, found)


def figures(name: str, args: argparse.Namespace) -> dict[str, float | int]:
    data, work = args.data, args.work / name
    changes = [f"datasets=[{data}]", f"demonstrations=[{data}]", f"cache={args.work / 'cache'}", f"out={work}", *SHORT, *VARIANTS[name]]
    config = load(TrainConfig, BASE, [*changes, *args.change])
    released = work / "model.safetensors"
    if not released.with_suffix(".json").is_file():
        train(config, print, lambda said, names, unit: Bars(names, said, unit=unit))
    model = checkpoint.load(released)
    truth = build_cache(data, args.work / "cache")  # the judge's
    probes = pose_metrics(model, truth, 0)
    steps = config.training
    found: dict[str, float | int] = {
        f"{name}/episodes": int(np.sum(truth.is_train)),
        f"{name}/steps": steps.representation.steps + steps.dream.steps + steps.policy.steps,
        **{f"{name}/probe_{kind}/{key}": round(value, 1) for kind in ("linear", "mlp") for key, value in probes[kind].items()},
    }
    if name in ("held", "privileged"):
        found |= {f"{name}/own_head/{key}": round(value, 1) for key, value in probes["head"].items()}
    settings = EvaluateConfig(
        checkpoint=released, out=work / "evaluated", tasks=("cube",), methods=("policy_alone", "planner"), num_pairs=args.pairs,
        workers=args.workers, manifests=args.manifests,
    )  # fmt: skip
    evaluation = Evaluation.of(settings)
    file = ResultFile(settings.out / "results.jsonl", evaluation.settings_of())
    with Bars({}, name, unit="pair") as bar:
        left = [job for job in evaluation.jobs() if (job.task, job.method, job.pair) not in file.results]
        for done, result in enumerate(attempts(settings, left), 1):
            file.add(result)
            bar(done, len(left))
    for method in settings.methods:
        results = [result for result in file.results.values() if result.method == method]
        found[f"{name}/{method}/pairs"] = len(results)
        found[f"{name}/{method}/moderate"] = round(100 * sum(result.moderate for result in results) / len(results), 1)
        found[f"{name}/{method}/strict"] = round(100 * sum(result.strict for result in results) / len(results), 1)
    return found


if __name__ == "__main__":
    main()
