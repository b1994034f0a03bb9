"""The vendors' own clients, as they come, connect to the emulated controllers and move the arm behind them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robo_dream.errors import ConfigError
from sim.emulators.plant import Plant
from sim.emulators.ur_rtde import UrEmulator
from sim.emulators.xarm import XarmEmulator
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

ROOT = Path(__file__).parents[3]

_UR = """
import json, time, rtde_control, rtde_receive
receive = rtde_receive.RTDEReceiveInterface("127.0.5.3")
start = receive.getActualQ()
control = rtde_control.RTDEControlInterface("127.0.5.3")
moved = control.moveJ([q + 0.2 for q in start], 1.0, 2.0)
time.sleep(0.5)
said = {"moved": moved, "way": [b - a for a, b in zip(start, receive.getActualQ())], "mode": receive.getRobotMode(),
        "safety": receive.getSafetyMode(), "target": receive.getTargetQ(), "watchdog": control.setWatchdog(10.0)}
for i in range(20):
    control.servoJ([q + 0.2 - 0.005 * i for q in start], 0, 0, 0.02, 0.1, 300)
    time.sleep(0.02)
said["stopped"] = control.servoStop()
said["limits"] = [control.isJointsWithinSafetyLimits([7.0] * 6), control.isJointsWithinSafetyLimits([1.0] * 6)]
said["protective"] = [receive.isProtectiveStopped(), control.triggerProtectiveStop()]
time.sleep(0.1)
said["protective"].append(receive.isProtectiveStopped())
print("SAID" + json.dumps(said))
"""
_XARM = """
import json, time
from xarm.wrapper import XArmAPI
arm = XArmAPI("127.0.5.4", is_radian=True)
start = arm.get_servo_angle()[1][:6]
codes = [arm.motion_enable(True), arm.set_mode(0), arm.set_state(0)]
codes.append(arm.set_servo_angle(angle=[q + 0.1 for q in start], speed=1.0, wait=True))
time.sleep(0.3)
said = {"way": [b - a for a, b in zip(start, arm.get_servo_angle()[1][:6])], "axis": arm.axis, "serial": arm.sn}
codes += [arm.set_mode(1), arm.set_state(0)]
time.sleep(0.4)
codes += [arm.set_servo_angle_j([q + 0.1 - 0.005 * i for q in start]) for i in range(10) if time.sleep(0.01) is None]
codes += [arm.set_gripper_enable(True), arm.set_gripper_mode(0), arm.set_gripper_position(300, wait=True)]
said["gripper"] = arm.get_gripper_position()
said["out of range"] = arm.set_servo_angle_j([0, 3, 0, 0, 0, 0])
arm.emergency_stop()
said["state"] = arm.get_state()[1]
said["codes"] = codes
print("SAID" + json.dumps(said))
"""


def said(script: str) -> dict:
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert "SAID" in done.stdout, done.stdout + done.stderr
    return json.loads(done.stdout.split("SAID")[1].splitlines()[0])


def test_ur_rtde_connects_moves_servos_stops_and_sees_a_protective_stop():
    pytest.importorskip("rtde_control", reason="pip install 'robo-dream[ur]'")
    with Plant(World(SceneConfig(arm="ur5e_shapes"))) as plant, UrEmulator(plant, "127.0.5.3") as emulator:
        before = plant.joints().pos
        heard = said(_UR)
        after = plant.joints().pos
        names = [command.name for command in emulator.commands.all()]
    assert heard["moved"] and heard["stopped"] and heard["watchdog"]
    np.testing.assert_allclose(heard["way"], 0.2, atol=0.01)
    assert (heard["mode"], heard["safety"]) == (7, 1)
    assert heard["limits"] == [False, True]
    assert heard["protective"][0] is False and heard["protective"][2] is True
    assert (after - before > 0.08).all() and (after - before < 0.15).all()
    assert names.count("movej") == 1
    assert 10 <= names.count("servoj") <= 20, "a register that is written twice in a cycle is read once"


def test_the_xarm_sdk_connects_moves_servos_grips_and_stops():
    pytest.importorskip("xarm", reason="pip install 'robo-dream[xarm]'")
    with Plant(World(SceneConfig(arm="xarm6"))) as plant, XarmEmulator(plant, "127.0.5.4"):
        heard = said(_XARM)
        closure = plant.joints().gripper
    assert set(heard["codes"]) == {0}
    np.testing.assert_allclose(heard["way"], 0.1, atol=0.01)
    assert (heard["axis"], heard["serial"]) == (6, "XI130500000001")
    assert heard["gripper"][1] == pytest.approx(300, abs=15) and closure == pytest.approx(1 - 300 / 850, abs=0.03)
    assert heard["out of range"] == -8 and heard["state"] == 4


def test_an_emulator_serves_this_computer_only():
    with Plant(World(SceneConfig(arm="xarm6"))) as plant, pytest.raises(ConfigError, match=r"loopback address such as 127\.0\.0\.2"):
        XarmEmulator(plant, "192.168.1.5")
