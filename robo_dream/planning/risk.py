"""How bad a plan may end: its cost in each future that the model's heads imagine, and one number for all of them."""

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Belief, Cost, Goal, Imagination, finite_or_inf
from robo_dream.planning.scoring import Scored


@dataclass(frozen=True)
class RiskConfig:
    """`mean` trusts all heads alike, `worst` the most pessimistic, `cvar` the mean of the worst `tail` of them.

    Conditional value at risk: Rockafellar and Uryasev, Optimization of Conditional Value-at-Risk, 2000. Each head keeps to its own
    future for all steps, as the particles "TS infinity" of PETS (Chua et al. 2018, arXiv 1805.12114).
    """

    measure: Literal["mean", "worst", "cvar"] = "cvar"
    tail: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.tail <= 1:
            raise ConfigError(f"RiskConfig.tail is {self.tail}; allowed is a share of the futures above 0 and at most 1")

    def of(self, totals: Float[Tensor, "head batch sample"]) -> Float[Tensor, "batch sample"]:
        """One total from those of all futures; a single future that is not finite makes it so."""
        match self.measure:
            case "mean":
                return totals.mean(dim=0)
            case "worst":
                return totals.amax(dim=0)
            case "cvar":
                count = math.ceil(self.tail * len(totals) - 1e-9)
                return totals.sort(dim=0, descending=True).values[:count].mean(dim=0)


@runtime_checkable
class ManyFutures(Protocol):
    """A world model that can imagine apart what each of its heads believes."""

    def imagine_apart(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> tuple[Imagination, ...]:
        """One imagination for each head, which stands on its own predictions at every step."""
        ...


def judged_by_risk(model: ManyFutures, cost: Cost, belief: Belief, goal: Goal, candidates: Scored, risk: RiskConfig) -> Scored:
    """`candidates` with totals that are the risk over the heads' futures; what was not finite before stays so."""
    totals = torch.stack([cost(future, goal).total for future in model.imagine_apart(belief, candidates.actions)])
    risked, _ = finite_or_inf(risk.of(totals))
    return replace(candidates, totals=torch.where(torch.isfinite(candidates.totals), risked, torch.inf))


def check_many_futures(model: object) -> ManyFutures:
    """`model`, or `ContractError` when it has but one future."""
    if not isinstance(model, ManyFutures):
        raise ContractError(
            f"{type(model).__name__} imagines one future only, so there is no risk to weigh; set planner.risk=null, or use a learned model"
        )
    return model
