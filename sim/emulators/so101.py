"""An SO-101 on its bus: servos 1 to 6, mounted as LeRobot's calibration leaves them."""

from sim.emulators.faults import Faults
from sim.emulators.feetech_bus import FeetechBus
from sim.emulators.plant import Plant
from sim.emulators.servo_bus import ServoMount
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

OPENED, CLOSED = 3300, 2040  # ticks of the gripper
MOUNTS = (*(ServoMount(number) for number in range(1, 6)), ServoMount(6, OPENED, CLOSED - OPENED))


def so101_world() -> World:
    return World(SceneConfig(arm="so101"))


def so101_bus(plant: Plant, faults: Faults | None = None) -> FeetechBus:
    """The bus of a plant whose world has the arm `so101`."""
    return FeetechBus(plant, MOUNTS, faults)
