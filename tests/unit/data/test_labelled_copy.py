"""A copy with pseudo-actions keeps true ones to the bit, says which are which, and is learned from but never measured by."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from robo_dream.data import layout
from robo_dream.data.cache import FrameCache, build_cache, load_cache, open_dataset
from robo_dream.data.features import IS_PSEUDO, LABEL_STD, column
from robo_dream.data.labelled_copy import LabelledCopy, Labels, merged
from robo_dream.data.reader import Dataset
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import ContractError, DataError
from tests.unit.data.episodes import make_episode, make_spec
from tests.unit.data.videos import as_video, unsure_actions

ABOUT = {"checkpoint": "some.safetensors", "checkpoint_sha256": "0" * 64}


def write(root: Path, num_episodes: int = 4, storage: str = "image", seed: int = 0) -> Path:
    spec = replace(make_spec(storage, size=32 if storage == "video" else 16), test_fraction=0.5)  # type: ignore[arg-type]
    with DatasetWriter(root, spec) as writer:
        for episode in range(num_episodes):
            writer.append(make_episode(spec, seed + episode))
    return root


def labels(index: int, frames: int = 8) -> Labels:
    rng = np.random.default_rng(100 + index)
    return Labels(rng.uniform(-0.02, 0.02, (frames, 5)).astype(np.float32), rng.uniform(0.001, 0.01, (frames, 5)).astype(np.float32))


def label(source: Dataset, folder: Path) -> Dataset:
    copy = LabelledCopy(source, folder, ABOUT)
    for file, episodes in copy.files.items():
        copy.write(file, {index: labels(index, source.length(index)) for index in episodes})
    copy.finish()
    return Dataset.open(folder)


@pytest.mark.parametrize("storage", ["image", "video"])
def test_true_actions_stay_to_the_bit_and_only_missing_ones_are_told(tmp_path: Path, storage: str) -> None:
    before = unsure_actions(write(tmp_path / "some", storage=storage), lambda episode, frame: episode == 1 or frame in (2, 5))
    source = Dataset.open(tmp_path / "some", is_video=True)
    copy = label(source, tmp_path / "copy")
    for index in range(4):
        told, episode = labels(index), copy.episode(index)
        known = [index == 1 or frame in (2, 5) for frame in range(7)]
        assert episode.action_std is not None
        assert episode.actions[known].tobytes() == before[index][:7][known].tobytes()
        assert not episode.action_std[known].any()
        unknown = ~np.array(known)
        assert episode.actions[unknown].tobytes() == told.actions[:7][unknown].tobytes()
        assert episode.action_std[unknown].tobytes() == told.std[:7][unknown].tobytes()
        table = pq.read_table(copy.data_path(index))
        assert np.asarray(table.column(IS_PSEUDO))[:7].tolist() == unknown.tolist()
        others = set(table.column_names) - {"action", LABEL_STD, IS_PSEUDO}
        original = pq.read_table(source.data_path(index))
        assert all(table.column(name).equals(original.column(name)) for name in others)
        video, again = (one.video(index, ("front", "side")) for one in (source, copy))
        assert all(video.images[name].tobytes() == again.images[name].tobytes() for name in ("front", "side"))
    said = layout.read_json(tmp_path / "copy" / layout.LABELS)
    assert said["checkpoint"] == "some.safetensors" and said["frames"] == {"pseudo": 3 * 5, "true": 7 + 3 * 2}
    assert copy.fingerprint != source.fingerprint and copy.spec.recipe["labels"] == said


def test_a_number_that_is_there_beside_one_that_is_not_stays() -> None:
    true = np.array([[0.5, np.nan], [np.nan, np.inf], [1.0, 2.0]], np.float32)
    found = merged(true, Labels(np.full((3, 2), 7, np.float32), np.full((3, 2), 3, np.float32)))
    assert found.actions.tolist() == [[0.5, 7], [7, 7], [1, 2]]
    assert found.std.tolist() == [[0, 3], [3, 3], [0, 0]]
    assert found.is_pseudo.tolist() == [True, True, False]


def test_video_of_others_becomes_a_dataset_with_actions_and_statistics_of_them(tmp_path: Path) -> None:
    video, spec = as_video(write(tmp_path / "video")), make_spec().action_spec
    with pytest.raises(DataError, match="not written by robo_dream"):
        Dataset.open(video)
    source = Dataset.open(video, action_spec=spec, is_video=True)
    assert np.isnan(source.video(0, ("front",)).actions).all()
    copy = label(source, tmp_path / "copy")
    assert copy.info["features"]["action"]["names"] == list(spec.names)
    stats = layout.read_json(tmp_path / "copy" / layout.STATS)["action"]
    told = np.concatenate([labels(index).actions for index in range(4)])
    np.testing.assert_allclose(stats["mean"], told.mean(0, dtype=np.float64), atol=1e-8)
    np.testing.assert_allclose(stats["std"], told.std(0, dtype=np.float64), atol=1e-8)
    table = pq.read_table(copy.data_path(3))
    assert column(table, "action", 5, np.float32).tobytes() == labels(3).actions.tobytes()


def test_a_copy_that_was_begun_with_another_checkpoint_is_not_gone_on_with(tmp_path: Path) -> None:
    source = Dataset.open(write(tmp_path / "some"), is_video=True)
    LabelledCopy(source, tmp_path / "copy", ABOUT)
    LabelledCopy(source, tmp_path / "copy", ABOUT)
    with pytest.raises(DataError, match=r"begun with another checkpoint_sha256; go on with the same"):
        LabelledCopy(source, tmp_path / "copy", {**ABOUT, "checkpoint_sha256": "1" * 64})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").write_text("")
    with pytest.raises(DataError, match="holds something else"):
        LabelledCopy(source, tmp_path / "mine", ABOUT)


def mixed(tmp_path: Path) -> FrameCache:
    true = write(tmp_path / "true", seed=50)
    unsure_actions(write(tmp_path / "some"), lambda episode, frame: episode == 1)
    label(Dataset.open(tmp_path / "some", is_video=True), tmp_path / "copy")
    return build_cache(open_dataset([true, tmp_path / "copy"]), tmp_path / "cache")


def test_a_cache_of_both_knows_how_unsure_each_action_is_and_holds_out_none_that_was_told(tmp_path: Path) -> None:
    cache = mixed(tmp_path)
    assert cache.action_std is not None
    by_episode = cache.action_std.reshape(8, 8, 5)
    assert not by_episode[[0, 1, 2, 3, 5]].any() and by_episode[[4, 6, 7], :7].all()
    for index in (0, 2, 3):
        assert by_episode[4 + index, :7].tobytes() == labels(index).std[:7].tobytes()
    source = Dataset.open(tmp_path / "some", is_video=True)
    assert cache.is_train[[4, 6, 7]].all() and sum(source.is_train(index) for index in range(4)) == 2
    again = load_cache(next((tmp_path / "cache").glob("frames-*")))
    assert again.action_std is not None and again.action_std.tobytes() == cache.action_std.tobytes()


def test_where_all_actions_are_true_a_cache_is_as_it_was_before_there_were_labels(tmp_path: Path) -> None:
    cache = build_cache(open_dataset(write(tmp_path / "true")), tmp_path / "cache")
    assert cache.action_std is None
    folder = next((tmp_path / "cache").glob("frames-*"))
    assert not (folder / "action_std.npy").exists() and "pseudo_actions" not in layout.read_json(folder / "cache.json")


def test_pseudo_actions_cannot_be_written_into_a_dataset_of_what_was_done(tmp_path: Path) -> None:
    mixed(tmp_path)
    episode = Dataset.open(tmp_path / "copy").episode(0)
    with DatasetWriter(tmp_path / "new", make_spec()) as writer, pytest.raises(ContractError, match="pseudo-actions"):
        writer.append(episode)
