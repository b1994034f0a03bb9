"""Disagreement against real error, where the world looks and behaves as in training and where it does not.

The same episodes of play, of seeds that no dataset has, are looked at in every scene; where physics differs they are played anew.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from robo_dream.data.episode import Episode
from robo_dream.evaluation.intervals import auroc, bootstrap, caught_at, threshold_at
from robo_dream.imagination import Belief
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.safety.limits import SafetyLimits
from robo_dream.training.probes import spearman
from sim.scripts import scripted_episode
from sim.tabletop.behaviours.play import PlayConfig
from sim.tabletop.environment import Tabletop
from sim.tabletop.scene import BoxConfig, SceneConfig
from sim.tabletop.start import VisualRandomization, VisualRandomizer
from sim.tabletop.world import World

FIRST_SEED = 2_000_000  # datasets count from 0, the pairs of tasks from 1,000,000
HORIZON = 10  # imagined blocks
AHEAD = 5  # blocks; the disagreement of a plan of this length stands for what a planner sees
ROW = 5  # decisions in a row over which an alarm may be averaged: 2.5 s
FALSE_ALARMS = 0.05
FOOLED = 0.02  # m; a belief that puts the object further than this from where it is, is fooled
USUAL = "as in training"
DETECTORS = {  # what could raise an alarm in the loop, for every decision
    "spread": "disagreement, one block ahead",
    "uncertainty": f"disagreement, {AHEAD} blocks ahead",
    "surprise": "surprise: believed now against imagined a block ago, in usual errors",
    "surprise_over_spread": "surprise over disagreement of that block",
    "reconstruction": "picture seen against belief decoded",
    "strangeness": "belief's distance from usual beliefs (Mahalanobis)",
    "hand": "hand in the belief against hand by joint angles",
}


@dataclass(frozen=True)
class Condition:
    """A scene, and how it is played in. `painter` gives what changes the world's look at the start of every episode."""

    name: str
    play: PlayConfig
    scene: SceneConfig = field(default_factory=SceneConfig)
    painter: Callable[[World], Callable[[np.random.Generator], None]] = lambda world: lambda rng: None


def conditions(play: PlayConfig) -> list[Condition]:
    """What is compared, the usual first; add one to compare another. `play` is how training data was played."""
    box = BoxConfig()
    return [
        Condition(USUAL, play),
        Condition("wild actions", replace(play, noisy_fraction=1.0, max_noise=2.0)),
        Condition("box ten times as heavy", play, SceneConfig(objects=(replace(box, mass=10 * box.mass),))),
        Condition("longer, taller box", play, SceneConfig(objects=(replace(box, half_size=(0.022, 0.05, 0.04)),))),
        Condition("blue box", play, painter=_blue),
        Condition("cameras off by 2 cm, 2°", play, painter=_cameras_moved),
        Condition("lamp at 40 %", play, painter=_dimmed),
    ]


@dataclass(frozen=True)
class Trip:
    """One episode at the boundaries of action blocks, frame 0 first: states of the simulator, and the actions between them."""

    states: Float[np.ndarray, "frame state"]
    proprio: Float[np.ndarray, "frame number"]
    object_pos: Float[np.ndarray, "frame 3"]
    blocks: Float[np.ndarray, "block time action"]


@dataclass(frozen=True)
class Trust:
    """What was believed and imagined in one condition. Metres and latent units; `frame` is a decision, every block one."""

    belief_error: Float[np.ndarray, "episode frame"]  # of the object's position, m
    latent_error: Float[np.ndarray, "episode frame horizon"]  # imagined against encoded later: root mean square over channels
    object_error: Float[np.ndarray, "episode frame horizon"]  # imagined against true, m
    disagreement: Float[np.ndarray, "episode frame horizon"]
    detectors: Mapping[str, Float[np.ndarray, "episode frame"]]
    picture: UInt8[np.ndarray, "two_heights widths 3"]  # above what is seen in the middle of the first episode, below what is believed


@dataclass(frozen=True)
class Usual:
    """What is usual: measured on other episodes of the usual scene."""

    channel_error: Float[Tensor, " channel"]  # of latents imagined one block ahead, root mean square
    mean: Float[Tensor, " channel"]
    precision: Float[Tensor, "channel channel"]  # inverse covariance of beliefs


