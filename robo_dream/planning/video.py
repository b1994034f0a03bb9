"""Acting by imagining the video: what most of several videos towards the goal agree on is done, read off their neighbouring frames.

UniPi (Du et al. 2023, arXiv 2302.00111) reads actions off one generated video by inverse dynamics; here there are several, in latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from robo_dream.errors import ConfigError, ContractError
from robo_dream.imagination import Belief, Goal, Imagination, Plan, Proposals, WorldModel
from robo_dream.planning.candidates import Count, Disagreement, Horizon, NoiseStreams, bounds_of
from robo_dream.planning.elites import FOLLOWED, NO_VOTE, ranked_groups
from robo_dream.planning.proposals import whole_blocks
from robo_dream.planning.scoring import Scored
from robo_dream.planning.search import PlannerBase, Search
from robo_dream.schema import configuration

_SCORED = 8192  # videos scored at once


@configuration
class VideoPlannerConfig:
    """`num_samples` videos. With choose=agreed those that begin alike are of one way, and of the way that most are of, the video in the
    middle is followed: one of them, never a mean of two ways round. With choose=best it is the one that ends best by the cost.

    Two begin alike where what is done in their first `compared` looks leads apart by at most `apart`: of the way so far at each control
    step, a step's mean, in half action ranges, root mean square over time and numbers. So do those that a third one begins as both of.

    With `check`, what the actions of a video are imagined to lead to is compared with it, look by look; 1 is as far apart as 19 of 20
    usually are at most (`VideoFlow.usual`), and a plan beyond `unsure_above` is `UNSURE`. Without, videos are believed.
    """

    kind: Literal["video"] = "video"
    horizon: Horizon = 6  # looks of a video, an action block apart; at most as many as the checkpoint learned
    num_samples: Count = 16  # videos
    choose: Literal["agreed", "best"] = "agreed"
    compared: Horizon = 1  # looks; what comes later is imagined anew before it is done
    apart: Annotated[float, Field(ge=0, le=10)] = 0.15
    temperature: Annotated[float, Field(ge=0, le=10)] = 0.5  # of the noise that videos come from: lower, they are more alike
    guidance: Annotated[float, Field(ge=0, le=100)] = 1.5  # above 1 the goal counts more than it did in what was learned
    flow_steps: Annotated[int, Field(ge=1, le=1000)] = 8  # from noise to a video
    read: Literal["latents", "strip"] = "latents"  # what tells the actions: neighbouring latents, or the strip of commands that is drawn
    check: bool = False
    unsure_above: Disagreement = 1.0

    def __post_init__(self) -> None:
        if self.compared > self.horizon:
            raise ConfigError(
                f"VideoPlannerConfig.compared is {self.compared} looks; a video has {self.horizon}: set it lower, or horizon higher"
            )


@runtime_checkable
class VideoModel(Protocol):
    """Tells how the video goes on, and what was done in it."""

    @property
    def num_looks(self) -> int:
        """Of a video, each an action block after the one before."""
        ...

    @property
    def num_numbers(self) -> int:
        """How many random numbers a look takes."""
        ...

    def imagined(
        self, latents: Float[Tensor, "row channel"], goals: Float[Tensor, "row channel"], noise: Float[Tensor, "row look number"], /
    ) -> Float[Tensor, "row look seen"]:
        """How the video goes on towards `goals`; standard normal `noise` says which of several."""
        ...

    def actions(self, latents: Float[Tensor, "row channel"], video: Float[Tensor, "row look seen"], /) -> Float[Tensor, "row time action"]:
        """What leads from look to look, in physical units."""
        ...

    def latents(self, video: Float[Tensor, "*batch look seen"], /) -> Float[Tensor, "*batch look channel"]:
        """Of the looks of a video, without what else is drawn."""
        ...

    def apart(
        self, video: Float[Tensor, "*batch look channel"], imagined: Float[Tensor, "*batch look channel"], /
    ) -> Float[Tensor, "*batch look"]:
        """How far a video is from what its actions are imagined to lead to; 1 is as far as it usually is at most."""
        ...


@dataclass(frozen=True)
class VideoProposer:
    """Videos towards the goal, and what is done in them. What is imagined of a proposal is the video, not where the actions lead.

    With `check` its disagreement is how far these two are apart, otherwise nothing.
    """

    model: WorldModel
    video: VideoModel
    temperature: float = 1.0
    check: bool = False
    name: str = "video"

    def propose(self, belief: Belief, goal: Goal, num_samples: int, num_steps: int, seeds: Sequence[int]) -> Proposals:
        """See `Proposer.propose`. Raises `ContractError` for more steps than a video has."""
        num_looks, learned = whole_blocks(self.model, num_steps), self.video.num_looks
        if num_looks > learned:
            raise ContractError(f"{num_looks} looks of a video were asked for, and this model tells {learned}; ask for a shorter horizon")
        streams = NoiseStreams(seeds, self.name, belief.latent)
        noise = self.temperature * streams.normal(num_samples, learned, self.video.num_numbers).flatten(0, 1)  # (B*K, L, N)
        here, there = (values.repeat_interleave(num_samples, 0) for values in (belief.latent, goal.latent.to(belief.latent)))
        videos = self.video.imagined(here, there, noise)[:, :num_looks]
        actions = bounds_of(self.model.action_spec, belief.latent).clip(self.video.actions(here, videos).to(here))
        shape = (len(belief.latent), num_samples)
        found, actions = self.video.latents(videos).unflatten(0, shape), actions.unflatten(0, shape)
        apart = found.new_zeros(found.shape[:3])
        if self.check:
            apart = self.video.apart(found, self.model.imagine(belief, actions).latents)
        return Proposals(actions, Imagination(found, apart))


@dataclass(frozen=True)
class VideoPlanner(PlannerBase[VideoPlannerConfig]):
    """Executes what is done in one of its proposer's videos: see `VideoPlannerConfig`. What was planned before changes nothing."""

    name = "video"
    is_warm_started = False

    def __post_init__(self) -> None:
        if len(self.proposers) != 1:
            raise ContractError(
                f"the video planner was given {len(self.proposers)} proposers {[p.name for p in self.proposers]}; give it exactly one, "
                "of videos"
            )

    @property
    def sample_budget(self) -> int:
        return _SCORED

    def search(self, search: Search) -> Plan:
        config = self.config
        with search.watch.stage("propose"):
            videos = search.proposed(self.proposers[0], config.num_samples)
        scored = search.score(videos)
        search.end_iteration()
        elites = scored.best(min(8, config.num_samples))
        if config.choose == "best":
            return search.plan(scored, elites, config.unsure_above)
        with search.watch.stage("agree"):
            paths = paths_of(scored.actions / search.bounds.half_range, config.compared * search.action_block)
            modes, middle = agreed(scored, paths, config.apart)
        return search.plan(scored, elites, config.unsure_above, scored.take(middle), modes)


