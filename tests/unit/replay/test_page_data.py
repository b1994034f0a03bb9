"""What the page shows of a run is what the record says, in JSON, without torch, and while the run is still growing."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded_runs import BLOCK, CHANNELS, HORIZON, SAMPLES, action, decision, draw, new_writer, observation, write_run

from robo_dream.config import dump
from robo_dream.embodiment import ActionSpec, Observation
from robo_dream.errors import DataError
from robo_dream.recording.record import find_record, read_run
from robo_dream.recording.timeline import plain
from robo_dream.safety.limits import SafetyLimits
from robo_dream.viewer.page_data import decision_view, pixel_view, real_pictures, run_view
from robo_dream.viewer.watch import RunWatch


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


def test_a_limit_that_was_widened_by_name_is_told_with_its_value_and_range(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    assert run_view(watched(tmp_path))["widened"] == []
    told = json.loads((tmp_path / "run.json").read_text())
    limits = dump(SafetyLimits(max_state_age=2.0, beyond=("max_state_age",)))
    for about in ({"loop": {"limits": limits}}, {"config": {"loop": {"limits": limits}}}):
        (tmp_path / "run.json").write_text(json.dumps(told | about))
        sentence = "max_state_age is 2 s (plausible 0.005 to 0.5 s)"
        assert run_view(watched(tmp_path))["widened"] == [{"name": "max_state_age", "sentence": sentence}]


@pytest.mark.parametrize("loop", [{"limits": {"beyond": [["a"], "nosuch", 3, "max_state_age"]}}, {"limits": []}])
def test_odd_limits_in_a_run_json_show_nothing(tmp_path: Path, loop: object) -> None:
    write_run(tmp_path, 12)
    told = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(told | {"loop": loop, "config": None}))
    assert run_view(watched(tmp_path))["widened"] == []


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
    writer.on_decision(replace(record, actions=record.candidates[4].copy()))
    writer.flush()
    watch = watched(tmp_path)
    assert decision_view(watch, 0)["chosen"] is None and decision_view(watch, 0)["disagreement"] is None
    assert decision_view(watch, 1)["chosen"] == 4
    assert decision_view(watch, 1)["disagreement"] == pytest.approx(record.disagreement[4].tolist(), rel=1e-3)


def test_latent_errors_are_against_the_beliefs_that_came_and_none_before(tmp_path: Path) -> None:
    writer, first = new_writer(tmp_path), decision(0)
    belief = first.latents[0] + np.full(CHANNELS, 0.25, np.float32)
    writer.on_decision(first)
    writer.on_decision(replace(decision(BLOCK), belief=belief))
    writer.flush()
    watch = watched(tmp_path)
    view = decision_view(watch, 0)
    assert view["latent_error"] == [pytest.approx(0.25, abs=1e-4), *[None] * (HORIZON - 1)]
    moved = float(np.sqrt(np.square(belief - first.belief).mean()))
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


def behind(step: int, ahead: float = 0.0, grip: float = 0.5, target_grip: float = 0.5) -> Observation:
    """An observation whose tool is `ahead` metres along x behind its target."""
    seen = observation(step)
    target = seen.arm.tool_pos + np.array([ahead, 0, 0])
    return replace(seen, arm=replace(seen.arm, target_pos=target, gripper=grip, target_gripper=target_grip))


def test_clipped_is_what_a_limit_cut_and_not_what_lag_or_rounding_explains(tmp_path: Path) -> None:
    writer, sent = new_writer(tmp_path), np.array([0.02, 0, 0, 0.05, 0.1], np.float32)
    largest = np.array([0.025, 0.025, 0.025, 0.08, 0.2], np.float32)
    small = replace(decision(0), candidates=np.broadcast_to(largest, (SAMPLES, BLOCK * HORIZON, 5)))
    writer.on_decision(small)
    no_x, half_grip, no_yaw = sent * [0, 1, 1, 1, 1], sent * [1, 1, 1, 1, 0.5], sent * [1, 1, 1, 0, 1]
    told = [
        (behind(0), sent * 0.95, None),  # rounding
        (behind(1, ahead=0.05), no_x, None),  # its target is as far ahead as may be: lag
        (behind(2, ahead=0.02), no_x, "x 0 of 0.02"),  # it could have gone there: a wall of the workspace, say
        (behind(3, grip=0.1, target_grip=0.45), half_grip, None),  # fingers as far behind as may be
        (behind(4), half_grip, "gripper 0.05 of 0.1"),
        (behind(5, grip=0.95, target_grip=0.95), half_grip, None),  # closed
        (behind(6, ahead=0.05), no_yaw, "yaw 0 of 0.05"),  # nothing holds back a turn
        (behind(7), sent * [0.5, 1, 1, 0.5, 1], "x 0.01 of 0.02, yaw 0.025 of 0.05"),
    ]
    for seen, applied, _ in told:
        writer.on_step(seen, sent, applied.astype(np.float32))
    writer.flush()
    assert [row["clipped"] for row in watched(tmp_path).steps] == [words for _, _, words in told]


def test_how_far_an_arm_may_lag_is_what_its_run_says(tmp_path: Path) -> None:
    writer, sent = new_writer(tmp_path), np.array([0.02, 0, 0, 0, 0], np.float32)
    writer.on_decision(replace(decision(0), candidates=np.full((SAMPLES, BLOCK * HORIZON, 5), 0.025, np.float32)))
    writer.on_step(behind(0, ahead=0.02), sent, 0 * sent)
    writer.flush()
    assert watched(tmp_path).steps[0]["clipped"] == "x 0 of 0.02"
    about = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(about | {"moves": {"max_lag": 0.02, "max_grip_lag": 0.4, "max_move": 0.025}}))
    assert watched(tmp_path).steps[0]["clipped"] is None


def test_joint_targets_are_clipped_where_they_were_changed(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    ones = np.ones((SAMPLES, BLOCK * HORIZON, 7), np.float32)
    writer.on_decision(replace(decision(0), actions=ones[0], candidates=ones))
    sent = np.full(7, 0.5, np.float32)
    writer.on_step(observation(0), sent, sent)
    writer.on_step(observation(1), sent, np.where(np.arange(7) == 6, 0.2, sent).astype(np.float32))
    writer.flush()
    assert [row["clipped"] for row in watched(tmp_path).steps] == [None, "action 6 0.2 of 0.5"]


def test_a_run_that_was_killed_is_told_from_one_that_goes_on(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.on_step(observation(0), action(0), action(0))
    writer.flush()
    now = [time.time()]
    watch = RunWatch(tmp_path, wall_clock=lambda: now[0])
    watch.refresh()
    assert not run_view(watch)["silent"]
    now[0] += 70
    assert run_view(watch)["silent"] and not run_view(watch)["finished"]
    writer.on_step(observation(1), action(1), action(1))
    writer.flush()
    os.utime(tmp_path / "steps", (now[0], now[0]))  # the file system's clock, 70 s later
    assert not run_view(watch)["silent"]
    writer.finish(observation(2), {"moderate": True})
    now[0] += 70
    watch.refresh()
    assert run_view(watch)["finished"] and not run_view(watch)["silent"]


def test_doubts_and_elites_are_shown_where_the_record_has_them(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    watch, kept = watched(tmp_path), decision(5)
    view = decision_view(watch, 1)
    assert (
        view["unsure_reasons"] == ["the gripper is elsewhere"] == watch.decisions[1]["unsure_reasons"]
        and view["was_cut"]
        and view["num_iterations"] == 3
    )
    assert kept.elites is not None
    assert {one["sample"] for one in view["candidates"] if one["elite"]} == set(kept.elites.tolist())
    assert view["perception"] == 0.004 == watch.decisions[1]["perception"] and watch.decisions[0]["perception"] is None
    assert decision_view(watch, 0)["unsure_reasons"] == [] and not decision_view(watch, 0)["was_cut"]


def test_a_growing_run_is_read_on_without_reading_again(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    writer.flush()
    watch = watched(tmp_path)
    assert watch.decisions == [] and watch.cameras == ("front", "side")
    for step in range(7):
        if step % BLOCK == 0:
            writer.on_decision(replace(decision(step), status="UNSURE" if step else "OK"))
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
from robo_dream.viewer import export, routes, server
from robo_dream.safety.limits import SafetyLimits
from robo_dream.viewer.page_data import decision_view
from robo_dream.viewer.watch import RunWatch
from pathlib import Path
watch = RunWatch(Path({str(tmp_path)!r}))
watch.refresh()
print(decision_view(watch, 1)["step"], *{{"torch", "jax", "mujoco"}} & set(sys.modules))"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5"]


def test_a_lost_step_leaves_its_place_and_the_others_keep_theirs(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    (tmp_path / "steps" / "000005.npz").unlink()
    watch = watched(tmp_path)
    assert [row["step"] for row in watch.steps] == list(range(13)) and "missing" in watch.steps[5]["damage"]
    assert watch.step(6).number == 6
    assert decision_view(watch, 0)["num_real"] == 1  # step 5 would have been the second
    assert decision_view(watch, 2)["num_real"] == 1 and len(real_pictures(watch, watch.decision(2))["front"]) == 1
    np.testing.assert_array_equal(real_pictures(watch, watch.decision(2))["front"][0], observation(10).frames["front"].image)


def told_in(root: Path, **about: object) -> None:
    """Adds to run.json."""
    path = root / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | about))


def test_what_an_action_is_says_the_run_and_not_how_many_numbers_it_has(tmp_path: Path) -> None:
    writer, sent = new_writer(tmp_path), np.full(5, 0.5, np.float32)
    writer.on_decision(replace(decision(0), candidates=np.ones((SAMPLES, BLOCK * HORIZON, 5), np.float32)))
    writer.on_step(behind(0, ahead=0.05), sent, sent * [0, 1, 1, 1, 1])  # of a tool move, its lag would explain it
    writer.flush()
    joints = ActionSpec.joint_targets(("pan", "lift", "elbow", "wrist"), [-1] * 4, [1] * 4, 0.1)
    told_in(tmp_path, action_spec=joints.to_json())
    watch = watched(tmp_path)
    assert watch.steps[0]["clipped"] == "pan 0 of 0.5"
    names = run_view(watch)["actions"]
    assert names[0] == {"name": "pan", "unit": "rad"} and names[-1] == {"name": "gripper", "unit": ""}


@pytest.mark.parametrize(
    ("about", "name"),
    [
        ({}, ""),
        ({"config": {"scene": {"arm": "jaco"}}}, "tabletop jaco"),
        ({"config": {"world": {"kind": "ogbench", "env": "scene"}, "scene": {"arm": "jaco"}}}, "ogbench scene"),
        ({"world": {"kind": "tabletop", "scene": {"arm": "so101"}}}, "tabletop so101"),
        ({"world": {"kind": "tabletop", "arm": "so101"}}, "tabletop so101"),
    ],
)
def test_the_page_names_the_world_of_the_run(tmp_path: Path, about: dict[str, object], name: str) -> None:
    new_writer(tmp_path).flush()
    told_in(tmp_path, **about)
    assert run_view(watched(tmp_path))["about"]["world"] == name
