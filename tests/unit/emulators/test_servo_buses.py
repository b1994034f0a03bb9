"""Emulated servo buses speak their protocols to the vendors' own clients, quirks and all."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from robo_dream.errors import ConfigError
from sim.emulators.dynamixel_bus import ACCESS_ERROR, ALERT, LIMIT_ERROR, OVERLOAD, DynamixelBus, checksum
from sim.emulators.faults import Fault
from sim.emulators.feetech_bus import FeetechBus
from sim.emulators.plant import Plant
from sim.emulators.servo_bus import ServoMount
from sim.emulators.so101 import MOUNTS, so101_bus, so101_world


class Client:
    """The SDK's port and packets, with a patience that a busy machine may need."""

    def __init__(self, sdk: Any, protocol: float, port: str) -> None:
        self.sdk = sdk
        self.port, self.packets = sdk.PortHandler(port), sdk.PacketHandler(protocol)
        assert self.port.setBaudRate(1_000_000)

        def patient(length: int) -> None:
            self.port.setPacketTimeoutMillis(500)

        self.port.setPacketTimeout = patient


@pytest.fixture(scope="module")
def world() -> Iterator[Any]:
    with so101_world() as world:
        yield world


@pytest.fixture
def plant(world: Any) -> Iterator[Plant]:
    world.home()
    plant = Plant(world)  # not entered: it moves when the test says so
    yield plant
    plant.set_torque(True)


@pytest.fixture
def feetech(plant: Plant) -> Iterator[tuple[FeetechBus, Client]]:
    sdk = pytest.importorskip("scservo_sdk", reason="pip install 'robo-dream[so101]'")
    with ExitStack() as stack:
        bus = stack.enter_context(so101_bus(plant))
        client = Client(sdk, 0, bus.port)
        yield bus, client
        client.port.closePort()


@pytest.fixture
def dynamixel(plant: Plant) -> Iterator[tuple[DynamixelBus, Client]]:
    sdk = pytest.importorskip("dynamixel_sdk", reason="pip install 'robo-dream[dynamixel]'")
    with ExitStack() as stack:
        bus = stack.enter_context(DynamixelBus(plant, MOUNTS))
        client = Client(sdk, 2.0, bus.port)
        yield bus, client
        client.port.closePort()


def test_every_feetech_servo_answers_a_ping_with_its_model(feetech) -> None:
    _, client = feetech
    for number in range(1, 7):
        assert client.packets.ping(client.port, number) == (777, 0, 0)


def test_feetechs_group_sync_read_and_write_move_the_joints(feetech, plant) -> None:
    bus, client = feetech
    write = client.sdk.GroupSyncWrite(client.port, client.packets, 42, 2)
    for number in range(1, 6):
        assert write.addParam(number, [2200 & 0xFF, 2200 >> 8])
    assert write.txPacket() == 0
    wait_for(lambda: bool(bus.commands.all("sync_write")))
    plant.advance(1.5)
    read = client.sdk.GroupSyncRead(client.port, client.packets, 56, 2)
    for number in range(1, 6):
        read.addParam(number)
    assert read.txRxPacket() == 0
    ticks = [read.getData(number, 56, 2) for number in range(1, 6)]
    np.testing.assert_allclose(ticks, 2200, atol=6)
    np.testing.assert_allclose(plant.joints().pos, (2200 - 2048) * 2 * np.pi / 4096, atol=0.01)


def test_a_feetech_goal_is_cut_to_the_servos_own_limits(feetech, plant) -> None:
    bus, client = feetech
    client.packets.writeTxRx(client.port, 1, 9, 4, [0, 7, 0, 9])  # 1792 to 2304
    client.packets.write2ByteTxRx(client.port, 1, 42, 4000)
    assert bus.register(0, 42, 2) == 2304
    assert plant.target[0] == pytest.approx((2304 - 2048) * 2 * np.pi / 4096)


