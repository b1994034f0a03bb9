"""What a scene needs to know of an arm: its MJCF tree, its joints, tool and hand, and its limits."""

from dataclasses import dataclass

from dm_control import mjcf

from robo_dream.control.cartesian import MoveLimits


@dataclass(frozen=True)
class ArmModel:
    """An arm with its hand, ready to be attached to a scene at its base.

    Joints and actuators are listed from base to tool. The actuators are position servos: their control is the joint's target.
    `fingers` maps each finger actuator to its (open, closed) joint angle.
    """

    name: str
    root: mjcf.RootElement
    joints: tuple[mjcf.Element, ...]
    servos: tuple[mjcf.Element, ...]
    tool_site: mjcf.Element
    finger_joints: tuple[mjcf.Element, ...]
    finger_servos: tuple[mjcf.Element, ...]
    finger_range: tuple[float, float]  # rad, open and closed
    home: tuple[float, ...]  # rad; tool pointing down above the middle of the workspace
    limits: MoveLimits
