"""A uFactory controller of an xArm 6: states, modes, errors that stay until they are cleared, and servo_j motion."""

import struct
from collections.abc import Callable

import numpy as np

from sim.emulators import xarm_frames as frames
from sim.emulators.faults import FaultInjector
from sim.emulators.joint_motion import JointMotion
from sim.emulators.xarm_gripper import XarmGripper

VERSION = "6,6,XI130500000001,AC130500000001,v1.13.30"
JOINT_LOW = np.array([-2 * np.pi, -2.042035, -3.822271, -2 * np.pi, -1.692969, -2 * np.pi])  # rad, xArm 6 of type 1305
JOINT_HIGH = np.array([2 * np.pi, 2.024581, 0.174532, 2 * np.pi, np.pi, 2 * np.pi])
SERVO_MODE = 1
_CYCLE = 0.004  # s; the controller takes servo targets at up to 250 Hz
_MOVING, _READY, _PAUSED, _STOPPED = 1, 2, 3, 4
_EMERGENCY_STOP, _SERVO_ERROR, _JOINT_LIMIT, _TOO_FAST = 2, 10, 23, 24  # error codes; 10 + n is joint n's servo
_STOP_RATE = 20.0  # rad/s^2
_LOOKAHEAD = 0.04  # s by which a joint follows its servo target
_MAX_CATCH_UP = 0.05  # s
_SLACK = np.deg2rad(0.1)


class XarmController:
    """Time is given to `step`; nothing here reads a clock or touches a socket."""

    def __init__(self, joint_pos: np.ndarray, gripper: XarmGripper, faults: FaultInjector, record: Callable[..., None]) -> None:
        self.motion = JointMotion(np.array(joint_pos, float), np.zeros(6))
        self.measured, self.measured_speed, self.effort = np.array(joint_pos, float), np.zeros(6), np.zeros(6)
        self.gripper = gripper
        self.error, self.warning = 0, 0
        self.mode = 0
        self.enabled = False
        self._stopped = True
        self._paused = False
        self._faults = faults
        self._record = record
        self._now: float | None = None

    @property
    def state(self) -> int:
        if self._stopped or not self.enabled or self.error:
            return _STOPPED
        if self._paused:
            return _PAUSED
        return _READY if self.motion.done else _MOVING

    def fail(self, code: int) -> None:
        """Latches an error and stops."""
        if self.error:
            return
        self._record("error", code=code)
        self.error = code
        self.halt()

    def halt(self) -> None:
        self._stopped = True
        if not self.motion.done:
            self.motion.stop(_STOP_RATE)

    def step(self, now: float) -> None:
        """Everything up to `now`, in cycles of 4 ms."""
        self._now = now if self._now is None else max(self._now, now - _MAX_CATCH_UP)
        while self._now + _CYCLE <= now:
            self._now += _CYCLE
            if self._faults.lasts("stop"):
                self.fail(_EMERGENCY_STOP)
            mute = self._faults.lasts("mute")
            if mute:
                self.fail(_SERVO_ERROR + 1 + (mute.joint or 0))
            error = self._faults.lasts("error")
            if error:
                self.fail(error.code or _JOINT_LIMIT)
            self.motion.step(_CYCLE)
            if self.motion.too_fast is not None:
                self.motion.too_fast = None
                self.fail(_TOO_FAST)

    def answer(self, request: frames.Request) -> bytes:
        """The reply to a request. Raises `struct.error` for one that is too short."""
        function, data = request.function, request.data
        body, valid = b"", True
        if function == frames.GET_VERSION:
            body = VERSION.encode().ljust(40, b"\0") + b"\0"
        elif function == frames.GET_SERIAL:
            body = b"\0".join(VERSION.split(",")[i].encode() for i in (2, 3)).ljust(40, b"\0")
        elif function == frames.GET_STATE:
            body = bytes([self.state])
        elif function == frames.GET_QUEUED:
            body = struct.pack(">H", 0)
        elif function == frames.GET_ERROR:
            body = bytes([self.error, self.warning])
        elif function == frames.GET_JOINTS:
            kinds = (self.measured, self.measured_speed, self.effort)[: (data[0] & 0x0F) if data else 1]
            body = b"".join(frames.floats([*kind, 0.0]) for kind in kinds)
        elif function == frames.IS_JOINT_LIMIT:
            body = bytes([not self._within(np.array(frames.read_floats(data, 6)))])
        elif function == frames.TOOL_MODBUS:
            answer = self.gripper.answer(data)
            valid, body = answer is not None, answer or b""
        elif function == frames.TOOL_READ:
            body = struct.pack(">i", 11)  # the number of the line's baud rate: 2 Mbit/s
        else:
            valid = self._command(function, data)
        return frames.reply(request, self._state_byte(valid), body)

    def _command(self, function: int, data: bytes) -> bool:
        if function == frames.MOTION_ENABLE:
            self._record("motion_enable", joint=data[0], on=bool(data[1]))
            self.enabled = bool(data[1])
        elif function == frames.SET_STATE:
            self._record("set_state", state=data[0])
            if data[0] == _STOPPED:
                self.halt()
            elif data[0] == _PAUSED:
                self._paused = True
            elif data[0] == 0 and not self.error:
                self._stopped = self._paused = False
                self.motion = JointMotion(self.motion.pos, np.zeros(6))
        elif function == frames.SET_MODE:
            self._record("set_mode", mode=data[0])
            self.mode = data[0]
            self.halt()
        elif function == frames.CLEAN_ERROR:
            self._record("clean_error")
            self.error = 0
        elif function == frames.CLEAN_WARNING:
            self.warning = 0
        elif function in (frames.SERVO_JOINT, frames.MOVE_JOINT):
            values = np.array(frames.read_floats(data, 10))
            name = "servo_j" if function == frames.SERVO_JOINT else "move_joint"
            self._record(name, q=values[:6].tolist())
            return self._move(name, values)
        else:
            self._record("unknown", function=function)
            return False
        return True

    def _move(self, name: str, values: np.ndarray) -> bool:
        if self.state == _STOPPED or (name == "servo_j") != (self.mode == SERVO_MODE):
            return True  # the state byte says that it was not ready
        q = values[:6]
        if not self._within(q):
            self.fail(_JOINT_LIMIT)
        elif name == "servo_j":
            self.motion.servo(q, _LOOKAHEAD, 300.0)
        else:
            self.motion.move(q, float(np.clip(values[7], 0.01, 3.14)), float(np.clip(values[8], 0.01, 20.0)))
        return True

    def _within(self, q: np.ndarray) -> bool:
        return bool(np.isfinite(q).all() and (q >= JOINT_LOW - _SLACK).all() and (q <= JOINT_HIGH + _SLACK).all())

    def _state_byte(self, valid: bool) -> int:
        byte = 0 if valid else frames.NOT_VALID
        byte |= frames.NOT_READY if self.state == _STOPPED else 0
        byte |= frames.ERROR if self.error else 0
        return byte | (frames.WARNING if self.warning else 0)
