"""What a model shows on frames that it has not learned from, of all that a planner leans on. Nothing here reads a label.

Pictures, proprioception and actions are all that is used, so every checkpoint can be measured, whatever its policy sees. What the
figures mean for planning says `robo_dream.training.verdict`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from robo_dream.errors import DataError
from robo_dream.imagination import Belief, Cost, Goal, Imagination, Proposer
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.candidates import NoiseStreams, bounds_of
from robo_dream.training.frames import SMALLEST_STD, Frames, blocks_after, frame_index, pictures
from robo_dream.training.latents import encode_frames
from robo_dream.training.open_loop import OpenLoop, held_out_windows, open_loop

MAX_HORIZON = 10  # action blocks
SCALES = (0.0, 0.35, 0.5, 0.71, 1.0, 1.41, 2.0, 2.83)  # by which actions are multiplied to see which explains best what happened
LAGS = (-6, -4, -2, 0, 2, 4, 6)  # control steps by which the arm may be ahead of its pictures
CLAMP = 5.0  # standard deviations beyond which the encoder cuts proprioception off
AS_IS = "as they are"
NOISE_BETA, NOISE_STD = 2.0, 0.5  # random candidates, as those of the planners


@dataclass(frozen=True)
class Amounts:
    """How much is looked at: some seconds of one core for each camera."""

    frames: int = 200  # of which statistics are taken
    pictures: int = 32  # encoded and drawn again
    windows: int = 24  # imagined open loop, and one step with scaled and with other actions
    problems: int = 16  # whose candidates are ranked: windows in which most changes, by the cost itself, of so many:
    pool: int = 64
    others: int = 16  # candidates of each kind


@dataclass(frozen=True)
class Sight:
    """Pictures encoded and drawn again; 1 is the error of the mean picture. By what was done to the pictures before: `AS_IS`, ..."""

    unexplained: Mapping[str, Mapping[str, float]]  # by camera
    frames: Int[np.ndarray, " frame"]

    def mean(self, change: str = AS_IS) -> float:
        """Over cameras."""
        return float(np.mean(list(self.unexplained[change].values())))

    @property
    def best(self) -> str:
        """What would have to be done to the pictures for the model to know them best."""
        return min(self.unexplained, key=self.mean)


@dataclass(frozen=True)
class Latents:
    """Of many frames, in the units that the stored normaliser gives them (mean 0, standard deviation 1 on training frames)."""

    mean_rms: float  # of the channels' means
    std: float  # root of the channels' mean variance
    dimensions: float  # exp of the entropy of the covariance's eigenvalues; 0 where nothing varies
    finite: float  # fraction


@dataclass(frozen=True)
class Proprioception:
    """Normalised with the model's own statistics; numbers that hardly varied in training are left out."""

    mean_rms: float
    std: float
    clamped: float  # fraction of the numbers that the encoder cuts off
    worst: str  # the number whose mean is farthest off
    worst_mean: float


@dataclass(frozen=True)
class Agreement:
    """Whether pictures and proprioception tell of one and the same arm, and how much the latent heeds each."""

    lags: Mapping[int, float]  # error of drawn pictures with the proprioception of so many control steps later, over that with their own
    shuffled: float  # the same with that of any other moment
    pictures: float  # how far the latent moves when the pictures are another frame's, as a part of how far it moves when all is
    arm: float  # the same of the proprioception
    cameras: Mapping[str, float]  # the same of each camera alone

    @property
    def best_lag(self) -> int:
        """How many control steps the arm seems to be ahead of its pictures; 0 where they belong together."""
        return min(self.lags, key=lambda lag: (self.lags[lag], abs(lag)))


@dataclass(frozen=True)
class Scale:
    """How well actions multiplied by each of `SCALES` explain the next latent: root mean square error."""

    error: Mapping[float, float]

    @property
    def best(self) -> float:
        return min(self.error, key=lambda scale: self.error[scale])

    @property
    def still(self) -> float:
        """Error without any action over that with the recorded ones."""
        return self.error[0.0] / max(self.error[1.0], 1e-9)


