"""A controller that learns wholly inside the dream: a matrix from [z, h] to actions, found by CMA-ES (Hansen 2016, arXiv 1604.00772).

As in Ha and Schmidhuber 2018, "World Models", arXiv 1803.10122, but for one thing: a dreamed game does not end by chance. What it is
worth is the sum of rewards, each weighed by how likely it is that the game is not over by then: the mean over all ends, less noisy.
"""

import importlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from robo_dream.embodiment import ActionSpec
from robo_dream.errors import CheckpointError, DataError, MissingExtraError
from robo_dream.files import replace_file
from robo_dream.foreign import parse_object, read_bytes
from robo_dream.games.model import RecurrentModel, read_weights, write_weights
from robo_dream.games.training import Count
from robo_dream.schema import Positive, configuration
from robo_dream.training.stage import MetricsLog, OnProgress

FORMAT, VERSION = "robo_dream.linear_controller", 1
STATE_FILE = "controller.state.json"


@configuration
class DreamSettings:
    """`temperature` of the dream: at a low one a controller finds where the dream is wrong and stays there; a high one is a harder game."""

    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    generations: Count = 120
    horizon: Count = 525  # control steps of a dreamed game at most
    evaluate_every: Count = 20  # generations between looks at the real game
    real_games: Annotated[int, Field(ge=0, le=100_000)] = 20  # of each look; nothing is learned from them


@configuration
class ControllerConfig(DreamSettings):
    """CMA-ES."""

    kind: Literal["cma"] = "cma"
    population: Annotated[int, Field(ge=4, le=100_000)] = 32
    rollouts: Annotated[int, Field(ge=1, le=10_000)] = 8  # dreamed games for each candidate
    std: Positive = 0.3  # of the first candidates' numbers


@runtime_checkable
class Player(Protocol):
    """What chooses, from [z, h], for one candidate or many at once."""

    def act(self, features: Float[Tensor, "candidate rollout feature"]) -> Float[Tensor, "candidate rollout action"]: ...


@dataclass(frozen=True)
class LinearControllers:
    """One controller or many at once. Of choices, that with the highest output is taken; other actions lie between their limits."""

    spec: ActionSpec
    numbers: Float[Tensor, "candidate output feature"]  # the last feature is 1

    def act(self, features: Float[Tensor, "candidate rollout feature"]) -> Float[Tensor, "candidate rollout action"]:
        outputs = torch.einsum("crf,cof->cro", features, self.numbers[..., :-1]) + self.numbers[:, None, :, -1]
        if self.spec.kind == "choice":
            return torch.nn.functional.one_hot(outputs.argmax(-1), self.spec.size).to(features)
        low, high = (torch.from_numpy(limit).to(features) for limit in (self.spec.low, self.spec.high))
        return low + (torch.tanh(outputs) + 1) / 2 * (high - low)


def num_numbers(model: RecurrentModel) -> int:
    """Of a controller of `model`."""
    return model.action_spec.size * (model.config.latent + model.config.hidden + 1)


def controllers(model: RecurrentModel, numbers: Float[np.ndarray, "candidate number"]) -> LinearControllers:
    shaped = torch.from_numpy(np.asarray(numbers, np.float32)).to(model.mean_picture.device)
    return LinearControllers(model.action_spec, shaped.reshape(len(numbers), -1, model.config.latent + model.config.hidden + 1))


@torch.no_grad()
def dream(
    model: RecurrentModel, playing: Player, starts: Float[Tensor, "candidate rollout channel"], temperature: float, horizon: int,
    generator: torch.Generator,
) -> Float[Tensor, "candidate rollout"]:  # fmt: skip
    """What each dreamed game is expected to be worth."""
    shape = starts.shape[:2]
    latents, state = starts.flatten(0, 1), model.start(shape.numel())  # (C*R, Z)
    worth, alive = torch.zeros_like(latents[:, 0]), torch.ones_like(latents[:, 0])
    for _ in range(horizon):
        features = torch.cat([latents, state[0]], -1).unflatten(0, shape)
        state = model.step(latents, playing.act(features).flatten(0, 1), state)
        told = model.following(state[0])
        worth += alive * told.reward
        alive *= torch.sigmoid(-told.over)
        latents = told.sample(temperature, generator)
    return worth.unflatten(0, shape)


