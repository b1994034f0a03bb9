"""Trains `RecurrentModel`: V on pictures, then M on what V saw of whole games, with what they were worth and how they ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from pydantic import Field
from torch import Tensor, nn

from robo_dream.data.cache import Datasets
from robo_dream.errors import DataError, RoboDreamError
from robo_dream.games.model import RecurrentModel
from robo_dream.schema import NotNegative, Positive, configuration
from robo_dream.training.optimiser import optimisers
from robo_dream.training.stage import MetricsLog, OnProgress, learn, load_state, save_state

Count = Annotated[int, Field(ge=1, le=100_000_000)]
_ROWS = 512  # pictures that are encoded at once
_SAVE_STEPS = 200


@configuration
class VisionStage:
    """V. `kl`: weight of the prior, in nats a picture. `odd`: how much more pixels count that are not as in the mean picture.

    A fireball is a few bright pixels on grey; without `odd`, V spends z on the texture of the floor.
    """

    steps: Count = 3000
    batch: Count = 64
    learning_rate: Positive = 1e-3
    kl: NotNegative = 0.02
    odd: NotNegative = 30.0


@configuration
class MemoryStage:
    """M. `batch`: whole games from their start, as dreams begin there too. `over_weight`: of the termination's cross entropy, which one
    step in about 75 tells something of; all its terms alike, so that what is told is a probability.
    """

    steps: Count = 1500
    batch: Count = 16  # games
    learning_rate: Positive = 1e-3
    reward_weight: NotNegative = 1.0
    over_weight: NotNegative = 10.0


@dataclass(frozen=True)
class Games:
    """Recorded games, one after the other; `actions[f]` and `rewards[f]` are of the action taken after frame f, 0 after the last."""

    pictures: UInt8[np.ndarray, "frame height width 3"]
    actions: Float32[np.ndarray, "frame action"]
    rewards: Float32[np.ndarray, " frame"]
    over: Bool[np.ndarray, " frame"]  # whether the action taken after the frame ended the game
    starts: Int64[np.ndarray, " boundary"]  # of game g: frames starts[g]:starts[g + 1]
    is_train: Bool[np.ndarray, " game"]
    dataset_id: str

    @property
    def num_train_frames(self) -> int:
        return int(np.diff(self.starts)[self.is_train].sum())


@dataclass(frozen=True)
class Seen:
    """What V saw in every frame: mean and log standard deviation of z."""

    means: Float[Tensor, "frame channel"]
    log_stds: Float[Tensor, "frame channel"]


def games_in(data: Datasets, progress: OnProgress | None = None, numbers: Sequence[int] | None = None) -> Games:
    """All of `data`, or the games `numbers` of it, decoded into memory.

    Raises `DataError` for a dataset without rewards, or with more than one camera."""
    spec = data.spec
    if not spec.has_rewards:
        raise DataError(f"{data.parts[0].root} has no next.reward; collect a game, such as configs/collect/doom.yaml")
    if len(spec.camera_names) != 1:
        raise DataError(f"{data.parts[0].root} has cameras {list(spec.camera_names)}; a game is seen by one")
    for part in data.parts:
        part.require_lengths()  # before anything is allocated for them
    numbers = range(len(data)) if numbers is None else numbers
    starts = np.cumsum([0, *(data.length(number) for number in numbers)], dtype=np.int64)
    camera, size = spec.cameras[0], spec.action_spec.size
    pictures = np.empty((starts[-1], camera.height, camera.width, 3), np.uint8)  # filled one by one: held twice, it would be too much
    actions, rewards, over = np.zeros((starts[-1], size), np.float32), np.zeros(starts[-1], np.float32), np.zeros(starts[-1], bool)
    for place, number in enumerate(numbers):
        episode, (first, end) = data.episode(number), starts[place : place + 2]
        pictures[first:end] = episode.images[camera.name]
        actions[first : end - 1], over[end - 2] = episode.actions, episode.terminated
        if episode.rewards is not None:
            rewards[first : end - 1] = episode.rewards
        if progress is not None:
            progress(place + 1, len(numbers))
    is_train = np.array([data.is_train(number) for number in numbers])
    return Games(pictures, actions, rewards, over, starts, is_train, data.fingerprint)


def pictures_of(games: Games, frames: Int64[np.ndarray, " row"], device: torch.device) -> Float[Tensor, "row 3 height width"]:
    return torch.from_numpy(games.pictures[frames]).to(device).permute(0, 3, 1, 2).float() / 255


def train_vision(
    model: RecurrentModel, games: Games, stage: VisionStage, folder: Path, log: MetricsLog, seed: int, progress: OnProgress | None = None
) -> None:
    """V learns in place. Killed and called again, it goes on where it last kept its state."""
    frames = np.flatnonzero(np.repeat(games.is_train, np.diff(games.starts)))
    device = model.mean_picture.device
    some = np.random.default_rng((seed, 1)).choice(frames, min(2000, len(frames)), replace=False)
    model.mean_picture.copy_(pictures_of(games, some, device).mean(0))

    def losses(step: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((seed, 2, step))
        pictures = pictures_of(games, rng.choice(frames, stage.batch), device)
        mean, log_std = model.encode(pictures)
        noise = torch.from_numpy(rng.standard_normal(mean.shape, np.float32)).to(device)
        drawn = model.decode(mean + log_std.exp() * noise)
        odd = (pictures - model.mean_picture).abs().amax(1, keepdim=True)
        apart = ((1 + stage.odd * odd) * (drawn - pictures).square()).sum((1, 2, 3)).mean()
        divergence = 0.5 * (mean.square() + (2 * log_std).exp() - 2 * log_std - 1).sum(-1).mean()
        return {"picture": apart, "kl": stage.kl * divergence, "_nats": divergence}

    _learn("vision", model, [model.see, model.draw], losses, stage.steps, stage.learning_rate, folder, log, games.dataset_id, progress)


@torch.no_grad()
def see_all(model: RecurrentModel, games: Games, progress: OnProgress | None = None) -> Seen:
    parts, count, device = [], len(games.pictures), model.mean_picture.device
    for first in range(0, count, _ROWS):
        parts.append(model.encode(pictures_of(games, np.arange(first, min(first + _ROWS, count)), device)))
        if progress is not None:
            progress(min(first + _ROWS, count), count)
    return Seen(torch.cat([mean for mean, _ in parts]), torch.cat([log_std for _, log_std in parts]))


def train_memory(
    model: RecurrentModel, games: Games, seen: Seen, stage: MemoryStage, folder: Path, log: MetricsLog, seed: int,
    progress: OnProgress | None = None,
) -> None:  # fmt: skip
    """M and its heads learn in place; V stays as it is. Goes on where it was, as `train_vision`."""
    trained = [model.memory, model.tell, model.worth]

    def losses(step: int) -> Mapping[str, Tensor]:
        chosen = np.random.default_rng((seed, 3, step)).choice(np.flatnonzero(games.is_train), stage.batch)
        return memory_losses(model, games, seen, stage, chosen, np.random.default_rng((seed, 4, step)))

    _learn("recurrent", model, trained, losses, stage.steps, stage.learning_rate, folder, log, games.dataset_id, progress)


def memory_losses(
    model: RecurrentModel, games: Games, seen: Seen, stage: MemoryStage, chosen: Int64[np.ndarray, " game"], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Of the `chosen` games: nats of z a channel; the reward's square error; cross entropy of being over."""
    device, lengths = seen.means.device, np.diff(games.starts)[chosen] - 1
    frames = np.concatenate([first + np.arange(length) for first, length in zip(games.starts[chosen], lengths, strict=True)])
    at = torch.from_numpy(frames).to(device)
    noise = torch.from_numpy(rng.standard_normal((2, len(frames), seen.means.shape[-1]), np.float32)).to(device)
    latents, following = (seen.means[where] + seen.log_stds[where].exp() * noise[i] for i, where in enumerate((at, at + 1)))
    actions, rewards = (torch.from_numpy(values[frames]).to(device) for values in (games.actions, games.rewards))
    over = torch.from_numpy(games.over[frames]).to(device)
    told = model.following(model.remembered(latents, actions, lengths.tolist()))
    goes_on = ~over  # of a game that is over nothing new is seen
    nats = -(told.log_likelihood(following).mean(-1) * goes_on).sum() / goes_on.sum().clamp(min=1)
    reward = (told.reward - rewards).square().mean()
    ended = nn.functional.binary_cross_entropy_with_logits(told.over, over.float())
    return {
        "latents": nats, "reward": stage.reward_weight * reward, "over": stage.over_weight * ended, "_reward_error": reward,
        "_over_nats": ended, "_over_rate": over.float().mean(), "_over_told": told.over.sigmoid().mean(),
    }  # fmt: skip