@dataclass(frozen=True)
class Searched:
    """How a planner chooses: what it scores by, how far ahead, and who proposes candidates beside random ones."""

    cost: Cost
    horizon: int  # action blocks
    proposers: Sequence[Proposer] = ()


@dataclass(frozen=True)
class CostSpread:
    """Candidates towards what really came of the recorded actions, by one of the checkpoint's costs; medians over problems."""

    spread: float  # standard deviation over mean of what a search compares: the policy's proposals, if any, and as many random ones
    rank: float  # fraction of random and other episodes' actions that cost less than the recorded ones: 0 is right, 0.5 is chance
    policy_rank: float  # the same of the policy's likeliest proposal; NaN without a policy
    regret: float  # how much dearer the chosen of these is than the recorded, in standard deviations; below 0: imagined as better
    horizon: int  # action blocks


@dataclass(frozen=True)
class OneStep:
    """The recorded block among random and other episodes' blocks, by the error of the latent that it is imagined to lead to."""

    rank: float  # mean fraction that explains what happened better; 0.5 is chance
    first: float  # fraction of windows in which none does


@dataclass(frozen=True)
class Measured:
    """All of it."""

    weights_finite: bool
    body: tuple[str, ...]  # how the data's actions differ from the model's
    num_episodes: int
    num_frames: int
    sight: Sight
    latents: Latents
    proprio: Proprioception
    agreement: Agreement
    loop: OpenLoop
    scale: Scale
    one_step: OneStep
    costs: Mapping[str, CostSpread]
    action_block: int


def require_fitting(model: LatentVideoModel, cache: Frames) -> None:
    """Raises `DataError` for frames that the model cannot take: a missing camera, another size, other numbers."""
    side = model.spec.config.image_size
    found = [f"camera {name!r} is missing; there are {', '.join(cache.cameras)}" for name in model.cameras if name not in cache.cameras]
    shapes = {name: tuple(cache.images[name].shape[1:]) for name in model.cameras if name in cache.cameras}
    found += [
        f"camera {name!r} is {shape}; the model takes ({side}, {side}, 3)" for name, shape in shapes.items() if shape[:2] != (side, side)
    ]
    if cache.proprio.shape[1] != len(model.spec.proprio.mean):
        found.append(f"proprioception has {cache.proprio.shape[1]} numbers; the model takes {', '.join(model.spec.proprio_names)}")
    if cache.actions.shape[1] != model.action_spec.size:
        found.append(f"actions have {cache.actions.shape[1]} numbers; the model takes {', '.join(model.action_spec.names)}")
    if found:
        raise DataError(f"the model cannot look at {cache.dataset_id[:16]}: {'; '.join(found)}. Give a dataset of the bench it is for")


@torch.no_grad()
def measure(
    model: LatentVideoModel,
    cache: Frames,
    searches: Mapping[str, Searched],
    seed: int = 0,
    amounts: Amounts | None = None,
) -> Measured:
    """Everything, on the cache's held-out frames ("test"). `searches` by name: those that the model is planned with.

    Raises `DataError` for frames that the model cannot take, or of which there are too few.
    """
    require_fitting(model, cache)
    amounts = amounts or Amounts()
    index = frame_index(cache, model.action_block + 1, "test")
    rng = np.random.default_rng((seed, 11))
    some = _some(rng, index.frames, amounts.frames)
    latents = encode_frames(model, cache, some)
    longest = int(np.diff(cache.episode_starts)[~np.asarray(cache.is_train, bool)].max())
    possible = (longest - 1) // model.action_block
    horizon = min(MAX_HORIZON, possible)
    windows = held_out_windows(cache, model.action_block, amounts.windows, horizon, seed)
    starts = _some(rng, index.starts, amounts.windows)
    return Measured(
        all(bool(torch.isfinite(value).all()) for value in model.state_dict().values()),
        tuple(model.action_spec.differences(cache.action_spec)),
        int((~np.asarray(cache.is_train, bool)).sum()),
        len(index.frames),
        sight(model, cache, _some(rng, index.frames, amounts.pictures)),
        _latents(latents),
        _proprioception(model, np.asarray(cache.proprio)[index.frames]),
        agreement(model, cache, some, amounts.pictures, seed),
        open_loop(model, cache, windows, horizon),
        _scale(model, cache, starts),
        _one_step(model, cache, starts, amounts.others, seed),
        {name: cost_spread(model, cache, one, min(one.horizon, possible), amounts, seed) for name, one in searches.items()},
        model.action_block,
    )


