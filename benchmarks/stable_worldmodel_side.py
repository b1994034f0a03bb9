"""The other side of beside_stable_worldmodel.py: runs in an environment that has stable-worldmodel 0.1.1, and nothing of ours.

The first line on stdout describes the model. Then every line read from stdin, {"setting": ..., "num_iterations": ...}, is a solve,
answered by a line with its seconds, or with the error that it ended in. A setting is "default", or parts of "compile+bf16".
"""

import argparse
import copy
import io
import json
import sys
import time
from contextlib import redirect_stdout
from typing import Any

import gymnasium as gym  # type: ignore
import lewm_model_side
import numpy as np
import torch
from lewm_model_side import EMBED
from stable_worldmodel import PlanConfig  # type: ignore
from stable_worldmodel.solver import CEMSolver  # type: ignore
from stable_worldmodel.wm.lewm import LeWM  # type: ignore
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def lewm(block_size: int) -> LeWM:
    """LeWM with the sizes of its training configuration and random weights, no encoder."""
    model = lewm_model_side.lewm(block_size, nn.Identity())
    for name, weight in model.named_parameters():
        if "adaLN_modulation" in name:
            nn.init.normal_(weight, std=0.02)  # they start at 0, and actions would change nothing
    return model.eval().requires_grad_(False)


def prepared(model: LeWM, setting: str) -> LeWM:
    """The model as scripts/plan/eval_wm.py prepares it for `compile: true` and `bf16: true`."""
    model = copy.deepcopy(model)
    if "bf16" in setting:
        model = model.to(torch.bfloat16)
    if "compile" in setting:
        model.predictor = torch.compile(model.predictor)
    return model


def solve(model: LeWM, args: argparse.Namespace, num_iterations: int, seed: int, bf16: bool) -> dict[str, Any]:
    """One problem: the start and the goal are given as embeddings, which their model takes for already encoded."""
    solver = CEMSolver(model=model, batch_size=1, num_samples=args.num_samples, n_steps=num_iterations, topk=args.num_elites, seed=seed)
    limits = gym.spaces.Box(-1.0, 1.0, (1, args.action_size), np.float32)
    config = PlanConfig(horizon=args.horizon, receding_horizon=1, action_block=args.action_block)
    solver.configure(action_space=limits, n_envs=1, config=config)
    draw = torch.Generator().manual_seed(seed)
    info = {name: torch.randn(1, 1, EMBED, generator=draw) for name in ("emb", "goal_emb")}
    info |= {name: torch.zeros(1, 1) for name in ("pixels", "goal")}  # asked for, not looked at
    with redirect_stdout(io.StringIO()), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        start = time.perf_counter()
        plan = solver.solve(info)
        seconds = time.perf_counter() - start
    assert plan["actions"].shape == (1, args.horizon, args.action_block * args.action_size), plan["actions"].shape
    return {"seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("num-samples", "num-elites", "horizon", "action-block", "action-size", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = lewm(args.action_block * args.action_size)
    with FlopCounterMode(display=False) as counter:
        solve(model, args, 1, 0, False)
    sizes = {name: sum(weight.numel() for weight in part.parameters()) for name, part in model.named_children()}
    print(json.dumps({"flops_an_iteration": counter.get_total_flops(), "weights": sizes, "torch": torch.__version__}), flush=True)
    models: dict[str, LeWM] = {}
    for seed, line in enumerate(sys.stdin):
        wanted = json.loads(line)
        setting = wanted["setting"]
        try:
            models.setdefault(setting, prepared(model, setting))
            answer = solve(models[setting], args, wanted["num_iterations"], seed, "bf16" in setting)
        except Exception as error:  # such as no C++ compiler for torch.compile: said, and the other settings go on
            answer = {"error": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