def test_a_registered_feetech_write_waits_for_the_action(feetech, plant) -> None:
    bus, client = feetech
    before = plant.target
    client.packets.regWriteTxRx(client.port, 1, 42, 2, [2200 & 0xFF, 2200 >> 8])
    np.testing.assert_array_equal(plant.target, before)
    client.packets.action(client.port, client.sdk.BROADCAST_ID)
    wait_for(lambda: bool(bus.commands.all("action")))
    assert plant.target[0] == pytest.approx((2200 - 2048) * 2 * np.pi / 4096)


def test_a_locked_feetech_memory_forgets_with_the_power_and_an_open_one_keeps(feetech) -> None:
    bus, client = feetech
    client.packets.write1ByteTxRx(client.port, 1, 21, 16)  # locked
    client.packets.write1ByteTxRx(client.port, 2, 55, 0)
    client.packets.write1ByteTxRx(client.port, 2, 21, 16)
    assert [bus.register(joint, 21, 1) for joint in (0, 1)] == [16, 16]
    bus.inject(Fault("stop", duration=0.05))
    wait_for(lambda: bus.register(0, 40, 1) == 0)
    assert [bus.register(joint, 21, 1) for joint in (0, 1)] == [32, 16]
    assert not bus.plant.torque.any()


def test_feetechs_homing_offset_and_load_have_their_own_sign_bits(feetech, plant) -> None:
    _, client = feetech
    present, _, _ = client.packets.read2ByteTxRx(client.port, 1, 56)
    client.packets.write2ByteTxRx(client.port, 1, 31, 1 << 11 | 100)  # minus 100
    shifted, _, _ = client.packets.read2ByteTxRx(client.port, 1, 56)
    assert shifted == present + 100
    plant.advance(0.5)
    load, _, _ = client.packets.read2ByteTxRx(client.port, 2, 60)
    effort = plant.joints().effort[1]
    assert bool(load & 1 << 10) == bool(effort < 0)
    assert (load & 1023) / 1000 * 2.94 == pytest.approx(abs(effort), abs=0.01)


def test_feetechs_client_takes_an_old_reply_for_a_new_one(feetech, plant) -> None:
    """The trap that the driver avoids: the emulator must set it. After a late reply the SDK reports success and the position before."""
    bus, client = feetech
    client.port.setPacketTimeout = lambda length: client.port.setPacketTimeoutMillis(60)
    read = client.sdk.GroupSyncRead(client.port, client.packets, 56, 2)
    read.addParam(1)
    bus.inject(Fault("late", count=1, delay=0.12))
    assert read.txRxPacket() != 0
    time.sleep(0.15)  # the old reply lies in the input
    plant.set_target(plant.joints().pos + 0.5)
    plant.advance(1.0)
    assert read.txRxPacket() == 0
    assert abs(read.getData(1, 56, 2) - MOUNTS[0].ticks(plant.joints().pos[0])) > 300


def test_a_bus_hears_nothing_at_another_speed(feetech) -> None:
    _, client = feetech
    client.port.setBaudRate(500_000)
    client.port.setPacketTimeout = lambda length: client.port.setPacketTimeoutMillis(40)
    assert client.packets.ping(client.port, 1)[1] == client.sdk.COMM_RX_TIMEOUT


def test_every_dynamixel_answers_a_ping_with_its_model(dynamixel) -> None:
    _, client = dynamixel
    for number in range(1, 7):
        assert client.packets.ping(client.port, number) == (1020, 0, 0)
    found, result = client.packets.broadcastPing(client.port)
    assert result == 0 and set(found) == set(range(1, 7)) and found[3][0] == 1020


def test_dynamixels_sync_read_and_write_move_the_joints(dynamixel, plant) -> None:
    bus, client = dynamixel
    write = client.sdk.GroupSyncWrite(client.port, client.packets, 116, 4)
    for number in range(1, 6):
        assert write.addParam(number, [2200 & 0xFF, 2200 >> 8, 0, 0])
    assert write.txPacket() == 0
    wait_for(lambda: bool(bus.commands.all("sync_write")))
    plant.advance(1.5)
    read = client.sdk.GroupSyncRead(client.port, client.packets, 132, 4)
    for number in range(1, 6):
        read.addParam(number)
    assert read.txRxPacket() == 0
    np.testing.assert_allclose([read.getData(number, 132, 4) for number in range(1, 6)], 2200, atol=6)


