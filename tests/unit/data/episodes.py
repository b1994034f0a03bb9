"""Small random episodes, for the tests of this folder."""

import numpy as np

from robo_dream.data.episode import Episode
from robo_dream.data.spec import CameraSpec, DatasetSpec, Storage
from robo_dream.embodiment import ActionSpec, Intrinsics

POSE = ((1.0, 0.0, 0.0, 0.1), (0.0, 1.0, 0.0, 0.2), (0.0, 0.0, 1.0, 0.3), (0.0, 0.0, 0.0, 1.0))


def make_spec(storage: Storage = "image", size: int = 16, sim_state_size: int = 5, seed: int = 0, num_actions: int = 5) -> DatasetSpec:
    names = ("x", "y", "z", "yaw", "gripper")[:num_actions]
    high = np.array([0.025, 0.025, 0.025, 0.08, 0.2], np.float32)[:num_actions]
    units = ("m", "m", "m", "rad", "closure")[:num_actions]
    cameras = (CameraSpec("front", size, size, Intrinsics(size, size, 20.0, 20.0, 8.0, 8.0), POSE), CameraSpec("side", size, size + 4))
    return DatasetSpec(
        ActionSpec("tool_move", names, units, -high, high, 0.1), cameras, sim_state_size=sim_state_size,
        skills=("none", "reach", "push"), storage=storage, seed=seed, recipe={"behavior": "random"},
    )  # fmt: skip


def make_episode(spec: DatasetSpec, seed: int, num_actions: int = 7, task: str = "push the cube") -> Episode:
    rng = np.random.default_rng(seed)
    frames = num_actions + 1
    return Episode(
        images={c.name: rng.integers(0, 256, (frames, c.height, c.width, 3), np.uint8) for c in spec.cameras},
        proprio=rng.normal(size=(frames, len(spec.proprio_names))).astype(np.float32),
        actions=rng.uniform(-0.02, 0.02, (num_actions, spec.action_spec.size)).astype(np.float32),
        object_pose=rng.normal(size=(frames, 7 * spec.num_objects)).astype(np.float32),
        sim_state=rng.normal(size=(frames, spec.sim_state_size)),
        times=1e5 + 0.1 * np.arange(frames) + rng.uniform(0, 0.01, frames),
        skill=rng.integers(0, len(spec.skills), frames),
        task=task, seed=seed, behavior="random", info={"success": bool(seed % 2)},
    )  # fmt: skip


def assert_same(first: Episode, second: Episode) -> None:
    for name in ("proprio", "actions", "object_pose", "sim_state", "times", "skill"):
        a, b = getattr(first, name), getattr(second, name)
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes(), name
    assert set(first.images) == set(second.images)
    assert all((first.images[name] == second.images[name]).all() for name in first.images)
    assert (first.task, first.seed, first.behavior, first.info) == (second.task, second.seed, second.behavior, second.info)
