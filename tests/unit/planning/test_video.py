"""The planner that imagines videos: it follows one of them, of the way that most agree on, and says where two models disagree."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Belief, Goal, Plan, PlanStatus
from robo_dream.planning.costs import LatentCost
from robo_dream.planning.video import VideoPlanner, VideoPlannerConfig, VideoProposer
from robo_dream.testing.point_mass import PointMassModel, PointMassVideo, point_action_spec

MODEL = PointMassModel(point_action_spec())


@dataclass(frozen=True)
class TwoWays(PointMassVideo):
    """Videos that go left or right of something, by the sign of a random number; `short_by` is left of the way that is really gone."""

    short_by: float = 0.0

    def imagined(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], noise: Float[Tensor, "row look number"]
    ) -> Float[Tensor, "row look channel"]:
        videos = super().imagined(latents, goals, noise)
        aside = torch.where(noise[:, 0, 0] > 0.4, 0.06, -0.06)[:, None].expand(videos.shape[:2]) + 0.002 * noise[:, 0, 1:2]
        return torch.cat([videos[..., :1], videos[..., 1:2] + aside[..., None], videos[..., 2:]], -1)

    def apart(self, video: Tensor, imagined: Tensor) -> Tensor:
        return super().apart(video * (1 + self.short_by), imagined)


def asked(config: VideoPlannerConfig, seed: int = 3, video: PointMassVideo | None = None, check: bool = False) -> Plan:
    proposer = VideoProposer(MODEL, TwoWays(MODEL, shaken=0.002) if video is None else video, check=check)
    belief = Belief(torch.zeros(1, 8))
    goal = Goal(torch.tensor([[0.2, 0, 0, 0, 0, 0, 0, 0]]))
    return VideoPlanner(MODEL, LatentCost(), config, (proposer,)).plan(belief, goal, [seed])


@pytest.mark.parametrize("seed", range(8))
def test_follows_one_video_of_the_way_that_most_take_and_never_a_mean_of_two(seed: int) -> None:
    plan = asked(VideoPlannerConfig(num_samples=16), seed)
    ways = plan.trace.candidates[0, :, 0, 1] > 0
    most = bool(ways.float().mean() > 0.5)
    assert 0 < ways.float().mean() < 1, "both ways are imagined"
    assert bool(plan.actions[0, 0, 1] > 0) is most or ways.float().mean() == 0.5
    assert (plan.trace.candidates[0] == plan.actions[0]).flatten(1).all(1).any(), "what is done was seen in one of the videos"
    assert abs(float(plan.actions[0, :5, 1].sum())) > 0.03, "a mean of both would go straight on"
    modes = plan.trace.modes
    assert modes is not None and set(modes[0].tolist()) == {0, 1}
    assert ((modes[0] == 0) == (ways == most)).all()


def test_the_video_in_the_middle_of_its_way_is_followed() -> None:
    plan = asked(VideoPlannerConfig(num_samples=16))
    modes = plan.trace.modes
    assert modes is not None
    followed = plan.trace.candidates[0, modes[0] == 0][:, :5].flatten(1)
    away = (followed[:, None] - followed).norm(dim=-1).sum(1)
    chosen = (followed == plan.actions[0, :5].flatten()).all(1)
    assert away[chosen].min() < away.median()


def test_a_wide_reach_takes_both_ways_for_one() -> None:
    modes = asked(VideoPlannerConfig(num_samples=16, apart=5.0)).trace.modes
    assert modes is not None and (modes == 0).all()


def test_best_follows_the_video_that_ends_best_instead() -> None:
    plan = asked(VideoPlannerConfig(num_samples=16, choose="best"))
    assert plan.total == plan.trace.totals.min() and plan.trace.modes is None


def test_videos_that_their_own_actions_do_not_lead_to_make_it_unsure() -> None:
    fits, off = TwoWays(MODEL, shaken=0.002), TwoWays(MODEL, shaken=0.002, short_by=0.5)
    assert asked(VideoPlannerConfig(), video=fits, check=True).status == (PlanStatus.OK,)
    assert asked(VideoPlannerConfig(), video=off, check=True).status == (PlanStatus.UNSURE,)
    assert asked(VideoPlannerConfig(), video=off, check=False).status == (PlanStatus.OK,), "who does not check believes videos"
    assert asked(VideoPlannerConfig(unsure_above=math.inf), video=off, check=True).status == (PlanStatus.OK,)


def test_few_videos_are_the_first_of_many() -> None:
    few, many = asked(VideoPlannerConfig(num_samples=4)), asked(VideoPlannerConfig(num_samples=16))
    assert torch.equal(few.trace.latents, many.trace.latents[:, :4])


def test_a_longer_video_than_was_learned_is_an_error_that_says_so() -> None:
    with pytest.raises(ContractError, match=r"7 looks.*tells 6"):
        asked(replace(VideoPlannerConfig(), horizon=7))
    with pytest.raises(ConfigError, match="compared is 3 looks; a video has 2"):
        VideoPlannerConfig(horizon=2, compared=3)
