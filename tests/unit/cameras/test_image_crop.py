"""Live pictures become the squares that a checkpoint expects, and their intrinsics with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from robo_dream.embodiment import Intrinsics
from robo_dream.errors import ConfigError
from robo_dream.runtime.cameras import Crop, crop_image, square_depth, square_intrinsics


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_the_default_is_the_largest_square_in_the_middle() -> None:
    image = noise(480, 640)
    np.testing.assert_array_equal(crop_image(image, 480), image[:, 80:560])


def test_each_pixel_is_the_mean_of_its_area() -> None:
    image = noise(48, 64)
    means = image[:, 8:56].reshape(12, 4, 12, 4, 3).mean(axis=(1, 3))
    assert np.abs(crop_image(image, 12).astype(float) - means).max() <= 0.5 + 1e-3  # rounding


@given(st.integers(8, 60), st.integers(8, 60), st.integers(1, 40), st.integers(0, 99))
def test_it_agrees_with_pillows_box_filter_where_it_makes_smaller(height: int, width: int, size: int, seed: int) -> None:
    image, side = noise(height, width, seed), min(height, width)
    size = min(size, side)
    left, top = (width - side) // 2, (height - side) // 2
    reference = Image.fromarray(image[top : top + side, left : left + side]).resize((size, size), Image.Resampling.BOX)
    # Pillow's box takes whole source pixels by their centres; where sizes divide, both are means of the same pixels
    if side % size == 0:
        assert np.abs(crop_image(image, size).astype(int) - np.asarray(reference).astype(int)).max() <= 1
    assert crop_image(image, size).mean() == pytest.approx(image[top : top + side, left : left + side].mean(), abs=1.0)


def test_intrinsics_of_the_square_see_the_same_point_at_the_same_place() -> None:
    lens, crop, size = Intrinsics(640, 480, 600.0, 610.0, 315.0, 245.0), Crop(side=0.5, left=0.25, top=0.125), 96
    point = np.array([0.05, -0.03, 1.2])
    x, y = lens.fx * point[0] / point[2] + lens.cx, lens.fy * point[1] / point[2] + lens.cy
    left, top, side = crop.pixels(640, 480)
    assert (left, top, side) == (160, 60, 240)
    small = square_intrinsics(lens, size, crop)
    assert small.fx * point[0] / point[2] + small.cx == pytest.approx((x - left) * size / side)
    assert small.fy * point[1] / point[2] + small.cy == pytest.approx((y - top) * size / side)


def test_depth_is_picked_and_never_mixed() -> None:
    depth = np.where(np.arange(64)[None, :] < 32, 0.5, 3.0).repeat(48, 0).reshape(48, 64).astype(np.float32)
    assert set(np.unique(square_depth(depth, 12))) == {np.float32(0.5), np.float32(3.0)}


@pytest.mark.parametrize("bad", [{"side": 0.0}, {"side": 1.2}, {"left": -0.1}])
def test_a_bad_crop_is_refused(bad: dict) -> None:
    with pytest.raises(ConfigError, match="Crop"):
        Crop(**bad)


def test_a_crop_that_leaves_the_picture_is_refused() -> None:
    with pytest.raises(ConfigError, match="leaves a picture of 640x480"):
        crop_image(noise(480, 640), 96, Crop(side=0.8, left=0.5))
