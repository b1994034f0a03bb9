"""The loop hands beliefs on with what the arm really did since, and goes on without pictures for a while."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import torch
from kept import Kept, kept_episode

from robo_dream.control.asynchronous import DelayedWorker
from robo_dream.control.episode import Bench, EpisodeEnd, LoopConfig
from robo_dream.control.policies import PlannerPolicy
from robo_dream.embodiment import Frame, Observation
from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Goal
from robo_dream.planning.costs import PoseCost, PoseCostConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.safety.limits import SafetyLimits
from robo_dream.testing.clocks import ManualClock
from robo_dream.testing.point_mass import PointMassModel, point_action_spec
from robo_dream.testing.point_world import PointArm, PointCamera

FAR = Goal(torch.tensor([[0.2, 0.05, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]))


@dataclass(frozen=True)
class Diary(PointMassModel):
    """Remembers the sum of all that was done, and notes what it was told."""

    remembers: bool = True
    told: list[tuple[np.ndarray, tuple[str, ...]]] = field(default_factory=list)

    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        belief = super().believe(histories)
        return replace(belief, memory=torch.zeros(len(belief.latent), 5), unseen=torch.zeros(len(belief.latent), dtype=torch.int64))

    def update(self, previous: Belief, actions: torch.Tensor, observations: Sequence[Observation]) -> Belief:
        assert previous.memory is not None and previous.unseen is not None
        self.told.append((actions[0].numpy(), tuple(observations[0].frames)))
        latent = torch.cat([previous.latent[:, :5] + actions.sum(1), previous.latent[:, 5:]], 1)
        came = torch.tensor([bool(one.frames) for one in observations])
        unseen = torch.where(came, 0, previous.unseen + actions.shape[1])
        return Belief(latent, memory=previous.memory + actions.sum(1), unseen=unseen)


class Shutter(PointCamera):
    """Shows nothing new from picture `closed_from` to `closed_to`."""

    closed_from, closed_to = 12, 20

    def read(self) -> Frame:
        frame = super().read()
        if not self.closed_from <= self.num_frames < self.closed_to:
            self.last = frame
        return self.last


def episode_of(model: PointMassModel, camera: type[PointCamera] = PointCamera, **loop: Any) -> tuple[Kept, PointArm]:
    arm = PointArm(ManualClock())
    cost = PoseCost(model, PoseCostConfig(object_pos=0, tool_pos=1))
    planner = PolicyGuidedPlanner(model, cost, PolicyGuidedConfig(num_samples=64))
    worker = DelayedWorker(arm.clock, 0.2) if loop.get("asynchronous") else None
    policy = PlannerPolicy(model, planner, FAR, seed=7, worker=worker)
    return kept_episode(Bench(arm, [camera(arm)], arm.clock), policy, LoopConfig(**{"max_steps": 30, **loop})), arm


@pytest.mark.parametrize("asynchronous", [False, True])
def test_each_update_is_told_what_was_applied_since_the_one_before(asynchronous: bool) -> None:
    model = Diary(point_action_spec())
    episode, _ = episode_of(model, asynchronous=asynchronous)
    told = np.concatenate([actions for actions, _ in model.told])
    assert len(model.told) >= 3 and all(cameras == ("front",) for _, cameras in model.told)
    np.testing.assert_array_equal(told, episode.applied[: len(told)])
    memory = episode.decisions[-1].memory
    assert memory is not None and episode.decisions[-1].belief_unseen == 0
    if not asynchronous:
        assert [len(actions) for actions, _ in model.told] == [5] * 5
        np.testing.assert_allclose(memory, episode.applied[:25].sum(0), atol=1e-6)


def test_what_is_remembered_is_of_now_so_that_nothing_is_imagined_through_twice() -> None:
    class Late(PointCamera):
        def read(self) -> Frame:
            frame = super().read()
            return replace(frame, time=frame.time - 0.2)

    model = Diary(point_action_spec())
    limits = SafetyLimits(max_frame_age=0.3, max_tool_error=None)
    episode, _ = episode_of(model, Late, asynchronous=True, limits=limits)
    assert len(episode.decisions) > 3
    for decision in episode.decisions[2:]:
        np.testing.assert_allclose(decision.belief[:3], episode.observations[decision.step].arm.tool_pos, atol=1e-6)


def test_without_pictures_it_goes_on_and_says_so() -> None:
    model = Diary(point_action_spec())
    episode, _ = episode_of(model, Shutter, blind_steps=10)
    assert episode.end == EpisodeEnd.BUDGET and not any(episode.holds)
    assert [decision.belief_unseen for decision in episode.decisions] == [0, 0, 0, 5, 0, 0]
    assert [cameras for _, cameras in model.told] == [("front",), ("front",), (), ("front",), ("front",)]


def test_it_does_not_go_on_for_longer_than_it_is_told_nor_at_all_by_default() -> None:
    episode, _ = episode_of(Diary(point_action_spec()), Shutter, blind_steps=2)
    assert any(episode.holds)
    episode, _ = episode_of(Diary(point_action_spec()), Shutter)
    assert any(episode.holds)


def test_who_remembers_nothing_is_not_sent_on_blindly() -> None:
    with pytest.raises(ContractError, match="remembers nothing"):
        episode_of(PointMassModel(point_action_spec()), blind_steps=5)
    with pytest.raises(ContractError, match="remembers nothing"):
        episode_of(Diary(point_action_spec(), remembers=False), blind_steps=5)