def measure(model: LatentVideoModel, wanted: Sequence[Condition], num_episodes: int, progress: Callable[[], object]) -> dict[str, Trust]:
    """Everything of every condition; the usual is learned from as many episodes again."""
    assert wanted[0].name == USUAL
    trips: dict[str, list[Trip]] = {}

    def looked_at(condition: Condition, seeds: range) -> list["_Seen"]:
        key = f"{condition.play} {[(box.half_size, box.mass) for box in condition.scene.objects]} {seeds}"
        if key not in trips:
            with Tabletop(replace(condition.scene, cameras=())) as blind:
                trips[key] = [_trip(scripted_episode(blind, seed, condition.play), model.action_block) for seed in seeds]
        seen = []
        with World(condition.scene) as world:
            paint = condition.painter(world)
            for seed, trip in zip(seeds, trips[key], strict=True):
                paint(np.random.default_rng((seed, 13)))
                seen.append(_see(model, world, trip))
                progress()
        return seen

    seeds = range(FIRST_SEED, FIRST_SEED + num_episodes)
    usual = _usual(looked_at(wanted[0], range(seeds.stop, seeds.stop + num_episodes)))
    return {condition.name: _trust(model, usual, looked_at(condition, seeds)) for condition in wanted}


@dataclass(frozen=True)
class _Seen:
    """One episode as the model sees it."""

    trip: Trip
    images: list[UInt8[np.ndarray, "frame height width 3"]]  # a camera each
    beliefs: Float[Tensor, "frame channel"]
    latents: Float[Tensor, "start horizon channel"]  # imagined from every frame that has `HORIZON` blocks after it
    disagreement: Float[Tensor, "start horizon"]


def _trip(episode: Episode, block: int) -> Trip:
    count = len(episode.actions) // block
    frames = block * np.arange(count + 1)
    actions = episode.actions[: count * block].reshape(count, block, -1)
    return Trip(episode.sim_state[frames], episode.proprio[frames], episode.object_pose[frames, :3], actions)


@torch.no_grad()
def _see(model: LatentVideoModel, world: World, trip: Trip) -> _Seen:
    images: list[list[np.ndarray]] = [[] for _ in model.cameras]
    for state in trip.states:
        world.set_state(state)
        for view, name in zip(images, model.cameras, strict=True):
            view.append(world.image(name))
    views = [np.stack(view) for view in images]
    beliefs = model.encode([torch.from_numpy(view) for view in views], torch.from_numpy(trip.proprio))
    starts = len(trip.blocks) - HORIZON + 1
    actions = np.stack([trip.blocks[first : first + HORIZON].reshape(-1, trip.blocks.shape[-1]) for first in range(starts)])
    imagination = model.imagine(Belief(beliefs[:starts]), torch.from_numpy(actions)[:, None])
    return _Seen(trip, views, beliefs, imagination.latents[:, 0], imagination.disagreement[:, 0])


def _usual(seen: Sequence[_Seen]) -> Usual:
    errors = torch.cat([one.latents[:, 0] - one.beliefs[1 : len(one.latents) + 1] for one in seen])
    beliefs = torch.cat([one.beliefs for one in seen])
    covariance = torch.cov(beliefs.T) + 0.05 * torch.eye(beliefs.shape[1])  # some hundred beliefs do not fill all directions
    return Usual(errors.square().mean(0).sqrt(), beliefs.mean(0), torch.linalg.inv(covariance))


@torch.no_grad()
def _trust(model: LatentVideoModel, usual: Usual, seen: Sequence[_Seen]) -> Trust:
    """Frames are those that have a block behind them, by which to be surprised, and `HORIZON` blocks ahead."""
    columns: list[tuple[np.ndarray, ...]] = []
    for one in seen:
        starts = len(one.latents)
        later = torch.stack([one.beliefs[first + 1 : first + 1 + HORIZON] for first in range(starts)])
        true = np.stack([one.trip.object_pos[first + 1 : first + 1 + HORIZON] for first in range(starts)])
        latent_error = (one.latents - later).square().mean(-1).sqrt()
        object_error = np.linalg.norm(model.poses(one.latents).object_pos[..., 0, :].numpy() - true, axis=-1)
        pose = model.poses(one.beliefs[:starts])
        belief_error = np.linalg.norm(pose.object_pos[:, 0].numpy() - one.trip.object_pos[:starts], axis=-1)
        # surprise at frame k is about what was imagined at frame k - 1
        surprise = ((one.beliefs[1:starts] - one.latents[:-1, 0]) / usual.channel_error).square().mean(-1).sqrt()
        spread, off = one.disagreement[:, 0], one.beliefs[:starts] - usual.mean
        detectors = (
            spread[1:], one.disagreement[1:, AHEAD - 1], surprise, surprise / spread[:-1],
            torch.from_numpy(_reconstruction(model, one)[1:starts]), torch.einsum("fc,cd,fd->f", off, usual.precision, off).sqrt()[1:],
            torch.from_numpy(np.linalg.norm(pose.tool_pos.numpy() - one.trip.proprio[:starts, :3], axis=-1)[1:]),
        )  # fmt: skip
        kept = (belief_error[1:], latent_error[1:], object_error[1:], one.disagreement[1:], *detectors)
        columns.append(tuple(np.asarray(column, np.float64) for column in kept))
    stacked = [np.stack(column) for column in zip(*columns, strict=True)]
    named = dict(zip(DETECTORS, stacked[4:], strict=True))
    return Trust(stacked[0], stacked[1], stacked[2], stacked[3], named, _picture(model, seen[0]))


