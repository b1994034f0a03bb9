"""Kinova Jaco with its three-finger hand, as shipped by dm_control, under position servos."""

import numpy as np
from dm_control import mjcf
from dm_control.entities.manipulators import kinova

from robo_dream.control.cartesian import MoveLimits
from sim.tabletop.arms.model import ArmModel

# Joint position servos. Torque limits are dm_control's, from Kinova's actuator data sheet; the gains give a critically
# damped response of about 0.1 s against the rotor inertias of dm_control's model (4 and 2 kg m^2).
_LARGE = {"kp": 5000.0, "kv": 300.0, "torque": 30.5, "speed": np.deg2rad(36.0)}
_SMALL = {"kp": 1000.0, "kv": 150.0, "torque": 6.8, "speed": np.deg2rad(48.0)}
_FINGER = {"kp": 10.0, "kv": 1.0, "torque": 1.0}  # 1 N m is dm_control's value for the hand's 25 N grip
_HOME = (-2.9865, 3.6569, 1.4240, -2.8557, -1.0629, 2.0117)


def build() -> ArmModel:
    arm = kinova.JacoArm()
    hand = kinova.JacoHand(use_pinch_site_as_tcp=True)
    arm.attach(hand)
    root = arm.mjcf_model
    for actuator in [*arm.actuators, *hand.actuators]:
        actuator.remove()
    gains = [_LARGE] * 3 + [_SMALL] * 3
    servos = tuple(_servo(root, joint, **gain) for joint, gain in zip(arm.joints, gains, strict=True))
    finger_servos = tuple(_servo(hand.mjcf_model, joint, **_FINGER) for joint in hand.joints)
    flange = mjcf.get_attachment_frame(hand.mjcf_model)
    for body in root.find_all("body"):
        if body is not flange:
            body.gravcomp = 1.0  # the arm's own controller carries its weight
    return ArmModel(
        name="jaco",
        root=root,
        joints=tuple(arm.joints),
        servos=servos,
        tool_site=hand.tool_center_point,
        finger_joints=tuple(hand.joints),
        finger_servos=finger_servos,
        finger_range=(0.15, 1.35),
        home=_HOME,
        limits=MoveLimits(
            workspace_low=(0.26, -0.22, 0.012),
            workspace_high=(0.60, 0.22, 0.32),
            yaw_low=-0.9,
            yaw_high=0.9,
            joint_speed=tuple(gain["speed"] for gain in gains),
            give=0.15,  # its wrist ends at 6.8 N m: in scripted play it presses, or is still turning round, up to 0.3 rad off
        ),
    )


def _servo(root: mjcf.RootElement, joint: mjcf.Element, kp: float, kv: float, torque: float, speed: float = 0.0) -> mjcf.Element:
    return root.actuator.add(
        "general", name=f"{joint.name}_servo", joint=joint, biastype="affine",
        gainprm=[kp], biasprm=[0, -kp, -kv], forcelimited=True, forcerange=(-torque, torque),
    )  # fmt: skip
