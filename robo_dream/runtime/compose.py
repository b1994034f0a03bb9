"""Names of `model.py` and `planner.py`, here until everybody imports them from there."""

from robo_dream.models.compiled import Precision
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, ProposalConfig, build_planner, rollouts_a_decision

__all__ = ["PlanningConfig", "Precision", "ProposalConfig", "build_planner", "load_checkpoint_model", "rollouts_a_decision"]
