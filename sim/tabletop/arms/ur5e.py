"""Universal Robots UR5e with a Robotiq 2F-85 gripper, from the MJCF files that the `ogbench` package installs."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from dm_control import mjcf

from robo_dream.control.cartesian import MoveLimits
from robo_dream.errors import MissingExtraError
from sim.tabletop.arms.model import ArmModel

_HOME = (-1.8879, -1.7509, 1.9445, -1.7643, -1.5708, -0.3171)
_FINGER_KP = 100.0  # that of the gripper's actuator, whose control is rescaled here from 0..255 to the driver's angle


def build() -> ArmModel:
    """Raises `MissingExtraError` when ogbench is not installed."""
    folder = _descriptions()
    root = mjcf.from_path(str(folder / "universal_robots_ur5e" / "ur5e.xml"), escape_separators=True)
    hand = mjcf.from_path(str(folder / "robotiq_2f85" / "2f85.xml"), escape_separators=True)
    root.model, hand.model = "ur5e", "robotiq"
    joints, servos = tuple(root.find_all("joint")), tuple(root.find_all("actuator"))
    passive = {"right_spring_link_joint": 1.0, "left_spring_link_joint": 1.0, "right_follower_joint": -1.0, "left_follower_joint": -1.0}
    for element in [*root.find_all("light"), *root.find_all("key")]:
        element.remove()
    for option, name in ((root.option, "integrator"), (hand.option, "cone"), (hand.option, "impratio")):
        delattr(option, name)  # the scene's own
    flange = root.find("site", "attachment_site").attach(hand)
    grip = hand.find("actuator", "fingers_actuator")
    grip.set_attributes(gainprm=[_FINGER_KP, 0, 0], ctrlrange=(0, 0.8))
    for body in root.find_all("body"):
        if body is not flange:
            body.gravcomp = 1.0  # the arm's own controller carries its weight
    return ArmModel(
        name="ur5e",
        root=root,
        joints=joints,
        servos=servos,
        tool_site=hand.find("site", "pinch"),
        finger_joints=(hand.find("joint", "right_driver_joint"), hand.find("joint", "left_driver_joint")),
        finger_servos=(grip,),
        finger_range=(0.0, 0.8),
        home=_HOME,
        limits=MoveLimits(
            workspace_low=(0.26, -0.22, 0.02),
            workspace_high=(0.60, 0.22, 0.32),
            yaw_low=-0.9,
            yaw_high=0.9,
            joint_speed=(np.pi / 2,) * 6,  # half of what the arm can do
        ),
        passive_joints=tuple((hand.find("joint", name), ratio) for name, ratio in passive.items()),
        integrator="implicitfast",  # its stiff dampers are unstable under explicit Euler
    )


def _descriptions() -> Path:
    spec = find_spec("ogbench")  # found, not imported: its environments are not needed
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "manipspace" / "descriptions"
        if folder.is_dir():
            return folder
    raise MissingExtraError("the UR5e's model files come with ogbench, which is not installed; run `pip install 'robo-dream[ogbench]'`")
