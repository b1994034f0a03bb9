"""One side of benchmarks/speed.py: times decisions when told to, of whichever robo_dream PYTHONPATH names; any since 904b58b.

    python benchmarks/speed_side.py CHECKPOINT COMPILED PRECISION THREADS

Prints a line of JSON once it has decided for the first time, and one for each line that it reads, `PLAN COUNT`: milliseconds of as
many decisions, and a digest of what was planned, by which two sides see whether they plan the same. Beliefs are of noise, as in
`robo-dream bench`.
"""

import hashlib
import json
import logging
import sys
import time
import warnings
from pathlib import Path

import torch

from robo_dream.imagination import Goal
from robo_dream.models.checkpoint import read_info
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.bench import noise_observation
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, build_planner, planning_for


class Decider:
    """Decides as the loop does: pictures encoded once, the last plan as a start."""

    def __init__(self, model, planning: PlanningConfig) -> None:
        self.model, self.planner = model, build_planner(planning.planner, model, planning.cost, planning.proposals)
        self.goal = Goal(model.believe([[noise_observation(model, seed=1)]]).latent)
        self.seed, self.last, self.observation = 0, None, noise_observation(model)
        self.bits, self.stages = hashlib.sha256(), dict[str, float]()

    def decide(self) -> float:
        """Milliseconds of the next decision."""
        start = time.perf_counter()
        belief = self.model.believe([[self.observation]])
        encoded = time.perf_counter()
        plan = self.planner.plan(belief, self.goal, [self.seed], self.last)
        spent = time.perf_counter() - start
        self.seed, self.last = self.seed + 1, plan
        self.bits.update(plan.actions.numpy().tobytes())
        stages = {"encode": encoded - start, **plan.seconds}
        stages["select"] = stages.pop("total") - sum(plan.seconds.get(name, 0.0) for name in ("propose", "imagine", "score"))
        for name, seconds in stages.items():
            self.stages[name] = self.stages.get(name, 0.0) + 1e3 * seconds
        return 1e3 * spent


def main() -> None:
    path, compiled, precision, threads = Path(sys.argv[1]), sys.argv[2] == "compiled", sys.argv[3], int(sys.argv[4])
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(threads)
    model, began = load_checkpoint_model(path, "cpu", compiled, precision), time.perf_counter()
    push = planning_for(read_info(path), "push")
    guided = PlanningConfig(PolicyGuidedConfig(num_proposals=28), push.cost, push.proposals)  # 128x3x5, as in configs/bench/plan.yaml
    deciders = {"released_push": Decider(model, push), "policy_guided_128x3x5": Decider(model, guided)}
    first = {}
    for name, decider in deciders.items():
        start = time.perf_counter()
        decider.decide()
        decider.decide()  # with a plan before it there is another number of candidates
        first[name] = time.perf_counter() - start
    say(
        {
            "first": first,
            "start": time.perf_counter() - began,
            "precision": getattr(model.run, "precision", model.run.__dict__.get("_precision")),
        }
    )
    for line in sys.stdin:
        name, count = line.split()
        decider = deciders[name]
        decider.stages = {}
        spent = [decider.decide() for _ in range(int(count))]
        say({"ms": spent, "bits": decider.bits.hexdigest(), "stages": {one: total / len(spent) for one, total in decider.stages.items()}})


def say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main()