def changes(cameras: Sequence[str]) -> dict[str, tuple[tuple[str, ...], bool, bool]]:
    """What may have been done to pictures on their way: by name, which camera stands for which, whether red is blue, and upside down."""
    found = {AS_IS: (tuple(cameras), False, False), "with red and blue swapped": (tuple(cameras), True, False)}
    for one, other in combinations(cameras, 2):
        swapped = tuple({one: other, other: one}.get(name, name) for name in cameras)
        found[f"with cameras {one} and {other} swapped"] = (swapped, False, False)
    return found | {"turned upside down": (tuple(cameras), False, True)}


@torch.no_grad()
def sight(model: LatentVideoModel, cache: Frames, frames: Int[np.ndarray, " frame"]) -> Sight:
    """How well pictures are known, as they are and as they could have been meant."""
    found = {}
    for change, (order, is_bgr, is_turned) in changes(model.cameras).items():
        views = {name: pictures(cache.images[source], frames) for name, source in zip(model.cameras, order, strict=True)}
        if is_bgr:
            views = {name: view[..., ::-1] for name, view in views.items()}
        if is_turned:
            views = {name: view[:, ::-1, ::-1] for name, view in views.items()}
        drawn = model.decode(_encoded(model, views, np.asarray(cache.proprio)[frames]))
        found[change] = {name: _unexplained(view, drawn[name].cpu().numpy()) for name, view in views.items()}
    return Sight(found, frames)


@torch.no_grad()
def agreement(model: LatentVideoModel, cache: Frames, frames: Int[np.ndarray, " frame"], num_pictures: int, seed: int) -> Agreement:
    """Of pictures and proprioception: see `Agreement`."""
    rng = np.random.default_rng((seed, 12))
    other = rng.permutation(frames)
    views = {name: pictures(cache.images[name], frames) for name in model.cameras}
    swapped = {name: pictures(cache.images[name], other) for name in model.cameras}
    proprio = np.asarray(cache.proprio, np.float32)
    own, whole = _encoded(model, views, proprio[frames]), _encoded(model, swapped, proprio[other])
    far = _apart(own, whole)

    def moved(seen: Mapping[str, np.ndarray], arm: np.ndarray) -> float:
        return _apart(own, _encoded(model, seen, arm)) / far if far > 0 else 0.0

    few = rng.permutation(len(frames))[:num_pictures]
    seen = {name: view[few] for name, view in views.items()}

    def error(at: Int[np.ndarray, " frame"]) -> float:
        drawn = model.decode(_encoded(model, seen, proprio[at]))
        return float(np.mean([_unexplained(view, drawn[name].cpu().numpy()) for name, view in seen.items()]))

    bounds = np.asarray(cache.episode_starts)
    episode = np.searchsorted(bounds, frames[few], side="right") - 1
    right = error(frames[few])
    lags = {lag: error(np.clip(frames[few] + lag, bounds[episode], bounds[episode + 1] - 1)) / right for lag in LAGS if lag}
    return Agreement(
        {lag: lags.get(lag, 1.0) for lag in LAGS}, error(other[few]) / right, moved(swapped, proprio[frames]), moved(views, proprio[other]),
        {name: moved({**views, name: swapped[name]}, proprio[frames]) for name in model.cameras},
    )  # fmt: skip


