"""Files that a run becomes: pictures, a Rerun recording that rerun itself reads, a dataset that training opens; whole or not at all."""

import errno
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded_runs import BLOCK, CAMERAS, HORIZON, SIDE, action, decision, draw, new_writer, observation, write_run

from robo_dream.data.cache import open_dataset
from robo_dream.embodiment import ActionSpec
from robo_dream.errors import DataError, MissingExtraError
from robo_dream.recording.record import RunRecord, read_run
from robo_dream.viewer import rerun_export
from robo_dream.viewer.episodes import action_spec_of, dataset_spec, write_dataset
from robo_dream.viewer.pictures import decision_sheet
from robo_dream.viewer.rerun_export import RerunConfig, Seer, picked_candidates, write_rrd

LIMIT = np.full(5, 0.5, np.float32)
SPEC = ActionSpec("tool_move", ("x", "y", "z", "yaw", "gripper"), ("m", "m", "m", "rad", "1"), -LIMIT, LIMIT, 0.1)
LABEL, FACTOR, GAP = 194, 8, 4  # px: of a decision's sheet; pictures of 16 px become 128


def paths(latents: np.ndarray) -> dict[str, np.ndarray]:
    return {"tool": latents[:, :3], "object": latents[:, 1:4]}


# --- pictures ---


