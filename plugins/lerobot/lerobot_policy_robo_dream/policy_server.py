"""LeRobot's policy server, which then knows this policy, too: `python -m lerobot_policy_robo_dream.policy_server --port=8080`.

LeRobot 0.4.4's own command has a fixed list of policies and imports no plugin. This one adds a name to that list and starts it.
"""

from lerobot.async_inference.constants import SUPPORTED_POLICIES
from lerobot.async_inference.policy_server import serve

from lerobot_policy_robo_dream.configuration_robo_dream import RoboDreamConfig


def main() -> None:
    name = RoboDreamConfig.get_choice_name(RoboDreamConfig)
    if name not in SUPPORTED_POLICIES:
        SUPPORTED_POLICIES.append(name)
    serve()


if __name__ == "__main__":
    main()
