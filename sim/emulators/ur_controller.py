"""A Universal Robots e-Series controller: safety, modes, registers, and the control script that ur-rtde uploads.

The script is not interpreted. What it does with its registers (the protocol of ur-rtde's `rtde_control` script) is done here: integer
input register 0 is the command, integer output register 0 answers 1 "ready" and 2 "done", double registers hold arguments and results.
"""

import re
from collections.abc import Callable
from typing import Literal

import numpy as np

from sim.emulators.faults import FaultInjector
from sim.emulators.joint_motion import JointMotion

Safety = Literal["NORMAL", "PROTECTIVE_STOP", "ROBOT_EMERGENCY_STOP", "FAULT"]

CYCLE = 0.002  # s; e-Series controllers run at 500 Hz
JOINT_LIMIT = 2 * np.pi  # rad
UNLOCK_DELAY = 5.0  # s that a protective stop must have lasted before it can be unlocked (dashboard server manual)
_STOP_RATE = 20.0  # rad/s^2 in a protective stop
_FOLLOWING_ERROR = 0.5  # rad between commanded and measured joints, above which the arm is held to have hit something
_FOLLOWING_TIME = 0.1  # s
_MAX_CATCH_UP = 0.05  # s; a computer that falls further behind slows the controller instead of making it jump
_READY, _DONE = 1, 2
_CONTINUOUS = {9, 10, 11, 24, 26}  # commands that the script does not wait for
_SAFETY_MODE = {"NORMAL": 1, "PROTECTIVE_STOP": 3, "ROBOT_EMERGENCY_STOP": 7, "FAULT": 9}
_SAFETY_BITS = {  # 0 normal, 2 protective stop, 6 robot emergency stop, 7 emergency stop, 9 fault, 10 stopped for safety
    "NORMAL": 1 << 0, "PROTECTIVE_STOP": 1 << 2 | 1 << 10, "ROBOT_EMERGENCY_STOP": 1 << 6 | 1 << 7 | 1 << 10, "FAULT": 1 << 9 | 1 << 10,
}  # fmt: skip
_STOPPED, _PLAYING = 1, 2  # runtime states
_POWER_OFF, _IDLE, _RUNNING = 3, 5, 7  # robot modes


