"""How decisions are made: a search with its cost and proposals, as a checkpoint carries it and as a file changes it."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any

from pydantic import Field

from robo_dream.config import Changes, dump, parse, typed_again
from robo_dream.errors import ConfigError
from robo_dream.imagination import Cost, Planner, Proposer, WorldModel
from robo_dream.models.checkpoint import CheckpointInfo
from robo_dream.models.policy_prior import Bridge, GripperGoal, LocalPrior, PolicyPrior, VideoPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning import kinds
from robo_dream.planning.baselines import BestOfConfig, PolicyAloneConfig, RandomConfig, ZeroActionConfig
from robo_dream.planning.cem import CemConfig
from robo_dream.planning.costs import CostConfig, WeightedSum, build_cost
from robo_dream.planning.goals import AimedPlanner
from robo_dream.planning.hybrid import HybridConfig
from robo_dream.planning.icem import IcemConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.planning.local_goals import LocalAim
from robo_dream.planning.moves import MAX_ARRANGEMENTS, MoveConfig, NextMove
from robo_dream.planning.mppi import MppiConfig
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.planning.predictive import PredictiveConfig
from robo_dream.planning.proposals import BridgeProposer, GoalPolicy, PolicyProposer, RepeatedPolicyProposer
from robo_dream.planning.scoring import FuturesConfig, FuturesCost, FuturesPlanner
from robo_dream.planning.video import VideoPlannerConfig, VideoProposer
from robo_dream.schema import Unit, configuration, did_you_mean
from robo_dream.yaml_text import Key
from sim.physics.drawn import DrawnDynamics, SeenCost, SeenLocalGoals, SeenPolicy


@configuration
class ProposalConfig:
    """What learned policies propose to a search. `temperature` scales their spread; 0 draws among modes only.

    `gripper_goal` says what is asked of the gripper: that it ends as the goal's picture shows it, or, where only the object matters,
    that it opens and rises once the object is where it should be. A bridge always goes for all of the picture.
    """

    policy: bool = True  # proposals closed over the model's own imagination
    repeated: bool = False  # the first proposal held over the horizon
    bridge: bool = False  # straight through latent space at several speeds; needs a checkpoint trained with a bridge
    temperature: Annotated[float, Field(ge=0, le=10)] = 1.0
    spread: bool = False  # samples of the policy are shared among its modes, not drawn one by one
    goal_std: Annotated[float, Field(ge=0, le=1), Unit("m")] = 0.0  # level, by which every second proposal is for another goal
    gripper_goal: GripperGoal = "as_shown"
    moves: MoveConfig | None = None  # far goals one move at a time, in an order that works; null: all of the goal at once


@configuration
class PlanningConfig:
    """How decisions are made: the search, what it scores by and what it is proposed."""

    planner: PlannerConfig = field(default_factory=PolicyGuidedConfig)
    cost: CostConfig = field(default_factory=CostConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    futures: FuturesConfig | None = None  # what chance may bring, of a model that has learned it; null: one future, what it expects

    def __post_init__(self) -> None:
        require_one_risk(self.planner, self.futures)


def require_one_risk(planner: PlannerConfig, futures: FuturesConfig | None) -> None:
    """Raises `ConfigError` where both what heads believe and what chance brings are to be weighed."""
    if futures is not None and isinstance(planner, PolicyGuidedConfig) and planner.risk is not None:
        raise ConfigError(
            "planner.risk weighs what each head believes and futures what chance brings, and a decision weighs one of them; "
            "set planner.risk or futures to null"
        )


PlanningChanges = Changes[PlanningConfig]
"""The type of a file's `planning:` block and of each block under `by_task:`."""


def require_known_tasks(by_task: Mapping[str, Any], tasks: Collection[str]) -> None:
    """Raises `ConfigError` where settings are given for a task that the world does not have: they would do nothing."""
    for name in by_task:
        if name not in tasks:
            raise ConfigError(f"by_task names {name!r}{did_you_mean(name, list(tasks))}; this world has {', '.join(tasks)}")


