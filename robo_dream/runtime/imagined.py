"""A run whose moves are imagined on this computer: the checkpoint's model and planner, and the goal as the model believes it."""

from collections.abc import Callable

import torch

from robo_dream.config import dump
from robo_dream.control.decision import goal_record
from robo_dream.control.episode import Bench
from robo_dream.control.policies import PlannerPolicy
from robo_dream.imagination import Goal
from robo_dream.models import checkpoint
from robo_dream.models.compiled import precision_here
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import goal_from_observation, goal_from_positions
from robo_dream.runtime.connect import CameraSetup, Connected
from robo_dream.runtime.environment import require_same_cameras, require_same_world
from robo_dream.runtime.goals import Pictures, goal_seen, pictures_of
from robo_dream.runtime.inspect import require_fit
from robo_dream.runtime.made_with import made_with
from robo_dream.runtime.model import device_named, load_checkpoint_model
from robo_dream.runtime.mover import Aimed, Mover
from robo_dream.runtime.perception import check_of
from robo_dream.runtime.pictures import drawing
from robo_dream.runtime.planner import build_planner, planning_for, require_known_tasks
from robo_dream.runtime.run import GOALS_WITHOUT_TASK, AnyGoal, PoseGoal, RunConfig, TextGoal
from robo_dream.runtime.words import goal_in_words, require_moves
from sim.tabletop.tasks.catalogue import TASKS


def imagining_mover(config: RunConfig, say: Callable[[str], None]) -> Mover:
    """The planner of `config.checkpoint`. Raises as `load_checkpoint_model`, `planning_for` and `require_fit` do."""
    require_known_tasks(config.by_task, (*TASKS, *GOALS_WITHOUT_TASK))
    path = config.checkpoint
    assert path is not None  # see `require_policy`
    precision = precision_here(config.precision, device_named(config.device))
    model = load_checkpoint_model(path, config.device, config.compiled, precision)
    planning = planning_for(checkpoint.read_info(path), config.task, config.planning, config.by_task)
    if isinstance(config.goal, TextGoal):
        require_moves(planning, model)
    require_fit(path, model, planning, config.refuse_unfit, say)
    check = check_of(path, checkpoint.read_info(path), model, config.loop.limits)

    def require(bench: Connected) -> None:
        if config.twin:
            (require_same_cameras if model.action_spec.kind == "joint_move" else require_same_world)(model, bench.world, path)

    def aimed(bench: Connected) -> Aimed:
        goal, pictures = goal_of(config.goal, model, bench)
        planner = build_planner(planning.planner, model, planning.cost, planning.proposals, futures=planning.futures)
        made_by = {
            "policy": config.policy, "planning": dump(planning), "checkpoint": str(path), "checkpoint_sha256": checkpoint.sha256(path),
            "made_with": made_with(model.device),
        }  # fmt: skip
        return Aimed(
            PlannerPolicy(model, planner, goal, config.seed, check=check), goal_record(goal, pictures), made_by, {"precision": precision}
        )

    return Mover(model_cameras(model), require, aimed, drawing(model))


def model_cameras(model: LatentVideoModel) -> CameraSetup:
    """Those that it was trained with."""
    spec = model.action_spec
    moves = spec if spec.kind == "joint_move" else None
    return CameraSetup(model.cameras, model.spec.config.image_size, spec.control_dt, moves, model.spec.config.picture_goals)


def goal_of(config: AnyGoal, model: LatentVideoModel, bench: Connected) -> tuple[Goal, Pictures]:
    """The goal, and the pictures that show it (none for a pose, or for words)."""
    seen = goal_seen(config, model_cameras(model), bench)
    if isinstance(seen, PoseGoal | TextGoal):
        with torch.no_grad():
            latent = model.believe([[Bench(bench.arm, bench.cameras, bench.clock).observe()]]).latent
        if isinstance(seen, TextGoal):
            return goal_in_words(model, seen.text, latent), {}
        tool = None if seen.tool_pos is None else torch.tensor([seen.tool_pos], device=model.device)
        things = None
        if seen.object_pos is not None:  # of the first object; the others stay
            things = torch.full((1, model.spec.num_objects, 3), torch.nan, device=model.device)
            things[0, 0] = torch.tensor(seen.object_pos)
        return goal_from_positions(latent, things, tool), {}
    return goal_from_observation(model, seen), pictures_of(seen, model.cameras)
