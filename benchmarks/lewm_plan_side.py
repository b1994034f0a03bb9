"""The other side of lewm_evaluate.py: decides with stable-worldmodel 0.1.1's own policy and CEM on a trained LeWM, from pictures alone.

{"seed": ..., "goal": picture} begins an episode; {"picture": picture} is answered by the next actions, in physical units. A picture is
the base64 of its bytes, square, RGB. No other word of the world comes through here.
"""

import argparse
import base64
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym  # type: ignore
import lewm_model_side
import numpy as np
import torch
from lewm_model_side import ACTION_BLOCK
from loguru import logger  # type: ignore
from stable_pretraining.data import dataset_stats  # type: ignore
from stable_worldmodel import PlanConfig  # type: ignore
from stable_worldmodel.data import ZScoreScaler  # type: ignore
from stable_worldmodel.policy import WorldModelPolicy  # type: ignore
from stable_worldmodel.solver import CEMSolver  # type: ignore
from torchvision.transforms import v2  # type: ignore


class Decider:
    """A policy for one episode after another; each has a new one, with the search's random numbers from its seed."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.model, self.about, _ = lewm_model_side.read(args.checkpoint)
        self.model = self.model.to(args.device).eval().requires_grad_(False)
        if args.compile:  # as scripts/plan/eval_wm.py does for `compile: true`
            self.model.encoder, self.model.predictor = torch.compile(self.model.encoder), torch.compile(self.model.predictor)
        mean, std = (np.asarray([self.about[name]]) for name in ("action_mean", "action_std"))
        self.scaler, size = ZScoreScaler(mean, std), len(self.about["action_mean"])
        limits = gym.spaces.Box(-np.inf, np.inf, (size,), np.float32)  # only shapes are looked at
        self.world = SimpleNamespace(num_envs=1, single_action_space=limits, action_space=gym.spaces.Box(-np.inf, np.inf, (1, size)))
        self.picture = v2.Compose([
            v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(**dataset_stats.ImageNet),
            v2.Resize(size=self.about["recipe"]["image_size"]),
        ])  # fmt: skip

    def begin(self, seed: int, goal: str) -> None:
        args = self.args
        solver = CEMSolver(
            self.model, batch_size=1, num_samples=args.num_samples, n_steps=args.num_iterations, topk=args.num_elites,
            device=args.device, seed=seed,
        )  # fmt: skip
        config = PlanConfig(horizon=args.horizon, receding_horizon=args.execute_blocks, action_block=ACTION_BLOCK)
        self.policy = WorldModelPolicy(solver, config, {"action": self.scaler}, {"pixels": self.picture, "goal": self.picture})
        self.policy.set_env(self.world)
        self.goal = _decoded(goal)

    def decide(self, picture: str) -> list[list[float]]:
        """A search, and the actions of it that are executed before the next."""
        unknown = np.zeros((1, 1, len(self.about["action_mean"])), np.float32)  # asked for, and replaced by what is searched
        seen = {"pixels": _decoded(picture), "goal": self.goal, "action": unknown}
        return [self.policy.get_action(dict(seen))[0].tolist() for _ in range(self.policy.flatten_receding_horizon)]


def _decoded(picture: str) -> np.ndarray:
    """(environment, time, height, width, 3)"""
    flat = np.frombuffer(base64.b64decode(picture), np.uint8)
    side = round((len(flat) / 3) ** 0.5)
    return flat.reshape(1, 1, side, side, 3)


def answer(decider: Decider, wanted: dict[str, Any]) -> dict[str, Any]:
    if "goal" in wanted:
        decider.begin(wanted["seed"], wanted["goal"])
        return {}
    return {"actions": decider.decide(wanted["picture"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True)
    for name in ("num-samples", "num-iterations", "num-elites", "horizon", "execute-blocks", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    answers, sys.stdout = sys.stdout, open("/dev/null", "w")  # noqa: SIM115  # their solver prints
    logger.remove()
    torch.set_num_threads(args.threads)
    decider = Decider(args)
    print(json.dumps(decider.about), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(decider, json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