def planning_for(
    info: CheckpointInfo | None,
    task: str,
    changes: PlanningChanges | None = None,
    by_task: Mapping[str, PlanningChanges] | None = None,
) -> PlanningConfig:
    """How decisions are made for `task`: the checkpoint's settings for it, changed by a file's `planning`, then by its `by_task`.

    What is typed on the command line, of either, wins over the file, and what is typed last wins. A checkpoint without settings for
    `task` has its default ones; one without any (and None) those of the classes. Raises `ConfigError` for changes that cannot be used,
    with their line.
    """
    settings: Any = {} if info is None else info.settings.planning
    tasks = settings.get("tasks", {})
    name = f"planning.tasks.{task}" if task in tasks else "planning.default"
    source = "the defaults" if info is None else f"{info.settings.source}: {name}"
    planning = parse(PlanningConfig, tasks.get(task, settings.get("default", {})), source)
    own = (by_task or {}).get(task)
    for change in (changes, own):
        planning = planning if change is None else change.of(planning)
    return planning if own is None else typed_again(planning, own.typed, planning_keys(task))


def planning_keys(task: str) -> tuple[Key, Key]:
    """Where a file says how decisions are made for `task`: for every task, and for this one."""
    return ("planning",), ("by_task", task)


def settings_json(default: PlanningConfig, tasks: Mapping[str, PlanningConfig]) -> dict[str, Any]:
    """What `planning_for` reads, as a checkpoint carries it."""
    return {"default": _finite(dump(default)), "tasks": {name: _finite(dump(planning)) for name, planning in tasks.items()}}


def build_planner(
    planner: PlannerConfig,
    model: WorldModel,
    cost: CostConfig | None = None,
    proposals: ProposalConfig | None = None,
    clock: Callable[[], float] = time.monotonic,
    teacher: LatentVideoModel | None = None,
    futures: FuturesConfig | None = None,
) -> Planner:
    """The planner that `planner` describes, scoring by `cost`, in several `futures` where these are given.

    Raises `ConfigError` for a cost, or for futures, that the model cannot give.

    Proposals come from the policy of `teacher`, without it of the model itself; one that has learned none (oracle dynamics)
    then gets no proposers. Where true physics is drawn, cost and proposals are those of the model that looks.
    """
    cost, proposals = cost or CostConfig(), proposals or ProposalConfig()
    if isinstance(planner, PolicyAloneConfig | ZeroActionConfig | RandomConfig):
        cost = cost.final()  # nothing is chosen by it
    teacher = teacher or (model if isinstance(model, LatentVideoModel) else None)
    if isinstance(model, DrawnDynamics):
        seen, aim = aimed_cost(cost, model.model, model.model, planner.horizon)
        scored_by: Cost = SeenCost(model, seen)
        aim = None if aim is None else LocalAim(SeenLocalGoals(model, aim.model), aim.config)
        proposers = _proposers_at_true_pictures(model, proposals)
    else:
        scored_by, aim = aimed_cost(cost, model, teacher, planner.horizon)
        proposers = _proposers(model, teacher, proposals) if teacher is not None else []
    if isinstance(planner, PolicyAloneConfig | BestOfConfig):
        proposers = proposers[:1]
        if not proposers:
            raise ConfigError(
                f"the {planner.kind} planner executes a policy's proposal: set proposals.policy=true (or bridge), use a learned model"
            )
    elif isinstance(planner, VideoPlannerConfig):
        proposers = [_video_proposer(planner, model, proposals, futures)]
    elif isinstance(planner, ZeroActionConfig | RandomConfig):
        proposers = []
    if futures is None:
        made = kinds.planner_of(planner, model, scored_by, proposers, clock)
    else:
        require_outcomes(model)
        require_one_risk(planner, futures)
        made = kinds.planner_of(planner, model, FuturesCost(scored_by, futures.risk), proposers, clock)
        made = FuturesPlanner(made, model, scored_by, futures, planner.horizon)
    made = made if aim is None else AimedPlanner(made, aim)
    return made if proposals.moves is None else AimedPlanner(made, _next_move(proposals.moves, model, teacher, cost))


