"""Of the Franka driver only what needs no arm is tested: it was never run with one."""

import importlib.util

import numpy as np
import pytest

from hardware.arms.franka import FrankaArm, FrankaConfig
from robo_dream.embodiment import RobotArm
from robo_dream.errors import ArmError, ConfigError, ContractError, MissingExtraError


def test_without_franky_control_entering_says_what_to_install(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "franky" else real(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'robo-dream\[franka\]'"), FrankaArm(FrankaConfig("127.0.6.1")):
        pass


def test_an_arm_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(ArmError, match=r"Franka 127\.0\.6\.1: port 1337 does not answer"), FrankaArm(FrankaConfig("127.0.6.1")):
        pass


def test_it_is_a_robot_arm_that_refuses_what_is_not_finite():
    arm = FrankaArm(FrankaConfig("127.0.6.1"))
    assert isinstance(arm, RobotArm)
    with pytest.raises(ContractError, match="nothing was sent"):
        arm.send(np.full(8, np.nan))
    with pytest.raises(ArmError, match="not connected"):
        arm.send(np.zeros(8))


def test_a_speed_beyond_the_arms_is_refused():
    with pytest.raises(ConfigError, match="max_speed is 9"):
        FrankaConfig("127.0.6.1", max_speed=9.0)
