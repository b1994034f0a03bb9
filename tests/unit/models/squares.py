"""A tiny world for training tests: a green tool square moves as told and pushes a red square; two cameras see both."""

from dataclasses import dataclass

import numpy as np

from robo_dream.embodiment import ActionSpec

REACH = 0.3  # metres from the middle to the edge of the pictures
TOUCH = 0.06


@dataclass(frozen=True)
class SquareFrames:
    cameras: tuple[str, ...]
    images: dict[str, np.ndarray]
    proprio: np.ndarray
    actions: np.ndarray
    object_pose: np.ndarray
    skill: np.ndarray
    episode_starts: np.ndarray
    is_train: np.ndarray
    action_spec: ActionSpec
    skills: tuple[str, ...] = ("push", "rest")
    control_dt: float = 0.1
    dataset_id: str = "squares"
    picture_every: int = 1
    action_std: np.ndarray | None = None


def square_frames(num_episodes: int = 8, length: int = 40, side: int = 32, seed: int = 0) -> SquareFrames:
    """Random pushes, labelled as two skills in turn, 8 steps each; the last quarter of the episodes is held out."""
    rng = np.random.default_rng(seed)
    limit = np.array([0.025, 0.025, 0.025, 0.08, 0.2], np.float32)
    spec = ActionSpec("tool_move", ("x", "y", "z", "yaw", "gripper"), ("m", "m", "m", "rad", "1"), -limit, limit, 0.1)
    tools, things, actions = [], [], []
    for _ in range(num_episodes):
        tool, thing, push = rng.uniform(-0.2, 0.2, 2), rng.uniform(-0.15, 0.15, 2), rng.uniform(-1, 1, 2)
        for step in range(length):
            if step % 8 == 0:
                push = (thing - tool) / 0.1 + rng.uniform(-0.7, 0.7, 2)
            move = np.clip(push + rng.normal(0, 0.2, 2), -1, 1) * 0.025 * (step < length - 1)
            tools.append(tool)
            things.append(thing)
            actions.append([*move, 0.0, 0.0, 0.0])
            tool = np.clip(tool + move, -0.28, 0.28)
            apart = thing - tool
            if np.abs(apart).max() < TOUCH:  # pushed out along the nearer axis
                axis = int(np.abs(apart).argmax())
                thing = thing.copy()
                thing[axis] = np.clip(tool[axis] + (TOUCH if apart[axis] > 0 else -TOUCH), -0.28, 0.28)
    tool_xy, thing_xy = np.array(tools), np.array(things)
    count = len(tool_xy)
    proprio = np.zeros((count, 11), np.float32)
    proprio[:, :2], proprio[:, 2], proprio[:, 3] = tool_xy, 0.1, 1.0
    pose = np.zeros((count, 7), np.float32)
    pose[:, :2], pose[:, 3] = thing_xy, 1.0
    images = {"front": _draw(tool_xy, thing_xy, side), "side": _draw(tool_xy[:, ::-1], thing_xy[:, ::-1], side)}
    return SquareFrames(
        ("front", "side"), images, proprio, np.array(actions, np.float32), pose,
        np.arange(count) % length // 8 % 2, np.arange(num_episodes + 1) * length, np.arange(num_episodes) < 0.75 * num_episodes, spec,
    )  # fmt: skip


def _draw(tool: np.ndarray, thing: np.ndarray, side: int) -> np.ndarray:
    """Squares of 6 cm with soft edges on grey."""
    pixel = 2 * REACH / side
    places = (np.arange(side) + 0.5) * pixel - REACH
    pictures = np.full((len(tool), side, side, 3), 90.0)
    for xy, color in ((thing, (220, 40, 40)), (tool, (40, 200, 60))):
        cover = [np.clip((0.03 - np.abs(places[None] - xy[:, i, None])) / pixel + 0.5, 0, 1) for i in range(2)]
        alpha = (cover[1][:, :, None] * cover[0][:, None, :])[..., None]
        pictures = pictures * (1 - alpha) + alpha * np.array(color)
    return pictures.round().astype(np.uint8)
