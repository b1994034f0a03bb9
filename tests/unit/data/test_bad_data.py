import json
from pathlib import Path

import pytest

from robo_dream.data.cache import open_dataset
from robo_dream.data.reader import Dataset
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import DataError
from tests.unit.data.episodes import make_episode, make_spec


@pytest.fixture
def root(tmp_path: Path) -> Path:
    spec = make_spec()
    with DatasetWriter(tmp_path / "data", spec) as writer:
        for seed in range(2):
            writer.append(make_episode(spec, seed))
    return tmp_path / "data"


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_camera_that_is_not_there_is_named_with_those_that_are(root: Path) -> None:
    with pytest.raises(DataError, match=r"wrist.*front.*side"):
        Dataset.open(root, cameras=("front", "wrist"))


def test_another_rate_is_named(root: Path) -> None:
    edit(root / "meta/info.json", fps=15)
    with pytest.raises(DataError, match=r"15 fps.*0\.1 s needs 10"):
        Dataset.open(root)


def test_another_action_size_is_named(root: Path) -> None:
    with pytest.raises(DataError, match="other actions than asked for"):
        Dataset.open(root, action_spec=make_spec(num_actions=4).action_spec)


@pytest.mark.parametrize("left", [0, 40, 0.5])
def test_a_truncated_file_is_named(root: Path, left: float) -> None:
    path = sorted(root.glob("data/*/*.parquet"))[1]
    data = path.read_bytes()
    path.write_bytes(data[: int(left * len(data)) if left < 1 else int(left)])
    assert Dataset.open(root).episode(0).seed == 0  # the other episode still reads
    with pytest.raises(DataError, match=rf"{path.name} .*truncated or damaged"):
        Dataset.open(root).episode(1)


def test_a_changed_byte_is_noticed(root: Path) -> None:
    path = sorted(root.glob("data/*/*.parquet"))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="truncated or damaged"):
        Dataset.open(root).episode(0)


def test_a_missing_file_is_named(root: Path) -> None:
    path = sorted(root.glob("data/*/*.parquet"))[1]
    path.unlink()
    with pytest.raises(DataError, match=path.name):
        Dataset.open(root).episode(1)


def test_a_missing_video_is_named(tmp_path: Path) -> None:
    spec = make_spec("video", size=32)
    with DatasetWriter(tmp_path, spec) as writer:
        writer.append(make_episode(spec, 0))
    path = sorted(tmp_path.glob("videos/**/*.mp4"))[0]
    path.unlink()
    with pytest.raises(DataError, match=path.name):
        Dataset.open(tmp_path).episode(0)


def test_no_dataset_says_where_it_was_sought(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=str(tmp_path)):
        open_dataset(tmp_path)


def test_shards_that_differ_do_not_open_as_one(tmp_path: Path) -> None:
    for shard, size in enumerate((16, 20)):
        spec = make_spec(size=size)
        with DatasetWriter(tmp_path / f"shard-{shard:02d}", spec) as writer:
            writer.append(make_episode(spec, 0))
    with pytest.raises(DataError, match=r"shard-01 does not fit.*cameras"):
        open_dataset(tmp_path)
