"""Our scene and its cameras for a model; names of `model.py` and `planner.py` are here until everybody imports them from there."""

from robo_dream.imagination import WorldModel
from robo_dream.models.compiled import Precision
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, ProposalConfig, build_planner, rollouts_a_decision
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import SimCamera, World

__all__ = [
    "PlanningConfig", "Precision", "ProposalConfig", "build_cameras", "build_planner", "build_world", "load_checkpoint_model",
    "rollouts_a_decision",
]  # fmt: skip


def build_world(scene: SceneConfig | None = None) -> World:
    """The world of `scene`, the default one without; close it when done."""
    return World(scene or SceneConfig())


def build_cameras(world: World, model: WorldModel) -> list[SimCamera]:
    """The cameras that `model` looks through; raises `ContractError` for one that the scene lacks."""
    return [SimCamera(world, name) for name in model.cameras]
