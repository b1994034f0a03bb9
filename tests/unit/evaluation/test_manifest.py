import numpy as np
import pytest

from robo_dream.errors import DataError
from robo_dream.evaluation.manifest import Manifest, choose_pairs, read_manifest, write_manifest


def small_manifest() -> Manifest:
    rng = np.random.default_rng(0)
    return Manifest("push", rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), np.array([8, 20, 40]), np.array([1, 1, 2]))


def test_a_manifest_comes_back_as_it_was_written(tmp_path):
    manifest = small_manifest()
    write_manifest(tmp_path / "push.safetensors", manifest)
    again = read_manifest(tmp_path / "push.safetensors", state_size=4)
    assert again.task == "push" and again.sha256 == manifest.sha256
    np.testing.assert_array_equal(again.starts, manifest.starts)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "push.safetensors"
    write_manifest(path, small_manifest())
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="own hash"):
        read_manifest(path)


def test_a_manifest_of_another_scene_is_refused(tmp_path):
    write_manifest(tmp_path / "push.safetensors", small_manifest())
    with pytest.raises(DataError, match="another scene"):
        read_manifest(tmp_path / "push.safetensors", state_size=5)


def test_the_budget_is_two_and_a_half_times_the_way_and_never_under_25():
    assert [small_manifest().budget(pair) for pair in range(3)] == [25, 50, 100]


def test_an_episode_gives_few_pairs_whose_starts_lie_apart():
    candidates = [(start, start + 20) for start in range(60)]
    pairs = choose_pairs(candidates, np.random.default_rng(1), most=3)
    starts = sorted(start for start, _ in pairs)
    assert len(pairs) == 3 and min(np.diff(starts)) >= 10
