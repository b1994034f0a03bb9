"""How much another candidate must promise before it is taken instead of the policy's own: measured, and kept in a checkpoint."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from robo_dream.errors import ConfigError
from robo_dream.models import checkpoint
from robo_dream.models.checkpoint import CheckpointInfo
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import build_cost
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.planner import PlanningConfig, planning_for, settings_json
from robo_dream.runtime.train import write_described
from robo_dream.training.frames import Frames
from robo_dream.training.inspection import Searched
from robo_dream.training.promises import NUM_WINDOWS, promises

DEFAULT = "default"


def least_gains(
    info: CheckpointInfo, model: LatentVideoModel, cache: Frames, fraction: float = 0.95, num_windows: int = NUM_WINDOWS, seed: int = 0
) -> dict[str, float]:
    """By name of the checkpoint's planning settings ("default" and tasks): what its cost is promised too much in `fraction` of windows.

    Only of those that search by proposals, and by the cost to the final goal. Raises `DataError` for frames that do not fit or of which
    there are too few.
    """
    found = {}
    for name, planning in _plannings(info).items():
        planner = planning.planner
        if isinstance(planner, PolicyGuidedConfig) and planner.num_proposals:
            searched = Searched(build_cost(planning.cost.final(), model, model.distance), planner.horizon)
            found[name] = round(promises(model, cache, searched, num_windows, seed).too_much(fraction), 3)
    return found


def with_least_gains(info: CheckpointInfo, gains: Mapping[str, float]) -> checkpoint.Settings:
    """The checkpoint's settings, with the `least_gain` of those that are named in `gains`. Raises `ConfigError` for a name without any."""
    plannings = _plannings(info)
    for name, gain in gains.items():
        planner = plannings[name].planner if name in plannings else None
        if not isinstance(planner, PolicyGuidedConfig):
            raise ConfigError(f"the checkpoint has no policy_guided planning settings named {name!r}; it has {', '.join(plannings)}")
        plannings[name] = replace(plannings[name], planner=replace(planner, least_gain=gain))
    return replace(info.settings, planning=settings_json(plannings.pop(DEFAULT), plannings))


def write_with_least_gains(path: Path, out: Path, gains: Mapping[str, float]) -> Path:
    """The checkpoint in `path` once more in `out`, with these settings; its weights are as they were."""
    info = checkpoint.read_info(path)
    return write_described(checkpoint.load(path), out, info, info.recipe, with_least_gains(info, gains))


def _plannings(info: CheckpointInfo) -> dict[str, PlanningConfig]:
    return {name: planning_for(info, name) for name in (DEFAULT, *info.settings.planning.get("tasks", {}))}
