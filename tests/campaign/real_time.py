"""The clients that keep a time of their own, unmodified and in real time: ur-rtde, and the xArm SDK with its threads and sockets."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np

from hardware.arms.ur import UrArm, UrConfig
from hardware.arms.xarm import XarmArm, XarmConfig
from robo_dream.embodiment import RobotArm
from robo_dream.errors import ContractError, RoboDreamError
from robo_dream.runtime.arms import guard_of
from robo_dream.safety.guard_thread import GuardThread
from robo_dream.safety.limits import SafetyLimits
from sim.emulators.controller_process import ControllerProcess
from sim.emulators.faults import Fault
from sim.emulators.plant import Plant
from sim.emulators.ur_rtde import UrEmulator
from sim.emulators.xarm import XarmEmulator
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

from .runs import COMMAND_DT, Outcome
from .witness import Witness

_LIMITS = SafetyLimits(max_state_age=0.3)  # a shared computer pauses an emulated controller for longer than a real one would
_STATED = 2.0  # s; physics is judged at any speed of this computer, time generously
_MAX_SPEED = 1.0  # rad/s of both drivers

Make = Callable[[Plant], tuple[ControllerProcess, RobotArm]]
CLIENTS: dict[str, tuple[str, Make, tuple[str, ...]]] = {
    "ur": (
        "ur5e_shapes", lambda plant: (UrEmulator(plant, "127.0.6.1"), UrArm(UrConfig("127.0.6.1", max_age=0.15))),
        ("late", "lost", "truncated", "unplug", "mute", "stop", "emergency", "silence", "NaN"),
    ),
    "xarm": (
        "xarm6", lambda plant: (XarmEmulator(plant, "127.0.6.2"), XarmArm(XarmConfig("127.0.6.2", gripper="none", reply_timeout=0.15))),
        ("late", "lost", "truncated", "unplug", "mute", "stop", "error", "emergency", "silence", "NaN"),
    ),
}  # fmt: skip


def run_real(driver: str, num: int, seed: int) -> list[Outcome]:
    """`num` faults of the driver's kinds in turn, each on a controller of its own."""
    kinds = CLIENTS[driver][2]
    return [_run(driver, kinds[i % len(kinds)], seed + i) for i in range(num)]


def _run(driver: str, kind: str, seed: int) -> Outcome:
    model, make, _ = CLIENTS[driver]
    rng = np.random.default_rng(seed)
    with World(SceneConfig(arm=model)) as world, Plant(world) as plant:
        scene = world.scene
        speed = (_MAX_SPEED / _LIMITS.speed_factor,) * len(scene.joint_names)
        scene = replace(scene, arm=replace(scene.arm, limits=replace(scene.arm.limits, joint_speed=speed)))
        emulator, arm = make(plant)
        began = time.monotonic()
        with emulator, suppress(RoboDreamError), GuardThread(arm, partial(guard_of, scene, _LIMITS, speed), COMMAND_DT) as guarded:
            spec = arm.action_spec
            witness = Witness(plant, spec.low[:-1].astype(float), spec.high[:-1].astype(float), np.full(6, _MAX_SPEED), None)
            start = guarded.state().joint_pos
            _swing(guarded, start, rng, rng.uniform(0.5, 1.0))
            began = time.monotonic()
            if kind == "emergency":
                guarded.emergency_stop("the campaign's")
            elif kind == "NaN":
                with suppress(ContractError):
                    guarded.send(np.full(spec.size, np.nan))
            elif kind != "silence":
                emulator.inject(Fault(kind, delay=1.0))  # type: ignore[arg-type]
                _swing(guarded, start, rng, 1.5)
            time.sleep(max(0.0, began + _STATED + 0.3 - time.monotonic()))
        with plant.lock:
            return Outcome(
                "in real time", kind, driver, seed, tuple(witness.unsafe.values()), witness.still_since(began), _STATED, worst=witness.worst
            )


def _swing(arm: GuardThread, start: np.ndarray, rng: np.random.Generator, seconds: float) -> None:
    """Until the guard stops it."""
    end, phase, way = time.monotonic() + seconds, 0.0, rng.uniform(-0.2, 0.2, len(start))
    while time.monotonic() < end:
        phase += 2.0 * COMMAND_DT
        try:
            arm.send(np.append(start + way * np.sin(phase), 0.0))
        except RoboDreamError:
            return
        time.sleep(COMMAND_DT)
