"""The costs that `cost_ranking.py` and `far_goals.py` compare, under one name each."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dream_value import GripperGoal, load_value, value_path

from robo_dream import config
from robo_dream.imagination import Cost
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import CostConfig, StepWeights, build_cost
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation
from robo_dream.runtime.planner import PlanningConfig

RELEASED = Path("configs/evaluate/jaco.yaml")
MEANING = {
    "latent": "raw distance of latents",
    "distance": "learned temporal distance",
    "value": "learned in the dream",
    "pose": "pose head, as released",
    "pose+hand": "pose head, and the hand drawn to the object",
}


def released_planning(task: str) -> PlanningConfig:
    """How the released settings plan in a task."""
    return Evaluation.of(config.load(EvaluateConfig, RELEASED, [])).planning_of("planner", task)


def hand_of(planning: PlanningConfig) -> GripperGoal:
    return planning.proposals.gripper_goal


def rival_costs(model: LatentVideoModel, planning: PlanningConfig, values: Path | None) -> Mapping[str, Cost]:
    """Each judging every imagined step alike on average and the last as much again, as released: only what is judged differs.

    The learned value is among them where `values` is the folder of one.
    """
    steps, released = StepWeights(1.0, 1.0), planning.cost
    drawn = replace(released.pose_parts, tool_to_object=0.1 * released.pose_parts.object_pos)
    costs: dict[str, Cost] = {
        "latent": build_cost(CostConfig(distance=0.0, latent=1.0, steps=steps), model),
        "distance": build_cost(CostConfig(steps=steps), model, model.distance),
    }
    if values is not None:
        costs["value"] = build_cost(CostConfig(steps=steps), model, load_value(model, value_path(values, hand_of(planning))))
    costs["pose"] = build_cost(replace(released, steps=steps), model)
    costs["pose+hand"] = build_cost(replace(released, pose_parts=drawn, steps=steps), model)
    return costs
