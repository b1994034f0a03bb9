"""What is promised too much: nothing by who imagines what comes, all of it by who imagines to be there, and no label tells."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from robo_dream.errors import DataError
from robo_dream.imagination import Belief, Imagination
from robo_dream.models.config import ModelConfig
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import LatentCost
from robo_dream.training.frames import model_spec
from robo_dream.training.inspection import Searched
from robo_dream.training.latents import encode_frames
from robo_dream.training.open_loop import held_out_windows
from robo_dream.training.promises import promises
from tests.unit.models.squares import SquareFrames, square_frames

SEARCHED = Searched(LatentCost(), horizon=2)


@pytest.fixture(scope="module")
def cache() -> SquareFrames:
    return square_frames(8, 40)


@pytest.fixture
def model(cache: SquareFrames) -> LatentVideoModel:
    return LatentVideoModel(model_spec(cache, ModelConfig(image_size=32))).eval()


def imagining(monkeypatch: pytest.MonkeyPatch, model: LatentVideoModel, latents: Tensor) -> None:
    def imagine(belief: Belief, actions: Tensor) -> Imagination:
        return Imagination(latents[:, None], latents.new_zeros(len(latents), 1, latents.shape[1]))

    monkeypatch.setattr(model, "imagine", imagine)


def futures(model: LatentVideoModel, cache: SquareFrames) -> Tensor:
    windows = held_out_windows(cache, model.action_block, 256, SEARCHED.horizon, 0)
    steps = range(1, SEARCHED.horizon + 1)
    return torch.stack([encode_frames(model, cache, windows + step * model.action_block) for step in steps], 1).detach()


def test_who_imagines_what_comes_promises_nothing_too_much(
    model: LatentVideoModel, cache: SquareFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    imagining(monkeypatch, model, futures(model, cache))
    found = promises(model, cache, SEARCHED)
    assert np.allclose(found.imagined, found.came) and found.too_much() == pytest.approx(0.0, abs=1e-6) and found.came.max() > 0


def test_promises_that_are_always_better_or_worse_than_what_comes_are_told_apart(model: LatentVideoModel, cache: SquareFrames) -> None:
    found = promises(model, cache, SEARCHED)
    flattering, dark = (dataclasses.replace(found, imagined=found.came + by) for by in (-3.0, 3.0))
    assert flattering.too_much() == flattering.too_much(0.5) == pytest.approx(3.0) and dark.too_much() == 0.0
    some = dataclasses.replace(found, imagined=found.came - np.linspace(0.0, 1.0, len(found.came)))
    assert some.too_much(0.9) == pytest.approx(0.9)


def test_no_label_is_read(model: LatentVideoModel, cache: SquareFrames) -> None:
    unread = dataclasses.replace(cache, object_pose=np.full_like(cache.object_pose, np.nan), skill=np.full_like(cache.skill, -1))
    own, other = (promises(model, some, SEARCHED) for some in (cache, unread))
    assert np.array_equal(own.imagined, other.imagined) and np.array_equal(own.came, other.came)


def test_too_few_frames_are_refused_with_how_many_there_are(model: LatentVideoModel) -> None:
    with pytest.raises(DataError, match=r"has \d+ held-out windows of 11 frames; at least 20 are needed"):
        promises(model, square_frames(4, 20), SEARCHED)
