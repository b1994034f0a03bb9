"""An xArm 6 controller with its gripper on loopback TCP, as `xarm-python-sdk` talks to it, in front of a MuJoCo arm."""

from sim.emulators.controller_process import ControllerProcess
from sim.emulators.faults import Faults
from sim.emulators.plant import Plant


class XarmEmulator(ControllerProcess):
    """Give `address` to the client as the robot's IP.

    Of the faults, `stop` is the emergency stop (error 2), `mute` the servo error of `joint` (error 11 and up), `error` the error `code`.
    All stay latched in the controller until a client cleans them.
    """

    module = "sim.emulators.xarm_server"

    def __init__(self, plant: Plant, address: str = "127.0.0.1", faults: Faults | None = None) -> None:
        super().__init__(plant, address, faults)