def train_controller(
    model: RecurrentModel, config: ControllerConfig, folder: Path, log: MetricsLog, seed: int, made_with: str,
    progress: OnProgress | None = None, look: Callable[[int, LinearControllers], Mapping[str, float]] | None = None,
) -> LinearControllers:  # fmt: skip
    """The middle of what CMA-ES ends with. `look` is told of the controller every now and then; what it says is logged, not learned from.

    Killed and called again it goes on, to the same result: what each generation scored is kept, and the search is told it again, which
    takes no dream. Raises `CheckpointError` where that was another search, `MissingExtraError` without `cma`.
    """
    about = {**asdict(config), "seed": seed, "made_with": made_with, "numbers": num_numbers(model)}
    for name in ("evaluate_every", "real_games", "generations"):  # change nothing of what is found
        del about[name]
    path = folder / STATE_FILE
    scores = _kept(path, about)[: config.generations]
    search = _search(config, num_numbers(model), seed)
    device = model.mean_picture.device
    for generation in range(config.generations):
        asked = np.stack(search.ask())
        if generation < len(scores):
            search.tell(list(asked), [-score for score in scores[generation]])
            continue
        generator = torch.Generator(device).manual_seed(mixed(seed, generation))
        drawn = torch.randint(len(model.starts), (config.rollouts,), generator=generator, device=device)
        first = model.starts[drawn].expand(config.population, -1, -1)  # the same for all candidates
        worth = dream(model, controllers(model, asked), first, config.temperature, config.horizon, generator).mean(1)
        scores.append([float(value) for value in worth])
        search.tell(list(asked), [-score for score in scores[-1]])
        replace_file(path, json.dumps({"about": about, "scores": scores}).encode())
        done = generation + 1
        said = {"dream": float(np.mean(scores[-1])), "dream_best": max(scores[-1]), "std": float(search.sigma)}
        if look is not None and (done % config.evaluate_every == 0 or done == config.generations):
            said |= look(done, controllers(model, search.result.xfavorite[None]))
        log.write("controller", done, said)
        if progress is not None:
            progress(done, config.generations)
    return controllers(model, search.result.xfavorite[None])


def dreamed(model: RecurrentModel, playing: Player, config: DreamSettings, games: int, horizon: int) -> Float[Tensor, " game"]:
    """What one controller's games in the dream are worth, by numbers of their own."""
    device = model.starts.device
    generator = torch.Generator(device).manual_seed(mixed(games, -1))
    drawn = torch.randint(len(model.starts), (games,), generator=generator, device=device)
    return dream(model, playing, model.starts[drawn][None], config.temperature, horizon, generator)[0]


def save(playing: LinearControllers, path: Path, made_with: str, about: Mapping[str, Any]) -> None:
    """Whole or not at all; `made_with` is the SHA-256 of the model whose [z, h] it reads."""
    header = {"format": FORMAT, "version": VERSION, "action_spec": playing.spec.to_json(), "model_sha256": made_with, "about": dict(about)}
    write_weights(path, {"numbers": playing.numbers.detach().cpu().contiguous()}, header)


def load(path: Path, model: RecurrentModel, made_with: str) -> LinearControllers:
    """Raises `CheckpointError` where it is damaged, or was made for another model than that with SHA-256 `made_with`."""
    header, weights = read_weights(path, FORMAT, VERSION)
    if header.get("model_sha256") != made_with:
        raise CheckpointError(f"{path} was made for another model ({str(header.get('model_sha256'))[:12]}); this one is {made_with[:12]}")
    if "numbers" not in weights or weights["numbers"].numel() != num_numbers(model):
        raise CheckpointError(f"{path} holds {sorted(weights)}; expected {num_numbers(model)} numbers: make it again")
    return LinearControllers(model.action_spec, weights["numbers"].to(model.mean_picture.device))


def _search(config: ControllerConfig, size: int, seed: int) -> Any:
    """CMA-ES with random numbers of its own: without them it would seed NumPy's for everybody."""
    try:
        cma = importlib.import_module("cma")
    except ImportError as error:
        raise MissingExtraError(f"CMA-ES needs cma, which is not installed ({error}); run `pip install 'robo-dream[cma]'`") from error
    rng = np.random.default_rng((seed, 6))
    options = {"popsize": config.population, "seed": math.nan, "randn": lambda *shape: rng.standard_normal(shape), "verbose": -9}
    return cma.CMAEvolutionStrategy(np.zeros(size), config.std, options)


def _kept(path: Path, about: Mapping[str, Any]) -> list[list[float]]:
    """What earlier generations scored; none where there is no state."""
    if not path.is_file():
        return []
    try:
        kept = parse_object(read_bytes(path), str(path))
        scores = [[float(value) for value in generation] for generation in kept["scores"]]
    except (DataError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it to begin the controller again") from error
    if odd := [name for name, value in about.items() if kept.get("about", {}).get(name) != value]:
        raise CheckpointError(f"{path} was written with another {', '.join(odd)}; continue with the same, delete it, or train elsewhere")
    return scores


def mixed(seed: int, generation: int) -> int:
    return int(np.random.SeedSequence((seed, generation + 1)).generate_state(1)[0])
