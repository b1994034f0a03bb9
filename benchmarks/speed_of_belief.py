"""What a memory costs in time: beliefs and whole decisions with and without it, in turn, so that the machine's moods are shared.

python benchmarks/speed_of_belief.py configs/checkpoints/jaco_recorded_s.safetensors runs/train/jaco_memory/model.safetensors
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from results_file import write_figures

from robo_dream.embodiment import ArmState, Frame, Observation
from robo_dream.imagination import Goal
from robo_dream.models.checkpoint import read_info
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import build_planner, planning_for

OUT = Path("docs/results/speed_of_belief.json")
TASK = "push"
WARM_UP = 5  # rounds that are not counted


def observation_for(model: LatentVideoModel, seed: int) -> Observation:
    """Noise, of the right size: how long it takes does not depend on what is seen."""
    rng, side = np.random.default_rng(seed), model.spec.config.image_size
    frames = {name: Frame(0.1 * seed, rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for name in model.cameras}
    pos = rng.uniform(-0.1, 0.1, 3) + np.array([0.4, 0.0, 0.2])
    joints = np.zeros(len(model.spec.proprio.mean))
    return Observation(0.1 * seed, frames, ArmState(0.1 * seed, joints, joints, pos, np.array([1.0, 0, 0, 0]), 0.0, 0.3, pos, 0.0, 0.3))


def milliseconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("without", type=Path)
    parser.add_argument("memory", type=Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    models = {name: load_checkpoint_model(getattr(args, name)) for name in ("without", "memory")}
    planning = planning_for(read_info(args.memory), TASK)
    planners = {name: build_planner(planning.planner, model, planning.cost, planning.proposals) for name, model in models.items()}
    plain, remembering = models["without"], models["memory"]
    before = remembering.believe([[observation_for(remembering, 0)]])
    actions = torch.zeros(1, remembering.action_block, remembering.action_spec.size)
    goal = Goal(plain.believe([[observation_for(plain, 9999)]]).latent)

    def cases(seed: int) -> dict[str, Callable[[], object]]:
        seen = observation_for(plain, seed + 1)
        alone, filtered = plain.believe([[seen]]), remembering.update(before, actions, [seen])
        return {
            "belief/without": lambda: plain.believe([[seen]]),
            "belief/memory": lambda: remembering.update(before, actions, [seen]),
            "plan/without": lambda: planners["without"].plan(alone, goal, [seed]),
            "plan/memory": lambda: planners["memory"].plan(filtered, goal, [seed]),
        }

    taken: dict[str, list[float]] = {}
    for number in range(args.rounds + WARM_UP):
        for name, do in cases(number).items():
            took = milliseconds(do)
            if number >= WARM_UP:
                taken.setdefault(name, []).append(took)
    figures: dict[str, float] = {"rounds": args.rounds, "threads": args.threads}
    for name, values in taken.items():
        figures |= {f"{name}_p{p}_ms": round(float(np.percentile(values, p)), 2) for p in (50, 95)}
    for part in ("belief", "plan"):
        apart = np.array(taken[f"{part}/memory"]) - np.array(taken[f"{part}/without"])
        figures[f"{part}/memory_costs_ms"] = round(float(np.median(apart)), 2)
    write_figures(args.out, figures)
    print(figures)


if __name__ == "__main__":
    main()
