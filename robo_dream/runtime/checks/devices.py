"""Cameras that are plugged in."""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robo_dream.runtime.checks.check import Check, Status


def checks(sys_root: Path = Path("/sys"), dev_root: Path = Path("/dev")) -> Iterator[Check]:
    yield realsense(sys_root)
    yield video(sys_root, dev_root)


def realsense(sys_root: Path) -> Check:
    """RealSense cameras as librealsense sees them, or, without it, as the USB bus names them."""
    on_bus = [
        f"{_read(product)} (serial {_read(product.parent / 'serial') or 'unknown'})"
        for product in sorted((sys_root / "bus/usb/devices").glob("*/product"))
        if "realsense" in _read(product).lower()
    ]
    try:
        pyrealsense2: Any = importlib.import_module("pyrealsense2")
    except ImportError:
        if on_bus:
            fix = "pip install --constraint configs/constraints.txt --editable '.[realsense]'"
            return Check("RealSense", Status.BROKEN, f"{', '.join(on_bus)} plugged in, but pyrealsense2 is not installed", fix)
        return Check("RealSense", Status.ABSENT, "none plugged in")
    try:
        found = [
            f"{device.get_info(pyrealsense2.camera_info.name)} (serial {device.get_info(pyrealsense2.camera_info.serial_number)})"
            for device in pyrealsense2.context().query_devices()
        ]
    except RuntimeError as error:
        return Check("RealSense", Status.BROKEN, f"librealsense: {error}", "replug the camera; install librealsense's udev rules")
    if not found and on_bus:
        fix = "replug it into a USB 3 port; install librealsense's udev rules"
        return Check("RealSense", Status.BROKEN, f"{', '.join(on_bus)} on the bus, but librealsense cannot open it", fix)
    return Check("RealSense", Status.OK, ", ".join(found)) if found else Check("RealSense", Status.ABSENT, "none plugged in")


def video(sys_root: Path, dev_root: Path) -> Check:
    """V4L2 devices and whether this user may read them."""
    found = {path.parent.name: _read(path) for path in sorted((sys_root / "class/video4linux").glob("*/name"))}
    if not found:
        return Check("V4L2 cameras", Status.ABSENT, "none plugged in")
    listed = ", ".join(f"/dev/{device} {name}" for device, name in found.items())
    locked = [device for device in found if not os.access(dev_root / device, os.R_OK | os.W_OK)]
    if locked:
        fix = "sudo usermod -aG video $USER, then log in again"
        return Check("V4L2 cameras", Status.BROKEN, f"{listed}; no access to {', '.join(locked)}", fix)
    return Check("V4L2 cameras", Status.OK, listed)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
