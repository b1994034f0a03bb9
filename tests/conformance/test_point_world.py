"""The worlds that ship for tests keep the contracts that they are used to test."""

import numpy as np

from robo_dream.embodiment import Camera, Clock, Observation, RobotArm
from robo_dream.imagination import WorldModel
from robo_dream.testing.arm_suite import RobotArmSuite
from robo_dream.testing.camera_suite import CameraSuite
from robo_dream.testing.clocks import ManualClock
from robo_dream.testing.model_suite import WorldModelSuite
from robo_dream.testing.point_mass import FailingModel, PointMassModel, point_action_spec
from robo_dream.testing.point_world import PointArm, PointCamera


class TestPointArm(RobotArmSuite):
    def make(self) -> RobotArm:
        return PointArm(ManualClock())

    def make_clock(self, arm: RobotArm) -> Clock:
        assert isinstance(arm, PointArm)
        return arm.clock


class TestPointCamera(CameraSuite):
    def make(self) -> Camera:
        return PointCamera(PointArm(ManualClock()))

    def make_clock(self, camera: Camera) -> Clock:
        assert isinstance(camera, PointCamera)
        return camera.arm.clock


class TestPointMassModel(WorldModelSuite):
    def make(self) -> WorldModel:
        return PointMassModel(point_action_spec())

    def make_observation(self, seed: int) -> Observation:
        arm = PointArm(ManualClock(), tool=np.random.default_rng(seed).uniform(0, 0.2, 5))
        return Observation(0.0, {"front": PointCamera(arm).read()}, arm.state(), {"object_pose": np.ones(7)})


class TestFailingModelThatNeverFails(TestPointMassModel):
    def make(self) -> WorldModel:
        return FailingModel(PointMassModel(point_action_spec()), fails_above=1.0)
