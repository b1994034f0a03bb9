"""The frames of Universal Robots' real-time data exchange (RTDE), protocol version 2.

A frame is a big-endian uint16 of its whole length, a letter and a body; variables are named once, in a recipe, and packed after it.
Source: "Real-Time Data Exchange (RTDE) Guide", Universal Robots, article 22229.
"""

import struct
from collections.abc import Iterator, Sequence

VERSION, CONTROLLER_VERSION, TEXT, DATA = ord("V"), ord("v"), ord("M"), ord("U")
SETUP_OUTPUTS, SETUP_INPUTS, START, PAUSE = ord("O"), ord("I"), ord("S"), ord("P")

_HEADER = struct.Struct(">HB")
_CODES = {
    "BOOL": "?", "UINT8": "B", "UINT32": "I", "UINT64": "Q", "INT32": "i", "DOUBLE": "d", "VECTOR3D": "3d", "VECTOR6D": "6d",
    "VECTOR6INT32": "6i", "VECTOR6UINT32": "6I",
}  # fmt: skip
_DOUBLES = (
    "timestamp", "actual_execution_time", "speed_scaling", "target_speed_fraction", "speed_scaling_combined", "actual_momentum",
    "actual_main_voltage", "actual_robot_voltage", "actual_robot_current", "standard_analog_input0", "standard_analog_input1",
    "standard_analog_output0", "standard_analog_output1", "payload",
)  # fmt: skip
_VECTORS = (
    "target_q", "target_qd", "target_qdd", "target_current", "target_moment", "actual_q", "actual_qd", "actual_current",
    "joint_control_output", "actual_TCP_pose", "actual_TCP_speed", "actual_TCP_force", "target_TCP_pose", "target_TCP_speed",
    "joint_temperatures", "actual_joint_voltage", "ft_raw_wrench", "payload_inertia",
)  # fmt: skip
OUTPUT_TYPES = {
    **dict.fromkeys(_DOUBLES, "DOUBLE"), **dict.fromkeys(_VECTORS, "VECTOR6D"), "actual_digital_input_bits": "UINT64",
    "actual_digital_output_bits": "UINT64", "robot_mode": "INT32", "joint_mode": "VECTOR6INT32", "safety_mode": "INT32",
    "safety_status": "INT32", "actual_tool_accelerometer": "VECTOR3D", "payload_cog": "VECTOR3D", "runtime_state": "UINT32",
    "robot_status_bits": "UINT32", "safety_status_bits": "UINT32",
    **{f"output_int_register_{i}": "INT32" for i in range(48)}, **{f"output_double_register_{i}": "DOUBLE" for i in range(48)},
}  # fmt: skip
INPUT_TYPES = {
    "speed_slider_mask": "UINT32", "speed_slider_fraction": "DOUBLE", "standard_digital_output_mask": "UINT8",
    "standard_digital_output": "UINT8", "configurable_digital_output_mask": "UINT8", "configurable_digital_output": "UINT8",
    "tool_digital_output_mask": "UINT8", "tool_digital_output": "UINT8", "standard_analog_output_mask": "UINT8",
    "standard_analog_output_type": "UINT8", "standard_analog_output_0": "DOUBLE", "standard_analog_output_1": "DOUBLE",
    "external_force_torque": "VECTOR6D",
    **{f"input_int_register_{i}": "INT32" for i in range(48)}, **{f"input_double_register_{i}": "DOUBLE" for i in range(48)},
}  # fmt: skip


class Recipe:
    """The variables of one data package, in order; an unknown name has the type NOT_FOUND and makes the recipe useless."""

    def __init__(self, number: int, names: Sequence[str], known: dict[str, str]) -> None:
        self.number = number
        self.names = tuple(names)
        self.types = tuple(known.get(name, "NOT_FOUND") for name in names)
        codes = [_CODES.get(kind, "") for kind in self.types]
        self._struct = struct.Struct(">B" + "".join(codes))
        self._sizes = [int(code[:-1] or 1) for code in codes if code]

    @property
    def usable(self) -> bool:
        return "NOT_FOUND" not in self.types

    def pack(self, values: dict[str, object]) -> bytes:
        """One data package; what `values` lacks is zero."""
        flat: list[object] = []
        for name, size in zip(self.names, self._sizes, strict=True):
            value = values.get(name, 0)
            flat += [value] if size == 1 else value or (0,) * size  # type: ignore[operator]
        return frame(DATA, self._struct.pack(self.number, *flat))

    def unpack(self, body: bytes) -> dict[str, object]:
        """Values by name. Raises `struct.error` for a body of another length."""
        flat = list(self._struct.unpack(body))[1:]
        result: dict[str, object] = {}
        at = 0
        for name, size in zip(self.names, self._sizes, strict=True):
            result[name] = flat[at] if size == 1 else tuple(flat[at : at + size])
            at += size
        return result


def frame(letter: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), letter) + body


def frames(buffer: bytearray) -> Iterator[tuple[int, bytes]]:
    """Takes the whole frames (letter, body) out of `buffer`. Raises `ValueError` where there cannot be one."""
    while len(buffer) >= _HEADER.size:
        length, letter = _HEADER.unpack_from(buffer)
        if length < _HEADER.size:
            raise ValueError(f"RTDE frame of {length} bytes")
        if len(buffer) < length:
            return
        body = bytes(buffer[_HEADER.size : length])
        del buffer[:length]
        yield letter, body