def require_outcomes(model: WorldModel) -> None:
    """Raises `ConfigError` for a model that has learned one future only."""
    if not (isinstance(model, LatentVideoModel) and model.outcomes is not None):
        who = "this checkpoint has learned" if isinstance(model, LatentVideoModel) else f"{type(model).__name__} knows"
        raise ConfigError(
            f"futures are asked for, and {who} one future only; set futures to null, or train several with "
            "`robo-dream train stage=futures init=CHECKPOINT training.model.outcomes=4`"
        )


def aimed_cost(cost: CostConfig, model: WorldModel, teacher: LatentVideoModel | None, horizon: int) -> tuple[WeightedSum, LocalAim | None]:
    """The cost that `cost` describes, and what gives decisions their local goals, if it has any: those that `teacher` learned.

    Raises `ConfigError` for what the model has not learned, and for local goals that lie beyond `horizon` imagined steps.
    """
    aim, distance = _local_aim(cost, model, teacher, horizon), model.distance if isinstance(model, LatentVideoModel) else None
    return build_cost(cost, model, distance, None if aim is None else aim.model), aim


def _local_aim(cost: CostConfig, model: WorldModel, teacher: LatentVideoModel | None, horizon: int) -> LocalAim | None:
    asked = cost.local_goal
    if asked is None or teacher is None or teacher.local_goals is None:
        return None  # where one is asked for, `build_cost` says what is missing
    learned = teacher.spec.local_goals
    if asked.steps not in learned:
        raise ConfigError(
            f"cost.local_goal.steps is {asked.steps} control steps; this checkpoint learned local goals "
            f"{', '.join(map(str, learned))} control steps ahead"
        )
    if asked.at == "its_time" and asked.steps > horizon * model.action_block:
        raise ConfigError(
            f"cost.local_goal.steps is {asked.steps} control steps, and planner.horizon {horizon} ends after "
            f"{horizon * model.action_block}; set the horizon higher, or cost.local_goal.at=nearest"
        )
    return LocalAim(LocalPrior(teacher, model), asked)


def _next_move(config: MoveConfig, model: WorldModel, teacher: LatentVideoModel | None, cost: CostConfig) -> NextMove:
    learned = None if teacher is None else teacher.affordances
    if teacher is None or learned is None:
        raise ConfigError(
            "proposals.moves is set, but this model has not learned what can be moved; set it to null, or add it with "
            "`robo-dream train stage=moves init=CHECKPOINT training.moves={}`"
        )
    if teacher.spec.config.policy_input != "poses":
        raise ConfigError(
            f"proposals.moves is set, but the policy of this checkpoint sees {teacher.spec.config.policy_input}, which no next move can be "
            f"given in; set it to null, or train with model.policy_input=poses"
        )
    things, places = len(learned.waypoints), 2 + learned.waypoints.shape[1]  # where a thing is, its goal, and what lies on the way
    if places**things > MAX_ARRANGEMENTS:
        raise ConfigError(
            f"proposals.moves would weigh {places} places of {things} things, {places**things:,} arrangements, at each decision; allowed "
            f"are {MAX_ARRANGEMENTS:,}: set it to null, or add moves again with fewer training.moves.waypoints"
        )
    if cost.local_goal is not None:
        raise ConfigError(
            "proposals.moves and cost.local_goal are both set, and local goals lead to all of the goal at once; set one of them to null"
        )
    return NextMove(learned, config, model)


def policy_proposers(model: LatentVideoModel, config: ProposalConfig) -> Sequence[Proposer]:
    """What the model's own policy proposes by `config`; none where its proposals are switched off."""
    return _proposers(model, model, config)


