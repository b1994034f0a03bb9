"""Goals that are picture files: what is taken of the arm there, in `run` as `evaluate` measures it."""

import dataclasses
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from robo_dream.embodiment import ArmState
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.connect import Connected
from robo_dream.runtime.imagined import goal_of
from robo_dream.runtime.run import PicturesGoal
from robo_dream.viewer.pictures import write_png

SPEC = checkpoint.read_info(Path("configs/checkpoints/jaco_s.safetensors")).spec


def standing(x: float) -> ArmState:
    joints, where, quat = np.zeros(6), np.array([x, 0.0, 0.2]), np.array([0.0, 1.0, 0.0, 0.0])
    return ArmState(0.0, joints, joints, where, quat, 0.0, 0.0, where, 0.0, 0.0)


@pytest.mark.parametrize("picture_goals", [True, False])
def test_a_picture_from_anywhere_says_nothing_of_the_arm_to_who_learned_so_and_else_that_it_stays(
    picture_goals: bool, tmp_path: Path
) -> None:
    config = dataclasses.replace(SPEC.config, picture_goals=picture_goals)
    model, size = LatentVideoModel(dataclasses.replace(SPEC, config=config)).eval(), SPEC.config.image_size
    files = {name: write_png(tmp_path / f"{name}.png", np.full((size, size, 3), 90, np.uint8)) for name in model.cameras}
    latents = []
    for x in (0.3, 0.5):
        bench = Mock(spec=Connected)
        bench.arm = Mock(state=lambda x=x: standing(x))
        goal, _ = goal_of(PicturesGoal(files=files), model, bench)
        latents.append(goal.latent)
    assert torch.isfinite(latents[0]).all() and torch.equal(*latents) == picture_goals
