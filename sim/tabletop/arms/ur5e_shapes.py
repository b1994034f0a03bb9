"""Universal Robots UR5e with a parallel gripper, of our own simple shapes: the arm of `sim.tabletop.arms.ur5e` for where ogbench
is not installed.
Dimensions and masses: Universal Robots, "DH parameters for calculations of kinematics and dynamics"; torques and speeds: UR5e data sheet.
"""

import numpy as np

from robo_dream.control.cartesian import MoveLimits
from sim.tabletop.arms.model import ArmModel
from sim.tabletop.arms.shapes import Link, arm_of_shapes

JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
_TURN = 2 * np.pi
_LINKS = (  # d, a (m) and alpha (rad)
    Link(0.1625, 0.0, np.pi / 2, low=-_TURN, high=_TURN, torque=150, mass=3.761, radius=0.06, rotor=1.5),
    Link(0.0, -0.425, 0.0, low=-_TURN, high=_TURN, torque=150, mass=8.058, radius=0.055, rotor=1.5, shift=0.13),
    Link(0.0, -0.3922, 0.0, low=-np.pi, high=np.pi, torque=150, mass=2.846, radius=0.045, rotor=1.5, shift=0.01),
    Link(0.1333, 0.0, np.pi / 2, low=-_TURN, high=_TURN, torque=28, mass=1.37, radius=0.04, rotor=0.2),
    Link(0.0997, 0.0, -np.pi / 2, low=-_TURN, high=_TURN, torque=28, mass=1.3, radius=0.04, rotor=0.2),
    Link(0.0996, 0.0, 0.0, low=-_TURN, high=_TURN, torque=28, mass=0.365, radius=0.036, rotor=0.1),
)
_TOOL = 0.163  # m from the flange to the tips of a 2F-85
HOME = (2.8264, -1.7227, 2.0336, -1.8817, -1.5708, -1.886)  # the tool points down above the middle of the workspace


def build() -> ArmModel:
    limits = MoveLimits(
        workspace_low=(0.26, -0.22, 0.012),
        workspace_high=(0.60, 0.22, 0.32),
        yaw_low=-0.9,
        yaw_high=0.9,
        joint_speed=(np.pi / 2,) * 6,  # half of what the arm can do
    )
    return arm_of_shapes("ur5e_shapes", _LINKS, JOINTS, _TOOL, HOME, limits)
