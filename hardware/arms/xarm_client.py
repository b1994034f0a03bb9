"""Connecting to a uFactory controller: who is there, and the SDK with its habits kept to itself."""

import contextlib
import io
import logging
import socket
import struct
from typing import Any

from robo_dream.errors import ArmError

_logger = logging.getLogger(__name__)

PORT = 502
_TIMEOUT = 2.0  # s
_GET_VERSION = struct.pack(">HHHB", 1, 2, 1, 1)  # transaction, protocol, length, function
_SET_STATE, _STOPPED = 12, 4
_HALT = struct.pack(">HHHBB", 1, 2, 2, _SET_STATE, _STOPPED)


def identify(arm: str, host: str) -> str:
    """The serial number of the arm at `host`, asked before the SDK is, which would ask a silent one for minutes.

    Raises `ArmError` when nobody answers or the arm has not six joints.
    """
    try:
        with socket.create_connection((host, PORT), _TIMEOUT) as client:
            client.settimeout(_TIMEOUT)
            client.sendall(_GET_VERSION)
            answer = client.recv(256)
    except OSError as error:
        raise ArmError(
            f"{arm}: the controller (port {PORT}) does not answer ({error}); check that it is on, the address and the cable"
        ) from error
    words = answer[8:].split(b"\0")[0].decode("ascii", "replace").split(",")
    if len(words) < 4 or words[0] != "6":
        raise ArmError(f"{arm} calls itself {','.join(words)!r}; this driver moves arms of six joints")
    return words[2]


def halt(arm: str, host: str) -> None:
    """Sets the controller to its stopped state over a connection of its own. Raises `ArmError` when it does not confirm that."""
    try:
        with socket.create_connection((host, PORT), _TIMEOUT) as client:
            client.settimeout(_TIMEOUT)
            client.sendall(_HALT)
            answer = client.recv(256)
    except OSError as error:
        raise ArmError(f"{arm}: the controller (port {PORT}) does not answer a second connection ({error})") from error
    if len(answer) < 8 or answer[6] != _SET_STATE:
        raise ArmError(f"{arm}: the controller answered {answer[:16].hex()} to a stop over a second connection")


def connect(arm: str, host: str, reply_timeout: float) -> Any:
    """The SDK's client, in radians, whose calls wait for `reply_timeout` seconds. Raises `ArmError`."""
    before = socket.getdefaulttimeout()
    try:
        with contextlib.redirect_stdout(_Words(arm)):  # it prints
            from xarm.wrapper import XArmAPI  # pyright: ignore[reportMissingImports]

            api = XArmAPI(host, is_radian=True, report_type="normal")
    except Exception as error:  # it raises nothing more special
        raise ArmError(f"{arm}: the SDK cannot connect: {error}") from error
    finally:
        socket.setdefaulttimeout(before)  # the SDK changes it for the whole process
    api.set_timeout(reply_timeout)
    return api


class _Words(io.TextIOBase):
    """Where the SDK's prints go: to the log."""

    def __init__(self, arm: str) -> None:
        self._arm = arm

    def write(self, text: str) -> int:
        if text.strip():
            _logger.info("%s: the SDK says: %s", self._arm, text.strip())
        return len(text)
