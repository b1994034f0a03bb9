"""Proposals that correct themselves: each block is chosen from the state that the blocks before it are imagined to lead to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, Goal, Imagination, Proposals, ScenePose, WorldModel
from robo_dream.planning.candidates import NoiseStreams, bounds_of, draws

# Of step h and the states there: the next block's actions, and what they lead to (each row a problem with one candidate).
NextStep = Callable[[int, Belief], tuple[Float[Tensor, "row time action"], Imagination]]


def followed(model: WorldModel, belief: Belief, num_samples: int, num_steps: int, next_step: NextStep) -> Proposals:
    """`num_samples` sequences of each problem, with what was imagined on the way, so that nobody imagines it twice.

    Actions are clipped to the limits, which `next_step` keeps but for rounding. Raises `ContractError` for a `num_steps` that is no
    multiple of the model's action block.
    """
    num_blocks = whole_blocks(model, num_steps)
    bounds = bounds_of(model.action_spec, belief.latent)
    memory = None if belief.memory is None else belief.memory.repeat_interleave(num_samples, dim=0)
    here = Belief(belief.latent.repeat_interleave(num_samples, dim=0), memory=memory)  # (B*K, D)
    blocks, imagined = [], []
    for h in range(num_blocks):
        actions, leads_to = next_step(h, here)
        blocks.append(bounds.clip(actions.to(bounds.low)))
        imagined.append(leads_to)
        here = leads_to.end()
    shape = (len(belief.latent), num_samples)
    return Proposals(
        torch.cat(blocks, dim=1).unflatten(0, shape),
        Imagination(
            torch.cat([one.latents[:, 0] for one in imagined], dim=1).unflatten(0, shape),
            torch.cat([one.disagreement[:, 0] for one in imagined], dim=1).unflatten(0, shape),
        ),
    )


def whole_blocks(model: WorldModel, num_steps: int) -> int:
    """How many action blocks `num_steps` control steps are; raises `ContractError` for a part of one."""
    if num_steps % model.action_block:
        raise ContractError(f"{num_steps} control steps were asked for; give a multiple of the model's action block, {model.action_block}")
    return num_steps // model.action_block


@runtime_checkable
class GoalPolicy(Protocol):
    """Proposes the next action block from where one is and where one wants to be.

    Its random numbers are given: `chance` in [0, 1) chooses among several ways, heaviest first, and `noise` in standard deviations
    goes off it; 0 and 0 are the likeliest proposal.
    """

    def aims(self, goals: Float[Tensor, "row channel"], /) -> Float[Tensor, "row aim"]:
        """What it has to know of goals."""
        ...

    def aside(
        self, latents: Float[Tensor, "row channel"], aims: Float[Tensor, "row aim"], moved: Float[Tensor, "row 2"], /
    ) -> Float[Tensor, "row aim"]:
        """`aims` with the goal of what is to be brought there moved aside, level, by `moved` metres."""
        ...

    def aims_at(self, scene: ScenePose, /) -> Float[Tensor, "row aim"]:
        """What it has to know of a goal of which poses are given."""
        ...

    def propose(
        self,
        latents: Float[Tensor, "row channel"],
        aims: Float[Tensor, "row aim"],
        chance: Float[Tensor, " row"],
        noise: Float[Tensor, "row block"],
        /,
    ) -> Float[Tensor, "row time action"]:
        """In physical units."""
        ...

    def follow(
        self, here: Belief, aims: Float[Tensor, "row aim"], chance: Float[Tensor, " row"], noise: Float[Tensor, "row block"], /
    ) -> tuple[Float[Tensor, "row time action"], Imagination]:
        """The same, and what it is imagined to lead to: one candidate a row, one step."""
        ...


def aims_of(policy: GoalPolicy, goal: Goal) -> Float[Tensor, "batch aim"]:
    """What `policy` has to know of `goal`: of the next move towards it, where there is one."""
    return policy.aims(goal.latent) if goal.next is None else policy.aims_at(goal.next)


@dataclass(frozen=True)
class PolicyProposer:
    """Block h is proposed from the imagined state after block h - 1, so that a proposal corrects itself on the way.

    The first proposal is the likeliest one unless `sampled_only`; the others are drawn. `temperature` scales their noise, and
    `spread` shares them among the ways (see `draws`). With a `goal_std` (metres) every second one is for a goal somewhere around the true
    one: what the policy would do on purpose to end a little elsewhere, of which the search takes what is imagined to end where it should.
    (Planning over a policy's goals instead of actions: Nasiriany et al. 2019, arXiv 1911.08453.)
    """

    model: WorldModel
    policy: GoalPolicy
    temperature: float = 1.0
    spread: bool = False
    sampled_only: bool = False
    goal_std: float = 0.0
    name: str = "policy"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Proposals:
        """See `Proposer.propose`; `num_steps` must be a multiple of the model's action block."""
        size = self.model.action_block * self.model.action_spec.size
        aims = aims_of(self.policy, goal).repeat_interleave(num_samples, dim=0)  # (B*K, ...)
        if self.goal_std > 0:
            moved = self.goal_std * NoiseStreams(seeds, "goals", belief.latent).normal(num_samples, 1, 2)
            moved[:, 0 if self.sampled_only else 1 :: 2] = 0.0
            moved[:, : 0 if self.sampled_only else 1] = 0.0
            aims = self.policy.aside(belief.latent.repeat_interleave(num_samples, dim=0), aims, moved.flatten(0, 2))

        def next_step(h: int, here: Belief) -> tuple[Tensor, Imagination]:
            at = [_block_seed(seed, h) for seed in seeds]
            return self.policy.follow(here, aims, *draws(at, num_samples, size, self.temperature, self.spread, self.sampled_only, aims))

        return followed(self.model, belief, num_samples, num_steps, next_step)


@dataclass(frozen=True)
class RepeatedPolicyProposer:
    """The block proposed for the present state, repeated over the horizon: one call of the policy, no imagination."""

    model: WorldModel
    policy: GoalPolicy
    temperature: float = 1.0
    spread: bool = False
    name: str = "inverse_repeated"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Proposals:
        """See `Proposer.propose`; `num_steps` must be a multiple of the model's action block."""
        num_blocks = whole_blocks(self.model, num_steps)
        size = self.model.action_block * self.model.action_spec.size
        latents = belief.latent.repeat_interleave(num_samples, dim=0)
        aims = aims_of(self.policy, goal).repeat_interleave(num_samples, dim=0)
        at = [_block_seed(seed, -1) for seed in seeds]  # not the draws of `PolicyProposer`'s first block
        blocks = self.policy.propose(latents, aims, *draws(at, num_samples, size, self.temperature, self.spread, False, aims))
        blocks = bounds_of(self.model.action_spec, belief.latent).clip(blocks.to(belief.latent))
        return Proposals(blocks.repeat(1, num_blocks, 1).unflatten(0, (len(belief.latent), num_samples)))


def _block_seed(seed: int, block: int) -> int:
    return (seed * 1_000_003 + block + 1) & ((1 << 63) - 1)


@runtime_checkable
class BridgeModel(Protocol):
    """Reads actions off the line between where one is and where one wants to be."""

    def next_block(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], num_blocks: Float[Tensor, " row"], /
    ) -> Float[Tensor, "row block_action"]:
        """The next action block (in physical units, flattened) of a way that takes `num_blocks`, a number of at least 1."""
        ...

    def num_blocks(self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], /) -> Float[Tensor, " row"]:
        """How many blocks the way is believed to take, at least 1."""
        ...


