"""Trains a value inside the dream: how many control steps a goal is away for a hand that follows the checkpoint's own proposals.

    python benchmarks/dream_value.py --cache datasets/cache/frames-... --out runs/value

Rollouts begin at recorded frames, some after random moves, so that a search's clumsy futures are known too; the policy proposes,
the dynamics imagine, and the dream's own pose head says when the object has arrived. Nothing is simulated and nothing of the checkpoint
is changed. What is learned is V = E[discount ** steps], by Monte Carlo over rollouts of 12 s (TD(lambda) with lambda 1: what the dream
leaves open after that counts as never). Behaviour learned in latent imagination: Dreamer, Hafner et al. 2020, arXiv 1912.01603; a value
at the end of a short imagined horizon: TD-MPC, Hansen et al. 2022, arXiv 2203.04955; reading it as a distance in steps: HILP, Park et
al. 2024, arXiv 2402.15567. One value for each way of asking for the hand (`robo_dream.runtime.planner.ProposalConfig.gripper_goal`).

It is here and not in the library because nothing said that it beats the pose head: it ranks candidates worse (cost_ranking.py), and in
closed loop it succeeded about as often (far_goals.py), more often than the learned distance.
"""

import argparse
import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm, trange

from robo_dream.data.cache import FrameCache, load_cache
from robo_dream.imagination import Belief, ScenePose
from robo_dream.models.layers import ResidualMlp
from robo_dream.models.policy import PoseRelations
from robo_dream.models.policy_prior import GripperGoal, PolicyPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.candidates import draws
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.training.frames import frame_index
from robo_dream.training.latents import encode_frames
from robo_dream.training.probes import spearman

HANDS: tuple[GripperGoal, ...] = get_args(GripperGoal)
OBJECT_NEAR, TOOL_NEAR = 0.02, 0.03  # m within which object and tool have arrived
TURN_NEAR = 1.0  # of (cos, sin) of four times a box's turn: 15 degrees
TEMPERATURE = 0.5  # of proposals, as in configs/evaluate/jaco.yaml
NUM_BLOCKS = 24  # of a rollout
RANDOM_BLOCKS = 3  # at most, before it
RANDOM_GOALS = 0.4  # of rollouts; the others' goals come later in the same episode
LONGEST_GOAL = 125  # control steps
WIDTH, LAYERS = 256, 2


class DreamValue(nn.Module):
    """The value, read in control steps: a `robo_dream.planning.costs.TemporalDistance`. `model` is only looked through."""

    def __init__(self, model: LatentVideoModel) -> None:
        super().__init__()
        self._see, self.discount = model.pose_head.normal, model.spec.config.discount
        self.relations = PoseRelations(model.spec)
        self.body = ResidualMlp(self.relations.num_out, WIDTH, LAYERS)
        self.out = nn.Linear(WIDTH, 1)

    def logits(self, here: Float[Tensor, "*batch pose"], there: Float[Tensor, "*batch pose"]) -> Float[Tensor, "*batch"]:
        """Of V, from normalised poses."""
        return self.out(self.body(self.relations(here, there)))[..., 0]

    def forward(self, latents: Float[Tensor, "*batch channel"], goals: Float[Tensor, "*#batch channel"]) -> Float[Tensor, "*batch"]:
        here = self._see(latents)
        return nn.functional.logsigmoid(self.logits(here, self._see(goals).expand_as(here))) / math.log(self.discount)


@dataclass(frozen=True)
class Dreams:
    """What rollouts visited, as normalised poses, and `discount ** steps` to arrival from there: 0 where it never arrived."""

    here: Float[Tensor, "row pose"]
    there: Float[Tensor, "row pose"]
    value: Float[Tensor, " row"]


def arrived(hand: GripperGoal, now: ScenePose, wanted: ScenePose) -> Bool[Tensor, "*batch"]:
    near = ((now.object_pos - wanted.object_pos).norm(dim=-1) < OBJECT_NEAR).all(-1)
    near = near & ((now.object_yaw - wanted.object_yaw).norm(dim=-1) < TURN_NEAR).all(-1)
    return near if hand == "above_object" else near & ((now.tool_pos - wanted.tool_pos).norm(dim=-1) < TOOL_NEAR)


