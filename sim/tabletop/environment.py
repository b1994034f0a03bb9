"""Our own tabletop as an environment: the scene's physics and cameras with tasks, scripts and a guarded arm."""

from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import numpy as np

from robo_dream.control.cartesian import CartesianArm
from robo_dream.recording.events import SafetyEvent
from robo_dream.safety.limits import SafetyLimits
from sim.environment import Actions, EnvironmentTask
from sim.tabletop.arm import guarded_tool_arm
from sim.tabletop.behaviours.play import SCRIPTED, play_moves_of
from sim.tabletop.start import draw_start
from sim.tabletop.tasks.catalogue import tasks_of
from sim.tabletop.world import World


class Tabletop(World):
    """An `Environment`. Actions are tool moves; its scripts are skills, one time after another, each from wherever the last one ended."""

    scripts = SCRIPTED

    def __enter__(self) -> "Tabletop":
        return self

    @property
    def tasks(self) -> Mapping[str, EnvironmentTask]:
        return tasks_of(self)

    @property
    def about(self) -> Mapping[str, Any]:
        return {"package": f"mujoco {metadata.version('mujoco')}", "arm": self.scene.config.arm}

    def reset(self, rng: np.random.Generator) -> None:
        draw_start(self, rng)

    def script(self, name: str, rng: np.random.Generator) -> Actions:
        return play_moves_of(self, rng, name)

    def guarded_arm(self, limits: SafetyLimits, on_event: Callable[[SafetyEvent], None] | None = None) -> CartesianArm:
        return guarded_tool_arm(self, limits, on_event)