def paths_of(actions: Float[Tensor, "batch sample time action"], num_steps: int) -> Float[Tensor, "batch sample number"]:
    """The way up to each of the first control steps, a step's mean, such that distances are root mean squares."""
    some = actions[:, :, :num_steps]
    count = torch.arange(1, some.shape[2] + 1, device=some.device, dtype=some.dtype)[:, None]
    return (some.cumsum(2) / count).flatten(2) / (some.shape[2] * some.shape[3]) ** 0.5


def agreed(
    scored: Scored, paths: Float[Tensor, "batch sample number"], apart: float
) -> tuple[Int[Tensor, "batch sample"], Int[Tensor, "batch 1"]]:
    """The way that each candidate is of, `FOLLOWED` that of most (of equals, that of the earliest), and the one in its middle.

    Ways are the parts of the graph in which those at most `apart` are neighbours (single linkage). Who is lost has no vote; where all are,
    the first is given.
    """
    finite = torch.isfinite(scored.totals)
    points = torch.where(finite[..., None], paths, 0.0)
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")  # the same bits in any batch
    both = finite[:, :, None] & finite[:, None]
    reached = (distances <= apart) & both
    for _ in range(paths.shape[1].bit_length()):  # neighbours of neighbours: twice as far each time
        reached = torch.einsum("bij,bjk->bik", reached.float(), reached.float()) > 0
    first = reached.int().argmax(2)  # the earliest of its way
    modes = torch.where(finite, ranked_groups(first, finite, finite.to(paths.dtype)), NO_VOTE)
    followed = modes == FOLLOWED
    away = torch.where(followed[:, :, None] & followed[:, None], distances, 0.0).sum(2)
    return modes, torch.where(followed, away, torch.inf).argmin(1, keepdim=True)
