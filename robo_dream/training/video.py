"""A later stage, on a finished model: how the video goes on from here towards a goal (`VideoFlow`). Nothing else is learned.

Actions are not read while it learns: they are asked of the finished model's inverse dynamics afterwards, to measure how well a video tells
what to do, and how far what these actions are imagined to lead to usually is from the video (`VideoFlow.usual`).

Where pictures have a strip of commands below (`robo_dream.overlay`), the strip is learned as pixels, like the rest of the video.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from robo_dream.errors import DataError
from robo_dream.imagination import Belief
from robo_dream.models import checkpoint
from robo_dream.models.config import VideoSize, require_video
from robo_dream.models.policy_prior import VideoPrior
from robo_dream.models.video import VideoFlow, VideoPrompt
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.config import TrainingConfig, VideoStage
from robo_dream.training.frames import Frames, blocks_after, frame_index, goal_frames, normalised_actions, skill_ends, splits_of
from robo_dream.training.inspection import require_fitting
from robo_dream.training.latents import encode_frames
from robo_dream.training.overlaid import Strips, strips_apart
from robo_dream.training.recorded import CYCLES
from robo_dream.training.stage import MetricsLog, OnProgress, TrainingRun, run_stage, stage_of

STAGE = "video"
MODEL_FILE = "model.safetensors"
_MEASURED = 4096  # moments in which it is measured how far latents move
_SMALLEST = 1e-3  # of a scale
_NEVER_VARIES = 1e-9  # of a variance of actions, in half ranges
_USUAL = 0.95  # share of held-out videos that are as near as that to what their actions are imagined to lead to
_TIME_MEAN, _TIME_STD = -0.4, 1.0  # of the logit of the flow's time (Esser et al. 2024, arXiv 2403.03206)


@dataclass(frozen=True)
class VideoBatch:
    """Moments with what came after each, up to the goal, where it stays as it is; and what is drawn for the flow."""

    prompt: VideoPrompt
    looks: Float[Tensor, "row look seen"]
    noise: Float[Tensor, "row look number"]
    time: Float[Tensor, " row"]


class VideoBatches:
    """The batch of any step, a function of the step alone, from some episodes.

    Goals are hindsight, as the policy's: later frames, many of them the end of what was under way. What that is, joints tell (`CYCLES`);
    where they do not, it is the whole episode.
    """

    def __init__(
        self,
        cache: Frames,
        latents: Float[Tensor, "frame channel"],
        config: TrainingConfig,
        episodes: Sequence[int],
        strips: Strips | None = None,
    ) -> None:
        assert config.video is not None
        self.strips = strips
        self.latents, self.stage, self.seed, self.block = latents, config.video, config.seed, config.model.action_block
        bounds, chosen = np.asarray(cache.episode_starts, np.int64), np.zeros(len(cache.is_train), bool)
        chosen[list(episodes)] = True
        fresh = np.concatenate([frame_index(cache, 1, split).frames for split in splits_of(cache)])
        self.last, self.every = frame_index(cache, 1, splits_of(cache)[0]).last, cache.picture_every
        usable = fresh[np.repeat(chosen, np.diff(bounds))[fresh] & (fresh + self.block <= self.last[fresh])]
        if not len(usable):
            raise DataError(f"no episode of {cache.dataset_id[:16]} has two pictures an action block apart; record longer ones")
        self.starts, self.ends = np.sort(usable), skill_ends(cache)
        under_way = [cache.skills.index(name) for name in CYCLES if name in cache.skills]
        self.carried = self.starts[np.isin(np.asarray(cache.skill)[self.starts], under_way)]

    def __call__(self, step: int) -> VideoBatch:
        rng = np.random.default_rng((self.seed, 50, step))
        start, goals = self.pairs(rng, self.stage.batch)
        prompt, looks = self.at(start, goals, rng.random(len(start)) >= self.stage.not_led)
        noise = _noise(rng, prompt, self.stage)
        logit = torch.from_numpy(rng.normal(_TIME_MEAN, _TIME_STD, len(start)).astype(np.float32)).to(noise.device)
        if self.stage.latent_noise:
            here, there = (
                values + self.stage.latent_noise * torch.from_numpy(rng.standard_normal(values.shape, np.float32)).to(values)
                for values in (prompt.latents, prompt.goals)
            )
            prompt = replace(prompt, latents=here, goals=there)
        return VideoBatch(prompt, looks, noise, torch.sigmoid(logit))

    def pairs(self, rng: np.random.Generator, num: int) -> tuple[Int[np.ndarray, " row"], Int[np.ndarray, " row"]]:
        """Frames, and later ones at which what happened there led."""
        stage, is_carried = self.stage, rng.random(num) < self.stage.carried
        start = rng.choice(self.starts, num)
        if len(self.carried):
            start = np.where(is_carried, rng.choice(self.carried, num), start)
        last = np.where(is_carried, np.minimum(self.ends[start], self.last[start]), self.last[start])
        last = np.maximum(last - (last - start) % self.every, start + self.block)
        goals = goal_frames(rng, start, last, self.block, stage.longest_goal, self.every)
        return start, np.where(rng.random(num) < stage.at_end, last, goals)

    def at(
        self, start: Int[np.ndarray, " row"], goals: Int[np.ndarray, " row"], led: np.ndarray
    ) -> tuple[VideoPrompt, Float[Tensor, "row look seen"]]:
        """What is shown of these moments, and the looks that followed, with their strips where there are any."""
        looks = np.minimum(start[:, None] + self.block * np.arange(1, self.stage.looks + 1), goals[:, None])
        here, there, after = (self.latents[torch.from_numpy(some).to(self.latents.device)] for some in (start, goals, looks))
        if self.strips is not None:
            after = torch.cat([after, torch.from_numpy(self.strips[looks]).to(after.device) / 255.0], -1)
        return VideoPrompt(here, there, torch.from_numpy(led).to(here.device)), after


def train_video(
    cache: Frames, config: TrainingConfig, run_dir: Path, init: Path, *, progress: OnProgress | None = None, resume: bool = True
) -> LatentVideoModel:
    """The model of `init` that tells how video goes on, also written with held-out metrics to `run_dir`/model.safetensors; all else is as
    it was.

    `progress` counts twice: frames encoded, and steps. Raises `DataError` for frames that are none of this model's, and for fewer than two
    training episodes.
    """
    about, model = checkpoint.read_info(init), checkpoint.load(init, config.device)
    cache, strips = strips_apart(cache, model) if config.video is not None and config.video.strip else (cache, None)
    require_fitting(model, cache)
    _require_episodes(cache)
    if model.action_block % cache.picture_every:
        raise DataError(
            f"{cache.dataset_id[:16]} has a new picture at every {cache.picture_every}th control step, and one is needed after each action "
            f"block of {model.action_block}: record pictures as often"
        )
    latents = encode_frames(model, cache, progress=progress)
    with MetricsLog(run_dir, config.tensorboard) as log:
        run = TrainingRun(config, run_dir, log, progress, resume)
        model = learn_video(run, model, cache, latents, checkpoint.sha256(init), strips)
        metrics, held_out = dict(about.metrics), np.flatnonzero(~np.asarray(cache.is_train, bool)).tolist()
        if held_out:
            metrics[STAGE] = imagined_videos(model, cache, VideoBatches(cache, latents, config, held_out, strips))
            log.write("held_out", (config.video or VideoStage()).steps, metrics[STAGE])
    checkpoint.save(model, run_dir / MODEL_FILE, about.recipe, about.dataset_id, metrics, settings=about.settings)
    return checkpoint.load(run_dir / MODEL_FILE, config.device)


def learn_video(
    run: TrainingRun,
    model: LatentVideoModel,
    cache: Frames,
    latents: Float[Tensor, "frame channel"],
    init: str | None = None,
    strips: Strips | None = None,
) -> LatentVideoModel:
    """A copy of `model` that tells how video goes on, learned and calibrated on training episodes; all else as it was.

    `latents` are those of `encode_frames`. Raises `DataError` for fewer than two training episodes: one is learned from, and the other
    tells how far videos usually are from what their actions lead to.
    """
    config = replace(run.config, model=replace(run.config.model, action_block=model.action_block))
    stage = config.video
    assert stage is not None, "say how video is learned"
    order = np.random.default_rng((config.seed, 51)).permutation(_require_episodes(cache))
    num_kept = max(1, round(stage.calibration * len(order)))
    pairs, kept = (VideoBatches(cache, latents, config, some.tolist(), strips) for some in (order[num_kept:], order[:num_kept]))
    numbers = min(stage.numbers, latents.shape[-1])
    size = require_video(VideoSize(stage.looks, numbers, stage.width, stage.layers, stage.heads, stage.strip))
    if numbers < stage.numbers:
        raise DataError(f"training.video.numbers is {stage.numbers}, and latents of this checkpoint have {numbers} numbers; set it lower")
    model = model.extended(replace(model.spec, video=size), config.seed)
    flow = model.video
    assert flow is not None
    flow.requires_grad_(True)
    _measure(flow, pairs, config.seed)

    def losses(step: int) -> Mapping[str, Tensor]:
        batch = pairs(step)
        return {"video": flow.loss(batch.looks, batch.prompt, batch.noise, batch.time)}

    run_stage(replace(run, config=config), stage_of(STAGE, stage), flow, [flow], losses, cache.dataset_id, init=init)
    model.requires_grad_(False)
    rng = np.random.default_rng((config.seed, 52))
    prompt, _ = kept.at(*kept.pairs(rng, 512), np.ones(512, bool))
    prior = VideoPrior(model)
    video = prior.imagined(prompt.latents, prompt.goals, _noise(rng, prompt, stage))
    flow.usual.copy_(_apart(prior, prompt.latents, video).quantile(_USUAL, 0))
    return model


@torch.no_grad()
def imagined_videos(model: LatentVideoModel, cache: Frames, pairs: VideoBatches, num: int = 512, samples: int = 4) -> dict[str, object]:
    """Of held-out moments, look by look: how far one video is off what came, how far the nearest of `samples`, and how far who holds the
    present look; how far two videos of a moment differ; and the R2 of the first block of actions, by name, read off the video and off
    what came. Distances are root mean squares over channels.
    """
    flow, rng = model.video, np.random.default_rng((pairs.seed, 53))
    assert flow is not None
    start, goals = pairs.pairs(rng, num)
    prompt, looks = pairs.at(start, goals, np.ones(num, bool))
    prior, latents = VideoPrior(model), looks[..., : prompt.latents.shape[-1]]
    some = [prior.imagined(prompt.latents, prompt.goals, _noise(rng, prompt, pairs.stage)) for _ in range(samples)]
    videos = torch.stack(some)
    off, held = ((values - latents).square().mean(-1).sqrt() for values in (prior.latents(videos), prompt.latents[:, None]))
    done = torch.from_numpy(blocks_after(normalised_actions(cache), start, 1, pairs.block)[:, 0]).to(looks)
    read = {"video": (prior, videos[0]), "came": (prior, looks)}
    if flow.size.strip:
        by_strip = replace(prior, read="strip")
        read |= {"strip": (by_strip, videos[0]), "strip_came": (by_strip, looks)}
    told = {name: model.normalise_actions(one.actions(prompt.latents, some)[:, : pairs.block]) for name, (one, some) in read.items()}
    return {
        "moments": num,
        "one": _rounded(off[0].mean(0)),
        "nearest": _rounded(off.mean(-1).amin(0).mean()[None])[0],
        "copied": _rounded(held.mean(0)),
        "spread": _rounded((prior.latents(videos[0]) - prior.latents(videos[1])).square().mean(-1).sqrt().mean(0)),
        "apart": _rounded(flow.usual),
        **{f"r2_{name}": _r2(model.action_spec.names, some, done) for name, some in told.items()},
    }


def in_words(found: Mapping[str, object]) -> str:
    """What was `imagined_videos`, for people."""
    one, copied, r2 = found["one"], found["copied"], found["r2_video"]
    assert isinstance(one, list) and isinstance(copied, list) and isinstance(r2, dict)
    parts = ", ".join(f"{name} {value:.2f}" for name, value in r2.items())
    return (
        f"Held out: the last look of a video is {one[-1]:.2f} off what came (root mean square of a channel), the present one "
        f"{copied[-1]:.2f}; R2 of actions read off one video: {parts}."
    )


def _measure(flow: VideoFlow, pairs: VideoBatches, seed: int) -> None:
    """Sets in which directions latents of these episodes lie, and how far they usually move along each of them."""
    rng = np.random.default_rng((seed, 54))
    frames = np.sort(rng.permutation(pairs.starts)[:_MEASURED])
    if flow.ways.shape[1] < flow.ways.shape[0]:
        flow.ways.copy_(_ways(pairs.latents[torch.from_numpy(frames).to(pairs.latents.device)], flow.ways.shape[1]))
    if pairs.strips is not None:
        strips = torch.from_numpy(pairs.strips[frames]).to(pairs.latents.device) / 255.0
        flow.strip_mean.copy_(strips.mean(0))
        flow.strip_ways.copy_(_ways(strips, flow.size.strip))
    prompt, looks = pairs.at(*pairs.pairs(rng, _MEASURED), np.ones(_MEASURED, bool))
    flow.scale.copy_(flow.moved(looks, prompt.latents).square().mean(0).sqrt().clamp(min=_SMALLEST))


def _ways(values: Float[Tensor, "row channel"], number: int) -> Float[Tensor, "channel number"]:
    """Principal directions, those of most variance first."""
    _, vectors = torch.linalg.eigh(torch.cov(values.double().T))
    return vectors.flip(1)[:, :number].float()


def _noise(rng: np.random.Generator, prompt: VideoPrompt, stage: VideoStage) -> Float[Tensor, "row look number"]:
    drawn = rng.standard_normal((len(prompt.latents), stage.looks, stage.numbers + stage.strip), np.float32)
    return torch.from_numpy(drawn).to(prompt.latents)


@torch.no_grad()
def _apart(prior: VideoPrior, latents: Float[Tensor, "row channel"], video: Float[Tensor, "row look seen"]) -> Float[Tensor, "row look"]:
    """How far each look is from what the actions read off the video are imagined to lead to: root mean square over channels."""
    imagined = prior.model.imagine(Belief(latents), prior.actions(latents, video)[:, None]).latents[:, 0]
    return (imagined - prior.latents(video)).square().mean(-1).sqrt()


def _r2(names: Sequence[str], told: Float[Tensor, "row time action"], done: Float[Tensor, "row time action"]) -> dict[str, float]:
    """Of each number of an action; what never varies is left out."""
    variance, off = done.flatten(0, 1).var(0, correction=0), (told - done).flatten(0, 1).square().mean(0)
    return {name: round(1 - float(off[i] / variance[i]), 4) for i, name in enumerate(names) if variance[i] > _NEVER_VARIES}


def _rounded(values: Tensor) -> list[float]:
    return [round(float(value), 4) for value in values]


def _require_episodes(cache: Frames) -> Int[np.ndarray, " episode"]:
    """The training episodes; raises `DataError` for fewer than two."""
    found = np.flatnonzero(np.asarray(cache.is_train, bool))
    if len(found) < 2:
        raise DataError(
            f"{cache.dataset_id[:16]} has {len(found)} training episodes; video needs 2, of which one tells how far actions read off a "
            f"video lead from it: record more"
        )
    return found
