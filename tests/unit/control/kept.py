"""Keeps all of a short episode, which the loop does not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robo_dream.control.choosing import Policy
from robo_dream.control.episode import Bench, EpisodeResult, Hooks, LoopConfig
from robo_dream.control.loop import run_episode
from robo_dream.embodiment import Observation
from robo_dream.recording.decision import Decision


@dataclass
class Kept:
    """An episode's result, every observation (one more than actions) and every decision."""

    result: EpisodeResult
    observations: list[Observation] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.result, name)


def kept_episode(bench: Bench, policy: Policy, config: LoopConfig, is_done: Callable[[Observation], bool] | None = None) -> Kept:
    observations: list[Observation] = []
    decisions: list[Decision] = []

    def on_step(before: Observation, sent: np.ndarray, applied: np.ndarray) -> None:
        observations.append(before)

    result = run_episode(bench, policy, config, Hooks(decisions.append, on_step, is_done))
    return Kept(result, [*observations, result.last], decisions)
