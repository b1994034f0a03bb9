"""Any arm of a MuJoCo Menagerie folder, by the folder's path or, through the `mujoco-menagerie` package, by its name."""

from pathlib import Path

import mujoco
import numpy as np
from dm_control import mjcf

from robo_dream.control.cartesian import MoveLimits, downward_quat
from robo_dream.control.kinematics import Kinematics
from robo_dream.embodiment import Pose
from robo_dream.errors import ConfigError, MissingExtraError
from sim.tabletop.arms.model import ArmModel
from sim.tabletop.arms.servos import is_position_servo, position_servo

_TOOL_SITES = ("pinch", "grasp_site", "tcp", "attachment_site", "gripper", "ee_site", "end_effector")  # most telling first
_HAND_WORDS = ("finger", "gripper", "jaw", "knuckle", "driver", "hand")  # in names of joints that are no part of the arm
_LOW, _HIGH = np.array([0.26, -0.22, 0.02]), np.array([0.60, 0.22, 0.32])  # m; the default scene's workspace
_JOINT_SPEED = 1.0  # rad/s
_HINGE, _SLIDE = mujoco.mjtJoint.mjJNT_HINGE, mujoco.mjtJoint.mjJNT_SLIDE
_SQUEEZE = {_HINGE: 2.5, _SLIDE: 25.0}  # N m or N for a closure by the hand's whole range; 0.4 of it is what a hand may lag
_HOME_TRIES, _HOME_ERROR = 60, 5e-3


def build(source: str) -> ArmModel:
    """The arm of `source`: a folder, an XML file or a name in the Menagerie, then "#" and the tool's site or body if it cannot be guessed.

    Raises `ConfigError` for what is not there or cannot be understood, `MissingExtraError` for a name that cannot be downloaded.
    """
    place, _, tool_name = source.partition("#")
    path = _model_file(place)
    root = mjcf.from_path(str(path), escape_separators=True)
    for element in [*root.find_all("light"), *root.find_all("key"), *root.find_all("camera")]:
        element.remove()
    for option in ("timestep", "integrator", "cone", "impratio"):
        delattr(root.option, option)  # the scene's own
    tool = _tool_site(root, tool_name, path)
    alone = mujoco.MjModel.from_xml_string(root.to_xml_string(), root.get_assets())
    joints = _arm_joints(tool, alone)
    if len(joints) < 6:
        raise ConfigError(f"{path} has {len(joints)} hinges before {tool.name!r}; tool moves with the hand pointing down need 6 or more")
    fingers = _finger_joints(root, joints, alone)
    opened, closed = _finger_range(alone, fingers)
    for body in root.find_all("body"):
        body.gravcomp = 1.0  # the arm's own controller carries its weight
    servos = tuple(_servo(root, joint, alone, None) for joint in joints)
    finger_servos = tuple(_servo(root, joint, alone, _SQUEEZE[_kind(joint, alone)] / abs(closed - opened)) for joint in fingers)
    limits, home = _reach(alone, joints, tool, path)
    return ArmModel(
        name=path.stem,
        root=root,
        joints=joints,
        servos=servos,
        tool_site=tool,
        finger_joints=fingers,
        finger_servos=finger_servos,
        finger_range=(opened, closed),
        home=tuple(home),
        limits=limits,
        integrator="implicitfast",  # what the Menagerie's gains are chosen for
    )


def _model_file(place: str) -> Path:
    path = Path(place).expanduser()
    if path.is_file():
        return path.resolve()
    if not path.is_dir():
        if path.parent != Path("."):
            raise ConfigError(f"no folder or XML file {path}; give the folder of an arm in a copy of the MuJoCo Menagerie")
        path = _downloaded(place)
    found = [file for file in sorted(path.glob("*.xml")) if not file.stem.startswith(("scene", "mjx_", "hand", "keyframe"))]
    folder = path.resolve().name.replace("_", "")
    named = [file for file in found if file.stem.replace("_", "") in folder]
    chosen = found if len(found) == 1 else sorted(named, key=lambda file: len(file.stem))[-1:]
    if not chosen:
        files = ", ".join(file.name for file in found) or "no XML file"
        raise ConfigError(f"{path} holds {files}; name the arm's file, as in menagerie:{path}/arm.xml")
    return chosen[0].resolve()


def _downloaded(name: str) -> Path:
    try:
        import mujoco_menagerie  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError(
            f"{name!r} is no folder here, and names need mujoco-menagerie, which is not installed; run "
            "`pip install 'robo-dream[menagerie]'` or give the folder of an arm in a copy of https://github.com/google-deepmind/mujoco_menagerie"
        ) from error
    try:
        return Path(mujoco_menagerie.get(name).path(progress=None))
    except LookupError as error:
        raise ConfigError(f"the Menagerie has no {name!r}; it has {', '.join(mujoco_menagerie.names())}") from error
    except (mujoco_menagerie.MenagerieError, OSError) as error:
        raise MissingExtraError(
            f"cannot download {name!r} from the Menagerie ({error}); connect once, or give the folder of an arm that is on this machine"
        ) from error


