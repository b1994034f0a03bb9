"""The emulators' protocols, without sockets: the Robotiq URCap, uFactory's frames and registers, RTDE's packages."""

import struct

import numpy as np
import pytest

from sim.emulators import rtde_packets as rtde
from sim.emulators import xarm_frames as frames
from sim.emulators.faults import Fault, FaultInjector
from sim.emulators.joint_motion import MAX_SPEED, JointMotion
from sim.emulators.robotiq import RobotiqGripper
from sim.emulators.xarm_controller import XarmController
from sim.emulators.xarm_gripper import XarmGripper


def test_the_robotiq_server_answers_as_its_manual_says():
    gripper = RobotiqGripper(0.0)
    assert gripper.answer("GET STA") == "STA 3\n"
    assert gripper.answer("SET POS 255 SPE 255 FOR 50 GTO 1") == "ack"
    assert gripper.goal == 1.0 and gripper.answer("GET OBJ") == "OBJ 0\n"
    gripper.step(0.5, 0.2)
    gripper.step(0.5, 0.2)
    assert gripper.answer("GET OBJ") == "OBJ 2\n", "it stands still half way: something is between its fingers"
    assert gripper.answer("SET POS 300") is None and gripper.answer("GET XYZ") is None


def test_an_rtde_package_packs_and_unpacks_by_its_recipe():
    recipe = rtde.Recipe(3, ["input_int_register_0", "input_double_register_1"], rtde.INPUT_TYPES)
    body = rtde.frame(rtde.DATA, struct.pack(">Bid", 3, -7, 0.25))
    [(letter, content)] = rtde.frames(bytearray(body))
    assert letter == rtde.DATA
    assert recipe.unpack(content) == {"input_int_register_0": -7, "input_double_register_1": 0.25}
    assert not rtde.Recipe(1, ["actual_q", "no_such_thing"], rtde.OUTPUT_TYPES).usable


def test_half_a_frame_waits_for_the_rest_and_an_impossible_one_is_an_error():
    buffer = bytearray(rtde.frame(rtde.START, b"")[:2])
    assert list(rtde.frames(buffer)) == [] and len(buffer) == 2
    with pytest.raises(ValueError, match="frame of 1 bytes"):
        list(rtde.frames(bytearray([0, 1, 0])))


@pytest.mark.parametrize("target", [0.5, -1.2])
def test_a_move_arrives_without_exceeding_its_speed_and_acceleration(target):
    motion = JointMotion(np.zeros(6), np.zeros(6))
    motion.move(np.full(6, target), 1.0, 2.0)
    speeds = [0.0]
    for _ in range(3000):
        motion.step(0.002)
        speeds.append(float(motion.vel[0]))
        if motion.done:
            break
    assert motion.done and np.allclose(motion.pos, target)
    assert np.abs(speeds).max() <= 1.0 + 1e-9
    assert np.abs(np.diff(speeds))[:-1].max() <= 2.0 * 0.002 + 1e-9


def test_a_servo_target_out_of_reach_of_the_speed_limit_is_told():
    motion = JointMotion(np.zeros(6), np.zeros(6))
    motion.servo(np.array([0, 0, 2.5, 0, 0, 0.0]), 0.03, 300.0)
    for _ in range(100):
        motion.step(0.002)
    assert motion.too_fast == 2 and np.abs(motion.vel).max() <= MAX_SPEED


def controller() -> XarmController:
    return XarmController(np.array([0, 0, -0.5, 0, 0, 0.0]), XarmGripper(0.0), FaultInjector(), lambda name, **arguments: None)


def ask(arm: XarmController, function: int, data: bytes = b"") -> tuple[int, bytes]:
    reply = arm.answer(frames.Request(7, 2, function, data))
    number, _, length, echoed = frames.HEADER.unpack_from(reply)
    assert (number, echoed, length + 6) == (7, function, len(reply))
    return reply[7], reply[8:]


def test_an_xarm_moves_only_when_enabled_in_servo_mode_and_ready():
    arm = controller()
    target = frames.floats([0.1, 0, -0.5, 0, 0, 0, 0, 1, 1, 0])
    assert ask(arm, frames.SERVO_JOINT, target)[0] & frames.NOT_READY
    for function, data in ((frames.MOTION_ENABLE, b"\x08\x01"), (frames.SET_MODE, b"\x01\x00"), (frames.SET_STATE, b"\x00")):
        ask(arm, function, data)
    assert ask(arm, frames.SERVO_JOINT, target)[0] == 0
    for i in range(200):
        arm.step(0.004 * i)
    assert arm.motion.pos[0] == pytest.approx(0.1, abs=0.002)


def test_an_xarm_target_out_of_range_latches_the_joint_limit_error_until_it_is_cleaned():
    arm = controller()
    for function, data in ((frames.MOTION_ENABLE, b"\x08\x01"), (frames.SET_MODE, b"\x01\x00"), (frames.SET_STATE, b"\x00")):
        ask(arm, function, data)
    state, _ = ask(arm, frames.SERVO_JOINT, frames.floats([0, 3.0, -0.5, 0, 0, 0, 0, 1, 1, 0]))
    assert state & frames.ERROR and ask(arm, frames.GET_ERROR)[1] == bytes([23, 0])
    ask(arm, frames.SET_STATE, b"\x00")
    assert ask(arm, frames.GET_STATE)[1] == bytes([4]), "an error is not ended by making it ready"
    ask(arm, frames.CLEAN_ERROR)
    ask(arm, frames.SET_STATE, b"\x00")
    assert ask(arm, frames.GET_STATE)[1] == bytes([2])


def test_a_mute_servo_is_the_error_of_its_joint():
    faults = FaultInjector()
    arm = XarmController(np.zeros(6), XarmGripper(0.0), faults, lambda name, **arguments: None)
    faults.inject(Fault("mute", joint=4))
    arm.step(0.0)
    arm.step(0.01)
    assert arm.error == 15