@dataclass(frozen=True)
class BridgeProposer:
    """Goes straight to the goal (RWM, arXiv 2609.29171) as fast as the model takes it to be far, then at speeds of a ladder.

    How long a way takes is not known, so sample 0 believes the learned distance, and the next ones arrive after 1, 2, 4 ... blocks,
    up to the horizon. Further samples are these again with coloured noise. After each block the line is drawn anew from the
    imagined state, so that a proposal corrects itself on the way: on 300 held-out goals of play 1.5 s away the tool came within
    0.9 cm (median, imagined), and within 1.6 cm where the whole way was read off the first line.
    """

    model: WorldModel
    bridge: BridgeModel
    noise_std: float = 0.15  # of half the action range
    noise_beta: float = 2.0  # slow, as the noise of a search
    name: str = "bridge"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Proposals:
        """See `Proposer.propose`; `num_steps` must be a multiple of the model's action block."""
        block, horizon = self.model.action_block, whole_blocks(self.model, num_steps)
        bounds = bounds_of(self.model.action_spec, belief.latent)
        goals = goal.latent.repeat_interleave(num_samples, dim=0)  # (B*K, D)
        lengths = way_lengths(self.bridge.num_blocks(belief.latent, goal.latent), num_samples, horizon).flatten()  # (B*K)
        noise = self._noise(num_samples, num_steps, horizon, seeds, bounds.half_range).flatten(0, 1)  # (B*K, T, A)

        def next_step(h: int, here: Belief) -> tuple[Tensor, Imagination]:
            flat = self.bridge.next_block(here.latent, goals, (lengths - h).clamp(min=1.0))
            actions = bounds.clip(flat.to(bounds.low).unflatten(1, (block, -1)) + noise[:, h * block : (h + 1) * block])
            return actions, self.model.imagine(here, actions[:, None])

        return followed(self.model, belief, num_samples, num_steps, next_step)

    def _noise(
        self, num_samples: int, num_steps: int, horizon: int, seeds: Sequence[int], half_range: Float[Tensor, " action"]
    ) -> Float[Tensor, "batch sample time action"]:
        """Nothing for the first of each speed."""
        noise = NoiseStreams(seeds, self.name, half_range).normal(num_samples, num_steps, len(half_range), self.noise_beta)
        noise[:, : num_speeds(horizon)] = 0.0
        return self.noise_std * half_range * noise


def num_speeds(horizon: int) -> int:
    """The learned distance, and every power of two up to the horizon."""
    return 1 + horizon.bit_length()


def way_lengths(believed: Float[Tensor, " batch"], num_samples: int, horizon: int) -> Float[Tensor, "batch sample"]:
    """After how many blocks each sample arrives: as `believed`, 1, 2, 4 ... up to `horizon`, and all that again."""
    ladder = 2.0 ** torch.arange(num_speeds(horizon) - 1, dtype=believed.dtype, device=believed.device)
    speeds = torch.cat([believed[:, None], ladder.expand(len(believed), -1)], dim=1)
    return speeds[:, torch.arange(num_samples, device=believed.device) % speeds.shape[1]]
