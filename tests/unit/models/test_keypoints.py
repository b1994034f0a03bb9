"""Places that attention picks out of a view."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from squares import square_frames

from robo_dream.errors import ConfigError
from robo_dream.models import checkpoint
from robo_dream.models.config import ModelConfig
from robo_dream.models.encoder import KeypointEncoder
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.frames import model_spec


@pytest.mark.parametrize("feature_grid", [16, 32])
@torch.no_grad()
def test_a_point_tells_where_its_thing_is_and_what_it_is_like_wherever_it_is(feature_grid: int) -> None:
    torch.manual_seed(0)
    encoder, last = KeypointEncoder(ModelConfig(image_size=64, num_keypoints=1, feature_grid=feature_grid)), feature_grid - 1
    encoder.heat.weight.zero_()
    encoder.heat.weight[0, 0] = 100.0  # finds what is bright in the first channel
    thing, read = torch.rand(encoder.heat.in_channels) + 1.0, {}
    for row, column in ((3, 5), (12, 5), (12, last)):
        x = torch.zeros(1, len(thing), feature_grid, feature_grid)
        x[0, :, row, column] = thing
        read[row, column] = encoder.found(x)[0, 0]
        torch.testing.assert_close(read[row, column][:2], torch.tensor([2 * column / last - 1, 2 * row / last - 1]))
        torch.testing.assert_close(read[row, column][2:], read[3, 5][2:])


@torch.no_grad()
def test_finer_grids_see_a_thing_alike_wherever_it_is() -> None:
    """What is read under a heat map changes less with a thing's place within a square, as squares are smaller."""
    apart = {}
    for places in (16, 32):
        torch.manual_seed(0)
        encoder, read = KeypointEncoder(ModelConfig(image_size=128, num_keypoints=8, feature_grid=places)), []
        for shift in range(0, 8, 4):  # a whole small square, half a large one
            picture = torch.zeros(1, 3, 128, 128)
            picture[..., 60 + shift : 67 + shift, 60:67] = 1.0
            x = encoder.unshuffle(2.0 * picture - 1.0)
            read.append(encoder.body[0](torch.nn.functional.silu(encoder.stem(x))).flatten(2).amax(-1))
        apart[places] = float((read[0] - read[1]).norm() / read[0].norm())
    assert apart[32] < 1e-5 < 1e-2 < apart[16]


def test_a_model_with_points_is_kept_and_can_begin_from_one_without(tmp_path: Path) -> None:
    cache = square_frames(2, 12)
    spec = model_spec(cache, ModelConfig(image_size=32))
    plain, pointed = (
        LatentVideoModel(spec).eval(),
        LatentVideoModel(replace(spec, config=replace(spec.config, num_keypoints=3)), seed=1).eval(),
    )
    fresh = checkpoint.load_fitting(pointed, checkpoint.save(plain, tmp_path / "plain.safetensors", half=False))
    assert fresh and all(name.startswith("encoder.views.") for name in fresh)
    again = checkpoint.load(checkpoint.save(pointed, tmp_path / "pointed.safetensors", half=False))
    views = [torch.from_numpy(cache.images[name][:4]) for name in cache.cameras]
    proprio = torch.from_numpy(cache.proprio[:4])
    assert torch.equal(pointed.encode(views, proprio), again.encode(views, proprio))
    assert not torch.equal(pointed.encode(views, proprio), plain.encode(views, proprio))


def test_fewer_than_no_points_are_refused() -> None:
    with pytest.raises(ConfigError, match="num_keypoints is -1"):
        ModelConfig(num_keypoints=-1)


@pytest.mark.parametrize(
    "wrong", [{"num_keypoints": 4, "feature_grid": 24}, {"feature_grid": 32}, {"num_keypoints": 4, "feature_grid": 32, "image_size": 48}]
)
def test_places_that_cannot_be_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="feature_grid is"):
        ModelConfig(**wrong)  # type: ignore[arg-type]
