"""A record of two decisions that a planner made of one problem."""

from pathlib import Path

from robo_dream import config
from robo_dream.control.decision import decision_of, goal_record
from robo_dream.imagination import Belief, Goal
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.recording.writer import RunWriter
from robo_dream.runtime.made_with import made_with
from robo_dream.runtime.planner import PlanningConfig, build_planner


def two_decisions(folder: Path, model: LatentVideoModel, planning: PlanningConfig, belief: Belief, goal: Goal) -> Path:
    """The folder of the record; its checkpoint lies beside it."""
    path, record, previous = checkpoint.save(model, folder / "model.safetensors", half=False), folder / "record", None
    planner = build_planner(planning.planner, model, planning.cost, planning.proposals, futures=planning.futures)
    about = {
        "planning": config.dump(planning), "checkpoint": str(path), "checkpoint_sha256": checkpoint.sha256(path),
        "made_with": made_with(model.device),
    }  # fmt: skip
    with RunWriter(record, about, goal_record(goal, {})) as writer:
        for number in range(2):
            plan = planner.plan(belief, goal, [number], previous)
            writer.on_decision(decision_of(plan, 0, 5 * number, 0.5 * number, belief, goal, previous))
            previous = plan
    return record