@torch.no_grad()
def cost_spread(model: LatentVideoModel, cache: Frames, searched: Searched, horizon: int, amounts: Amounts, seed: int) -> CostSpread:
    """Of windows in which, by this cost, most changes: what candidates cost whose goal is what the recorded actions led to."""
    block = model.action_block
    pool = held_out_windows(cache, block, amounts.pool, horizon, seed)
    here, there = (encode_frames(model, cache, pool + ahead) for ahead in (0, horizon * block))
    left = searched.cost(Imagination(here[:, None, None], here.new_zeros(len(pool), 1, 1)), Goal(there)).total[:, 0]
    chosen = np.sort(torch.argsort(left.nan_to_num(0.0), descending=True, stable=True)[: amounts.problems].cpu().numpy())
    windows, belief, goal = pool[chosen], Belief(here[chosen]), Goal(there[chosen])
    seeds = [seed + int(window) for window in windows]
    parts = [_recorded(model, cache, windows, horizon), _random_like(model, cache, windows, pool, horizon, amounts.others, seeds)]
    parts += [proposer.propose(belief, goal, amounts.others, horizon * block, seeds).actions for proposer in searched.proposers[:1]]
    total = searched.cost(model.imagine(belief, torch.cat(parts, 1)), goal).total.double()
    recorded, elsewhere, drawn, policy = total.split([1, amounts.others, amounts.others, total.shape[1] - 1 - 2 * amounts.others], 1)
    others, compared = torch.cat([elsewhere, drawn], 1), torch.cat([drawn, policy], 1)
    std = compared.std(1, keepdim=True, correction=0)
    spread = std / compared.mean(1, keepdim=True).abs().clamp_min(1e-12)
    regret = (compared.min(1, keepdim=True).values - recorded) / std.clamp_min(1e-12)
    return CostSpread(
        float(spread.median()), _beaten(others, recorded), _beaten(others, policy[:, :1]) if policy.shape[1] else float("nan"),
        float(regret.median()), horizon,
    )  # fmt: skip


def _beaten(others: Float[Tensor, "batch sample"], one: Float[Tensor, "batch 1"]) -> float:
    """The mean fraction of the others that cost less; ties count half."""
    return float(((others < one).double() + 0.5 * (others == one).double()).mean())


def _some(rng: np.random.Generator, values: np.ndarray, most: int) -> np.ndarray:
    return np.sort(rng.permutation(values)[:most])