class UrController:
    """Time is given to `step`; nothing here reads a clock or touches a socket."""

    def __init__(
        self, joint_pos: np.ndarray, faults: FaultInjector, record: Callable[..., None], unlock_delay: float = UNLOCK_DELAY
    ) -> None:
        self.motion = JointMotion(np.array(joint_pos, float), np.zeros(6))
        self.measured, self.measured_speed = np.array(joint_pos, float), np.zeros(6)
        self.safety: Safety = "NORMAL"
        self.robot_mode = _RUNNING
        self.program = ""  # name of the one that runs
        self.inputs: dict[str, float] = {}
        self.outputs: dict[str, float] = {}
        self._faults = faults
        self._record = record
        self._offset = 0  # of the registers that the script uses
        self._command_done = False  # the command in register 0 has been executed
        self._blocking = False  # the script waits for a motion
        self._background = False  # an asynchronous motion is under way
        self._watchdog: tuple[float, str] | None = None  # s, register
        self._fed = 0.0  # when the watchdog's register was last written
        self._unlock_delay = unlock_delay
        self._stopped_at = -unlock_delay
        self._astray = 0.0  # s that the arm has been away from its command
        self._now = 0.0
        self._start: float | None = None

    def write(self, values: dict[str, float], now: float) -> None:
        """Input registers, as a client has sent them."""
        self.inputs.update(values)
        if self._watchdog and self._watchdog[1] in values:
            self._fed = now

    def load(self, script: str, now: float) -> None:
        """Runs a program in place of the one that ran; the arm must be able to move."""
        name = re.search(r"def\s+(\w+)\s*\(", script)
        self._record("script", program=name[1] if name else script.strip()[:80], bytes=len(script))
        self.end_program()
        if self.safety != "NORMAL" or self.robot_mode != _RUNNING or not name:
            return
        offset = re.search(r"reg_offset_int\s*=[^\n]*\n?\s*(\d+)", script)
        self._offset = int(offset[1]) if offset else 0
        self.program, self._command_done, self._blocking, self._background = name[1], False, False, False
        self.inputs[f"input_int_register_{self._offset}"] = 0
        self._watchdog = None

    def end_program(self) -> None:
        """Stops the program, and with it the arm."""
        self.program, self._watchdog = "", None
        self._blocking = self._background = False
        if not self.motion.done:
            self.motion.stop(_STOP_RATE)

    def stop(self, safety: Safety, reason: str) -> None:
        """A protective stop, or worse; latched."""
        if self.safety in (safety, "ROBOT_EMERGENCY_STOP"):
            return
        self._record("safety", state=safety, reason=reason)
        self.safety, self._stopped_at = safety, self._now
        self.end_program()
        if safety == "ROBOT_EMERGENCY_STOP":
            self.robot_mode = _POWER_OFF  # brakes

    def unlock(self) -> bool:
        """Releases a protective stop; whether it could be."""
        if self.safety != "PROTECTIVE_STOP" or self._now - self._stopped_at < self._unlock_delay or self._faults.lasts("stop"):
            return False
        self.safety = "NORMAL"
        self.motion = JointMotion(self.measured.copy(), np.zeros(6))
        return True

    def power(self, mode: Literal["on", "off", "brake release"]) -> None:
        if mode == "off":
            self.end_program()
            self.robot_mode = _POWER_OFF
        elif not self._faults.lasts("stop"):
            if self.safety == "ROBOT_EMERGENCY_STOP":
                self.safety = "NORMAL"  # the button has been released
            self.robot_mode = _IDLE if mode == "on" and self.robot_mode == _POWER_OFF else self.robot_mode
            if mode == "brake release" and self.robot_mode == _IDLE:
                self.robot_mode = _RUNNING
                self.motion = JointMotion(self.measured.copy(), np.zeros(6))

    def step(self, now: float) -> None:
        """Everything up to `now`, in cycles of 2 ms."""
        if self._start is None:
            self._start = self._now = now
        self._now = max(self._now, now - _MAX_CATCH_UP)
        while self._now + CYCLE <= now:
            self._now += CYCLE
            self._cycle()

    def variables(self) -> dict[str, object]:
        """What RTDE tells, by name."""
        motion = self.motion
        bits = int(self.robot_mode != _POWER_OFF) | (2 if self.program else 0)
        return {
            "timestamp": self._now - (self._start or 0.0), "target_q": tuple(motion.pos), "target_qd": tuple(motion.vel),
            "actual_q": tuple(self.measured), "actual_qd": tuple(self.measured_speed), "robot_mode": self.robot_mode,
            "joint_mode": (253,) * 6, "safety_mode": _SAFETY_MODE[self.safety], "safety_status": _SAFETY_MODE[self.safety],
            "safety_status_bits": _SAFETY_BITS[self.safety], "robot_status_bits": bits,
            "runtime_state": _PLAYING if self.program else _STOPPED, "speed_scaling": 1.0, "target_speed_fraction": 1.0,
            "speed_scaling_combined": 1.0, "joint_temperatures": (30.0,) * 6, "actual_robot_voltage": 48.0, **self.outputs,
        }  # fmt: skip

    def _cycle(self) -> None:
        stop = self._faults.lasts("stop")
        if stop:
            self.stop("ROBOT_EMERGENCY_STOP" if stop.code == 1 else "PROTECTIVE_STOP", "injected")
        if self._faults.lasts("mute"):
            self.stop("FAULT", "a joint does not answer")
        if self.program:
            self._script()
            if self._watchdog and self._now - self._fed > self._watchdog[0]:
                self._record("watchdog", seconds=self._now - self._fed)
                self.end_program()
        self.motion.step(CYCLE)
        if self.motion.too_fast is not None:
            self.stop("PROTECTIVE_STOP", f"joint {self.motion.too_fast} was asked to move too fast")
            self.motion.too_fast = None
        astray = np.abs(self.motion.pos - self.measured).max() > _FOLLOWING_ERROR
        self._astray = self._astray + CYCLE if astray else 0.0
        if self._astray > _FOLLOWING_TIME:
            self.stop("PROTECTIVE_STOP", "the arm does not follow")
            self.motion = JointMotion(self.measured.copy(), np.zeros(6))

    def _script(self) -> None:
        """One turn of the control script's loop."""
        if self._blocking and not self.motion.done:
            return
        if self._blocking:
            self._blocking, self._command_done = False, True
            self._out_int(0, _DONE)
            return
        if self._background and self.motion.done:
            self._background = False
            self._out_int(2, -1)
        command = self._int(0)
        if command == 0:
            self._command_done = False
            self._out_int(0, _READY)
        elif command in _CONTINUOUS:
            self._execute(command)
            self._out_int(0, _READY)
        elif not self._command_done:
            self._execute(command)
            if self.program and not self._blocking:
                self._command_done = True
                self._out_int(0, _DONE)

    def _execute(self, command: int) -> None:
        name = _NAMES.get(command, f"command {command}")
        q = np.array([self._double(i) for i in range(6)])
        if name == "servoj":
            lookahead, gain = np.clip(self._double(9), 0.03, 0.2), np.clip(self._double(10), 100, 2000)
            if not np.array_equal(q, self.motion.target) or self.motion.kind != "servo":
                self._record(name, q=q.tolist(), lookahead=float(lookahead), gain=float(gain))
            if self._within(q):
                self.motion.servo(q, float(lookahead), float(gain))
            return
        self._record(name, q=q.tolist(), speed=self._double(6), acceleration=self._double(7))
        if name == "movej" and self._within(q):
            self.motion.move(q, self._double(6), self._double(7))
            self._background = self._int(1) == 1
            self._blocking = not self._background
            if self._background:
                self._out_int(2, 0)
        elif name == "speedj":
            self.motion.run(q, self._double(6))
        elif name in ("servo_stop", "speed_stop", "stopl", "stopj"):
            if not self.motion.done:
                self.motion.stop(self._double(0))
                self._blocking = True
        elif name == "set_watchdog":
            self._watchdog, self._fed = (1.0 / max(self._double(0), 1e-3), f"input_int_register_{self._offset}"), self._now
        elif name == "protective_stop":
            self.stop("PROTECTIVE_STOP", "asked for")
        elif name == "is_joints_within_safety_limits":
            self._out_int(1, int(np.abs(q).max() <= JOINT_LIMIT))
        elif name == "is_steady":
            self._out_int(1, int(self.motion.done))
        elif name == "get_steptime":
            self.outputs[f"output_double_register_{self._offset}"] = CYCLE
        elif name == "stop_script":
            self.end_program()

    def _within(self, q: np.ndarray) -> bool:
        if np.isfinite(q).all() and np.abs(q).max() <= JOINT_LIMIT:
            return True
        self.stop("PROTECTIVE_STOP", f"joint target {q.round(3).tolist()} is outside the safety limits")
        return False

    def _int(self, index: int) -> int:
        return int(self.inputs.get(f"input_int_register_{index + self._offset}", 0))

    def _double(self, index: int) -> float:
        return float(self.inputs.get(f"input_double_register_{index + self._offset}", 0.0))

    def _out_int(self, index: int, value: int) -> None:
        self.outputs[f"output_int_register_{index + self._offset}"] = value


_NAMES = {
    1: "movej", 9: "speedj", 11: "servoj", 15: "speed_stop", 16: "servo_stop", 26: "get_steptime", 31: "protective_stop", 33: "stopl",
    34: "stopj", 35: "set_watchdog", 37: "is_joints_within_safety_limits", 47: "is_steady", 255: "stop_script",
}  # fmt: skip
