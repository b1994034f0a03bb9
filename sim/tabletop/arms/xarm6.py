"""uFactory xArm 6 with its gripper, of our own simple shapes, from the dimensions in uFactory's "xArm user manual" (D-H parameters)."""

import numpy as np

from robo_dream.control.cartesian import MoveLimits
from sim.tabletop.arms.model import ArmModel
from sim.tabletop.arms.shapes import Link, arm_of_shapes

_TURN = 2 * np.pi
_BEND = 1.3849179  # rad between the upper arm's straight line and its joint's zero
# d, a (m) and alpha (rad). Joint ranges are those of the series from 2020 on (serial numbers XI1305 and up).
_LINKS = (  # arm, base and hand weigh 12.4 kg
    Link(0.267, 0.0, -np.pi / 2, low=-_TURN, high=_TURN, torque=50, mass=2.4, radius=0.05, rotor=0.5),
    Link(0.0, 0.28948866, 0.0, low=-2.042035, high=2.024581, torque=50, mass=2.2, radius=0.045, rotor=0.5, theta=-_BEND, shift=0.06),
    Link(0.0, 0.0775, -np.pi / 2, low=-3.822271, high=0.174532, torque=32, mass=1.9, radius=0.045, rotor=0.4, theta=_BEND),
    Link(0.3425, 0.0, np.pi / 2, low=-_TURN, high=_TURN, torque=32, mass=1.4, radius=0.042, rotor=0.2),
    Link(0.0, 0.076, -np.pi / 2, low=-1.692969, high=np.pi, torque=32, mass=1.4, radius=0.04, rotor=0.2),
    Link(0.097, 0.0, 0.0, low=-_TURN, high=_TURN, torque=20, mass=0.3, radius=0.036, rotor=0.1),
)
_TOOL = 0.172  # m from the flange to the gripper's tips
HOME = (0.0, -0.2245, -0.8727, 0.0, 1.0971, 0.0)  # the tool points down above the middle of the workspace


def build() -> ArmModel:
    limits = MoveLimits(
        workspace_low=(0.26, -0.22, 0.012),
        workspace_high=(0.55, 0.22, 0.32),
        yaw_low=-0.9,
        yaw_high=0.9,
        joint_speed=(np.pi / 2,) * 6,  # half of what the arm can do
    )
    return arm_of_shapes("xarm6", _LINKS, [f"joint{i}" for i in range(1, 7)], _TOOL, HOME, limits)
