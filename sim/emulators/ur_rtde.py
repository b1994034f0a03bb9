"""A Universal Robots e-Series controller on loopback TCP, as ur-rtde talks to it, in front of a MuJoCo arm."""

from sim.emulators.controller_process import ControllerProcess
from sim.emulators.faults import Faults
from sim.emulators.plant import Plant
from sim.emulators.ur_controller import UNLOCK_DELAY

SERIAL = "20225500001"


class UrEmulator(ControllerProcess):
    """Give `address` to the client as the robot's IP.

    Of the faults, `stop` is a protective stop (code 1: the emergency stop), `mute` a joint that does not answer (safety fault), `error`
    with `code` a fault of the gripper; `joint` is not looked at.
    """

    module = "sim.emulators.ur_server"

    def __init__(
        self,
        plant: Plant,
        address: str = "127.0.0.1",
        faults: Faults | None = None,
        model: str = "UR5",
        serial: str = SERIAL,
        remote_control: bool = True,
        robotiq: bool = False,
        unlock_delay: float = UNLOCK_DELAY,
    ) -> None:
        options = {"model": model, "serial": serial, "remote": remote_control, "robotiq": robotiq, "unlock_delay": unlock_delay}
        super().__init__(plant, address, faults, options)
