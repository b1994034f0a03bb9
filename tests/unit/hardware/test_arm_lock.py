"""One commander an arm: a second one is refused with the name of the first, and who was killed holds nothing."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from hardware.arms.arm_lock import ArmLock, address_identity, port_identity, usb_serial
from hardware.arms.feetech import FeetechArm
from hardware.arms.line_arm import LineArm, LineArmConfig
from hardware.arms.so101 import so101
from robo_dream.embodiment import RobotArm
from robo_dream.errors import ArmError
from sim.emulators.line_server import LineServer
from sim.emulators.plant import Plant
from sim.emulators.so101 import so101_bus, so101_world
from sim.tabletop.world import World

_HOLD = (
    "import sys, time; from hardware.arms.arm_lock import ArmLock; ArmLock(sys.argv[1]).take(); print('held', flush=True); time.sleep(60)"
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_a_second_one_is_told_who_holds_it_and_may_when_the_first_has_let_go() -> None:
    first, second = ArmLock("UR 2022"), ArmLock("UR 2022")
    first.take()
    with pytest.raises(ArmError, match=rf"UR 2022 is driven already, by process {os.getpid()} .* since 2"):
        second.take()
    ArmLock("UR 2023").take().release()
    first.release()
    second.take().release()


def test_a_lock_of_a_process_that_was_killed_is_free() -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, "xArm 7"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(ArmError, match=f"process {holder.pid}"):
        ArmLock("xArm 7").take()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    end = time.monotonic() + 5
    while True:
        try:
            ArmLock("xArm 7").take().release()
            break
        except ArmError:
            assert time.monotonic() < end
    holder.stdout.close()


def test_a_port_is_the_same_by_every_name(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    (tmp_path / "arm").symlink_to(os.ttyname(slave))
    assert port_identity("so101", str(tmp_path / "arm")) == port_identity("so101", os.ttyname(slave))
    os.close(master), os.close(slave)


def test_the_serial_number_of_a_ports_adapter_is_found_above_its_device_and_a_terminal_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usb = tmp_path / "devices" / "usb1" / "1-2"
    (usb / "1-2:1.0").mkdir(parents=True)
    (usb / "serial").write_text("5A46\n")
    (tmp_path / "tty" / "ttyACM7").mkdir(parents=True)
    (tmp_path / "tty" / "ttyACM7" / "device").symlink_to(usb / "1-2:1.0")
    monkeypatch.setattr("hardware.arms.arm_lock._TTYS", tmp_path / "tty")
    assert usb_serial("/dev/ttyACM7") == "5A46" and usb_serial("/dev/ttyS9") == "" and usb_serial("") == ""
    assert port_identity("so101", "/dev/ttyACM7") == "so101 5A46"


def test_an_arm_that_tells_its_serial_is_the_same_at_every_address_but_emulated_ones() -> None:
    assert address_identity("UR", "2022", "10.0.0.2") == address_identity("UR", "2022", "ur.lab")
    assert address_identity("UR", "2022", "127.0.0.1") != address_identity("UR", "2022", "127.0.0.2")
    assert address_identity("Franka", "", "10.0.0.2") == "Franka 10.0.0.2"


@pytest.fixture(params=["line", "so101"])
def twice(request: pytest.FixtureRequest) -> Iterator[tuple[RobotArm, RobotArm]]:
    """Two drivers of one emulated arm."""
    with ExitStack() as stack:
        if request.param == "line":
            server = stack.enter_context(LineServer(stack.enter_context(Plant(stack.enter_context(World())))))
            yield LineArm(LineArmConfig(server.port, timeout=2.0)), LineArm(LineArmConfig(server.port, timeout=2.0))
        else:
            pytest.importorskip("scservo_sdk", reason="pip install 'robo-dream[so101]'")
            bus = stack.enter_context(so101_bus(stack.enter_context(Plant(stack.enter_context(so101_world())))))
            yield (
                FeetechArm(so101(bus.port, reply_timeout=0.2, control_dt=0.4)),
                FeetechArm(so101(bus.port, reply_timeout=0.2, control_dt=0.4)),
            )


def test_a_second_driver_of_one_arm_does_not_connect(twice: tuple[RobotArm, RobotArm]) -> None:
    first, second = twice
    with first:
        with pytest.raises(ArmError, match="driven already, by process"):
            second.__enter__()
        first.state()
    with second:
        second.state()
