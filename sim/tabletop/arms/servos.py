"""Position servos: actuators whose control is a joint's target."""

import mujoco
from dm_control import mjcf

_RESPONSE = 20.0  # rad/s; critically damped, it settles in about 0.2 s
_TORQUE = 100.0  # N m (N for slides) where the model gives no limit for its joint


def is_position_servo(model: mujoco.MjModel, actuator: int) -> bool:
    """Whether at rest the actuator holds its joint at the value of its control."""
    gain, bias = model.actuator_gainprm[actuator, 0], model.actuator_biasprm[actuator]
    affine = model.actuator_biastype[actuator] == mujoco.mjtBias.mjBIAS_AFFINE
    direct = model.actuator_trntype[actuator] == mujoco.mjtTrn.mjTRN_JOINT and model.actuator_gear[actuator, 0] == 1
    return bool(affine and direct and gain > 0 and abs(bias[1] + gain) < 1e-6 * gain and bias[0] == 0)


def position_servo(root: mjcf.RootElement, joint: mjcf.Element, model: mujoco.MjModel, stiffness: float | None = None) -> mjcf.Element:
    """A critically damped servo, sized by the joint's inertia at the model's reference pose; `stiffness` in N m/rad (N/m for slides)."""
    compiled = model.joint(joint.full_identifier)
    inertia = float(model.dof_M0[compiled.dofadr[0]])
    stiffness = inertia * _RESPONSE**2 if stiffness is None else stiffness
    damping = 2 * (inertia * stiffness) ** 0.5
    torque = float(model.jnt_actfrcrange[compiled.id, 1]) if model.jnt_actfrclimited[compiled.id] else _TORQUE
    return root.actuator.add(
        "general", name=f"{joint.name}_servo", joint=joint, biastype="affine", gainprm=[stiffness], biasprm=[0, -stiffness, -damping],
        ctrllimited=False, forcelimited=True, forcerange=(-torque, torque),
    )  # fmt: skip
