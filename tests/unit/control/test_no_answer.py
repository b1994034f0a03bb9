"""A planner elsewhere that gives no answer: the arm holds, at rest and in motion, goes on if the answers come back, and else stops."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from kept import kept_episode
from test_loop import FAR, MODEL, PLANNER, bench_of

from robo_dream.control.asynchronous import Ahead, DelayedWorker
from robo_dream.control.choosing import Chooser, Decided, NoAnswer, TurnByTurn
from robo_dream.control.decision import Decider, Remembered
from robo_dream.control.episode import EpisodeEnd, EpisodeRun, LoopConfig
from robo_dream.embodiment import Observation
from robo_dream.imagination import Plan
from robo_dream.testing.clocks import ManualClock
from robo_dream.testing.point_world import PointArm


@dataclass
class Losing:
    """Decides as `inner` does, but for the questions with these numbers."""

    inner: Decider
    lost: range
    num_asked: int = 0

    @property
    def action_block(self) -> int:
        return self.inner.action_block

    def decide(
        self,
        observations: Sequence[Observation],
        step: int,
        previous: Plan | None,
        committed: np.ndarray | None = None,
        start: int | None = None,
        before: Remembered | None = None,
        moved: Sequence[np.ndarray] = (),
    ) -> Decided | NoAnswer:
        self.num_asked += 1
        if self.num_asked - 1 in self.lost:
            return NoAnswer(("the line is dead",))
        return self.inner.decide(observations, step, previous, committed, start, before, moved)

    def moved_on(self, plan: Plan, num_steps: int) -> Plan:
        return self.inner.moved_on(plan, num_steps)


@dataclass
class LosingPolicy:
    lost: range
    arm: PointArm

    def begin(self, run: EpisodeRun) -> Chooser:
        decider = Losing(Decider(MODEL, PLANNER, FAR, 7, self.arm.clock.now, run.config.limits), self.lost)
        if run.config.asynchronous:
            return Ahead(run, decider, DelayedWorker(self.arm.clock, 0.2))
        return TurnByTurn(run, decider, 5)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_arm_holds_and_then_stops(asynchronous: bool) -> None:
    arm = PointArm(ManualClock())
    config = LoopConfig(max_steps=60, asynchronous=asynchronous)
    episode = kept_episode(bench_of(arm), LosingPolicy(range(2, 1000), arm), config)
    most = config.limits.max_consecutive_holds
    assert episode.end == EpisodeEnd.SAFETY and "the line is dead" in episode.reasons and len(episode.decisions) == 2
    assert arm.num_stops == 1 and episode.holds.count(True) >= most and all(episode.holds[-most:])
    assert (episode.sent[-most:] == 0).all() and np.abs(episode.sent[:-most]).max() > 0


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_run_goes_on_when_answers_come_back(asynchronous: bool) -> None:
    arm = PointArm(ManualClock())
    episode = kept_episode(bench_of(arm), LosingPolicy(range(1, 4), arm), LoopConfig(max_steps=60, asynchronous=asynchronous))
    assert episode.end == EpisodeEnd.BUDGET and any(episode.holds[1:]) and not any(episode.holds[-20:])
    assert np.linalg.norm(arm.tool[:3] - [0.1, 0.05, 0.0]) < 0.02
