"""A small made-up run, for the tests of this folder."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from robo_dream.embodiment import ArmState, Frame, Observation
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import GoalRecord
from robo_dream.recording.writer import RunWriter

SIDE, CHANNELS, BLOCK, HORIZON, SAMPLES = 16, 4, 5, 3, 7
CAMERAS = ("front", "side")


def observation(step: int) -> Observation:
    rng = np.random.default_rng(step)
    frames = {name: Frame(0.1 * step, rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), 25 * step) for name in CAMERAS}
    arm = ArmState(
        0.1 * step, rng.normal(size=6), rng.normal(size=6), rng.normal(size=3), np.array([0.0, 1, 0, 0]), 0.3, 0.5,
        rng.normal(size=3), 0.4, 0.6, rng.normal(size=6) if step % 2 else None,
    )  # fmt: skip
    return Observation(0.1 * step, frames, arm, {"object_pose": rng.normal(size=7)})


def decision(step: int) -> Decision:
    draw = torch.Generator().manual_seed(step)

    def normal(*shape: int) -> np.ndarray:
        return torch.randn(*shape, generator=draw).numpy()

    def uniform(*shape: int) -> np.ndarray:
        return torch.rand(*shape, generator=draw).numpy()

    totals = uniform(SAMPLES)
    totals[0] = np.inf
    return Decision(
        step=step, time=0.1 * step, planner="policy_guided", seed=step + 2**40, status="OK",
        actions=normal(BLOCK * HORIZON, 5), latents=normal(HORIZON, CHANNELS), belief=normal(CHANNELS), goal=np.zeros(CHANNELS, np.float32),
        candidates=normal(SAMPLES, BLOCK * HORIZON, 5), candidate_latents=normal(SAMPLES, HORIZON, CHANNELS),
        terms={"distance": uniform(SAMPLES, HORIZON), "pose.object_pos": uniform(SAMPLES, HORIZON)},
        totals=totals, origins=np.arange(SAMPLES) % 2, origin_names=("noise", "policy"),
        best_by_iteration=uniform(3), disagreement=uniform(SAMPLES, HORIZON),
        seconds={"imagine": 0.02}, modes=np.array([-1, 0, 0, 1, -1, 0, 2]) if step % 2 else None,
        total=0.25, elites=totals.argsort()[:4], goal_object_pos=np.array([[0.4, 0.0, 0.03]], np.float32),
        previous=normal(BLOCK * HORIZON, 5) if step else None, previous_elites=normal(4, BLOCK * HORIZON, 5) if step else None,
        late_readings=(7, 9) if step % 2 else (), unsure_reasons=("the gripper is elsewhere",) if step % 2 else (),
        perception=0.004 if step % 2 else None, perception_residuals=np.arange(3, dtype=np.float32) if step % 2 else None,
    )  # fmt: skip


def action(step: int) -> np.ndarray:
    return np.full(5, 0.01 * step, np.float32)


def new_writer(root: Path, **how: Any) -> RunWriter:
    pictures = {name: np.full((SIDE, SIDE, 3), 200, np.uint8) for name in CAMERAS}
    goal = GoalRecord(pictures, np.zeros(CHANNELS, np.float32), np.array([[0.4, 0.0, 0.03]], np.float32), None)
    return RunWriter(root, {"task": "push", "seed": 3}, goal, **how)


def write_run(root: Path, num_steps: int = 12) -> None:
    """`num_steps` actions, a decision at every fifth, as the loop would have reported them."""
    with new_writer(root) as writer:
        for step in range(num_steps):
            if step % BLOCK == 0:
                writer.on_decision(decision(step))
            writer.on_step(observation(step), action(step), action(step) / 2)
        writer.finish(observation(num_steps), {"moderate": True, "distances": [0.1] * (num_steps + 1)})


def draw(latents: np.ndarray) -> dict[str, np.ndarray]:
    """A decoder whose brightness is the first channel: 50 for each imagined step."""
    shades = 50 * (1 + np.arange(len(latents)))
    return {name: np.broadcast_to(shades[:, None, None, None], (len(latents), SIDE, SIDE, 3)).astype(np.uint8) for name in CAMERAS}


if __name__ == "__main__":  # writes for ever and says which decisions are reported as written, until it is killed
    import sys

    forever = new_writer(Path(sys.argv[1]), max_wait=60.0)
    for number in range(10**6):
        forever.on_decision(decision(number))
        forever.on_step(observation(number), action(number), action(number))
        if forever.written:
            print(forever.written[-1], flush=True)
