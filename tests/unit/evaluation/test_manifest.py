import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

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


def odd_manifest(path: Path, header: str = "", **arrays: np.ndarray) -> Path:
    """A manifest with some arrays, or the whole header, exchanged; its hash is right."""
    manifest = object.__new__(Manifest)  # whatever its arrays are, types unchecked
    for name, value in (vars(small_manifest()) | arrays).items():
        object.__setattr__(manifest, name, value)
    said = json.dumps({"version": "1", "task": "push", "sha256": manifest.sha256, "budget_steps": None})
    kept = {name: np.ascontiguousarray(getattr(manifest, name)) for name in ("starts", "goals", "steps", "episodes")}
    kept = {name: array.reshape(getattr(manifest, name).shape) for name, array in kept.items()}  # an array without axes gets one
    path.write_bytes(save(kept, metadata={"robo_dream": header or said}))
    return path


@pytest.mark.parametrize("header", ["[]", "null", "7", "[" * 5000, '{"a":' * 100 + "1" + "}" * 100, '{"task": []}', "{"])
def test_a_header_that_is_none_is_named(tmp_path, header):
    with pytest.raises(DataError, match=r"odd\.safetensors"):
        read_manifest(odd_manifest(tmp_path / "odd.safetensors", header))


@pytest.mark.parametrize(
    "arrays",
    [
        {"starts": np.zeros(()), "goals": np.zeros(())},
        {"starts": np.zeros(3), "goals": np.zeros(3)},
        {"goals": np.zeros((3, 5))},
        {"goals": np.full((3, 4), np.nan)},
        {"goals": np.zeros((3, 4), np.float32)},
        {"steps": np.zeros((), np.int64)},
        {"steps": np.zeros(2, np.int64)},
        {"steps": np.array([1, -1, 2])},
        {"starts": np.zeros((0, 4)), "goals": np.zeros((0, 4)), "steps": np.zeros(0, np.int64), "episodes": np.zeros(0, np.int64)},
    ],
)
def test_states_that_are_none_are_named_before_anybody_indexes_them(tmp_path, arrays):
    with pytest.raises(DataError, match=r"odd\.safetensors is not a manifest"):
        read_manifest(odd_manifest(tmp_path / "odd.safetensors", **arrays), state_size=4)


def test_a_budget_that_is_no_number_of_steps_is_named(tmp_path):
    manifest = small_manifest()
    for budget in ("many", -5, 10**12, [1]):
        header = json.dumps({"version": "1", "task": "push", "sha256": manifest.sha256, "budget_steps": budget})
        with pytest.raises(DataError, match="budget_steps"):
            read_manifest(odd_manifest(tmp_path / "odd.safetensors", header))


def test_a_hash_of_several_lines_is_said_on_one(tmp_path):
    header = json.dumps({"version": "1", "task": "push", "sha256": "a\nb", "budget_steps": None})
    with pytest.raises(DataError, match="own hash") as caught:
        read_manifest(odd_manifest(tmp_path / "odd.safetensors", header))
    assert "\n" not in str(caught.value)
