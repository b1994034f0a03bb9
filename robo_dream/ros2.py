"""ROS 2's messages and topics over DDS, without ROS: types, names and settings as its middleware has them (extra `ros2`).

A ROS topic `/joint_states` is the DDS topic `rt/joint_states`, and a message `sensor_msgs/msg/JointState` the DDS type
`sensor_msgs::msg::dds_::JointState_`, in the plain CDR encoding (https://design.ros2.org/articles/topic_and_service_names.html). Only
programs of this computer hear and are heard, unless an interface other than the loopback is asked for. DDS itself listens at every
address; its sockets are therefore bound to the loopback device, which the kernel holds them to.
"""

import math
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, no_type_check

from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsPublication
from cyclonedds.core import Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import final
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

if TYPE_CHECKING:
    from builtins import float as float64
    from builtins import int as int32
    from builtins import int as uint32
    from collections.abc import Sequence as sequence
else:
    from cyclonedds.idl.types import float64, int32, sequence, uint32

LOOPBACK = "lo"
_MOST_PARTICIPANTS = 100  # on a computer, that find each other


@no_type_check  # these classes write their own names, which beartype, by which tests check types, does not expect
@dataclass
@final
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    """A zero is "now" to a controller."""

    sec: int32 = 0
    nanosec: uint32 = 0


@no_type_check
@dataclass
@final
class Duration(IdlStruct, typename="builtin_interfaces::msg::dds_::Duration_"):
    """From the start of a trajectory."""

    sec: int32 = 0
    nanosec: uint32 = 0

    @classmethod
    def of(cls, seconds: float) -> "Duration":
        whole = math.floor(seconds)
        return cls(whole, round(1e9 * (seconds - whole)))

    @property
    def seconds(self) -> float:
        return self.sec + 1e-9 * self.nanosec


@no_type_check
@dataclass
@final
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    """When and in which frame."""

    stamp: Time = field(default_factory=Time)
    frame_id: str = ""


@no_type_check
@dataclass
@final
class JointState(IdlStruct, typename="sensor_msgs::msg::dds_::JointState_"):
    """Radians, rad/s and N m, in the order of `name`; speeds and efforts may be left out."""

    header: Header
    name: sequence[str]
    position: sequence[float64]
    velocity: sequence[float64]
    effort: sequence[float64]


@no_type_check
@dataclass
@final
class JointTrajectoryPoint(IdlStruct, typename="trajectory_msgs::msg::dds_::JointTrajectoryPoint_"):
    """Where to be, and when."""

    positions: sequence[float64]
    velocities: sequence[float64]
    accelerations: sequence[float64]
    effort: sequence[float64]
    time_from_start: Duration


@no_type_check
@dataclass
@final
class JointTrajectory(IdlStruct, typename="trajectory_msgs::msg::dds_::JointTrajectory_"):
    """What a joint_trajectory_controller of ros2_control takes; a new one replaces the one under way."""

    header: Header
    joint_names: sequence[str]
    points: sequence[JointTrajectoryPoint]

    @classmethod
    def to(cls, names: list[str], positions: list[float], seconds: float) -> "JointTrajectory":
        """One point, there in so many seconds from now."""
        return cls(Header(), names, [JointTrajectoryPoint(positions, [], [], [], Duration.of(seconds))])


class Node:
    """A participant of the DDS domain `number` (ROS_DOMAIN_ID) on one network interface, until it is closed."""

    def __init__(self, number: int, interface: str = LOOPBACK) -> None:
        _enter(number, interface)
        self._participant = DomainParticipant(number)
        if interface == LOOPBACK:
            _keep_to_loopback(number)
        self._publications = BuiltinDataReader(self._participant, BuiltinTopicDcpsPublication)

    def writer(self, topic: str, kind: type) -> Any:
        """Reliable, and what was published before is not kept: as ROS 2's default settings have it."""
        reliable = Policy.Reliability.Reliable(duration(milliseconds=20))
        return DataWriter(self._participant, self._topic(topic, kind), qos=Qos(reliable, *_QOS))

    def reader(self, topic: str, kind: type) -> Any:
        """Of the newest message alone, from reliable publishers and others."""
        return DataReader(self._participant, self._topic(topic, kind), qos=Qos(Policy.Reliability.BestEffort, *_QOS))

    def others_publish(self, topic: str) -> int:
        """How many publishers of a topic other participants have."""
        mine = self._participant.guid
        found = [one for one in self._publications.read(1_000) if getattr(one, "topic_name", "") == f"rt{topic}"]
        return sum(1 for one in found if one.participant_key != mine)

    def close(self) -> None:
        """Ends the participant and all that it made, also where somebody still holds a part of it."""
        self._participant.__del__()

    def _topic(self, name: str, kind: type) -> Any:
        return Topic(self._participant, f"rt{name}", kind)


_QOS = (Policy.Durability.Volatile, Policy.History.KeepLast(1), Policy.DataRepresentation(use_cdrv0_representation=True))
_entered: dict[int, tuple[Domain, str]] = {}
_entering = Lock()


def _enter(number: int, interface: str) -> None:
    """A process enters a domain once, on one interface."""
    with _entering:
        if number in _entered:
            if _entered[number][1] != interface:
                raise ValueError(f"this process is in domain {number} on {_entered[number][1]} already, and cannot be on {interface} too")
            return
        alone = interface == LOOPBACK  # then nothing is sent to a group: others are looked for at this computer's ports
        settings = (
            f'<CycloneDDS><Domain id="any"><General><Interfaces><NetworkInterface name="{interface}" multicast="{str(not alone).lower()}"/>'
            f"</Interfaces><AllowMulticast>{str(not alone).lower()}</AllowMulticast></General><Discovery>"
            f"<ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>{_MOST_PARTICIPANTS}</MaxAutoParticipantIndex>"
            f"{'<Peers><Peer Address=' + chr(34) + '127.0.0.1' + chr(34) + '/></Peers>' if alone else ''}</Discovery></Domain></CycloneDDS>"
        )
        _entered[number] = Domain(number, settings), interface


def sockets(number: int) -> list[tuple[int, str]]:
    """The UDP sockets of this process at the ports of a domain: (file descriptor, device that it is bound to, empty for all)."""
    ports = range(7400 + 250 * number, 7400 + 250 * (number + 1))
    rows = [row.split() for row in Path("/proc/self/net/udp").read_text().splitlines()[1:]]
    ours = {f"socket:[{row[9]}]" for row in rows if int(row[1].split(":")[1], 16) in ports}
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}") not in ours:
                continue
            with socket.socket(fileno=os.dup(int(name))) as one:
                device = one.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16)
        except OSError:  # another thread's, closed meanwhile
            continue
        found.append((int(name), device.rstrip(b"\0").decode()))
    return found


def _keep_to_loopback(number: int) -> None:
    """Raises `OSError` where the kernel does not (Linux does since 5.7)."""
    for descriptor, device in sockets(number):
        if device != LOOPBACK:
            with socket.socket(fileno=os.dup(descriptor)) as one:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, LOOPBACK.encode())


def messages(reader: Any, seconds: float) -> Iterator[Any]:
    """Messages as they come, until none has come for so long."""
    for one in reader.take_iter(timeout=duration(milliseconds=max(1, round(1e3 * seconds)))):
        if isinstance(one, IdlStruct):  # not a note that a publisher has gone
            yield one
