"""robo_dream's planner as a policy of LeRobot. LeRobot imports this package for its name, and finds the policy in it.

LeRobot 0.4.4's robot client knows no robot, and not every camera that `lerobot-record` knows, unless somebody imports them: that is done
here.
"""

import lerobot.cameras.zmq
import lerobot.robots.so_follower  # noqa: F401

from lerobot_policy_robo_dream.configuration_robo_dream import RoboDreamConfig

__all__ = ["RoboDreamConfig"]
