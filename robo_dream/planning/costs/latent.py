"""How far a future is from the goal in the latents themselves."""

from dataclasses import dataclass

from robo_dream.imagination import Goal, Imagination, StepCosts


@dataclass(frozen=True)
class LatentCost:
    """Euclidean distance to the goal's latent over the root of the number of channels: the typical difference of one channel.

    On the released encoder it ranks candidates about as `DistanceCost` and `PoseCost` do (benchmarks/cost_ranking.py), and yet the loop
    ends less precisely with it: 23 points fewer strict successes than with poses (benchmarks/far_goals.py, 30 pushes).
    """

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        difference = imagination.latents - goal.latent[:, None, None]
        distance = difference.square().mean(dim=-1).sqrt()
        return StepCosts({"latent": distance}, distance.sum(dim=-1))
