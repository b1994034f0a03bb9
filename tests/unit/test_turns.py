import numpy as np
import pytest

from robo_dream.embodiment import BOX, upright_turn


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    w, x = a[0], a[1:]
    return np.array([w * b[0] - x @ b[1:], *(w * b[1:] + b[0] * x + np.cross(x, b[1:]))])


def about(axis: tuple[int, int, int], angle: float) -> np.ndarray:
    return np.array([np.cos(angle / 2), *(np.sin(angle / 2) * np.array(axis))])


FACES = [about((1, 0, 0), k * np.pi / 2) for k in range(4)] + [about((0, 1, 0), k * np.pi / 2) for k in (1, 3)]


@pytest.mark.parametrize("face", range(6))
@pytest.mark.parametrize("turn", [-2.0, -0.3, 0.0, 0.7, 3.0])
def test_a_box_looks_equally_turned_on_any_of_its_faces(face: int, turn: float) -> None:
    lying = product(about((0, 0, 1), turn), FACES[face])
    off = BOX * (upright_turn(lying, BOX) - turn)
    assert np.cos(off) == pytest.approx(1.0)


def test_a_slight_tilt_changes_little_and_rows_are_independent() -> None:
    quats = np.stack([product(product(about((0, 0, 1), 0.4), face), about((1, 0, 0), 0.05)) for face in FACES])
    assert np.cos(BOX * (upright_turn(quats, BOX) - 0.4)) == pytest.approx(np.ones(6), abs=0.03)


def test_what_has_no_equal_looks_keeps_its_heading() -> None:
    assert upright_turn(about((0, 0, 1), 2.5), 1) == pytest.approx(2.5)
