"""Moving an arm from picture to picture, slowly, and the poses at which it holds still for them."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from robo_dream.calibration.poses import from_quat, rotation
from robo_dream.embodiment import Clock, Pose, RobotArm, ToolKinematics
from robo_dream.errors import ContractError

_STILL = 0.003  # rad/s; 2 mm/s at the tool, a tenth of a millimetre between joints and picture
_SETTLE = 3.0  # s that an arm may take to come to rest
_REACHED = 0.02  # m between the tool and where it was sent, beyond which a pose counts as out of reach
_TRIES = 20  # for each pose that is desired


def tool_matrix(kinematics: ToolKinematics, joint_pos: Float[np.ndarray, " joint"]) -> Float[np.ndarray, "4 4"]:
    """world_from_tool."""
    tool = kinematics.forward(joint_pos)
    return from_quat(tool.quat, tool.pos)


def view_poses(
    kinematics: ToolKinematics,
    home: Float[np.ndarray, " joint"],
    lean: Float[np.ndarray, "3"],
    tilt: float,
    reach: float,
    count: int,
    seed: int = 0,
) -> Iterator[Float[np.ndarray, " joint"]]:
    """Joint positions that show the board from many sides.

    The tool stands at home, turned by the rotation vector `lean` (rad, world axes), and from there tilted by up to `tilt` radians about
    each axis and moved by up to `reach` metres along each. Raises `ContractError` when the arm reaches too few such poses.
    """
    random = np.random.default_rng(seed)
    middle = tool_matrix(kinematics, home)
    found, start = 0, np.asarray(home, np.float64)
    for _ in range(_TRIES * count):
        turned = rotation(random.uniform(-tilt, tilt, 3)) @ rotation(np.asarray(lean, np.float64)) @ middle[:3, :3]
        desired = Pose(middle[:3, 3] + random.uniform(-reach, reach, 3), _quat(turned))
        joints = kinematics.inverse(start, desired, num_iterations=100)
        reached = kinematics.forward(joints)
        if np.linalg.norm(reached.pos - desired.pos) < _REACHED and abs(float(reached.quat @ desired.quat)) > 0.99:
            found += 1
            yield joints
            if found == count:
                return
    raise ContractError(
        f"the arm reaches {found} of the {count} poses desired around its home; choose smaller `tilt` and `reach`, or another `lean`"
    )


def go(arm: RobotArm, clock: Clock, joint_pos: Float[np.ndarray, " joint"], speed: float) -> None:
    """Brings a joint-target arm there, its fastest joint at `speed` rad/s, and waits until it is at rest.

    Raises `ContractError` when it does not come to rest.
    """
    state, dt = arm.state(), arm.action_spec.control_dt
    start = state.joint_pos if state.joint_target is None else state.joint_target
    steps = max(int(np.ceil(1.5 * np.abs(joint_pos - start).max() / (speed * dt))), 1)
    time = clock.now()
    for i in range(1, steps + 1):
        share = i / steps
        smooth = share * share * (3 - 2 * share)  # starts and ends at rest; its greatest speed is 1.5 times the mean
        arm.send(np.append(start + smooth * (joint_pos - start), state.target_gripper))
        time += dt
        clock.sleep_until(time)
    for _ in range(int(_SETTLE / dt)):
        if np.abs(arm.state().joint_vel).max() < _STILL:
            return
        time += dt
        clock.sleep_until(time)
    raise ContractError(f"the arm does not come to rest within {_SETTLE:g} s (still {np.abs(arm.state().joint_vel).max():.3f} rad/s)")


def _quat(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4"]:
    """Unit quaternion wxyz of a rotation matrix (Bar-Itzhack 2000: the eigenvector to the largest eigenvalue)."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = matrix
    k = np.array([
        [xx + yy + zz, zy - yz, xz - zx, yx - xy],
        [zy - yz, xx - yy - zz, xy + yx, xz + zx],
        [xz - zx, xy + yx, yy - xx - zz, yz + zy],
        [yx - xy, xz + zx, yz + zy, zz - xx - yy],
    ])  # fmt: skip
    return np.linalg.eigh(k)[1][:, -1]
