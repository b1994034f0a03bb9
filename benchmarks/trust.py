"""When the dream can be trusted: plans that imagination likes and reality does not, and what disagreement knows of errors.

    python benchmarks/trust.py exploits             (plans of several planners, played open loop in true physics)
    python benchmarks/trust.py calibration          (disagreement against error, in scenes as trained on and in others)

Tables go to the screen and to --out, with the pictures beside them. Needs matplotlib. Stop `exploits` whenever you like: what was
measured is kept, and the same command goes on.
"""

import argparse
import hashlib
import os
from pathlib import Path

os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported
os.environ.setdefault("LP_NUM_THREADS", "0")

import calibration
import exploits
import torch
import trust_pictures
from tqdm import tqdm

from robo_dream import config
from robo_dream.evaluation.manifest import read_manifest
from robo_dream.runtime.collect import CollectConfig
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation
from robo_dream.runtime.model import load_checkpoint_model
from sim.physics.oracle import PhysicsOracle
from sim.tabletop.world import World


def measure_exploits(args: argparse.Namespace) -> None:
    released = Evaluation.of(config.load(EvaluateConfig, args.evaluate))
    model, manifest = load_checkpoint_model(args.checkpoint), read_manifest(released.path("push"))
    table = exploits.planner_table(released.planning_of("planner", "push"))
    key = f"{manifest.sha256} {hashlib.sha256(args.checkpoint.read_bytes()).hexdigest()}"
    found: dict[str, list[exploits.Outcomes]] = {name: [] for name in table}
    with World(released.world) as world, PhysicsOracle(world, num_threads=1) as oracle:
        pairs = exploits.Pairs.of(world, manifest, args.pairs, model, oracle)
        folder = args.out / "exploits"
        with tqdm(total=len(table) * args.pairs, unit="plan") as bar:
            for name, some, count in exploits.outcomes_of_all(table, pairs, model, oracle, folder, key, args.at_once):
                found[name].append(some)
                bar.set_postfix_str(name)
                bar.update(count)
    rows = {name: exploits.joined(parts) for name, parts in found.items()}
    _report(args.out / "exploits.md", [exploits.exploit_table(rows), exploits.gate_table(rows)])
    trust_pictures.draw_exploits(rows, args.out / "exploits.png")
    trust_pictures.draw_gates(rows, args.out / "gates.png")


def measure_calibration(args: argparse.Namespace) -> None:
    play = config.load(CollectConfig, args.collect).play
    model = load_checkpoint_model(args.checkpoint)
    conditions = calibration.conditions(play)
    with tqdm(total=args.episodes * (1 + len(conditions)), unit="episode") as bar:
        measured = calibration.measure(model, conditions, args.episodes, bar.update)
    tables = [calibration.error_table(measured), calibration.detector_table(measured), calibration.fooled_table(measured)]
    _report(args.out / "calibration.md", tables)
    trust_pictures.draw_reliability(measured, args.out / "reliability.png")
    trust_pictures.draw_detectors(measured, args.out / "detectors.png")
    trust_pictures.draw_beliefs(measured, args.out / "beliefs.png")


def _report(path: Path, tables: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join(tables) + "\n")
    print("\n\n".join(tables), f"\n\ntables and pictures: {path.parent}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("exploits", "calibration"))
    parser.add_argument("--checkpoint", type=Path, default=Path("configs/checkpoints/jaco_s.safetensors"))
    parser.add_argument("--evaluate", type=Path, default=Path("configs/evaluate/jaco.yaml"), help="how pushes are planned by default")
    parser.add_argument("--collect", type=Path, default=Path("configs/collect/jaco.yaml"), help="how the model's training data was played")
    parser.add_argument("--out", type=Path, default=Path("runs/trust"))
    parser.add_argument("--pairs", type=int, default=40, help="starts and goals, from the beginning of the push manifest")
    parser.add_argument("--at-once", type=int, default=10, help="pairs that are planned for together")
    parser.add_argument("--episodes", type=int, default=25, help="of each scene")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    measure_exploits(args) if args.part == "exploits" else measure_calibration(args)


if __name__ == "__main__":
    main()
