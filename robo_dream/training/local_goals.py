"""Where things will be shortly, on the way to hindsight goals: what `LocalGoals` learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.models.policy import LocalGoals
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.config import LocalGoalStage
from robo_dream.training.losses import likelihood_loss
from robo_dream.training.policy import PolicyBatches
from robo_dream.training.processes import ALONE, Processes
from robo_dream.training.stage import LOCAL_GOALS, TrainingRun, run_stage, stage_of


@dataclass(frozen=True)
class LocalBatch:
    """Pairs of start and goal, and how far what is seen moves in between, at each of some steps ahead."""

    seen: Float[Tensor, "batch number"]
    goals: Float[Tensor, "batch number"]
    moved: Float[Tensor, "batch moved"]
    weights: Float[Tensor, " batch"]
    among: Processes = ALONE  # who have the other rows of the whole batch


class LocalGoalBatches:
    """The batch of any step, a function of the step alone: the policy's pairs, and what is true some control steps after their start.

    Who is at the goal before that stays there. Starts and goals are seen with the policy's errors, and what moved is the truth: an object
    that is believed a little aside is imagined a little aside later, too.
    """

    def __init__(self, pairs: PolicyBatches, ahead: Sequence[int], batch: int) -> None:
        self.pairs, self.ahead, self.batch = pairs, np.asarray(ahead, np.int64), batch

    def __call__(self, step: int) -> LocalBatch:
        rng = np.random.default_rng((self.pairs.config.seed, 8, step))
        start, goals = self.pairs.pairs(rng, self.batch)
        pair = self.pairs.batch(rng, start, goals)
        soon = np.minimum(start[:, None] + self.ahead, goals[:, None])
        moved = (self.pairs.at(soon) - self.pairs.at(start)[:, None]).flatten(1)
        is_told = moved.isfinite().all(-1)
        mine = self.pairs.among.rows(len(start))
        return LocalBatch(
            pair.seen[mine], pair.goals[mine], moved[mine].nan_to_num(), (pair.weights * is_told)[mine], self.pairs.among
        )  # fmt: skip


def local_goal_losses(learned: LocalGoals, batch: LocalBatch) -> dict[str, Tensor]:
    """Nats for each number that is told."""
    density = learned(batch.seen, batch.goals).log_density(batch.moved)
    return {LOCAL_GOALS: likelihood_loss(density, batch.weights, batch.moved.shape[-1], batch.among)}


def learn_local_goals(
    run: TrainingRun, model: LatentVideoModel, pairs: PolicyBatches, stage: LocalGoalStage, dataset_id: str, init: str | None = None
) -> LatentVideoModel:
    """A copy of `model` that has learned local goals; all else of it stays as it is. `init` as in `run_stage`."""
    model = model.with_local_goals(stage.ahead, run.config.seed)
    learned, batches = model.local_goals, LocalGoalBatches(pairs, stage.ahead, stage.batch)
    assert learned is not None

    def losses(step: int) -> Mapping[str, Tensor]:
        return local_goal_losses(learned, batches(step))

    run_stage(run, stage_of(LOCAL_GOALS, stage), learned, [learned], losses, dataset_id, init=init)
    return model


@torch.no_grad()
def errors_of(model: LatentVideoModel, batch: LocalBatch) -> dict[int, tuple[float, float]]:
    """By control steps ahead: how far the likeliest local goal is off what came, and how far who takes all to stay as it is.

    Root mean squares over all numbers, normalised; of pairs that count.
    """
    learned = model.local_goals
    assert learned is not None, "give a model that has learned local goals"
    mean, _ = learned(batch.seen, batch.goals).picked(batch.weights.new_zeros(len(batch.weights)))
    counts = batch.weights > 0
    errors, found = (mean - batch.moved)[counts], {}
    for place, steps in enumerate(learned.ahead):
        part = slice(place * learned.num_seen, (place + 1) * learned.num_seen)
        found[steps] = tuple(float(values[:, part].square().mean().sqrt()) for values in (errors, batch.moved[counts]))
    return found
