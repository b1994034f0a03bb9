"""A plant behind ROS 2's topics: a joint_state_broadcaster and a joint_trajectory_controller, as ros2_control has them."""

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from robo_dream.errors import ContractError
from robo_dream.ros2 import Header, JointState, JointTrajectory, Node, messages
from sim.emulators.plant import Plant


class Ros2Controller:
    """Serves one plant while entered. The gripper's joint, named last, goes from `opened` to `closed`; it is told with the others."""

    def __init__(
        self,
        plant: Plant,
        names: Sequence[str],
        opened: float,
        closed: float,
        states: str,
        commands: str,
        domain: int = 0,
        rate: float = 100.0,
    ) -> None:
        self._plant, self._names, self._opened, self._closed = plant, list(names), opened, closed
        self._states, self._commands, self._domain, self._period = states, commands, domain, 1.0 / rate
        self._leave = threading.Event()
        self.is_mute = False  # of joint states
        self.refused: list[str] = []  # what was wrong with trajectories that were not followed

    def __enter__(self) -> "Ros2Controller":
        self._node = Node(self._domain)
        self._writer = self._node.writer(self._states, JointState)
        reader = self._node.reader(self._commands, JointTrajectory)
        self._threads = [
            threading.Thread(target=self._broadcast, daemon=True),
            threading.Thread(target=self._follow, args=(reader,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._leave.set()
        for thread in self._threads:
            thread.join()
        self._node.close()

    def _broadcast(self) -> None:
        while not self._leave.wait(self._period):
            if not self.is_mute:
                now, span = self._plant.joints(), self._closed - self._opened
                position = [*now.pos.tolist(), self._opened + span * now.gripper]
                self._writer.write(JointState(Header(), self._names, position, [*now.vel.tolist(), span * now.gripper_vel], []))

    def _follow(self, reader: object) -> None:
        while not self._leave.is_set():
            for trajectory in messages(reader, 0.05):
                try:
                    self.take(trajectory)
                except ContractError as error:
                    self.refused.append(str(error))

    def take(self, trajectory: Any) -> None:
        """Goes to the last point of a `JointTrajectory` by its time. Raises `ContractError` for what the controller refuses."""
        if sorted(trajectory.joint_names) != sorted(self._names):
            raise ContractError(f"the joints are {self._names}, not {trajectory.joint_names}")
        if not trajectory.points or len(trajectory.points[-1].positions) != len(self._names):
            raise ContractError(f"a trajectory has at least one point of {len(self._names)} positions")
        point = trajectory.points[-1]
        told = np.array([point.positions[list(trajectory.joint_names).index(name)] for name in self._names])
        if not np.isfinite(told).all():
            raise ContractError(f"positions {told} are not finite")
        speed = np.abs(told[:-1] - self._plant.joints().pos) / max(point.time_from_start.seconds, 1e-3)
        self._plant.set_target(told[:-1], (told[-1] - self._opened) / (self._closed - self._opened), np.maximum(speed, 1e-3))
