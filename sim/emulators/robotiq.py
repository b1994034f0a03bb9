"""A Robotiq 2F gripper behind its URCap: the text server on port 63352 of a Universal Robots controller.

`SET POS 255 SPE 255 FOR 50 GTO 1` is answered by `ack`, `GET POS` by `POS 3`. Positions count 0 (open) to 255 (closed).
Source: Robotiq, "2F-85 & 2F-140 instruction manual" (registers) and its URCap's socket commands.
"""

import math

_FIXED = {"FLT": 0, "MOD": 1, "PRE": 0}
_AT_GOAL = 4 / 255  # closure


class RobotiqGripper:
    """`goal` is the closure it goes to (0 open, 1 closed); its body tells `closure`."""

    def __init__(self, closure: float) -> None:
        self.goal = self.closure = closure
        self._values = {"ACT": 1, "GTO": 1, "POS": round(closure * 255), "SPE": 255, "FOR": 0, **_FIXED}
        self._still = 0.0  # s without movement
        self.fault = 0

    def step(self, closure: float, dt: float) -> None:
        moved = abs(closure - self.closure) > 1e-3
        self._still = 0.0 if moved else self._still + dt
        self.closure = closure

    def answer(self, line: str) -> str | None:
        """What the server says to a line; None for one that it does not understand."""
        words = line.split()
        if len(words) == 2 and words[0] == "GET":
            value = self._value(words[1])
            return None if value is None else f"{words[1]} {value}\n"
        if len(words) >= 3 and len(words) % 2 == 1 and words[0] == "SET":
            for name, text in zip(words[1::2], words[2::2], strict=True):
                if name not in self._values or not text.isdecimal() or int(text) > 255:
                    return None
                self._values[name] = int(text)
            if self._values["ACT"] and self._values["GTO"]:
                self.goal, self._still = self._values["POS"] / 255, 0.0
            return "ack"
        return None

    def _value(self, name: str) -> int | None:
        if name == "STA":
            return 3 if self._values["ACT"] else 0
        if name == "FLT":
            return self.fault
        if name == "POS":
            return math.floor(min(max(self.closure, 0.0), 1.0) * 255 + 0.5)
        if name == "OBJ":
            if abs(self.closure - self.goal) < _AT_GOAL:
                return 3
            return 0 if self._still < 0.1 else 2 if self.goal > self.closure else 1
        return self._values.get(name)