@torch.no_grad()
def held_out(model: RecurrentModel, games: Games, seen: Seen, stage: MemoryStage, num_batches: int = 8) -> dict[str, float]:
    """Of held-out games: nats of z a channel, of being over, and what knowing no more than how often games end would cost."""
    among = np.flatnonzero(~games.is_train if (~games.is_train).any() else games.is_train)
    found = []
    for number in range(num_batches):
        rng = np.random.default_rng((0, 5, number))
        found.append(memory_losses(model, games, seen, stage, rng.choice(among, stage.batch), rng))
    means = {name: float(torch.stack([one[name] for one in found]).mean()) for name in found[0]}
    rate = min(max(means["_over_rate"], 1e-6), 1 - 1e-6)
    knowing_nothing = -(rate * np.log(rate) + (1 - rate) * np.log(1 - rate))
    return {
        "latent_nats": means["latents"], "reward_error": means["_reward_error"], "over_nats": means["_over_nats"],
        "over_nats_of_the_rate": float(knowing_nothing), "over_rate": means["_over_rate"], "over_told": means["_over_told"],
    }  # fmt: skip


def _learn(
    name: str, model: RecurrentModel, trained: list[nn.Module], losses: Callable[[int], Mapping[str, Tensor]], steps: int, rate: float,
    folder: Path, log: MetricsLog, dataset_id: str, progress: OnProgress | None,
) -> None:  # fmt: skip
    """Adam with a cosine; batches depend on the step alone, so a resumed stage goes on exactly."""
    parameters = [parameter for part in trained for parameter in part.parameters()]
    adam = optimisers(parameters, rate, 0.0, 0.0)
    about = {"stage": name, "steps": steps, "rate": rate, "dataset": dataset_id, "model": repr(model.config)}
    path = folder / f"{name}.state.safetensors"
    for step in range(load_state(path, model, list(adam), about) or 0, steps):
        for optimiser in adam:
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, (step + 1) / 50) * (0.02 + 0.49 * (1 + np.cos(np.pi * step / steps)))
        parts = losses(step)
        norm = learn(parameters, list(adam), parts)
        if step % 20 == 0 and not torch.isfinite(norm):
            raise RoboDreamError(f"training diverged at step {step} of {name}; the last good state is {path}: lower the learning rate")
        if (done := step + 1) % _SAVE_STEPS == 0 or done == steps:
            save_state(path, model, list(adam), {**about, "step": done})
        if done % 50 == 0 or done == steps:
            log.write(name, done, {key.lstrip("_"): round(value.item(), 5) for key, value in parts.items()})
        if progress is not None:
            progress(done, steps)
