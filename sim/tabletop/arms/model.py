"""What a scene needs to know of an arm: its MJCF tree, its joints, tool and hand, and its limits."""

from dataclasses import dataclass

from dm_control import mjcf

from robo_dream.control.cartesian import MoveLimits


@dataclass(frozen=True)
class ArmModel:
    """An arm with its hand, ready to be attached to a scene at its base.

    Joints and actuators are listed from base to tool. The actuators are position servos: their control is the joint's target.
    All finger joints share one angle, which closure takes from `finger_range`'s first to its second number.
    `passive_joints` follow the fingers through linkages: each with its angle as a multiple of theirs.
    `still_jaw`: where only one jaw moves, how far to the left of the tool (m) the other's face stands, against which things are held.
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
    passive_joints: tuple[tuple[mjcf.Element, float], ...] = ()
    still_jaw: float | None = None
    integrator: str = "Euler"  # MuJoCo's name of the integrator that the arm's servos need
