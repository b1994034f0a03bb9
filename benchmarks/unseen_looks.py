"""What looks that training never had cost, by kind of change, before and after learning other looks:

    python benchmarks/unseen_looks.py configs/checkpoints/jaco_recorded_s.safetensors runs/train/jaco_redrawn/model.safetensors

Writes docs/results/unseen_looks.json. Pairs of each kind are made from the same seeds, so they differ in their looks alone; they are kept
in `--work`, with every attempt, and a run that was stopped goes on. What is believed at starts and goals is judged by the simulator's
truth. The file is written after every kind.
"""

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from results_file import write_figures
from tqdm import tqdm

from robo_dream import config
from robo_dream.embodiment import upright_turn
from robo_dream.evaluation.manifest import read_manifest, write_manifest
from robo_dream.evaluation.results import ResultFile
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.environment import build_environment
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, attempts
from sim.environment import observation_of
from sim.pairs import build_manifest
from sim.tabletop.environment import Tabletop
from sim.tabletop.randomization import ASPECTS, Randomization
from sim.tabletop.scene import SceneConfig

RECIPE = Path("configs/evaluate/jaco_unseen_looks.yaml")
KINDS = ("usual", "training", *ASPECTS, "all")  # the scene's own looks, those that training draws, each aspect held out, and every one
SEVERAL = ("usual", "all")  # of which there are more pairs
_FAR = 20.0  # mm


def world_of_kind(scene: SceneConfig, kind: str) -> SceneConfig:
    """`usual` looks as the scene says, but draws seeds as the others do, so that its pairs are theirs."""
    wide = scene.randomization
    assert wide is not None
    if kind == "usual":
        return replace(scene, randomization=Randomization())
    return replace(scene, randomization=replace(wide, held_out={"training": (), "all": ASPECTS}.get(kind, (kind,))))


def asked(recipe: EvaluateConfig, args: argparse.Namespace, name: str, kind: str) -> EvaluateConfig:
    """Of one checkpoint in looks of one kind."""
    assert isinstance(recipe.world, SceneConfig)
    num_pairs, manifests = args.most if kind in SEVERAL else args.pairs, args.work / "manifests" / kind
    wanted = replace(recipe, checkpoint=getattr(args, name), out=args.work / name / kind, manifests=manifests, num_pairs=num_pairs)
    world = world_of_kind(recipe.world, kind)
    return replace(wanted, tasks=tuple(args.tasks), methods=tuple(args.methods), workers=args.workers, world=world)


def make_pairs(wanted: EvaluateConfig) -> None:
    evaluation = Evaluation.of(wanted)
    missing = [task for task in evaluation.tasks if not evaluation.path(task).is_file()]
    if missing:
        with build_environment(evaluation.world) as environment:
            for task in missing:
                write_manifest(evaluation.path(task), build_manifest(environment, task, wanted.num_pairs))


def believed_once(model: LatentVideoModel, wanted: EvaluateConfig) -> dict[str, float]:
    """`believed`, kept in the folder of the attempts."""
    path, about = wanted.out / "believed.json", {"checkpoint": checkpoint.sha256(wanted.checkpoint), "pairs": wanted.num_pairs}
    about |= {task: read_manifest(wanted.manifests / f"{task}.safetensors").sha256 for task in wanted.tasks or () if wanted.manifests}
    kept = json.loads(path.read_text()) if path.is_file() else {}
    if kept.get("about") != about:
        kept = {"about": about, "figures": believed(model, wanted)}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept, indent=1) + "\n")
    return kept["figures"]


