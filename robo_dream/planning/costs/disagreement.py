"""How little the model knows of a future."""

from dataclasses import dataclass

from robo_dream.imagination import Goal, Imagination, StepCosts


@dataclass(frozen=True)
class DisagreementCost:
    """The spread of the model's heads at each imagined step, so that a search does not seek out what the model does not know."""

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        return StepCosts({"disagreement": imagination.disagreement}, imagination.disagreement.sum(dim=-1))
