"""The simulated arm, its tool-move view and its cameras keep the contracts of every arm and camera."""

from robo_dream.control.cartesian import CartesianArm, JointMoves, most_joint_move
from robo_dream.embodiment import ActionSpec, Camera, Clock, RobotArm
from robo_dream.testing.arm_suite import RobotArmSuite
from robo_dream.testing.camera_suite import CameraSuite
from sim.devices import EnvironmentCamera, SimClock
from sim.tabletop.arm import SimArm, tool_arm
from sim.tabletop.world import CONTROL_DT, World


class TestSimArm(RobotArmSuite):
    def make(self) -> RobotArm:
        self.world = World()
        return SimArm(self.world)

    def make_clock(self, arm: RobotArm) -> Clock:
        return SimClock(self.world)


class TestToolMoves(TestSimArm):
    def make(self) -> RobotArm:
        self.world = World()
        return tool_arm(self.world)


class TestJointMoves(TestSimArm):
    def make(self) -> RobotArm:
        self.world = World()
        names, limits = self.world.scene.joint_names, self.world.scene.arm.limits
        spec = ActionSpec.joint_moves(names, most_joint_move(limits, CONTROL_DT), CONTROL_DT)
        return CartesianArm(SimArm(self.world), JointMoves(self.world.kinematics, limits, spec))


class TestEnvironmentCamera(CameraSuite):
    def make(self) -> Camera:
        self.world = World()
        return EnvironmentCamera(self.world, "front")

    def make_clock(self, camera: Camera) -> Clock:
        return SimClock(self.world)