@torch.no_grad()
def believed(model: LatentVideoModel, wanted: EvaluateConfig) -> dict[str, float]:
    """How far off objects are believed at starts and goals: position, turn, and the share of positions that is off by over 2 cm."""
    evaluation, apart, turned = Evaluation.of(wanted), [], []
    with build_environment(evaluation.world) as environment:
        assert isinstance(environment, Tabletop)
        for task in evaluation.tasks:
            manifest = read_manifest(evaluation.path(task), len(environment.state))
            for state in (*manifest.starts[: wanted.num_pairs], *manifest.goals[: wanted.num_pairs]):
                environment.set_state(state)
                pose = model.poses(model.believe([[observation_of(environment)]]).latent)
                truth, symmetry = environment.object_pose, model.spec.config.object_symmetry
                apart.append(1e3 * float(np.linalg.norm(pose.object_pos[0, 0].numpy() - truth[:3])))
                cosine, sine = pose.object_yaw[0, 0].tolist()
                off = symmetry * upright_turn(truth[None, 3:], symmetry)[0] - np.arctan2(sine, cosine)
                turned.append(np.degrees(abs((off + np.pi) % (2 * np.pi) - np.pi)) / symmetry)
    figures = {"pictures": len(apart), "median_mm": np.median(apart), "mean_mm": np.mean(apart), "median_deg": np.median(turned)}
    return {name: round(float(value), 1) for name, value in (figures | {"far": 100 * np.mean(np.array(apart) > _FAR)}).items()}


def successes(wanted: EvaluateConfig, bar: tqdm) -> dict[str, float | int]:
    """Percent of the pairs, by task and method."""
    evaluation = Evaluation.of(wanted)
    evaluation.require()
    jobs, file = list(evaluation.jobs()), ResultFile(wanted.out / "results.jsonl", evaluation.settings_of())
    for result in attempts(wanted, [job for job in jobs if (job.task, job.method, job.pair) not in file.results]):
        file.add(result)
        bar.update()
    figures: dict[str, float | int] = {}
    for task in evaluation.tasks:
        for method in wanted.methods:
            found = [file.results[task, method, pair] for pair in range(wanted.num_pairs)]
            for condition in ("moderate", "strict"):
                figures[f"{task}/{method}/{condition}"] = round(100 * float(np.mean([getattr(one, condition) for one in found])), 1)
    return figures


def trained(info: checkpoint.CheckpointInfo) -> dict[str, float | int | str | None]:
    """How much it learned from, and how far off it then read objects in held-out episodes of the looks that training draws."""
    told, found = info.recipe.get("redrawn", {}), info.metrics.get("redrawn", {})
    if not told:
        return {}
    stage = told["train"]["training"]["redrawn"]
    figures = {"trained/episodes": told["redrawn_data"]["num_episodes"], "trained/steps": stage["steps"], "trained/batch": stage["batch"]}
    return figures | {
        f"held_out/{name}_mm": round(found[name]["object_median_mm"], 1) for name in ("before", "after", "usual") if name in found
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkpoint")
    parser.add_argument("after", type=Path, help="the same with an encoder that has learned other looks")
    parser.add_argument("--work", type=Path, default=Path("runs/unseen_looks"), help="the folder of pairs and attempts")
    parser.add_argument("--pairs", type=int, default=100, help="of each task and kind")
    parser.add_argument("--most", type=int, default=100, help=f"the same for {' and '.join(SEVERAL)}")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--tasks", nargs="+", default=["reach", "push", "lift"])
    parser.add_argument("--methods", nargs="+", default=["planner"])
    parser.add_argument("--models", nargs="+", default=["before", "after"], choices=["before", "after"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--tried", nargs="*", default=KINDS, choices=KINDS, help="kinds in which pairs are tried; in the others beliefs alone"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results/unseen_looks.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    recipe = config.load(EvaluateConfig, RECIPE)
    figures: dict[str, float | int | str | None] = {}
    models = {name: checkpoint.load(getattr(args, name)).eval() for name in args.models}
    if "after" in args.models:
        figures |= trained(checkpoint.read_info(args.after))
    with tqdm(unit="attempt") as bar:
        for kind in args.kinds:
            for name in args.models:
                wanted = asked(recipe, args, name, kind)
                make_pairs(wanted)
                figures[f"{kind}/pairs"] = wanted.num_pairs
                figures |= {f"{kind}/{name}/believed/{key}": value for key, value in believed_once(models[name], wanted).items()}
                if kind in args.tried:
                    figures |= {f"{kind}/{name}/{key}": value for key, value in successes(wanted, bar).items()}
                found = ", ".join(f"{key} {value}" for key, value in figures.items() if key.startswith(f"{kind}/{name}/"))
                tqdm.write(found)
            write_figures(args.out, figures)


if __name__ == "__main__":
    main()