def _tool_site(root: mjcf.RootElement, name: str, path: Path) -> mjcf.Element:
    """The named site; a new one in the named body; or the site that by its name is the tool's."""
    sites = {site.name: site for site in root.find_all("site") if site.name}
    bodies = {body.name: body for body in root.find_all("body") if body.name}
    for desired in (name,) if name else _TOOL_SITES:
        if desired in sites:
            return sites[desired]
    if name in bodies:
        return bodies[name].add("site", name="robo_dream_tool")
    raise ConfigError(
        f"{path} has no tool named {name!r}; give one of its sites {sorted(sites)} or bodies {sorted(bodies)} after '#', "
        "whose z axis points out of the hand"
    )


def _kind(joint: mjcf.Element, alone: mujoco.MjModel) -> mujoco.mjtJoint:
    return mujoco.mjtJoint(int(alone.joint(joint.full_identifier).type[0]))


def _arm_joints(tool: mjcf.Element, alone: mujoco.MjModel) -> tuple[mjcf.Element, ...]:
    """The hinges from the base to the tool."""
    joints: list[mjcf.Element] = []
    body = tool.parent
    while body.tag == "body":
        joints[:0] = [joint for joint in body.find_all("joint", immediate_children_only=True) if _kind(joint, alone) == _HINGE]
        body = body.parent
    return tuple(joint for joint in joints if not any(word in (joint.name or "") for word in _HAND_WORDS))


def _finger_joints(root: mjcf.RootElement, arm: tuple[mjcf.Element, ...], alone: mujoco.MjModel) -> tuple[mjcf.Element, ...]:
    """Joints of the hand that actuators drive, directly or through a tendon; those of the first one's kind. None for a bare arm."""
    driven: list[mjcf.Element] = []
    for actuator in root.find_all("actuator"):
        if actuator.joint is not None and actuator.joint not in arm:
            driven.append(actuator.joint)
        elif getattr(actuator, "tendon", None) is not None:
            driven += [part.joint for part in actuator.tendon.find_all("joint") if part.joint not in arm]
    return tuple(joint for joint in driven if _kind(joint, alone) == _kind(driven[0], alone))


def _servo(root: mjcf.RootElement, joint: mjcf.Element, alone: mujoco.MjModel, stiffness: float | None) -> mjcf.Element:
    """The model's own position servo of the joint, or one put in the place of what drives it otherwise."""
    for actuator in [found for found in root.find_all("actuator") if found.joint is joint]:
        if is_position_servo(alone, alone.actuator(actuator.full_identifier).id):
            return actuator
        actuator.remove()
    for actuator in root.find_all("actuator"):
        tendon = getattr(actuator, "tendon", None)
        if tendon is not None and any(part.joint is joint for part in tendon.find_all("joint")):
            actuator.remove()
    return position_servo(root, joint, alone, stiffness)


def _finger_range(alone: mujoco.MjModel, fingers: tuple[mjcf.Element, ...]) -> tuple[float, float]:
    """Open and closed. Slides open outwards from 0; hinges are taken to close with growing angle."""
    if not fingers:
        return 0.0, 1.0
    joint = alone.joint(fingers[0].full_identifier)
    low, high = (float(end) for end in joint.range)
    return (high, low) if joint.type[0] == _SLIDE else (low, high)


def _reach(alone: mujoco.MjModel, joints: tuple[mjcf.Element, ...], tool: mjcf.Element, path: Path) -> tuple[MoveLimits, np.ndarray]:
    """The part of the default workspace that the arm's length allows, and joints above its middle with the tool pointing down."""
    kinematics = Kinematics(alone, [joint.full_identifier for joint in joints], tool.full_identifier)
    data = mujoco.MjData(alone)
    mujoco.mj_kinematics(alone, data)
    anchors = [data.joint(joint.full_identifier).xanchor for joint in joints] + [data.site(tool.full_identifier).xpos]
    length = float(np.linalg.norm(np.diff(anchors[1:], axis=0), axis=1).sum())
    high = np.minimum(_HIGH, [0.75 * length, 0.5 * length, 0.6 * length])
    low = np.maximum(_LOW, [-np.inf, -high[1], -np.inf])
    middle = np.array([(low[0] + high[0]) / 2, 0.0, (low[2] + high[2]) * 0.7])
    target, rng = Pose(middle, downward_quat(0.0)), np.random.default_rng(0)
    free_low, free_high = np.maximum(kinematics.low, -np.pi), np.minimum(kinematics.high, np.pi)
    for attempt in range(_HOME_TRIES):
        start = rng.uniform(free_low, free_high) if attempt else (free_low + free_high) / 2
        found = kinematics.inverse(start, target, 150)
        reached = kinematics.forward(found)
        if np.abs(reached.pos - middle).max() < _HOME_ERROR and abs(abs(reached.quat @ target.quat) - 1) < _HOME_ERROR:
            return MoveLimits(tuple(low), tuple(high), -0.9, 0.9, (_JOINT_SPEED,) * len(joints)), found
    raise ConfigError(
        f"{path} cannot point its tool {tool.name!r} down at {middle.round(2)} m in front of its base; "
        "name another site or body after '#', whose z axis points out of the hand"
    )
