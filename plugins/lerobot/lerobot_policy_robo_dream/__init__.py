"""robo_dream's planner as a policy of LeRobot. LeRobot imports this package because of its name, and finds the policy `robo_dream` in it."""

from lerobot_policy_robo_dream.configuration_robo_dream import RoboDreamConfig

__all__ = ["RoboDreamConfig"]
