"""One commander an arm: a file that is locked as long as somebody drives it, and says who. The system unlocks it when that program ends."""

import fcntl
import getpass
import ipaddress
import os
import re
import sys
import tempfile
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from robo_dream.errors import ArmError

_TTYS = Path("/sys/class/tty")
_MOST = 400  # bytes of what is written about who holds an arm


class ArmLock:
    """Of the arm `identity`: its serial number where it tells one, else where it is connected. Taken and released by its driver."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._file = -1

    def take(self) -> "ArmLock":
        """Raises `ArmError` naming who drives the arm already."""
        path = _folder() / re.sub(r"[^A-Za-z0-9._-]+", "_", self.identity).strip("_")
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except PermissionError:  # another user's: it can be locked all the same, but not written to
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held_by = os.pread(file, _MOST, 0).decode(errors="replace").strip() or "a program that does not say its name"
            os.close(file)
            raise ArmError(
                f"{self.identity} is driven already, by {held_by}; end that one first: two commanders on one arm fight"
            ) from None
        with suppress(OSError):
            os.ftruncate(file, 0)
            os.pwrite(file, _who().encode()[:_MOST], 0)
        self._file = file
        return self

    def release(self) -> None:
        if self._file >= 0:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = -1


def address_identity(kind: str, serial: str, host: str) -> str:
    """Of an arm that tells its `serial`; emulated ones, on this computer, may share one."""
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return f"{kind} {serial} at {host}"
    return f"{kind} {serial or host}"


def usb_serial(port: str) -> str:
    """The serial number of the adapter behind a serial `port`; empty where there is none, as of an emulated one."""
    device = _TTYS / Path(os.path.realpath(port)).name / "device"
    if not device.exists():
        return ""
    for folder in [found := device.resolve(), *found.parents][:6]:
        with suppress(OSError):
            return (folder / "serial").read_text().strip()
    return ""


def port_identity(kind: str, port: str) -> str:
    """Of an arm behind a serial port: by its adapter's serial number, or the device itself, whatever name it was given."""
    serial = usb_serial(port)
    return f"{kind} {serial}" if serial else f"{kind} on {os.path.realpath(port)}"


def _folder() -> Path:
    """Where locks are; of all users where the system has no folder of this one."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / "robo-dream-arms"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o777)
        folder.chmod(0o1777)
    return folder


def _who() -> str:
    with suppress(OSError, KeyError):
        user = getpass.getuser()
        return f"process {os.getpid()} ({' '.join(map(os.path.basename, sys.argv[:3])) or 'python'}) of {user} since {datetime.now():%F %T}"
    return f"process {os.getpid()}"
