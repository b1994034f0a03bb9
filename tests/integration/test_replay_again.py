"""`robo-dream replay --recompute`, `--what-if` and `robo-dream diff` on records made with the released checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from robo_dream import config
from robo_dream.cli import main
from robo_dream.control.decision import decision_of, goal_record
from robo_dream.errors import ConfigError
from robo_dream.imagination import Belief, Goal
from robo_dream.models import checkpoint
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.recording.archive import read_archive, write_archive
from robo_dream.recording.record import read_run
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime import replay
from robo_dream.runtime.asker import RunAsker
from robo_dream.runtime.evaluate import EvaluateConfig
from robo_dream.runtime.made_with import made_with
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, build_planner

PLANNING = PlanningConfig(
    PolicyGuidedConfig(horizon=3, num_samples=16, num_iterations=2, num_elites=4, num_proposals=4), CostConfig(distance=0.0, pose=1.0)
)
PATH = EvaluateConfig().checkpoint


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """Three decisions, each at another belief, planned with the released checkpoint."""
    model = load_checkpoint_model(PATH)
    planner = build_planner(PLANNING.planner, model, PLANNING.cost, PLANNING.proposals)
    latents = torch.randn(4, 1, model.spec.config.latent, generator=torch.Generator().manual_seed(0))
    goal, previous = Goal(latents[3]), None
    about = {
        "planning": config.dump(PLANNING), "checkpoint": str(PATH), "checkpoint_sha256": checkpoint.sha256(PATH),
        "made_with": made_with(model.device),
    }  # fmt: skip
    with RunWriter(tmp_path / "record", about, goal_record(goal, {})) as writer:
        for number in range(3):
            plan = planner.plan(Belief(latents[number]), goal, [number], previous)
            writer.on_decision(decision_of(plan, 0, 5 * number, 0.5 * number, Belief(latents[number]), goal, previous))
            previous = plan
    return tmp_path / "record"


def change_about(record: Path, **changes: object) -> None:
    about = json.loads((record / "run.json").read_text())
    (record / "run.json").write_text(json.dumps(about | changes))


def test_a_record_gives_its_decisions_again_and_says_so(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["replay", str(record), "--recompute"]) == 0
    assert "3 of 3 decisions are exactly the same" in capsys.readouterr().out
    assert main.main(["replay", str(record.parent), "--decision", "7", "--recompute"]) == 0
    assert capsys.readouterr().out.startswith("control step 5: the very same plan")


def test_what_was_planned_with_auto_is_made_again_in_the_precision_that_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("precision=auto", "planning.planner.num_samples=16", "planning.planner.num_elites=4")
    settings = (*settings, "planning.planner.num_proposals=4", "planning.planner.horizon=3", f"out={tmp_path}")
    assert main.main(["plan", "task=reach", *settings]) == 0
    (record,) = tmp_path.glob("*/*/record")
    assert json.loads((record / "run.json").read_text())["config"]["precision"] in ("float32", "bfloat16")
    assert main.main(["replay", str(record), "--recompute"]) == 0
    assert "decisions are exactly the same" in capsys.readouterr().out


def test_a_decision_that_was_tampered_with_is_told_and_exits_with_1(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays, about = read_archive(record / "decisions" / "000005.npz")
    arrays["actions"] = np.nextafter(arrays["actions"], np.float32(1))  # by the last bit
    write_archive(record / "decisions" / "000005.npz", arrays, about)
    assert main.main(["replay", str(record), "--recompute"]) == 1
    out = capsys.readouterr().out
    assert "control step 5: not equal to the bit (actions)" in out and "2 of 3 decisions" in out
    elsewhere = {**json.loads((record / "run.json").read_text())["made_with"], "machine": "another"}
    change_about(record, made_with=elsewhere)
    assert main.main(["replay", str(record), "--recompute"]) == 0  # within the tolerance that other machines have
    assert "other machine or settings (machine was another" in capsys.readouterr().out


def test_another_checkpoint_is_refused(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change_about(record, checkpoint_sha256="0" * 64)
    assert main.main(["replay", str(record), "--recompute"]) == 2
    assert "made with 000000000000" in capsys.readouterr().err


def test_what_if_shows_both_plans_and_draws_both_futures(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ("--what-if", "planner.num_samples=24", "--what-if", "seed=3", "--what-if", "planner.horizon=4", "--what-if", "cost.pose=2")
    assert main.main(["replay", str(record), "--decision", "5", *changes]) == 0
    out = capsys.readouterr().out
    assert "recorded | what if planner.num_samples=24 seed=3" in out and "gripper" in out and "object_pos" in out
    assert "total by the recorded cost" in out and "total by the changed cost" in out
    with Image.open(record.parent / "what_if" / "000005.png") as image:
        assert image.width > 6 * 96 and image.height > 4 * 96  # goal, seen and 4 imagined; two futures in two views


def test_what_if_nothing_changes_is_the_recorded_plan(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["replay", str(record), "--decision", "5", "--what-if", "planner.num_samples=16"]) == 0
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "gripper" in line or "total by" in line]
    assert rows and all(row[0].split()[-1] == row[1].split()[0] for row in rows)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--decision", "5", "--what-if", "planner.num_sample=3"], "did you mean planner.num_samples"),
        (["--decision", "50", "--recompute"], "there are decisions at 0, 5, 10"),
        (["--what-if", "seed=3"], "--decision STEP"),
        (["--decision", "5"], "belongs to --recompute, --what-if and --png"),
    ],
)
def test_a_question_that_cannot_be_answered_says_what_can(
    words: list[str], said: str, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["replay", str(record), *words]) == 2
    assert said in capsys.readouterr().err


def test_the_pages_questions_get_the_same_answers_and_the_run_stays_as_it_is(record: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in record.parent.rglob("*")}
    run, stages = read_run(record), []
    asker = RunAsker(record, run.about)

    def on_stage(*stage: object) -> None:
        stages.append(stage)

    again = asker.recompute(run.decisions[1], on_stage)
    assert again.text.startswith("control step 5: the very same plan") and again.step == 5
    recorded, made = again.plans
    assert np.array_equal(recorded.actions, made.actions) and recorded.latents is not None
    assert made.latents is not None and np.array_equal(recorded.latents, made.latents)
    whatif = asker.what_if(run.decisions[1], ("planner.num_samples=24", "cost.pose=2.0"), on_stage)
    assert "total by the changed cost" in whatif.text and list(whatif.plans[1].costs) == ["recorded cost", "changed cost"]
    for plan in whatif.plans:
        once, twice = (sum(float(term.sum()) for term in plan.costs[f"{name} cost"].values()) for name in ("recorded", "changed"))
        assert twice == pytest.approx(2 * once, rel=1e-5)
    assert asker.recompute_all(on_stage).text.startswith("control step 0: the very same plan")
    assert ("planning again", 3, 3) in stages and stages.count(("loading the model", 0, 0)) == 1
    assert asker.diff(record.parent, 0.0, on_stage).text.endswith("all 3 decisions are the same")
    with pytest.raises(ConfigError, match=r"did you mean planner\.num_samples"):
        asker.what_if(run.decisions[1], ("planner.num_sample=3",), on_stage)
    assert {path: path.stat().st_mtime_ns for path in record.parent.rglob("*")} == before


def test_every_preset_can_be_asked(record: Path) -> None:
    run = read_run(record)
    asker = RunAsker(record, run.about)
    choices = asker.choices(run.decisions[1])
    assert (
        choices.values["planner.kind"] == "policy_guided"
        and choices.values["proposals.policy"] == "true"
        and str(record) not in choices.runs
    )
    assert {"another seed", "icem", "policy_alone", "half the look-ahead"} <= {preset.name for preset in choices.presets}
    for preset in choices.presets:
        told = asker.what_if(run.decisions[1], preset.changes, lambda *stage: None)
        assert f"what if {preset.changes[0]}" in told.text, preset


def test_diff_says_where_two_records_part(record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["diff", str(record), str(record)]) == 0
    other = record.parent / "other"
    for path in record.rglob("*.*"):
        (other / path.relative_to(record)).parent.mkdir(parents=True, exist_ok=True)
        (other / path.relative_to(record)).write_bytes(path.read_bytes())
    arrays, about = read_archive(other / "decisions" / "000005.npz")
    write_archive(other / "decisions" / "000005.npz", arrays, about | {"seed": 99})
    capsys.readouterr()
    assert main.main(["diff", str(record), str(other)]) == 1
    assert "they part at control step 5\n  because of the seed: it is 1 against 99" in capsys.readouterr().out


def test_a_notebook_makes_decisions_again_asks_and_exports_without_the_command_line(record: Path, tmp_path: Path) -> None:
    run = replay.open_run(record.parent)
    done: list[tuple[int, int]] = []
    found = replay.recompute(run, on_progress=lambda *counted: done.append(counted))
    assert found.same and all(one.exact for one in found.comparisons) and done == [(1, 3), (2, 3), (3, 3)]
    assert len(replay.recompute(run, 7).comparisons) == 1
    asked = replay.what_if(run, 7, ["seed=11"], out=tmp_path / "both.png")
    assert asked.found.changes == ("seed=11",) and asked.picture.is_file() and "what if seed=11" in asked.text
    page = replay.export_html(run, tmp_path / "run.html")
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_search_that_runs_away_is_stopped_from_the_page_in_the_middle_of_it(record: Path) -> None:
    run = read_run(record)
    asker, seen = RunAsker(record, run.about), []

    class Enough(Exception):
        pass

    def on_stage(*stage: object) -> None:
        seen.append(stage)
        if len(seen) > 40:
            raise Enough

    with pytest.raises(Enough):  # a thousand iterations, each of which asks whether to go on
        asker.what_if(run.decisions[1], ("planner.num_iterations=1000",), on_stage)
    seen.clear()
    with pytest.raises(Enough):  # as much within one iteration
        asker.what_if(run.decisions[1], ("planner.num_samples=2000", "planner.sample_budget=4", "planner.num_iterations=1"), on_stage)
    with pytest.raises(ConfigError, match=r"num_samples=1000000 .* GB"):
        asker.what_if(run.decisions[1], ("planner.num_samples=1000000",), lambda *stage: None)
