"""Places that attention picks out of a view."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from squares import square_frames

from robo_dream.errors import ConfigError
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.models.points import SIDE, PointEncoder
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.labels import model_spec


@torch.no_grad()
def test_a_point_tells_where_its_thing_is_and_what_it_is_like_wherever_it_is() -> None:
    torch.manual_seed(0)
    encoder = PointEncoder(ModelConfig(image_size=32, points=1))
    encoder.heat.weight.zero_()
    encoder.heat.weight[0, 0] = 100.0  # finds what is bright in the first channel
    thing, read = torch.rand(encoder.heat.in_channels) + 1.0, {}
    for row, column in ((3, 5), (12, 5), (12, 15)):
        x = torch.zeros(1, len(thing), SIDE, SIDE)
        x[0, :, row, column] = thing
        read[row, column] = encoder.found(x)[0, 0]
        torch.testing.assert_close(read[row, column][:2], torch.tensor([2 * column / 15 - 1, 2 * row / 15 - 1]))
        torch.testing.assert_close(read[row, column][2:], read[3, 5][2:])


def test_a_model_with_points_is_kept_and_can_begin_from_one_without(tmp_path: Path) -> None:
    cache = square_frames(2, 12)
    spec = model_spec(cache, ModelConfig(image_size=32))
    plain, pointed = LatentVideoModel(spec).eval(), LatentVideoModel(replace(spec, config=replace(spec.config, points=3)), seed=1).eval()
    fresh = checkpoint.load_fitting(pointed, checkpoint.save(plain, tmp_path / "plain.safetensors", half=False))
    assert fresh and all(name.startswith("encoder.views.") for name in fresh)
    again = checkpoint.load(checkpoint.save(pointed, tmp_path / "pointed.safetensors", half=False))
    views = [torch.from_numpy(cache.images[name][:4]) for name in cache.cameras]
    proprio = torch.from_numpy(cache.proprio[:4])
    assert torch.equal(pointed.encode(views, proprio), again.encode(views, proprio))
    assert not torch.equal(pointed.encode(views, proprio), plain.encode(views, proprio))


def test_fewer_than_no_points_are_refused() -> None:
    with pytest.raises(ConfigError, match="points is -1"):
        ModelConfig(points=-1)
