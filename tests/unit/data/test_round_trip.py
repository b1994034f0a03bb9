from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robo_dream.data.cache import build_cache
from robo_dream.data.reader import Dataset
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import ContractError, DataError
from tests.unit.data.episodes import assert_same, make_episode, make_spec


def write(root: Path, number: int, first: int = 0, **spec: object) -> Dataset:
    chosen = make_spec(**spec)  # type: ignore[arg-type]
    with DatasetWriter(root, chosen) as writer:
        for seed in range(first, first + number):
            writer.append(make_episode(chosen, seed, num_actions=4 + seed % 3, task=f"task {seed % 2}"))
    return Dataset.open(root)


def test_pictures_and_numbers_come_back_to_the_last_bit(tmp_path: Path) -> None:
    data = write(tmp_path, 3)
    for seed, episode in enumerate(data):
        assert_same(episode, make_episode(make_spec(), seed, num_actions=4 + seed % 3, task=f"task {seed % 2}"))
    assert data.num_frames == 5 + 6 + 7 and data.tasks == ("task 0", "task 1")


def test_video_keeps_numbers_exactly_and_pictures_nearly(tmp_path: Path) -> None:
    spec = make_spec("video", size=32)
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)
    episode = make_episode(spec, 0)
    images = {
        c.name: np.stack([np.resize(smooth + 4 * i, (c.height, c.width))[..., None].repeat(3, -1) for i in range(8)]) for c in spec.cameras
    }
    with DatasetWriter(tmp_path, spec) as writer:
        writer.append(replace(episode, images=images))
    again = Dataset.open(tmp_path).episode(0)
    assert_same(replace(again, images=episode.images), episode)
    for name, pictures in images.items():
        assert again.images[name].shape == pictures.shape
        assert np.abs(again.images[name].astype(int) - pictures).mean() < 6


def test_a_dataset_without_cameras_keeps_the_numbers(tmp_path: Path) -> None:
    spec = replace(make_spec(), cameras=())
    with DatasetWriter(tmp_path / "data", spec) as writer:
        writer.append(replace(make_episode(make_spec(), 0), images={}))
    assert_same(Dataset.open(tmp_path / "data").episode(0), replace(make_episode(make_spec(), 0), images={}))
    frames = build_cache(tmp_path / "data", tmp_path / "cache")
    assert frames.cameras == () and not frames.images and frames.num_frames == 8


def test_the_poses_of_several_objects_come_back_and_are_not_mixed_with_those_of_one(tmp_path: Path) -> None:
    spec = replace(make_spec(), num_objects=3)
    with DatasetWriter(tmp_path / "data", spec) as writer:
        writer.append(make_episode(spec, 0))
        with pytest.raises(ContractError, match=r"object_pose is float32 \(8, 7\); the dataset takes float32 \(8, 21\)"):
            writer.append(make_episode(make_spec(), 1))
    assert_same(Dataset.open(tmp_path / "data").episode(0), make_episode(spec, 0))
    assert build_cache(tmp_path / "data", tmp_path / "cache").object_pose.shape == (8, 21)
    with pytest.raises(DataError, match="num_objects: 3 against 1"):
        DatasetWriter(tmp_path / "data", make_spec())


def test_a_dataset_goes_on_where_it_was(tmp_path: Path) -> None:
    write(tmp_path, 2)
    data = write(tmp_path, 2, first=2)
    assert [episode.seed for episode in data] == [0, 1, 2, 3]
    starts = [row["dataset_from_index"] for row in data.rows]
    assert starts == [0, 5, 11, 18]


def test_statistics_are_those_of_all_frames(tmp_path: Path) -> None:
    import json

    data = write(tmp_path, 5)
    stats = json.loads((tmp_path / "meta/stats.json").read_text())["observation.state"]
    proprio = np.concatenate([episode.proprio for episode in data]).astype(np.float64)
    for name in ("mean", "std", "min", "max"):
        np.testing.assert_allclose(stats[name], getattr(proprio, name)(0), rtol=1e-5, atol=1e-7)


def test_two_writers_do_not_write_one_dataset(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, make_spec()), pytest.raises(DataError, match="another process is writing"):
        DatasetWriter(tmp_path, make_spec())


def test_another_spec_is_refused_with_the_difference(tmp_path: Path) -> None:
    write(tmp_path, 1)
    with pytest.raises(DataError, match="cameras"):
        DatasetWriter(tmp_path, make_spec(size=20))


@pytest.mark.parametrize("field, said", [("actions", "actions"), ("proprio", "proprio")])
def test_what_is_not_a_number_is_refused_before_anything_is_written(tmp_path: Path, field: str, said: str) -> None:
    spec = make_spec()
    episode = make_episode(spec, 0)
    broken = getattr(episode, field).copy()
    broken[2, 1] = np.nan
    with DatasetWriter(tmp_path, spec) as writer:
        with pytest.raises(ContractError, match=said):
            writer.append(replace(episode, **{field: broken}))
        assert writer.append(episode) == 0


def test_a_missing_camera_is_named(tmp_path: Path) -> None:
    spec = make_spec()
    episode = make_episode(spec, 0)
    with DatasetWriter(tmp_path, spec) as writer, pytest.raises(ContractError, match="side"):
        writer.append(replace(episode, images={"front": episode.images["front"]}))