def test_a_decisions_sheet_shows_what_was_seen_and_imagined_and_the_best_and_worst(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    run = read_run(tmp_path)
    drawn: list[np.ndarray] = []

    def kept(latents: np.ndarray) -> dict[str, np.ndarray]:
        drawn.append(latents)
        return draw(latents)

    sheet = decision_sheet(run, run.decisions[1], kept)
    here = run.decisions[1]
    order = [int(sample) for sample in np.argsort(here.totals) if np.isfinite(here.totals[sample])]
    assert np.array_equal(drawn[0], here.latents) and len(drawn) == 5
    for latents, sample in zip(drawn[1:], [*order[:2], *order[-2:]], strict=True):
        assert np.array_equal(latents, here.candidate_latents[sample])
    cell = SIDE * FACTOR
    left = [LABEL + place * (cell + GAP) for place in range(2 + HORIZON)]
    top = next(y for y in range(sheet.shape[0]) if (sheet[y, left[0] : left[0] + cell] == 200).all())  # the goal's first row
    front = observation(5).frames["front"].image.repeat(FACTOR, 0).repeat(FACTOR, 1)
    assert np.array_equal(sheet[top : top + cell, left[1] : left[1] + cell], front)
    plan = top + cell + GAP
    for place, shade in enumerate((50, 100, 150)):
        assert (sheet[plan : plan + cell, left[2 + place] : left[2 + place] + cell] == shade).all()
    assert sheet.shape[0] > len(CAMERAS) * 6 * cell


def test_a_decision_without_finite_costs_and_with_lost_steps_has_a_sheet(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    for number in (0, 5):
        (tmp_path / "steps" / f"{number:06d}.npz").unlink()
    run = read_run(tmp_path)
    hopeless = replace(run.decisions[0], totals=np.full_like(run.decisions[0].totals, np.inf), total=float("inf"))
    assert decision_sheet(run, hopeless, draw).shape[1] == LABEL + (2 + HORIZON) * (SIDE * FACTOR + GAP) - GAP


# --- rerun ---


def chunks(path: Path) -> Any:
    reader = pytest.importorskip("rerun", reason="rerun is not installed: pip install 'robo-dream[rerun]'").chunk.RrdReader(str(path))
    assert len(reader.recordings()) == len(reader.blueprints()) == 1
    found: dict[str, list[Any]] = defaultdict(list)
    for chunk in reader.stream():
        found[chunk.entity_path].append(chunk)
    return found


def rows(found: Any, entity: str, timeline: str) -> list[int]:
    """The times on `timeline` at which `entity` was logged."""
    times: list[int] = []
    for chunk in found[entity]:
        assert set(chunk.timeline_names) == {timeline} or timeline in ("control_step", "time")
        times += chunk.to_record_batch().column(timeline).to_pylist()
    return sorted(times)


def test_rerun_reads_the_recording_and_every_decision_has_a_timeline_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun is not installed: pip install 'robo-dream[rerun]'")
    write_run(tmp_path / "run", 12)
    run, said = read_run(tmp_path / "run"), []
    run = replace(run, decisions=tuple(replace(one, actions=one.candidates[3]) for one in run.decisions))
    config = RerunConfig(max_candidates=3)
    write_rrd(tmp_path / "run.rrd", run, Seer(draw, paths), config, lambda *done: said.append(done))
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["run.rrd"] and said[-1] == (3, 3)
    found = chunks(tmp_path / "run.rrd")
    assert rows(found, "/reality/front", "control_step") == list(range(13))
    assert rows(found, "/world/futures/plan", "control_step") == [0, 5, 10] == rows(found, "/plots/cost", "control_step")
    for step in (0, 5, 10):
        home, timeline = f"/decisions/{step:06d}", f"future_of_step_{step}"
        names = [name for _, name in picked_candidates(run.decisions[step // BLOCK], 3)]
        assert names[0] == "plan" and len(names) == 4
        for name in names:
            assert rows(found, f"{home}/{name}/side", timeline) == list(range(1 + HORIZON))
            assert rows(found, f"{home}/{name}/cost/pose.object_pos", timeline) == list(range(1, 1 + HORIZON))
            assert rows(found, f"{home}/costs/{name}", timeline) == list(range(1, 1 + HORIZON))
    number = run.decisions[1].terms["distance"][3]
    batch = found["/decisions/000005/plan/cost/distance"]
    logged = [value for chunk in batch for value in chunk.to_record_batch().column("Scalars:scalars").to_pylist()]
    assert np.allclose(sorted(value[0] for value in logged), sorted(number.tolist()))


def test_without_a_model_the_recording_holds_all_but_imagination(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 6)
    pytest.importorskip("rerun", reason="rerun is not installed: pip install 'robo-dream[rerun]'")
    found = chunks(write_rrd(tmp_path / "run.rrd", read_run(tmp_path / "run"), None))
    assert "/decisions/000000/real/front" in found and "/world/futures/plan" not in found and "/decisions/000000/plan/front" not in found


def test_a_missing_rerun_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "run", 2)
    monkeypatch.setitem(__import__("sys").modules, "rerun", None)
    with pytest.raises(MissingExtraError, match=r"robo-dream\[rerun\]"):
        write_rrd(tmp_path / "run.rrd", read_run(tmp_path / "run"), None)


def test_a_disk_that_is_full_leaves_no_half_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rerun", reason="rerun is not installed: pip install 'robo-dream[rerun]'")
    write_run(tmp_path / "run", 2)

    def full(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rerun_export, "replace_file", full)
    with pytest.raises(OSError, match="No space"):
        write_rrd(tmp_path / "run.rrd", read_run(tmp_path / "run"), None)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


# --- lerobot ---


def recorded(root: Path, num_steps: int = 12, **about: Any) -> RunRecord:
    write_run(root, num_steps)
    told = json.loads((root / "run.json").read_text())
    (root / "run.json").write_text(json.dumps({**told, "action_spec": SPEC.to_json(), **about}))
    return read_run(root)


def test_runs_become_a_dataset_that_training_opens(tmp_path: Path) -> None:
    runs = [recorded(tmp_path / "a", 12), recorded(tmp_path / "b", 7, task="lift")]
    spec = action_spec_of(runs[0])
    assert spec is not None and not spec.differences(SPEC)
    assert write_dataset(tmp_path / "data", runs, dataset_spec(runs[0], spec)) == (2, 13 + 8)
    data = open_dataset(tmp_path / "data", CAMERAS, SPEC)
    first, second = data
    assert (first.num_frames, second.num_frames, first.task, second.task) == (13, 8, "push", "lift") and first.info["moderate"] is True
    for step in (0, 4, 11):
        seen = observation(step)
        np.testing.assert_array_equal(first.images["side"][step], seen.frames["side"].image)
        np.testing.assert_array_equal(first.proprio[step], seen.arm.proprio)
        np.testing.assert_array_equal(first.actions[step], action(step))  # what was sent, not the half that was applied
        np.testing.assert_allclose(first.object_pose[step], seen.truth["object_pose"], rtol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "data"]


def test_a_run_with_a_hole_becomes_the_pieces_around_it(tmp_path: Path) -> None:
    run = recorded(tmp_path / "a", 12)
    kept = replace(run, steps=tuple(step for step in run.steps if step.number not in (4, 6)))
    write_dataset(tmp_path / "data", [kept], dataset_spec(kept, SPEC))
    data = open_dataset(tmp_path / "data")
    assert [(one.num_frames, one.info["first_step"]) for one in data] == [(4, 0), (6, 7)]  # 5 alone teaches nothing
    np.testing.assert_array_equal(data.episode(1).actions[0], action(7))


def test_a_killed_run_is_an_episode_up_to_its_end(tmp_path: Path) -> None:
    writer = new_writer(tmp_path / "a")
    for step in range(4):
        writer.on_step(observation(step), action(step), action(step))
    writer.close()
    run = read_run(tmp_path / "a")
    assert write_dataset(tmp_path / "data", [run], dataset_spec(run, SPEC)) == (1, 4)
    assert next(iter(open_dataset(tmp_path / "data"))).actions.shape == (3, 5)


def test_a_dataset_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    run = recorded(tmp_path / "a", 5)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").write_text("x")
    with pytest.raises(DataError, match="is there already"):
        write_dataset(tmp_path / "data", [run], dataset_spec(run, SPEC))
    other = SPEC.to_json() | {"control_dt": 0.2}
    second = recorded(tmp_path / "b", 5, action_spec=other)
    with pytest.raises(DataError, match=r"b does not fit the first one: action control_dt"):
        write_dataset(tmp_path / "both", [run, second], dataset_spec(run, SPEC))
    lonely = replace(run, steps=run.steps[:1])
    with pytest.raises(DataError, match="nothing to learn from"):
        write_dataset(tmp_path / "none", [lonely], dataset_spec(run, SPEC))
    with pytest.raises(DataError, match="no control steps"):
        dataset_spec(replace(run, steps=()), SPEC)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "data"]


def test_decisions_alone_make_no_sheet_of_steps_that_never_were(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.on_decision(decision(0))
    writer.close()
    run = read_run(tmp_path)
    assert run.cameras == CAMERAS and decision_sheet(run, run.decisions[0], draw).shape[0] > 0
