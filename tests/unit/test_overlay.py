"""The strip of commands: what is drawn, that it is read back, and that pictures above it stay as they are."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robo_dream.embodiment import ActionSpec
from robo_dream.errors import ContractError
from robo_dream.overlay import bars, commands_in, commands_shown, parted, strip_height, with_strip

ROUNDED = 0.01  # of the limit: a pixel is one of 256 steps, and the shortest bar has two of them


@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 6), numbers=st.integers(1, 8), width=st.integers(32, 200))
def test_what_is_drawn_is_read_back(seed: int, steps: int, numbers: int, width: int) -> None:
    commands = np.random.default_rng(seed).uniform(-1, 1, (3, steps, numbers)).astype(np.float32)
    read = commands_in(torch.from_numpy(bars(commands, width)), steps)
    assert np.abs(read.numpy() - commands).max() < ROUNDED


def test_bars_go_right_in_red_and_left_in_blue_and_the_newest_is_on_the_right() -> None:
    rows = bars(np.array([[0.0], [-0.5], [1.0]], np.float32), 63)  # 21 px each: 10 on either side
    assert rows.shape == (1, 63, 3)
    red, blue = (rows[0, :, colour].astype(int) for colour in (0, 2))
    assert ((red - blue)[:21] == 0).all(), "nothing was commanded"
    assert np.flatnonzero(blue - red > 100).tolist() == list(range(21 + 5, 21 + 10)), "half of the way to the left"
    assert np.flatnonzero(red - blue > 100).tolist() == list(range(42 + 11, 42 + 21)), "all of the way to the right"


def test_errors_of_single_pixels_are_averaged() -> None:
    rng = np.random.default_rng(0)
    commands = rng.uniform(-0.8, 0.8, (500, 5, 5)).astype(np.float32)
    drawn = bars(commands, 96) + rng.normal(0, 20, (500, 5, 96, 3))
    off = commands_in(torch.from_numpy(np.clip(drawn, 0, 255).astype(np.uint8)), 5).numpy() - commands
    assert np.sqrt(np.square(off).mean()) < 0.05 and abs(off.mean()) < 0.005


def test_a_picture_above_its_strip_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (2, 40, 48, 3), np.uint8)
    rows = bars(rng.uniform(-1, 1, (2, 5, 3)).astype(np.float32), 48)
    whole = with_strip(pictures, rows)
    assert whole.shape == (2, 40 + strip_height(3), 48, 3)
    above, below = parted(whole, 3)
    assert (above == pictures).all() and (below == rows).all()


def test_every_observation_shows_what_led_to_it() -> None:
    limit = np.array([2.0, 4.0], np.float32)
    spec = ActionSpec("tool_move", ("x", "y"), ("m", "m"), -limit, limit, 0.1)
    shown = commands_shown(spec, np.array([[1, 0], [2, -4], [0, 2]], np.float32), 2)
    assert shown[0].tolist() == [[0, 0], [0, 0]], "nothing yet"
    assert shown[1].tolist() == [[0, 0], [0.5, 0]]
    assert shown[3].tolist() == [[1, -1], [0, 0.5]]


def test_a_picture_without_room_is_refused() -> None:
    with pytest.raises(ContractError, match=r"24 px wide has no room for the bars of 5 commands; it has for 4"):
        bars(np.zeros((5, 5), np.float32), 24)