@torch.inference_mode()
def dream(
    model: LatentVideoModel, starts: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], hand: GripperGoal, seed: int
) -> tuple[Float[Tensor, "row block pose"], Float[Tensor, "row block"]]:
    """Poses seen on the way of the proposals, and V's sample at each."""
    inverse = PolicyPrior(model, model, hand)
    aims, size = inverse.aims(goals), model.spec.block_size
    generator = torch.Generator().manual_seed(seed)
    latents, wanted = starts, model.poses(goals)
    count = torch.randint(0, RANDOM_BLOCKS + 1, (len(starts),), generator=generator)
    for number in range(RANDOM_BLOCKS):
        move = torch.rand(len(starts), 1, model.action_spec.size, generator=generator) * 2 - 1
        block = move.expand(-1, model.action_block, -1) * model.action_half + model.action_middle
        moved = model.imagine(Belief(latents), block[:, None]).latents[:, 0, -1]
        latents = torch.where((number < count)[:, None], moved, latents)
    seen, there = [], []
    for number in range(NUM_BLOCKS + 1):
        seen.append(model.pose_head.normal(latents))
        there.append(arrived(hand, model.poses(latents), wanted))
        if number < NUM_BLOCKS:
            drawn = draws([seed * 1_000_003 + number], len(latents), size, TEMPERATURE, False, True, latents)
            latents = inverse.follow(Belief(latents), aims, *drawn)[1].end().latent
    values, value = [], torch.zeros(len(starts))
    for is_there in reversed(there):
        value = torch.where(is_there, 1.0, model.spec.config.discount**model.action_block * value)
        values.append(value)
    return torch.stack(seen, dim=1), torch.stack(values[::-1], dim=1)


def gather_dreams(model: LatentVideoModel, cache: FrameCache, hand: GripperGoal, num_rollouts: int, seed: int, rows: int = 512) -> Dreams:
    """Rollouts from training frames."""
    rng = np.random.default_rng((seed, HANDS.index(hand)))
    index = frame_index(cache, model.action_block + 1)
    first = rng.choice(index.starts, num_rollouts)
    goals = np.where(
        rng.random(num_rollouts) < RANDOM_GOALS,
        rng.choice(index.frames, num_rollouts),
        np.minimum(first + rng.integers(model.action_block, LONGEST_GOAL, num_rollouts), index.last[first]),
    )
    here, there, value = [], [], []
    pieces = np.array_split(np.arange(num_rollouts), -(-num_rollouts // rows))
    for number, some in enumerate(tqdm(pieces, desc=f"dreams, hand {hand}", unit="batch")):
        ends = encode_frames(model, cache, goals[some])
        seen, values = dream(model, encode_frames(model, cache, first[some]), ends, hand, seed * 1000 + number)
        here.append(seen.flatten(0, 1))
        there.append(model.pose_head.normal(ends)[:, None].expand_as(seen).flatten(0, 1))
        value.append(values.flatten())
    return Dreams(torch.cat(here), torch.cat(there), torch.cat(value))


def train_value(
    model: LatentVideoModel, dreams: Dreams, steps: int, seed: int, batch: int = 1024, rate: float = 2e-3
) -> tuple[DreamValue, dict[str, float]]:
    """The value, and how well it tells the last tenth of the rollouts, which it has not learned from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        value = DreamValue(model)
    num_train = len(dreams.value) * 9 // 10 // (NUM_BLOCKS + 1) * (NUM_BLOCKS + 1)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(value.parameters(), rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.05)
    for _ in trange(steps, desc="value", unit="step"):
        chosen = torch.randint(0, num_train, (batch,), generator=generator)
        logits = value.logits(dreams.here[chosen].clone(), dreams.there[chosen].clone())
        loss = nn.functional.binary_cross_entropy_with_logits(logits, dreams.value[chosen].clone())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    value = value.eval().requires_grad_(False)
    told, real = torch.sigmoid(value.logits(dreams.here[num_train:], dreams.there[num_train:])).numpy(), dreams.value[num_train:].numpy()
    figures = {
        "rows": float(len(dreams.value)),
        "arrives": float((real > 0).mean()),
        "mean_value": float(real.mean()),
        "explained": float(1 - np.square(told - real).mean() / real.var()),
        "spearman": spearman(told, real),
    }
    return value, figures


def save_value(value: DreamValue, path: Path, figures: dict[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in value.state_dict().items()}, path, {"figures": json.dumps(figures)})


def load_value(model: LatentVideoModel, path: Path) -> DreamValue:
    value = DreamValue(model)
    with safe_open(path, "pt") as file:
        value.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  a file is no dict
    return value.eval().requires_grad_(False)


def value_path(folder: Path, hand: GripperGoal) -> Path:
    return folder / f"value_{hand}.safetensors"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("configs/checkpoints/jaco_s.safetensors"))
    parser.add_argument("--cache", type=Path, required=True, help="a frames-... folder of the cache that the checkpoint was trained on")
    parser.add_argument("--out", type=Path, default=Path("runs/value"))
    parser.add_argument("--rollouts", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--hands", nargs="+", default=HANDS, choices=HANDS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    model, cache = load_checkpoint_model(args.checkpoint), load_cache(args.cache)
    for hand in args.hands:
        start = time.monotonic()
        dreams = gather_dreams(model, cache, hand, args.rollouts, args.seed)
        dreamt = time.monotonic()
        value, figures = train_value(model, dreams, args.steps, args.seed)
        figures |= {"dream_seconds": dreamt - start, "train_seconds": time.monotonic() - dreamt}
        save_value(value, value_path(args.out, hand), figures)
        print(json.dumps({"hand": hand, **{name: round(number, 3) for name, number in figures.items()}}))


if __name__ == "__main__":
    main()
