"""What the page shows of a run is what the record says, in JSON, without torch, and while the run is still growing."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded_runs import BLOCK, CHANNELS, HORIZON, SAMPLES, action, decision, draw, new_writer, observation, write_run

from robo_dream.errors import DataError
from robo_dream.imagination import PlanStatus
from robo_dream.replay.page_data import decision_view, pixel_view, real_pictures, run_view
from robo_dream.replay.record import read_run
from robo_dream.replay.rows import plain
from robo_dream.replay.watch import RunWatch, find_record


def watched(root: Path) -> RunWatch:
    watch = RunWatch(root)
    assert watch.refresh() is False
    return watch


def test_every_row_of_the_time_line_stands_for_one_decision_or_step(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    view = run_view(watched(tmp_path))
    assert [row["step"] for row in view["decisions"]] == [0, 5, 10] and [row["step"] for row in view["steps"]] == list(range(13))
    assert [row["cost"] for row in view["decisions"]] == pytest.approx([kept.cost for kept in read_run(tmp_path).decisions], rel=1e-3)
    assert view["finished"] and view["result"] == {"moderate": True} and view["steps"][-1]["sent"] is None
    later = run_view(watched(tmp_path), 2, 12)
    assert [row["step"] for row in later["decisions"]] == [10] and [row["step"] for row in later["steps"]] == [12]


def test_views_are_json_though_costs_are_infinite(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    watch = watched(tmp_path)
    for view in (run_view(watch), decision_view(watch, 1), pixel_view(watch, 1, draw)):
        json.dumps(view, allow_nan=False)
    assert decision_view(watch, 0)["candidates"][-1]["total"] is None  # the one that costs +inf, and therefore last


def test_numbers_are_rounded_all_at_once_as_one_by_one() -> None:
    drawn = np.random.default_rng(0).normal(size=(50, 4)) * 10.0 ** np.random.default_rng(1).integers(-12, 12, (50, 4))
    assert plain(drawn) == [[pytest.approx(float(f"{x:.4g}"), rel=1e-12) for x in row] for row in drawn.tolist()]
    assert plain(np.array([0.0, np.nan, -np.inf, 12345.6, -0.000123456], np.float32)) == [0, None, None, 12350, -0.0001235]
    assert json.dumps(plain(np.float32([0.1, 2 / 3]))) == "[0.1, 0.6667]"


def test_candidates_stand_best_first_with_their_own_terms(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    view, kept = decision_view(watched(tmp_path), 1), decision(5)
    totals = [one["total"] for one in view["candidates"][:-1]]
    assert totals == sorted(totals) and len(view["candidates"]) == SAMPLES
    assert {one["sample"] for one in view["candidates"]} == set(range(SAMPLES))
    for one in view["candidates"]:
        for name, term in zip(view["term_names"], one["terms"], strict=True):
            assert term == pytest.approx(kept.terms[name][one["sample"]].tolist(), rel=1e-2)


def test_the_chosen_candidate_is_the_one_whose_actions_the_plan_has(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    mean, record = decision(0), decision(5)
    writer.on_decision(mean)
    writer.on_decision(replace(record, actions=record.candidates[4].clone()))
    writer.flush()
    watch = watched(tmp_path)
    assert decision_view(watch, 0)["chosen"] is None and decision_view(watch, 0)["disagreement"] is None
    assert decision_view(watch, 1)["chosen"] == 4
    assert decision_view(watch, 1)["disagreement"] == pytest.approx(record.disagreement[4].tolist(), rel=1e-3)


def test_latent_errors_are_against_the_beliefs_that_came_and_none_before(tmp_path: Path) -> None:
    writer, first = new_writer(tmp_path), decision(0)
    belief = first.latents[0] + torch.full((CHANNELS,), 0.25)
    writer.on_decision(first)
    writer.on_decision(replace(decision(BLOCK), belief=belief))
    writer.flush()
    watch = watched(tmp_path)
    view = decision_view(watch, 0)
    assert view["latent_error"] == [pytest.approx(0.25, abs=1e-4), *[None] * (HORIZON - 1)]
    moved = float((belief - first.belief).square().mean().sqrt())
    assert view["latent_moved"][0] == pytest.approx(moved, rel=1e-3)
    assert watch.decisions[1]["surprise"] == pytest.approx(0.25, abs=1e-4) and watch.decisions[0]["surprise"] is None


def test_pixel_errors_are_of_the_moments_that_were_imagined(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    watch = watched(tmp_path)
    errors = pixel_view(watch, 0, draw)["side"]  # drawn 50, 100, 150; seen: steps 5 and 10, 15 never came
    for h, step in enumerate((5, 10)):
        seen = observation(step).frames["side"].image.astype(float)
        assert errors["imagined"][h] == pytest.approx(float(np.sqrt(np.mean((seen - 50 * (h + 1)) ** 2))), rel=1e-3)
    assert len(errors["imagined"]) == len(errors["copied"]) == 2
    assert len(real_pictures(watch, watch.decision(2))["front"]) == 1


def test_only_what_the_arm_changed_is_clipped(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.on_decision(decision(0))
    reach = float(decision(0).candidates.abs().max())
    for step, kept in enumerate((1.0, 0.995, 0.0)):
        sent = np.full(5, reach, np.float32)
        writer.on_step(observation(step), sent, np.float32(kept) * sent)
    writer.flush()
    assert [row["clipped"] for row in watched(tmp_path).steps] == [False, False, True]


def test_a_growing_run_is_read_on_without_reading_again(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.flush()
    watch = watched(tmp_path)
    assert watch.decisions == [] and watch.cameras == ("front", "side")
    for step in range(7):
        if step % BLOCK == 0:
            writer.on_decision(replace(decision(step), status=PlanStatus.UNSURE if step else PlanStatus.OK))
        writer.on_step(observation(step), action(step), action(step))
        writer.flush()
        watch.refresh()
        assert len(watch.steps) == step + 1 and len(watch.decisions) == 1 + (step >= BLOCK) and watch.result is None
    assert watch.decisions[1]["status"] == "UNSURE" and decision_view(watch, 0)["num_real"] == 2
    writer.finish(observation(7), {"moderate": False})
    shutil.rmtree(tmp_path / "decisions")  # what was read is not read again
    watch.refresh()
    assert watch.result == {"moderate": False} and len(watch.steps) == 8 and len(watch.decisions) == 2


def test_reading_stops_when_the_time_is_up_and_goes_on_later(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    now = iter(range(1000))
    watch = RunWatch(tmp_path, lambda: float(next(now)))
    calls = 0
    while watch.refresh(0.5):
        calls += 1
        assert watch.result is None and calls < 20
    assert calls == 15 and (len(watch.decisions), len(watch.steps)) == (3, 13) and watch.result is not None


def test_a_damaged_file_is_a_row_that_says_so_and_the_rest_is_shown(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    for path in (tmp_path / "decisions" / "000005.npz", tmp_path / "steps" / "000003.npz"):
        path.write_bytes(path.read_bytes()[:100])
    watch = watched(tmp_path)
    assert [("damage" in row, row["step"]) for row in watch.decisions] == [(False, 0), (True, 5), (False, 10)]
    assert "000005" in watch.decisions[1]["damage"] and "000003" in watch.steps[3]["damage"]
    with pytest.raises(DataError, match="000005"):
        decision_view(watch, 1)


def test_a_run_opens_without_its_goal_and_its_result(tmp_path: Path) -> None:
    write_run(tmp_path, 6)
    (tmp_path / "goal.npz").write_bytes(b"PK half")
    (tmp_path / "result.json").write_text("{")
    watch = watched(tmp_path)
    view = run_view(watch)
    assert view["goal_cameras"] == [] and not view["finished"] and len(view["decisions"]) == 2 and watch.channels == CHANNELS


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    write_run(tmp_path / "run" / "push-3" / "record", 2)
    write_run(tmp_path / "run" / "lift-3" / "record", 2)
    with pytest.raises(DataError, match="no Decision 9; there are 1 so far"):
        watched(tmp_path / "run" / "push-3" / "record").decision(9)
    assert find_record(tmp_path / "run" / "push-3") == find_record(tmp_path / "run" / "push-3" / "record")
    with pytest.raises(DataError, match=r"holds 2 runs; give one of them: .*lift-3.*push-3"):
        find_record(tmp_path / "run")
    with pytest.raises(DataError, match="there is no such folder"):
        find_record(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"run\.json is missing"):
        find_record(tmp_path / "empty")


def test_watching_a_run_and_serving_it_needs_no_torch(tmp_path: Path) -> None:
    write_run(tmp_path, 6)
    code = f"""
import sys
from robo_dream.replay import export, routes, server
from robo_dream.replay.page_data import decision_view
from robo_dream.replay.watch import RunWatch
from pathlib import Path
watch = RunWatch(Path({str(tmp_path)!r}))
watch.refresh()
print(decision_view(watch, 1)["step"], *{{"torch", "jax", "mujoco"}} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5"]
