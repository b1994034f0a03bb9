"""Risk over the futures of an ensemble: what each measure makes of them, and what it changes in a choice."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Belief, Goal, Imagination, StepCosts
from robo_dream.planning.policy_guided import PolicyGuidedConfig, PolicyGuidedPlanner
from robo_dream.planning.scoring import RiskConfig
from robo_dream.testing.point_mass import PointMassModel, point_action_spec, point_problems

TOTALS = torch.tensor([[[1.0, 4.0]], [[2.0, 4.0]], [[3.0, 4.0]], [[10.0, 4.0]]])  # 4 heads, 1 problem, 2 candidates


def test_each_measure_is_its_closed_form() -> None:
    assert RiskConfig("mean").of(TOTALS).tolist() == [[4.0, 4.0]]
    assert RiskConfig("worst").of(TOTALS).tolist() == [[10.0, 4.0]]
    assert RiskConfig("cvar", tail=0.5).of(TOTALS).tolist() == [[6.5, 4.0]]


def test_cvar_of_all_futures_is_their_mean_and_of_one_the_worst() -> None:
    assert torch.equal(RiskConfig("cvar", tail=1.0).of(TOTALS), RiskConfig("mean").of(TOTALS))
    assert torch.equal(RiskConfig("cvar", tail=0.25).of(TOTALS), RiskConfig("worst").of(TOTALS))


@pytest.mark.parametrize("risk", [RiskConfig("mean"), RiskConfig("worst"), RiskConfig("cvar", tail=0.25)], ids=lambda risk: risk.measure)
@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_one_future_that_is_not_finite_spoils_the_candidate_and_no_other(risk: RiskConfig, broken: float) -> None:
    totals = TOTALS.clone()
    totals[2, 0, 0] = broken
    assert torch.isfinite(risk.of(totals)).tolist() == [[False, True]]


@pytest.mark.parametrize("tail", [0.0, 1.5, float("nan")])
def test_a_tail_that_is_no_share_is_refused(tail: float) -> None:
    with pytest.raises(ConfigError, match=r"RiskConfig\.tail"):
        RiskConfig("cvar", tail=tail)


@dataclass(frozen=True)
class TwoOpinions(PointMassModel):
    """Both heads agree until the tool is right of the start; there, one of them believes that it slips far away."""

    def rollout_per_member(self, belief: Belief, actions: Tensor) -> tuple[Imagination, ...]:
        surely = self.imagine(belief, actions)
        right = surely.latents[..., :1] > belief.latent[:, None, None, :1] + 1e-3
        slipped = torch.where(right, surely.latents + 10.0, surely.latents)
        return surely, replace(surely, latents=slipped)


@dataclass(frozen=True)
class Aside:
    """Cheap when the tool has moved sideways, either way; a little cheaper to the right."""

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        x = imagination.latents[..., 0]
        cost = (x.abs() - 0.1).abs() - 0.01 * torch.sign(x)
        return StepCosts({"aside": cost}, cost.sum(-1))


def test_the_worst_case_avoids_what_one_head_fears_and_the_plain_search_does_not() -> None:
    model = TwoOpinions(point_action_spec())
    belief, goal = point_problems(1, 0.15, seed=1)
    belief = Belief(torch.zeros_like(belief.latent))
    plain = PolicyGuidedPlanner(model, Aside(), PolicyGuidedConfig(num_elites=64)).plan(belief, goal, [0])
    wary = PolicyGuidedPlanner(model, Aside(), PolicyGuidedConfig(num_elites=64, risk=RiskConfig("worst"))).plan(belief, goal, [0])
    assert plain.latents[0, -1, 0] > 0.05
    assert wary.latents[0, -1, 0] < 0
    assert "risk" in wary.seconds


def test_a_model_with_one_future_is_refused_in_words() -> None:
    belief, goal = point_problems(1, 0.15, seed=1)
    planner = PolicyGuidedPlanner(PointMassModel(point_action_spec()), Aside(), PolicyGuidedConfig(risk=RiskConfig()))
    with pytest.raises(ContractError, match="one future only"):
        planner.plan(belief, goal, [0])


def test_risk_and_the_mean_of_the_elites_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="action_selection=mean"):
        PolicyGuidedConfig(action_selection="mean", risk=RiskConfig())