def test_a_dynamixels_permanent_memory_is_locked_under_torque(dynamixel) -> None:
    bus, client = dynamixel
    assert client.packets.write1ByteTxRx(client.port, 1, 11, 4) == (0, ACCESS_ERROR)
    assert client.packets.write1ByteTxRx(client.port, 1, 64, 0) == (0, 0)
    assert client.packets.write1ByteTxRx(client.port, 1, 11, 4) == (0, 0)
    assert bus.register(0, 11, 1) == 4


def test_a_dynamixel_refuses_a_goal_beyond_its_limits(dynamixel, plant) -> None:
    _, client = dynamixel
    before = plant.target
    assert client.packets.write4ByteTxRx(client.port, 1, 116, 5000) == (0, LIMIT_ERROR)
    np.testing.assert_allclose(plant.target, before, atol=0.001)  # a tick
    assert client.packets.write4ByteTxRx(client.port, 1, 132, 0) == (0, ACCESS_ERROR)  # read-only


def test_a_dynamixel_with_a_hardware_error_raises_its_alert_bit(dynamixel) -> None:
    bus, client = dynamixel
    bus.inject(Fault("error", joint=0, code=OVERLOAD))
    status, result, error = client.packets.read1ByteTxRx(client.port, 1, 70)
    assert (status, result, error) == (OVERLOAD, 0, ALERT)


def test_dynamixels_stuffing_survives_data_that_looks_like_a_header(dynamixel) -> None:
    bus, client = dynamixel
    data = [0xFF, 0xFF, 0xFD, 0x00]  # as a profile velocity
    assert client.packets.writeTxRx(client.port, 1, 112, 4, data) == (0, 0)
    assert bus.register(0, 112, 4) == 0xFDFFFF
    assert client.packets.readTxRx(client.port, 1, 112, 4) == (data, 0, 0)


def test_dynamixels_checksum_is_the_clients(dynamixel) -> None:
    _, client = dynamixel
    for size in (1, 7, 40):
        data = os.urandom(size)
        assert checksum(data) == client.packets.updateCRC(0, list(data), size)


def test_a_dynamixels_watchdog_stops_it_when_nobody_speaks(dynamixel, plant) -> None:
    bus, client = dynamixel
    client.packets.write4ByteTxRx(client.port, 1, 112, 10)  # slowly
    client.packets.write4ByteTxRx(client.port, 1, 116, 3000)
    client.packets.write1ByteTxRx(client.port, 1, 98, 2)  # 40 ms
    assert plant.target[0] > 1.0
    wait_for(lambda: bus.register(0, 98, 1) == -1)
    wait_for(lambda: plant.target[0] < 0.1)
    assert client.packets.write4ByteTxRx(client.port, 1, 116, 3000) == (0, ACCESS_ERROR)


def test_a_rebooted_dynamixel_has_no_torque_and_keeps_its_permanent_memory(dynamixel, plant) -> None:
    bus, client = dynamixel
    client.packets.write1ByteTxRx(client.port, 1, 64, 0)
    client.packets.write4ByteTxRx(client.port, 1, 48, 3000)
    client.packets.write1ByteTxRx(client.port, 1, 64, 1)
    client.packets.reboot(client.port, 1)
    assert not plant.torque[0] and plant.torque[1:].all()
    assert bus.register(0, 48, 4) == 3000


def test_a_bus_whose_servos_do_not_fit_the_arm_is_refused(plant) -> None:
    with pytest.raises(ConfigError, match="6 servos, gripper included"):
        FeetechBus(plant, MOUNTS[:5])
    with pytest.raises(ConfigError, match="0 to 253"):
        FeetechBus(plant, [*MOUNTS[:5], ServoMount(254)])
    with pytest.raises(ConfigError, match="baud is 12"):
        FeetechBus(plant, MOUNTS, baud=12)


def wait_for(condition: Any) -> None:
    """What a client did not wait for (nobody answers a sync write) is done within a moment."""
    ends = time.monotonic() + 2.0
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.002)
