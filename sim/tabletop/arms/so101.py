"""SO-101 (TheRobotStudio, LeRobot) of simple shapes, from its published dimensions and joint ranges; five joints and one moving jaw.

Masses and link lengths follow TheRobotStudio's URDF (0.116 m upper arm, 0.135 m forearm, 0.159 m from wrist to fingertips). The lateral
offsets of its brackets (under 3 cm) are left out, so the arm is planar. Zero pose: upper arm up, forearm and hand straight ahead.
"""

import numpy as np
from dm_control import mjcf

from robo_dream.control.cartesian import MoveLimits
from sim.tabletop.arms.model import ArmModel

# STS3215 at 12 V: 30 kg cm stall torque, 45 rpm. Gain, friction and rotor inertia as identified for the SO-101 by the makers of its MuJoCo
# model (kp 998 at P = 32; LeRobot halves P); damping makes the reply to a step smooth, as the servo's own D term does.
_SERVO = {"kp": 499.0, "kv": 12.0, "torque": 2.94}
_JAW = {"kp": 20.0, "kv": 0.5, "torque": 1.2}  # 40 % of stall, as LeRobot limits it
_ARMATURE, _DAMPING, _FRICTION = 0.028, 0.6, 0.052
_SPEED = 2.0  # rad/s, well under the servo's 4.7
_MOUNT = (0.25, 0.0, 0.12)  # m; on a block, so that the hand points down over as much table as the short arm allows
_OPENED, _CLOSED = 1.2, -0.05  # rad of the jaw
_BLACK, _WHITE = (0.12, 0.12, 0.13, 1), (0.93, 0.91, 0.86, 1)


def build() -> ArmModel:
    root = mjcf.RootElement(model="so101")
    root.compiler.angle = "radian"
    root.default.joint.set_attributes(armature=_ARMATURE, damping=_DAMPING, frictionloss=_FRICTION)
    root.default.geom.set_attributes(rgba=_WHITE, friction=(0.8, 0.005, 0.0001))
    base = root.worldbody.add("body", name="base", pos=_MOUNT)
    base.add("geom", type="box", size=(0.06, 0.05, _MOUNT[2] / 2), pos=(0, 0, -_MOUNT[2] / 2), rgba=(0.45, 0.36, 0.27, 1), mass=1.0)
    base.add("geom", type="box", size=(0.045, 0.032, 0.028), pos=(0.01, 0, 0.028), mass=0.147)
    shoulder = base.add("body", name="shoulder", pos=(0.0388, 0, 0.0624))
    pan = shoulder.add("joint", name="shoulder_pan", type="hinge", axis=(0, 0, -1), range=(-1.91986, 1.91986))
    shoulder.add("geom", type="cylinder", size=(0.026, 0.02), pos=(0.01, 0, 0.02), rgba=_BLACK, mass=0.1)
    upper = shoulder.add("body", name="upper_arm", pos=(0.0304, 0, 0.0542))
    lift = upper.add("joint", name="shoulder_lift", type="hinge", axis=(0, 1, 0), range=(-1.74533, 1.74533))
    upper.add("geom", type="capsule", fromto=(0, 0, 0, 0, 0, 0.116), size=(0.022,), mass=0.103)
    lower = upper.add("body", name="lower_arm", pos=(0, 0, 0.116))
    elbow = lower.add("joint", name="elbow_flex", type="hinge", axis=(0, 1, 0), range=(-1.69, 1.69))
    lower.add("geom", type="capsule", fromto=(0, 0, 0, 0.135, 0, 0), size=(0.018,), mass=0.104)
    wrist = lower.add("body", name="wrist", pos=(0.135, 0, 0))
    flex = wrist.add("joint", name="wrist_flex", type="hinge", axis=(0, 1, 0), range=(-1.65806, 1.65806))
    wrist.add("geom", type="capsule", fromto=(0, 0, 0, 0.045, 0, 0), size=(0.018,), rgba=_BLACK, mass=0.079)
    hand = wrist.add("body", name="gripper", pos=(0.0611, 0, 0))
    roll = hand.add("joint", name="wrist_roll", type="hinge", axis=(1, 0, 0), range=(-2.74385, 2.84121))
    hand.add("geom", type="box", size=(0.014, 0.024, 0.018), pos=(0.012, 0, 0), rgba=_BLACK, mass=0.067)
    hand.add("geom", name="fixed_jaw", type="box", size=(0.038, 0.004, 0.012), pos=(0.062, -0.006, 0), mass=0.02)
    jaw = hand.add("body", name="moving_jaw", pos=(0.020, 0.012, 0))
    grip = jaw.add("joint", name="gripper", type="hinge", axis=(0, 0, 1), range=(-0.17453, 1.74533), armature=0.005, damping=0.05)
    jaw.add("geom", name="jaw", type="box", size=(0.040, 0.004, 0.012), pos=(0.040, -0.004, 0), mass=0.012)
    # The hand's x axis points out of it; a tool's z does. At the pose with the hand down and pan 0, the tool's x axis points ahead.
    tool = hand.add("site", name="tool", pos=(0.0981, 0, 0), xyaxes=(0, 0, 1, 0, -1, 0))
    joints = (pan, lift, elbow, flex, roll)
    for body, other in ((shoulder, base), (upper, base), (jaw, wrist)):
        root.contact.add("exclude", body1=body, body2=other)
    servos = tuple(_servo(root, joint, **_SERVO) for joint in joints)
    return ArmModel(
        name="so101",
        root=root,
        joints=joints,
        servos=servos,
        tool_site=tool,
        finger_joints=(grip,),
        finger_servos=(_servo(root, grip, **_JAW),),
        finger_range=(_OPENED, _CLOSED),
        home=(0.0, -0.2, 0.2, np.pi / 2, 0.0),
        limits=MoveLimits(
            workspace_low=(0.35, -0.16, 0.012),
            workspace_high=(0.49, 0.16, 0.16),
            yaw_low=-0.9,
            yaw_high=0.9,
            joint_speed=(_SPEED,) * 5,
            give=0.15,  # its pan ends at 2.94 N m: pushing a box that jams, it is pressed back until the tool lags by `max_lag`, 0.33 rad
        ),
        still_jaw=-0.002,
        integrator="implicitfast",  # stiff servos on light links
    )


def _servo(root: mjcf.RootElement, joint: mjcf.Element, kp: float, kv: float, torque: float) -> mjcf.Element:
    return root.actuator.add(
        "general", name=f"{joint.name}_servo", joint=joint, biastype="affine",
        gainprm=[kp], biasprm=[0, -kp, -kv], forcelimited=True, forcerange=(-torque, torque),
    )  # fmt: skip
