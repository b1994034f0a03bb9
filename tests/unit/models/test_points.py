"""Places that attention picks out of a view."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from squares import square_frames

from robo_dream.errors import ConfigError
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.models.points import FeaturePoints
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.labels import model_spec

SIDE, WIDTH = 16, 4


def bright_at(row: int, column: int) -> torch.Tensor:
    x = torch.zeros(1, WIDTH, SIDE, SIDE)
    x[0, :, row, column] = torch.tensor([1.0, -0.5, 0.25, 2.0])
    return x


@torch.no_grad()
def test_a_point_tells_where_its_thing_is_and_what_it_is_like_wherever_it_is() -> None:
    torch.manual_seed(0)
    points = FeaturePoints(WIDTH, SIDE, 1, 26)
    for weight in (points.mix.weight, points.mix.bias, points.heat.weight):
        assert weight is not None
        weight.zero_()
    points.heat.weight[0, 0] = 100.0  # finds what is bright in the first channel
    points.out.weight.copy_(torch.eye(26))
    assert points.out.bias is not None
    points.out.bias.zero_()
    read = {place: points(bright_at(*place))[0] for place in ((3, 5), (12, 5), (12, 15))}
    for (row, column), numbers in read.items():
        torch.testing.assert_close(numbers[:2], torch.tensor([2 * column / 15 - 1, 2 * row / 15 - 1]))
        torch.testing.assert_close(numbers[2:], read[3, 5][2:])


def test_a_model_with_points_is_kept_and_can_begin_from_one_without(tmp_path: Path) -> None:
    cache = square_frames(2, 12)
    spec = model_spec(cache, ModelConfig(image_size=32))
    plain, pointed = LatentVideoModel(spec).eval(), LatentVideoModel(replace(spec, config=replace(spec.config, points=3)), seed=1).eval()
    fresh = checkpoint.load_fitting(pointed, checkpoint.save(plain, tmp_path / "plain.safetensors", half=False))
    assert fresh and all(".points." in name for name in fresh)
    again = checkpoint.load(checkpoint.save(pointed, tmp_path / "pointed.safetensors", half=False))
    views = [torch.from_numpy(cache.images[name][:4]) for name in cache.cameras]
    proprio = torch.from_numpy(cache.proprio[:4])
    assert torch.equal(pointed.encode(views, proprio), again.encode(views, proprio))
    assert not torch.equal(pointed.encode(views, proprio), plain.encode(views, proprio))


def test_fewer_than_no_points_are_refused() -> None:
    with pytest.raises(ConfigError, match="points is -1"):
        ModelConfig(points=-1)
