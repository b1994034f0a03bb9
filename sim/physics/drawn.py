"""True physics seen through a learned model: every state reached is drawn and encoded; nothing but the dynamics is another's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.embodiment import ActionSpec, Observation
from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Cost, Goal, Imagination, LocalGoal, ScenePose, StepCosts
from robo_dream.models.policy_prior import PolicyPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.local_goals import LocalGoalModel
from sim.environment import Simulation, frame
from sim.physics.oracle import OracleDynamics


@dataclass(frozen=True)
class DrawnDynamics:
    """A `WorldModel` whose latents are `model`'s of what its cameras show, with the simulation's state behind them (float64).

    It serves costs and policies that read latents, for which true poses are no substitute: see `SeenCost` and `SeenPolicy`. Slow, as a
    picture is drawn for every imagined step. Beliefs come from observations with pictures and `truth`; `world` is left as it was.
    """

    physics: OracleDynamics
    world: Simulation
    model: LatentVideoModel
    rows: int = 64  # pictures of each camera encoded at once

    def __post_init__(self) -> None:
        if self.physics.action_block != self.model.action_block:
            raise ContractError(
                f"true physics with action_block {self.physics.action_block} for a model with {self.model.action_block}; make them equal"
            )

    @property
    def action_spec(self) -> ActionSpec:
        return self.physics.action_spec

    @property
    def action_block(self) -> int:
        return self.physics.action_block

    @property
    def cameras(self) -> tuple[str, ...]:
        return self.model.cameras

    @property
    def num_seen(self) -> int:
        """Channels that the model sees; the others are the state's."""
        return self.model.spec.config.latent

    def believe(self, histories: Sequence[Sequence[Observation]]) -> Belief:
        """What the model believes, and where the newest observation says that the simulation is."""
        seen = self.model.believe(histories).latent
        return Belief(torch.cat([seen.double(), self.physics.believe(histories).latent.to(seen.device)], dim=-1))

    def imagine(self, belief: Belief, actions: Float[Tensor, "batch sample time action"]) -> Imagination:
        """What physics does, drawn and encoded."""
        true = self.physics.imagine(Belief(belief.latent[:, self.num_seen :]), actions)
        latents = torch.cat([self.drawn(true.latents.flatten(0, 2)).unflatten(0, true.latents.shape[:3]), true.latents], dim=-1)
        return Imagination(latents, true.disagreement)

    def drawn(self, states: Float[Tensor, "row state"]) -> Float[Tensor, "row channel"]:
        """What the model believes on seeing each state (float64); NaN of one that is not finite."""
        latents = states.new_full((len(states), self.num_seen), torch.nan)
        before = self.world.state
        for some in torch.isfinite(states).all(dim=1).nonzero()[:, 0].split(self.rows):
            seen = []
            for state in states[some].cpu().numpy():
                self.world.set_state(state)
                frames = {name: frame(self.world, name) for name in self.cameras}
                seen.append([Observation(self.world.time, frames, self.world.arm_state())])
            if seen:
                latents[some] = self.model.believe(seen).latent.to(latents)
        self.world.set_state(before)
        return latents

    def poses(self, latents: Float[Tensor, "*batch channel"]) -> ScenePose:
        """As the model reads them off what it sees."""
        return self.model.poses(self.seen(latents))

    def seen(self, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch seen"]:
        """The model's own part of `latents`."""
        return latents[..., : self.num_seen].float()


@dataclass(frozen=True)
class SeenCost:
    """`cost` of what the model sees."""

    world: DrawnDynamics
    cost: Cost

    def __call__(self, imagination: Imagination, goal: Goal) -> StepCosts:
        seen = Imagination(self.world.seen(imagination.latents), imagination.disagreement.float())
        return self.cost(seen, replace(goal, latent=self.world.seen(goal.latent)))


@dataclass(frozen=True)
class SeenPolicy:
    """A `GoalPolicy`: `prior` goes by what the model sees, and physics says where that leads."""

    world: DrawnDynamics
    prior: PolicyPrior

    def aims(self, goals: Float[Tensor, "row channel"]) -> Float[Tensor, "row aim"]:
        return self.prior.aims(self.world.seen(goals))

    def aside(
        self, latents: Float[Tensor, "row channel"], aims: Float[Tensor, "row aim"], moved: Float[Tensor, "row 2"]
    ) -> Float[Tensor, "row aim"]:
        return self.prior.aside(self.world.seen(latents), aims, moved)

    def aims_at(self, scene: ScenePose) -> Float[Tensor, "row aim"]:
        return self.prior.aims_at(scene)

    def propose(
        self,
        latents: Float[Tensor, "row channel"],
        aims: Float[Tensor, "row aim"],
        chance: Float[Tensor, " row"],
        noise: Float[Tensor, "row block"],
    ) -> Float[Tensor, "row time action"]:
        return self.prior.propose(self.world.seen(latents), aims, chance, noise)

    def follow(
        self, here: Belief, aims: Float[Tensor, "row aim"], chance: Float[Tensor, " row"], noise: Float[Tensor, "row block"]
    ) -> tuple[Float[Tensor, "row time action"], Imagination]:
        actions = self.propose(here.latent, aims, chance, noise)
        return actions, self.world.imagine(here, actions[:, None])


@dataclass(frozen=True)
class SeenLocalGoals:
    """A `LocalGoalModel` that goes by what the model sees."""

    world: DrawnDynamics
    prior: LocalGoalModel

    @property
    def num_numbers(self) -> int:
        return self.prior.num_numbers

    def seen(self, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch number"]:
        return self.prior.seen(self.world.seen(latents))

    def soon(
        self,
        latents: Float[Tensor, "batch channel"],
        goals: Float[Tensor, "batch channel"],
        chance: Float[Tensor, " batch"],
        noise: Float[Tensor, "batch moved"],
        steps: int,
    ) -> LocalGoal:
        return self.prior.soon(self.world.seen(latents), self.world.seen(goals), chance.float(), noise.float(), steps)