def rollouts_a_decision(planner: PlannerConfig, futures: FuturesConfig | None = None) -> int:
    """How many futures a decision of `planner` imagines, about: the chosen one that is imagined once more left out."""
    if futures is not None:
        return (1 + futures.count) * rollouts_a_decision(planner)  # the likeliest, and those that are drawn
    match planner:
        case PolicyAloneConfig() | ZeroActionConfig() | RandomConfig():
            return 0
        case PredictiveConfig() | BestOfConfig() | VideoPlannerConfig():
            return planner.num_samples
        case HybridConfig():
            return planner.num_samples + planner.num_refined * planner.num_iterations
        case IcemConfig():
            drawn = [max(2 * planner.num_elites, int(planner.num_samples / planner.decay**i)) for i in range(planner.num_iterations)]
            return sum(drawn) + (planner.num_elites * planner.num_iterations if planner.action_selection == "mode" else 0)
        case PolicyGuidedConfig(action_selection="mode") | CemConfig(action_selection="mode") | MppiConfig(action_selection="mode"):
            return (planner.num_samples + planner.num_elites) * planner.num_iterations
        case _:
            return planner.num_samples * planner.num_iterations


def _proposers(model: WorldModel, teacher: LatentVideoModel, config: ProposalConfig) -> Sequence[Proposer]:
    prior = PolicyPrior(teacher, model, config.gripper_goal)
    proposers: list[Proposer] = []
    if config.policy:
        proposers.append(_policy_proposer(model, prior, config))
    if config.repeated:
        proposers.append(RepeatedPolicyProposer(model, prior, config.temperature, config.spread))
    if config.bridge and isinstance(model, LatentVideoModel):  # nobody else's latents are points of its bridges
        proposers.append(BridgeProposer(model, Bridge(model)))
    return proposers


def _video_proposer(
    planner: VideoPlannerConfig, model: WorldModel, proposals: ProposalConfig, futures: FuturesConfig | None
) -> VideoProposer:
    if not (isinstance(model, LatentVideoModel) and model.video is not None):
        who = "this checkpoint has" if isinstance(model, LatentVideoModel) else f"{type(model).__name__} has"
        raise ConfigError(
            f"planner.kind is video, and {who} not learned how video goes on; take another planner, or add it with "
            "`robo-dream train stage=video init=CHECKPOINT training.video={}`"
        )
    if planner.horizon > (looks := model.video.size.steps):
        raise ConfigError(
            f"planner.horizon is {planner.horizon} looks of a video, and this checkpoint tells {looks}; set it to at most that, or add "
            f"video again with training.video.looks={planner.horizon}"
        )
    if planner.read == "strip" and not model.video.size.strip:
        raise ConfigError(
            "planner.read is strip, and this checkpoint's video was learned from pictures without a strip of commands; set it to latents, "
            "or collect with overlay={} and add video again with training.video.strip=64"
        )
    if futures is not None or proposals.moves is not None:
        given = "futures are" if futures is not None else "proposals.moves is"
        raise ConfigError(
            f"planner.kind is video, whose videos differ by themselves and lead to the whole goal, and {given} set; set to null"
        )
    return VideoProposer(model, VideoPrior(model, planner.flow_steps, planner.guidance, planner.read), planner.temperature, planner.check)


def _policy_proposer(model: WorldModel, policy: GoalPolicy, config: ProposalConfig) -> PolicyProposer:
    return PolicyProposer(model, policy, config.temperature, config.spread, goal_std=config.goal_std)


def _proposers_at_true_pictures(world: DrawnDynamics, config: ProposalConfig) -> Sequence[Proposer]:
    """What the policy would do at what true physics leads to; bridges lead through latents that nothing true has."""
    policy = SeenPolicy(world, PolicyPrior(world.model, world.model, config.gripper_goal))
    proposers: list[Proposer] = []
    if config.policy:
        proposers.append(_policy_proposer(world, policy, config))
    if config.repeated:
        proposers.append(RepeatedPolicyProposer(world, policy, config.temperature, config.spread))
    return proposers


def _finite(value: Any) -> Any:
    """Without numbers that JSON has no word for: where they are allowed, infinity is the default."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items() if not (isinstance(item, float) and abs(item) == float("inf"))}
    return value