def _reconstruction(model: LatentVideoModel, one: _Seen) -> Float[np.ndarray, " frame"]:
    """Root mean square difference of pictures seen and decoded from the belief, in 0..255, over all cameras."""
    drawn = model.decode(one.beliefs)
    views = zip(one.images, (drawn[name].numpy() for name in model.cameras), strict=True)
    return np.sqrt(np.mean([np.square(seen.astype(np.float32) - guess).mean((1, 2, 3)) for seen, guess in views], 0))


def _picture(model: LatentVideoModel, one: _Seen) -> UInt8[np.ndarray, "two_heights widths 3"]:
    middle = len(one.beliefs) // 2
    drawn = model.decode(one.beliefs[middle])
    seen = np.concatenate([view[middle] for view in one.images], 1)
    return np.concatenate([seen, np.concatenate([drawn[name].numpy() for name in model.cameras], 1)], 0)


def error_table(measured: Mapping[str, Trust]) -> str:
    """What is wrong in each condition, and how much of it disagreement says."""
    lines = [
        f"| scene | object in the belief, median / p90 mm | object imagined {AHEAD} blocks ahead, median / p90 mm "
        f"| latent error, RMS, {AHEAD} blocks | disagreement, {AHEAD} blocks | error over disagreement, against usual "
        f"| Spearman, all horizons | Spearman, {AHEAD} blocks |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, trust in measured.items():

        def at(column: np.ndarray, cases: np.ndarray) -> np.ndarray:
            return column[cases, :, AHEAD - 1].ravel()

        whole = np.arange(len(trust.latent_error))
        rho = [
            lambda cases, t=trust: spearman(t.disagreement[cases].ravel(), t.latent_error[cases].ravel()),
            lambda cases, t=trust: spearman(at(t.disagreement, cases), at(t.latent_error, cases)),
        ]
        cells = [_interval(statistic, whole) for statistic in rho]
        error, uncertainty = _rms(at(trust.latent_error, whole)), at(trust.disagreement, whole).mean()
        lines.append(
            f"| {name} | {_spots(trust.belief_error)} | {_spots(at(trust.object_error, whole))} | {error:.2f} | {uncertainty:.3f} "
            f"| {overconfidence(measured, name):.2f} | {cells[0]} | {cells[1]} |"
        )
    return "\n".join(lines)


def detector_table(measured: Mapping[str, Trust]) -> str:
    """AUROC of each detector for telling a decision in a scene from one in the usual scene, intervals over episodes."""
    others = [name for name in measured if name != USUAL]
    lines = [f"| one decision, against usual | {' | '.join(others)} |", "|---|" + "---|" * len(others)]
    for detector, meaning in DETECTORS.items():
        cells = []
        for name in others:
            wrong, well = measured[name].detectors[detector], measured[USUAL].detectors[detector]
            area = _interval(lambda cases, a=wrong, b=well: auroc(a[cases].ravel(), b[cases].ravel()), np.arange(len(well)), num_draws=300)
            row = auroc(in_a_row(wrong).ravel(), in_a_row(well).ravel())
            caught = caught_at(in_a_row(wrong).ravel(), in_a_row(well).ravel(), FALSE_ALARMS)
            cells.append(f"{area} / {row:.2f} / {100 * caught:.0f} %")
        lines.append(f"| {meaning} | {' | '.join(cells)} |")
    note = f"Each cell: one decision / mean of {ROW} in a row / share caught so at {FALSE_ALARMS:.0%} false alarms in the usual scene."
    return "\n".join([*lines, "", note])


def fooled_table(measured: Mapping[str, Trust]) -> str:
    """How well each detector tells decisions at which the belief is fooled about the object from those of the usual scene that are not."""
    is_fooled = {name: trust.belief_error > FOOLED for name, trust in measured.items()}
    share = ", ".join(f"{name} {100 * fooled.mean():.0f} %" for name, fooled in is_fooled.items())
    lines = [
        f"Beliefs that put the object more than {100 * FOOLED:.0f} cm off: {share}.", "",
        f"| detector | AUROC, fooled beliefs against sound ones of the usual scene | caught at {FALSE_ALARMS:.0%} false alarms | from |",
        "|---|---|---|---|",
    ]  # fmt: skip
    num_episodes = len(measured[USUAL].belief_error)
    for detector, meaning in DETECTORS.items():

        def split(cases: np.ndarray, detector: str = detector) -> tuple[np.ndarray, np.ndarray]:
            fooled = [trust.detectors[detector][cases][is_fooled[name][cases]] for name, trust in measured.items()]
            return np.concatenate(fooled), measured[USUAL].detectors[detector][cases][~is_fooled[USUAL][cases]]

        fooled, sound = split(np.arange(num_episodes))
        area = _interval(lambda cases, split=split: auroc(*split(cases)), np.arange(num_episodes), num_draws=300)
        least = threshold_at(sound, FALSE_ALARMS)
        lines.append(f"| {meaning} | {area} | {100 * caught_at(fooled, sound, FALSE_ALARMS):.0f} % | {least:.3g} |")
    return "\n".join([*lines, "", _by_the_loop(measured, is_fooled)])


def _by_the_loop(measured: Mapping[str, Trust], is_fooled: Mapping[str, Bool[np.ndarray, "episode frame"]]) -> str:
    """What the loop's own check of the hand makes of them."""
    limit = SafetyLimits().max_tool_error
    beyond = {name: trust.detectors["hand"] > limit for name, trust in measured.items()}
    told = ", ".join(f"{name} {100 * beyond[name][is_fooled[name]].mean():.0f} %" for name in measured if is_fooled[name].any())
    everywhere = np.concatenate([beyond[name][is_fooled[name]] for name in measured]).mean()
    return (
        f"The loop's limit of {limit} m: {beyond[USUAL].sum()} of {beyond[USUAL].size} usual decisions are beyond it "
        f"(the worst {measured[USUAL].detectors['hand'].max():.3f} m), and of fooled beliefs {100 * everywhere:.0f} % ({told})."
    )


def reliability(
    disagreement: Float[np.ndarray, "*case"], error: Float[np.ndarray, "*case"], num_parts: int = 10
) -> tuple[Float[np.ndarray, " part"], Float[np.ndarray, " part"]]:
    """Mean disagreement and root mean square error of each tenth of the cases, by disagreement."""
    order = np.argsort(disagreement.ravel())
    parts = np.array_split(order, num_parts)
    return np.array([disagreement.ravel()[part].mean() for part in parts]), np.array([_rms(error.ravel()[part]) for part in parts])


def overconfidence(measured: Mapping[str, Trust], name: str) -> float:
    """Latent error for each unit of disagreement, `AHEAD` blocks ahead, over what it is in the usual scene."""

    def ratio(trust: Trust) -> float:
        return _rms(trust.latent_error[..., AHEAD - 1]) / float(trust.disagreement[..., AHEAD - 1].mean())

    return ratio(measured[name]) / ratio(measured[USUAL])


def in_a_row(values: Float[np.ndarray, "episode frame"]) -> Float[np.ndarray, "episode later_frame"]:
    """Means of `ROW` successive decisions."""
    return np.lib.stride_tricks.sliding_window_view(values, ROW, axis=1).mean(-1)


def _blue(world: World) -> Callable[[np.random.Generator], None]:
    world.model.geom("object").rgba[:3] = 0.15, 0.3, 0.85
    return lambda rng: None


def _cameras_moved(world: World) -> Callable[[np.random.Generator], None]:
    """Each camera in every episode by another way, 2 cm and 2 degrees long in the root mean square."""
    return VisualRandomizer(world, VisualRandomization(camera_pos=0.02 / np.sqrt(3), camera_turn=np.deg2rad(2) / np.sqrt(3))).draw


def _dimmed(world: World) -> Callable[[np.random.Generator], None]:
    world.model.light_diffuse[:] *= 0.4
    return lambda rng: None


def _interval(statistic: Callable[[np.ndarray], float], cases: np.ndarray, num_draws: int = 1000) -> str:
    low, high = bootstrap(statistic, len(cases), num_draws=num_draws)
    return f"{statistic(cases):.2f} ({low:.2f} to {high:.2f})"


def _spots(errors: Float[np.ndarray, "*case"]) -> str:
    return " / ".join(f"{1e3 * value:.0f}" for value in np.percentile(errors, [50, 90]))


def _rms(values: Float[np.ndarray, "*case"]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))
