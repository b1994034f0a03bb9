"""Arms of capsules and boxes, built from published Denavit-Hartenberg parameters: for where no package ships the arm's own model.

They move, reach, touch and weigh like the real arm to within a few per cent; they do not look like it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from dm_control import mjcf

from robo_dream.control.cartesian import MoveLimits
from sim.tabletop.arms.model import ArmModel

_RESPONSE = 40.0  # rad/s of the joint servos, critically damped: a joint lags its target by 50 ms, as arms of this class do
_FINGER_TRAVEL = 0.0425  # m of each finger; both grippers open by 85 mm
_FINGER_STIFFNESS = 1200.0  # N/m; a hand that lags by 0.4 of its closure squeezes with 20 N
_FINGER_FORCE = 60.0  # N
_PALE, _DARK = (0.82, 0.84, 0.87, 1), (0.25, 0.27, 0.3, 1)


@dataclass(frozen=True)
class Link:
    """One joint and what it carries: T = Rz(theta + q) Tz(d) Tx(a) Rx(alpha), in metres and radians.

    `low` and `high` are the joint's range (rad), `torque` its limit (N m), `rotor` the inertia of motor and gear as the joint feels it
    (kg m^2), `radius` the thickness of the capsules drawn along d and a, shifted by `shift` along the joint's axis.
    """

    d: float
    a: float
    alpha: float
    low: float
    high: float
    torque: float
    mass: float
    radius: float
    rotor: float
    theta: float = 0.0
    shift: float = 0.0


def arm_of_shapes(
    name: str, links: Sequence[Link], joint_names: Sequence[str], tool_length: float, home: Sequence[float], limits: MoveLimits
) -> ArmModel:
    """An arm that stands at the origin, with a parallel gripper whose finger tips are `tool_length` metres from the flange."""
    root = mjcf.RootElement(model=name.removesuffix("_shapes"))
    root.compiler.angle = "radian"
    base = root.worldbody.add("body", name="base")
    height = links[0].d / 2
    base.add("geom", type="cylinder", fromto=(0, 0, 0, 0, 0, height), size=(links[0].radius * 1.3,), rgba=_DARK, mass=2.0)
    bodies, joints = [base], []
    body, pos, alpha = base, np.zeros(3), 0.0
    for joint_name, link in zip(joint_names, links, strict=True):
        quat = np.zeros(4)
        mujoco.mju_mulQuat(quat, _about_x(alpha), _about_z(link.theta))
        body = body.add("body", name=joint_name, pos=pos, quat=quat, gravcomp=1.0)
        joints.append(
            body.add("joint", name=joint_name, type="hinge", axis=(0, 0, 1), range=(link.low, link.high), limited=True, armature=link.rotor)
        )
        _capsules(body, link, above=height if len(bodies) == 1 else 0.0)
        bodies.append(body)
        pos, alpha = np.array([link.a, 0.0, link.d]), link.alpha
    for first in range(len(bodies)):  # neighbours overlap in their joints, and the wrist's links are short
        for second in range(first + 1, min(first + (3 if first < 3 else 4), len(bodies))):
            root.contact.add("exclude", body1=bodies[first], body2=bodies[second])
    hand = body.add("body", name="hand", pos=pos, quat=_about_x(alpha), gravcomp=1.0)
    fingers, tool = _hand(root, hand, tool_length)
    for wrist in bodies[-3:]:
        root.contact.add("exclude", body1=wrist, body2=hand)
    alone = mujoco.MjModel.from_xml_string(root.to_xml_string(), root.get_assets())
    servos = tuple(_servo(root, joint, alone, link.torque) for joint, link in zip(joints, links, strict=True))
    grips = tuple(_grip(root, finger) for finger in fingers)
    return ArmModel(
        name=name, root=root, joints=tuple(joints), servos=servos, tool_site=tool, finger_joints=fingers, finger_servos=grips,
        finger_range=(0.0, _FINGER_TRAVEL), home=tuple(home), limits=limits, integrator="implicitfast",
    )  # fmt: skip


def _capsules(body: mjcf.Element, link: Link, above: float) -> None:
    """A capsule along the joint's axis and one along the link, which together weigh `link.mass`."""
    start, bend, end = (0.0, 0.0, above + link.shift), (0.0, 0.0, link.d + link.shift), (link.a, 0.0, link.d + link.shift)
    parts = [(start, bend), (bend, end)]
    parts = [(a, b) for a, b in parts if np.linalg.norm(np.subtract(b, a)) > 1e-3] or [((0, 0, -0.01), (0, 0, 0.01))]
    for i, (a, b) in enumerate(parts):
        colour = _PALE if i else _DARK
        body.add("geom", type="capsule", fromto=(*a, *b), size=(link.radius,), mass=link.mass / len(parts), rgba=colour)


def _hand(root: mjcf.RootElement, hand: mjcf.Element, length: float) -> tuple[tuple[mjcf.Element, ...], mjcf.Element]:
    """A palm and two fingers that slide along y; the tool's site is between their tips, its z axis out of the hand."""
    palm = length - 0.055
    hand.add("geom", type="box", size=(0.03, 0.055, palm / 2 - 0.01), pos=(0, 0, palm / 2 - 0.01), mass=0.7, rgba=_DARK)
    joints = []
    for name, side in (("right", 1), ("left", -1)):
        finger = hand.add("body", name=f"{name}_finger", pos=(0, side * (_FINGER_TRAVEL + 0.008), palm), gravcomp=1.0)
        joints.append(
            finger.add(
                "joint", name=f"{name}_finger", type="slide", axis=(0, -side, 0), range=(0, _FINGER_TRAVEL), limited=True, armature=0.2
            )
        )
        finger.add(
            "geom", type="box", size=(0.012, 0.008, 0.034), pos=(0, 0, 0.026), mass=0.05, rgba=_PALE, friction=(1.2, 0.02, 0.001), condim=4
        )
    root.contact.add("exclude", body1=root.find("body", "right_finger"), body2=root.find("body", "left_finger"))
    return tuple(joints), hand.add("site", name="pinch", pos=(0, 0, length))


def _servo(root: mjcf.RootElement, joint: mjcf.Element, alone: mujoco.MjModel, torque: float) -> mjcf.Element:
    inertia = float(alone.dof_M0[alone.joint(joint.full_identifier).dofadr[0]])
    stiffness, damping = inertia * _RESPONSE**2, 2 * inertia * _RESPONSE
    return root.actuator.add(
        "general", name=f"{joint.name}_servo", joint=joint, biastype="affine", gainprm=[stiffness], biasprm=[0, -stiffness, -damping],
        forcelimited=True, forcerange=(-torque, torque),
    )  # fmt: skip


def _grip(root: mjcf.RootElement, joint: mjcf.Element) -> mjcf.Element:
    damping = 2 * (0.25 * _FINGER_STIFFNESS) ** 0.5
    return root.actuator.add(
        "general", name=f"{joint.name}_servo", joint=joint, biastype="affine", gainprm=[_FINGER_STIFFNESS],
        biasprm=[0, -_FINGER_STIFFNESS, -damping], forcelimited=True, forcerange=(-_FINGER_FORCE, _FINGER_FORCE),
    )  # fmt: skip


def _about_x(angle: float) -> np.ndarray:
    return np.array([np.cos(angle / 2), np.sin(angle / 2), 0.0, 0.0])


def _about_z(angle: float) -> np.ndarray:
    return np.array([np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)])