def _encoded(
    model: LatentVideoModel, views: Mapping[str, UInt8[np.ndarray, "frame height width 3"]], proprio: Float[np.ndarray, "frame proprio"]
) -> Float[Tensor, "frame channel"]:
    parts = []
    for rows in np.array_split(np.arange(len(proprio)), max(1, -(-len(proprio) // 128))):
        images = [torch.from_numpy(np.ascontiguousarray(views[name][rows])).to(model.device) for name in model.cameras]
        parts.append(model.encode(images, torch.from_numpy(np.asarray(proprio[rows], np.float32)).to(model.device)))
    return torch.cat(parts)


def _unexplained(real: UInt8[np.ndarray, "frame height width 3"], drawn: UInt8[np.ndarray, "frame height width 3"]) -> float:
    """The drawn pictures' squared error over that of the mean picture."""
    pixels = real.astype(np.float32)
    return float(np.square(drawn - pixels).mean() / max(np.square(pixels - pixels.mean(0)).mean(), 1e-6))


def _apart(one: Float[Tensor, "frame channel"], other: Float[Tensor, "frame channel"]) -> float:
    return float((one - other).square().mean().sqrt())


def _latents(latents: Float[Tensor, "frame channel"]) -> Latents:
    finite = torch.isfinite(latents)
    values = latents[finite.all(1)].double()
    if len(values) < 2:
        return Latents(float("nan"), 0.0, 0.0, float(finite.double().mean()))
    spectrum = torch.linalg.svdvals(values - values.mean(0)).square()
    parts = spectrum / spectrum.sum().clamp_min(1e-12)
    entropy = -(parts * parts.clamp_min(1e-12).log()).sum()
    std = float(values.var(0, correction=0).mean().sqrt())
    return Latents(
        float(values.mean(0).square().mean().sqrt()), std, float(entropy.exp()) if std > 1e-6 else 0.0, float(finite.double().mean())
    )


def _proprioception(model: LatentVideoModel, proprio: Float[np.ndarray, "frame proprio"]) -> Proprioception:
    """By the statistics that the encoder uses."""
    mean, std = (values.cpu().numpy() for values in (model.encoder.proprio_mean, model.encoder.proprio_std))
    normal = (proprio - mean) / std
    varied = std > 2 * SMALLEST_STD["proprio"]
    varied = varied if varied.any() else np.ones_like(varied)
    means = normal.mean(0)[varied]
    worst = int(np.argmax(np.abs(means)))
    return Proprioception(
        float(np.sqrt(np.square(means).mean())), float(np.sqrt(normal.var(0)[varied].mean())), float((np.abs(normal) > CLAMP).mean()),
        str(np.asarray(model.spec.proprio_names)[varied][worst]), float(means[worst]),
    )  # fmt: skip


def _recorded(model: LatentVideoModel, cache: Frames, windows: np.ndarray, horizon: int) -> Float[Tensor, "batch sample time action"]:
    blocks = blocks_after(np.asarray(cache.actions, np.float32), windows, horizon, model.action_block)
    return torch.from_numpy(blocks).to(model.device).flatten(1, 2)[:, None]


def _random_like(
    model: LatentVideoModel, cache: Frames, windows: np.ndarray, pool: np.ndarray, horizon: int, num: int, seeds: Sequence[int]
) -> Float[Tensor, "batch sample time action"]:
    """Of each window the actions of other moments, and as many at random: smooth, within the limits."""
    recorded = _recorded(model, cache, pool, horizon)[:, 0]
    taken = []
    for window, seed in zip(windows, seeds, strict=True):
        far = np.flatnonzero(np.abs(pool - window) > horizon * model.action_block)
        far = far if len(far) else np.arange(len(pool))
        taken.append(recorded[torch.from_numpy(np.random.default_rng((seed, 13)).choice(far, num)).to(recorded.device)])
    bounds = bounds_of(model.action_spec, recorded[:, 0])
    noise = NoiseStreams(seeds, "inspection", bounds.low).normal(num, recorded.shape[1], recorded.shape[2], NOISE_BETA)
    middle = 0.5 * (bounds.low + bounds.high)
    return torch.cat([torch.stack(taken), bounds.clip(middle + NOISE_STD * bounds.half_range * noise)], 1)


def _next(model: LatentVideoModel, cache: Frames, starts: np.ndarray) -> tuple[Tensor, Tensor]:
    return encode_frames(model, cache, starts), encode_frames(model, cache, starts + model.action_block)


def _scale(model: LatentVideoModel, cache: Frames, starts: np.ndarray) -> Scale:
    here, there = _next(model, cache, starts)
    actions = _recorded(model, cache, starts, 1)
    middle = model.action_middle
    return Scale({
        scale: _apart(model.imagine(Belief(here), scale * (actions - middle) + middle).latents[:, 0, 0], there) for scale in SCALES
    })  # fmt: skip


def _one_step(model: LatentVideoModel, cache: Frames, starts: np.ndarray, num: int, seed: int) -> OneStep:
    here, there = _next(model, cache, starts)
    others = _random_like(model, cache, starts, starts, 1, num, [seed + int(start) for start in starts])
    imagined = model.imagine(Belief(here), torch.cat([_recorded(model, cache, starts, 1), others], 1)).latents[:, :, 0]
    error = (imagined - there[:, None]).square().mean(-1).sqrt().double()
    better = (error[:, 1:] < error[:, :1]).double()
    return OneStep(_beaten(error[:, 1:], error[:, :1]), float((better.sum(1) == 0).double().mean()))
