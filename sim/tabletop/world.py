"""A running MuJoCo world: stepped by tool moves or joint targets, looked at through its cameras, restored to any stored state."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import mujoco
import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.control.cartesian import CartesianMoves, with_tool
from robo_dream.control.kinematics import Kinematics
from robo_dream.data.spec import CameraSpec
from robo_dream.embodiment import ActionSpec, ArmState, Intrinsics
from robo_dream.errors import ContractError
from sim.ground_truth import GroundTruth
from sim.rendering import SceneRenderer, averaged_down
from sim.tabletop.lag import Lag
from sim.tabletop.objects import SYMMETRY
from sim.tabletop.randomization import ASPECTS, MOST_SEEDS, Variation, draw_variation
from sim.tabletop.scene import Additions, CameraConfig, Scene, SceneConfig, build_scene
from sim.tabletop.varied import TABLE_COLOUR, VariedModel, object_bounds

CONTROL_DT = 0.1  # s
SERVO_UPDATES = 5  # in a control step the servo targets move to the new joint target in this many equal parts
STATE_PARTS = mujoco.mjtState.mjSTATE_FULLPHYSICS | mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_WARMSTART

AnyWorld = TypeVar("AnyWorld", bound="World")


@dataclass(frozen=True)
class Appearance:
    """How a model looks: colours, light, and where its cameras stand."""

    colour: Float[np.ndarray, "geom 4"]
    light: Float[np.ndarray, "light 3"]
    camera_pos: Float[np.ndarray, "camera 3"]
    camera_quat: Float[np.ndarray, "camera 4"]


class World:
    """Physics and cameras of one scene: a `Simulation`. `state` and `set_state` carry everything that decides the future.

    Where the scene is randomized, that is also what was drawn for the episode, and what the arm's lag remembers.
    """

    control_dt = CONTROL_DT

    def __init__(self, config: SceneConfig | None = None, additions: Additions | None = None) -> None:
        self.scene: Scene = build_scene(config or SceneConfig(), additions)
        self.model = self.scene.model
        self.data = mujoco.MjData(self.model)
        self.kinematics = Kinematics(self.model, self.scene.joint_names, self.scene.tool_site)
        self.moves = CartesianMoves(self.kinematics, self.scene.arm.limits, CONTROL_DT)
        self._substeps = round(CONTROL_DT / SERVO_UPDATES / self.model.opt.timestep)
        self._qpos = np.array([self.model.joint(name).qposadr[0] for name in self.scene.joint_names])
        self._dofs = np.array([self.model.joint(name).dofadr[0] for name in self.scene.joint_names])
        self._fingers = np.array([self.model.joint(name).qposadr[0] for name in self.scene.finger_names], np.int64)
        self._finger_dofs = np.array([self.model.joint(name).dofadr[0] for name in self.scene.finger_names], np.int64)
        self._renderers: dict[tuple[int, int], SceneRenderer] = {}
        self._cameras = {camera.name: camera for camera in self.scene.config.cameras}
        model = self.model
        self.as_built = Appearance(*(part.copy() for part in (model.geom_rgba, model.light_diffuse, model.cam_pos, model.cam_quat)))
        self.pending_target = np.zeros(len(self._qpos) + 1)  # what `SimArm` was last told
        self.variation: Variation | None = None  # None: as the scene says
        self._varied, self._lag = self._variable(), self._lagging()
        self._change(None)
        self.home()

    def __enter__(self: AnyWorld) -> AnyWorld:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def home(self) -> None:
        """Puts the arm at its home pose with an open hand and everything at rest; the objects at their model pose."""
        mujoco.mj_resetData(self.model, self.data)
        self.set_arm(np.asarray(self.scene.arm.home), 0.0)

    def set_arm(self, joint_pos: Float[np.ndarray, " joint"], gripper: float) -> None:
        """Places the arm, at rest and with its servos there."""
        self.data.qpos[self._qpos] = joint_pos
        self.data.qpos[self._fingers] = self._finger_angle(gripper)
        for name, ratio in self.scene.passive_joints:
            self.data.joint(name).qpos[0] = ratio * self._finger_angle(gripper)
        self.data.qvel[:] = 0
        self.set_servos(np.append(joint_pos, gripper))
        mujoco.mj_forward(self.model, self.data)

    def set_object(self, pose: Float[np.ndarray, "7"], index: int | None = None) -> None:
        """Places an object, without a number the one that tasks move, at rest; pose is xyz in metres and quaternion wxyz."""
        index = self.target if index is None else index
        start = self.scene.object_qpos[index]
        self.data.qpos[start : start + 7] = pose
        dof = self.model.jnt_dofadr[self.model.joint(self.scene.config.objects[index].name).id]
        self.data.qvel[dof : dof + 6] = 0
        mujoco.mj_forward(self.model, self.data)

    def set_servos(self, target: Float[np.ndarray, " joint_and_gripper"]) -> None:
        """Tells the servos where to be, at once; the world does not move yet."""
        if self._lag is not None:
            self._lag.settle(target)
        self._tell(target)
        self.pending_target = np.array(target, np.float64)

    @property
    def time(self) -> float:
        return float(self.data.time)

    @property
    def joint_target(self) -> Float[np.ndarray, " joint_and_gripper"]:
        """Where the servos are told to be: joints in radians, then the gripper's closure. Of an arm that lags, what is commanded."""
        if self._lag is not None:
            return self._lag.commanded
        ctrl = self.data.ctrl
        return np.append(ctrl[self.scene.servos], self._closure(ctrl[self.scene.finger_servos]))

    @property
    def measured(self) -> Float[np.ndarray, " joint_and_gripper"]:
        """Where the joints are, and the hand's closure."""
        return np.append(self.data.qpos[self._qpos], self._closure(self.data.qpos[self._fingers]))

    @property
    def measured_speed(self) -> Float[np.ndarray, " joint_and_gripper"]:
        """How fast they move: rad/s, and closure a second."""
        opened, closed = self.scene.arm.finger_range
        speeds = self.data.qvel[self._finger_dofs]
        return np.append(self.data.qvel[self._dofs], speeds.mean() / (closed - opened) if len(speeds) else 0.0)

    @property
    def object_poses(self) -> Float[np.ndarray, "object 7"]:
        return np.stack([self.data.qpos[start : start + 7] for start in self.scene.object_qpos])

    @property
    def target(self) -> int:
        """Which object tasks move: the first, unless another was drawn."""
        return 0 if self.variation is None else self.variation.target

    @property
    def object_pose(self) -> Float[np.ndarray, "7"]:
        """Of the object that tasks move."""
        return self.object_poses[self.target]

    @property
    def state(self) -> Float[np.ndarray, " state"]:
        """Everything that decides the future, as one float64 vector."""
        state = np.empty(mujoco.mj_stateSize(self.model, STATE_PARTS))
        mujoco.mj_getState(self.model, self.data, state, STATE_PARTS)
        return state if self._varied is None else np.concatenate([state, self._drawn, [] if self._lag is None else self._lag.state])

    def set_state(self, state: Float[np.ndarray, " state"]) -> None:
        """Restores a stored state; raises `ContractError` when it belongs to another scene."""
        size, physics = len(self.state), mujoco.mj_stateSize(self.model, STATE_PARTS)
        if np.shape(state) != (size,):
            raise ContractError(f"the stored state has shape {np.shape(state)}; this scene needs ({size},): made with another scene?")
        state = np.asarray(state, np.float64)
        if self._varied is not None:
            self._restore(state[physics:])
        mujoco.mj_setState(self.model, self.data, state[:physics], STATE_PARTS)
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, state[:physics], STATE_PARTS)  # forward moved the warm start
        self.pending_target = self.joint_target

    def vary(self, seed: int) -> None:
        """Draws looks, objects and physics anew, `seed` deciding all; where nothing is randomized, nothing changes.

        Objects and arm stay where they are: see `draw_start`.
        """
        config = self.scene.config.randomization
        if config is not None:
            self._change(self._variation(seed, config.held_out))

    def show(self, state: Float[np.ndarray, " state"], seed: int) -> None:
        """Arm and objects as in `state`, of this scene or of one that is randomized otherwise, in looks that `seed` draws anew."""
        physics = mujoco.mj_stateSize(self.model, STATE_PARTS)
        if np.ndim(state) != 1 or len(state) < physics:
            raise ContractError(
                f"the stored state has shape {np.shape(state)}; this scene needs {physics} numbers: made with another scene?"
            )
        if self.variation is None or self.variation.seed != seed:
            self.vary(seed)
        mujoco.mj_setState(self.model, self.data, np.asarray(state[:physics], np.float64), STATE_PARTS)
        mujoco.mj_forward(self.model, self.data)

    def half_size(self, index: int | None = None) -> tuple[float, float, float]:
        """Half the size (m) of the box that holds an object, without a number of the one that tasks move, as it is now."""
        return self._bounds(self.target if index is None else index)[1]

    @property
    def action_spec(self) -> ActionSpec:
        """Tool moves."""
        return self.moves.spec

    def step(self, action: Float[np.ndarray, " action"]) -> Float[np.ndarray, " action"]:
        """Advances the world by one tool move and returns the move that was really applied."""
        target, applied = self.moves.step(self.joint_target, self.measured, action)
        self.step_joints(target)
        return applied

    def step_joints(self, joint_target: Float[np.ndarray, " joint_and_gripper"]) -> None:
        """Advances the world by one control step while the servo targets move to `joint_target`."""
        before = self.joint_target
        for i in range(1, SERVO_UPDATES + 1):
            target = before + (joint_target - before) * (i / SERVO_UPDATES)
            if self._lag is None:
                self.set_servos(target)
            else:
                self._tell(self._lag.passed_on(target))
                self.pending_target = target
            mujoco.mj_step(self.model, self.data, self._substeps)

    def advance(self) -> None:
        """One control step towards what the arm was last told."""
        self.step_joints(self.pending_target)

    def arm_state(self) -> ArmState:
        measured, target = self.measured, self.joint_target
        zero, level = np.zeros(3), np.array([1.0, 0, 0, 0])
        state = ArmState(
            time=self.time, joint_pos=measured[:-1], joint_vel=self.data.qvel[self._dofs].copy(),
            tool_pos=zero, tool_quat=level, tool_yaw=0.0, gripper=float(measured[-1]),
            target_pos=zero, target_yaw=0.0, target_gripper=float(target[-1]), joint_target=target[:-1],
        )  # fmt: skip
        return with_tool(state, self.kinematics)

    def ground_truth(self) -> GroundTruth:
        """What is true now of the tool and the object that tasks move; of all objects, where that may be any of them."""
        config, target, measured, poses = self.scene.config, self.target, self.measured, self.object_poses
        kind, half_size = self._bounds(target)
        dof = int(self.model.joint(config.objects[target].name).dofadr[0])
        is_any = config.randomization is not None and config.randomization.any_object
        others = [index for index in range(len(poses)) if index != target] if is_any else []
        bounds = [self._bounds(index) for index in others]
        return GroundTruth(
            tool_pos=self.kinematics.forward(measured[:-1]).pos,
            object_pose=poses[target].copy(),
            half_size=half_size,
            gripper=float(measured[-1]),
            touched=self._touched(),
            object_speed=float(np.linalg.norm(self.data.qvel[dof : dof + 3])),
            object_spin=float(np.linalg.norm(self.data.qvel[dof + 3 : dof + 6])),
            object_symmetry=SYMMETRY[kind],
            others=poses[others],
            other_kinds=tuple((size, SYMMETRY[other]) for other, size in bounds),
            place=target if is_any else 0,
        )

    @property
    def camera_names(self) -> tuple[str, ...]:
        return tuple(self._cameras)

    @property
    def cameras(self) -> tuple[CameraSpec, ...]:
        """With their poses of now: a camera may be moved, or stand on the tool."""
        return tuple(
            CameraSpec(
                camera.name, camera.height, camera.width, self.intrinsics(camera.name),
                tuple(tuple(float(x) for x in row) for row in self.world_from_camera(camera.name)),
            )
            for camera in self._cameras.values()
        )  # fmt: skip

    def image(self, camera: str) -> UInt8[np.ndarray, "height width 3"]:
        """A picture of this very moment."""
        config, size = self.camera(camera), self.model.vis.global_
        key = (config.width * config.oversample, config.height * config.oversample)
        if key not in self._renderers:
            size.offwidth, size.offheight = max(size.offwidth, key[0]), max(size.offheight, key[1])
            self._renderers[key] = SceneRenderer(self.model, *key, as_modelled=self._has_shadows)
        picture = averaged_down(self._renderers[key].draw(self.data, camera), config.oversample)
        if self.variation is None:
            return picture
        moment = round(self.time / self.model.opt.timestep)
        noise = np.random.default_rng((self.variation.seed, list(self._cameras).index(camera), moment))
        return self.variation.cameras[camera].effects.on(picture, noise)

    def camera(self, name: str) -> CameraConfig:
        if name not in self._cameras:
            raise ContractError(f"no camera {name!r} in this scene; it has {sorted(self._cameras)}")
        return self._cameras[name]

    def intrinsics(self, camera: str) -> Intrinsics:
        config = self.camera(camera)
        focal = config.height / 2 / np.tan(np.deg2rad(float(self.model.cam(camera).fovy[0])) / 2)
        return Intrinsics(config.width, config.height, focal, focal, config.width / 2, config.height / 2)

    def world_from_camera(self, camera: str) -> Float[np.ndarray, "4 4"]:
        """Pose of the camera with x right, y down, z forward (OpenCV); MuJoCo's own axes are y up, z backward."""
        self.camera(camera)
        matrix = np.eye(4)
        data = self.data.cam(camera)
        matrix[:3, :3] = data.xmat.reshape(3, 3) * [1, -1, -1]
        matrix[:3, 3] = data.xpos
        return matrix

    @property
    def _has_shadows(self) -> bool:
        config = self.scene.config.randomization
        return config is not None and config.visual.shadows > 0

    def _variable(self) -> VariedModel | None:
        config = self.scene.config
        if config.randomization is None:
            return None
        objects = [(box.name, box.half_size, box.mass, box.colour) for box in config.objects]
        return VariedModel(self.model, config.randomization, objects, self.scene.arm.limits)

    def _lagging(self) -> Lag | None:
        config = self.scene.config.randomization
        if config is None or not config.has_lag:
            return None
        return Lag(len(self._qpos) + 1, CONTROL_DT / SERVO_UPDATES, config.physics.delay[1])

    def _variation(self, seed: int, held_out: Sequence[str]) -> Variation:
        config = self.scene.config
        assert config.randomization is not None
        colours = [box.colour for box in config.objects]
        return draw_variation(config.randomization, seed, held_out, colours, TABLE_COLOUR, list(self._cameras))

    def _change(self, variation: Variation | None) -> None:
        if self._varied is None:
            return
        changed = self._varied.apply(variation)
        for renderer in self._renderers.values():
            renderer.upload(changed)
        self.variation = variation
        if self._lag is not None:
            self._lag.delay, self._lag.backlash = (variation.delay, variation.backlash) if variation else (0.0, 0.0)
        mujoco.mj_forward(self.model, self.data)

    @property
    def _drawn(self) -> Float[np.ndarray, "3"]:
        """By what a stored state tells its variation: of which randomization, from which seed (-1 for none), and what was held out."""
        config, variation = self.scene.config.randomization, self.variation
        assert config is not None
        held_out = 0 if variation is None else sum(1 << ASPECTS.index(aspect) for aspect in variation.held_out)
        return np.array([config.fingerprint, -1 if variation is None else variation.seed, held_out], np.float64)

    def _restore(self, stored: Float[np.ndarray, " part"]) -> None:
        """Takes back the variation and the lag that a state tells of; raises `ContractError` for those of another randomization."""
        now, drawn = self._drawn, stored[:3]
        if drawn[0] != now[0]:
            raise ContractError(
                "the stored state was made in a scene that is randomized in another way; give world.randomization as it was then, "
                "which the dataset's recipe tells (`held_out` may differ)"
            )
        if not (drawn == np.rint(drawn)).all() or not -1 <= drawn[1] < MOST_SEEDS or not 0 <= drawn[2] < 1 << len(ASPECTS):
            raise ContractError(f"the stored state tells of the variation {drawn[1:].tolist()}, which no scene draws: is it damaged?")
        if not np.array_equal(drawn, now):
            held_out = tuple(aspect for number, aspect in enumerate(ASPECTS) if int(drawn[2]) >> number & 1)
            self._change(None if drawn[1] < 0 else self._variation(int(drawn[1]), held_out))
        if self._lag is not None:
            self._lag.state = stored[3:]

    def _bounds(self, index: int) -> tuple[str, tuple[float, float, float]]:
        """An object's kind, and half the size of the box that holds it."""
        config = self.scene.config
        if config.randomization is None:
            return "box", config.objects[index].half_size
        return object_bounds(config.randomization, self.variation, index, config.objects[index].half_size)

    def _tell(self, target: Float[np.ndarray, " joint_and_gripper"]) -> None:
        self.data.ctrl[self.scene.servos] = target[:-1]
        self.data.ctrl[self.scene.finger_servos] = self._finger_angle(float(target[-1]))

    def _closure(self, angles: Float[np.ndarray, " finger"]) -> float:
        opened, closed = self.scene.arm.finger_range
        return (angles.mean() - opened) / (closed - opened) if len(angles) else 0.0

    def _finger_angle(self, closure: float) -> float:
        opened, closed = self.scene.arm.finger_range
        return opened + closure * (closed - opened)

    def _touched(self) -> bool:
        """Whether a contact joins the object that tasks move with anything but the table and the other objects."""
        model, data = self.model, self.data
        names = [box.name for box in self.scene.config.objects]
        body = model.body(names[self.target]).id
        others = {0, *(model.body(name).id for name in names)}  # body 0 carries the table
        for contact in data.contact[: data.ncon]:
            first, second = (int(model.geom_bodyid[geom]) for geom in contact.geom)
            if body in (first, second) and ({first, second} - others):
                return True
        return False
