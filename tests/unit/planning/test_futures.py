"""Several futures in a decision: what is counted of them, and a risky way that is taken or left by how they are judged."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from robo_dream.errors import ConfigError
from robo_dream.imagination import Belief, Goal, Imagination, Plan, Planner, StepCosts
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.kinds import planner_of
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.predictive import PredictiveConfig
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.planning.scoring import FuturesConfig, FuturesCost, FuturesPlanner, RiskConfig
from robo_dream.testing.point_mass import PointMassInverse, PointMassModel, point_action_spec

FAR = 10.0  # m, how far it slips


@dataclass(frozen=True)
class SlipperyRight(PointMassModel):
    """Right of the start the tool slips far away in half of the futures: a draw of the first step below a half."""

    def imagine(self, belief: Belief, actions: Tensor) -> Imagination:
        surely = super().imagine(replace(belief, chance=None), actions)
        if belief.chance is None:
            return surely
        right = surely.latents[..., :1] > belief.latent[:, None, None, :1] + 1e-3
        slipped = torch.where(right, surely.latents - FAR, surely.latents)
        slips = belief.chance.draws[:, :, 0].T[:, :, None, None, None] < 0.5  # (future, batch, 1, 1, 1)
        return replace(surely, futures=torch.where(slips, slipped, surely.latents))


MODEL = SlipperyRight(point_action_spec())


@dataclass(frozen=True)
class FarRight:
    """Cheap where the tool is moved aside, the right being so much better that half of a slip is worth it."""

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        x = imagination.latents[..., 0]
        cost = torch.where(x > 0, 0.0, torch.where(x < -FAR / 2, 0.6, 0.4)) - x.abs().clamp(max=0.02)
        return StepCosts({"aside": cost}, cost.sum(-1))


SEARCHES = (
    PolicyGuidedConfig(num_samples=48, num_elites=8, num_proposals=8),
    CemConfig(num_samples=48, num_iterations=3, num_elites=8, num_proposals=8, action_selection="best"),
    PredictiveConfig(num_samples=64, num_proposals=8),
)
each_search = pytest.mark.parametrize("search", SEARCHES, ids=[config.kind for config in SEARCHES])


def planner(search: object, futures: FuturesConfig) -> Planner:
    proposers = [PolicyProposer(MODEL, PointMassInverse(MODEL))]
    inner = planner_of(search, MODEL, FuturesCost(FarRight(), futures.risk), proposers)  # type: ignore[arg-type]
    return FuturesPlanner(inner, MODEL, FarRight(), futures, search.horizon)  # type: ignore[attr-defined]


def planned(search: object, futures: FuturesConfig, seeds: tuple[int, ...] = (0,)) -> Plan:
    nowhere = torch.zeros(len(seeds), 8)
    return planner(search, futures).plan(Belief(nowhere), Goal(nowhere), list(seeds))


@each_search
def test_the_mean_takes_the_risky_way_and_cvar_and_worst_leave_it(search: object) -> None:
    mean = planned(search, FuturesConfig(count=8))
    assert mean.futures is not None and mean.future_totals is not None
    assert mean.latents[0, -1, 0] > 0 and (mean.futures[0, :, -1, 0] < 0).sum() == 4  # half of the futures slip
    for risk in (RiskConfig("cvar", tail=0.5), RiskConfig("worst")):
        wary = planned(search, FuturesConfig(count=8, risk=risk))
        assert wary.latents[0, -1, 0] < 0
        assert wary.future_totals is not None and wary.future_totals.max() < mean.future_totals.max()
    assert mean.total[0] == pytest.approx(float(mean.future_totals.mean()), rel=1e-5)


@each_search
def test_a_decision_is_its_seeds_own_alone_and_among_others(search: object) -> None:
    futures = FuturesConfig(count=8, risk=RiskConfig("cvar", tail=0.25))
    together = planned(search, futures, (3, 4))
    for row, seed in enumerate((3, 4)):
        alone = planned(search, futures, (seed,))
        assert torch.equal(alone.actions[0], together.actions[row]) and alone.futures is not None and together.futures is not None
        assert torch.equal(alone.futures[0], together.futures[row]) and torch.equal(alone.total, together.total[row : row + 1])


@pytest.mark.parametrize("risk", [RiskConfig("mean"), RiskConfig("worst"), RiskConfig("cvar", tail=0.3)], ids=lambda risk: risk.measure)
def test_terms_are_of_the_futures_that_count_and_sum_to_the_total(risk: RiskConfig) -> None:
    latents = torch.randn(10, 2, 5, 3, 8, generator=torch.Generator().manual_seed(0))
    imagination = Imagination(latents[0], torch.zeros(2, 5, 3), futures=latents)
    costs = FuturesCost(FarRight(), risk)(imagination, Goal(torch.zeros(2, 8)))
    torch.testing.assert_close(costs.terms["aside"].sum(-1), costs.total)
    each = torch.stack([FarRight()(Imagination(one, torch.zeros(2, 5, 3)), Goal(torch.zeros(2, 8))).total for one in latents])
    assert torch.equal(costs.total, risk.of(each)) and risk.counted(each).sum(0).unique().tolist() == [
        {"mean": 10, "worst": 1, "cvar": 3}[risk.measure]
    ]


def test_one_future_that_is_not_finite_spoils_the_candidate() -> None:
    latents = torch.zeros(4, 1, 2, 3, 8)
    latents[2, 0, 1] = torch.nan
    costs = FuturesCost(NanIsNan(), RiskConfig("mean"))(
        Imagination(latents[0], torch.zeros(1, 2, 3), futures=latents), Goal(torch.zeros(1, 8))
    )
    assert torch.isfinite(costs.total).tolist() == [[True, False]]


@dataclass(frozen=True)
class NanIsNan:
    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        x = imagination.latents[..., 0]
        return StepCosts({"x": x}, x.sum(-1))


@pytest.mark.parametrize(
    ("key", "values", "said"),
    [
        ("count", {"count": 0}, "count"),
        ("temperature", {"temperature": -1.0}, "temperature"),
        ("temperature", {"temperature": float("nan")}, "temperature"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(key: str, values: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"FuturesConfig\.{said}"):
        FuturesConfig(**values)  # type: ignore[arg-type]
