"""Small untrained models and observations for tests of the model."""

import numpy as np

from robo_dream.embodiment import ActionSpec, ArmState, Frame, Observation
from robo_dream.models.config import ModelConfig, ModelSpec, Normaliser
from robo_dream.models.world_model import LatentVideoModel

SIDE = 32


def small_spec(**changes: object) -> ModelSpec:
    low = np.array([-0.02, -0.03, -0.02, -0.1, -0.3], np.float32)
    high = np.array([0.04, 0.03, 0.02, 0.1, 0.2], np.float32)
    action_spec = ActionSpec("tool_move", ("x", "y", "z", "yaw", "gripper"), ("m", "m", "m", "rad", "1"), low, high, 0.1)
    config = ModelConfig(image_size=SIDE, **changes)  # type: ignore[arg-type]
    unit = Normaliser((0.0,) * 11, (0.5,) * 11)
    return ModelSpec(config, ("front", "side"), action_spec, unit, unit)


def small_model(seed: int = 0, **changes: object) -> LatentVideoModel:
    return LatentVideoModel(small_spec(**changes), seed).eval().requires_grad_(False)


def observation(seed: int, cameras: tuple[str, ...] = ("front", "side"), side: int = SIDE) -> Observation:
    rng = np.random.default_rng(seed)
    frames = {name: Frame(0.0, rng.integers(0, 256, (side, side, 3), dtype=np.uint8)) for name in cameras}
    pos = rng.uniform(-0.3, 0.3, 3)
    arm = ArmState(0.0, np.zeros(6), np.zeros(6), pos, np.array([1.0, 0, 0, 0]), 0.0, 0.3, pos + 0.01, 0.1, 0.3)
    return Observation(0.0, frames, arm, {"object_pose": rng.normal(size=7)})
