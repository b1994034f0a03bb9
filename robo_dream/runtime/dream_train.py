"""A game learned in a dream: recordings become a world model, the model a controller, and the controller plays the real game."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from robo_dream.config import dump, parse, to_yaml
from robo_dream.data.cache import open_dataset
from robo_dream.errors import ConfigError, RoboDreamError
from robo_dream.files import replace_file
from robo_dream.games import controller
from robo_dream.games import model as recurrent
from robo_dream.games.actor_critic import ActorCriticConfig, train_actor_critic
from robo_dream.games.controller import ControllerConfig, LinearControllers, Player, dreamed, train_controller
from robo_dream.games.model import NUM_STARTS, RecurrentConfig, RecurrentModel
from robo_dream.games.training import MemoryStage, VisionStage, games_in, held_out, see_all, train_memory, train_vision
from robo_dream.models.checkpoint import sha256
from robo_dream.runtime.environment import GameConfig, build_game
from robo_dream.runtime.game_pictures import draw_scores, draw_strips
from robo_dream.runtime.progress import Bars
from robo_dream.schema import Device, Seed, configuration
from robo_dream.training.stage import MetricsLog
from sim.environment import Game

MODEL, CONTROLLER = "model.safetensors", "controller.safetensors"
FIRST_SEED = 1_000_000  # of games that are played to be counted; recorded ones count from 0
_LOOKED_AT, _DREAMED, _SIDE_BY_SIDE = 500_000, 64, 6  # seeds of games looked at meanwhile; games dreamed for a score; played at once


@configuration
class DreamTrainConfig:
    """What is learned from, and where to. With `init` a model that is there is used as it is, and a controller alone is learned.

    `play` plays a controller that is there, in the game that its model's recordings were of; nothing is learned.
    """

    dataset: Path = Path("datasets/doom")
    more: tuple[Path, ...] = ()  # further recordings of the same game, such as of a controller that played it
    out: Path = Path("runs/dream_train/doom")
    init: Path | None = None
    play: Path | None = None
    seed: Seed = 0
    device: Device = "cpu"
    model: RecurrentConfig = field(default_factory=RecurrentConfig)
    vision: VisionStage = field(default_factory=VisionStage)
    memory: MemoryStage = field(default_factory=MemoryStage)
    controller: ControllerConfig | ActorCriticConfig = field(default_factory=ActorCriticConfig)
    games: Annotated[int, Field(ge=1, le=100_000)] = 100  # real ones that are counted at the end

    def __post_init__(self) -> None:
        if self.play is not None and self.init is None:
            raise ConfigError(f"play is {self.play}, but not which model it belongs to; give init, the model.safetensors beside it")

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides the model, but for the data."""
        whole = dump(self)
        return {name: whole[name] for name in ("seed", "model", "vision", "memory")}

    def require_recipe(self, made: Mapping[str, Any]) -> None:
        """Raises `ConfigError` unless the model that is there was trained as this says."""
        if odd := [name for name, value in self.recipe.items() if made.get(name) != value]:
            raise ConfigError(
                f"{self.out / MODEL} was trained with another {', '.join(odd)}; continue with the same, give another out, or take it as "
                f"it is with init={self.out / MODEL}"
            )


@dataclass(frozen=True)
class Scores:
    """What every real game was worth, and what is expected of the dreamed ones; in what players count."""

    real: Float[np.ndarray, " game"]
    dream: Float[np.ndarray, " game"]
    counts: str

    @property
    def in_words(self) -> str:
        return (
            f"{self.real.mean():.0f} ± {self.real.std():.0f} {self.counts} over {len(self.real)} real games, "
            f"at most {self.real.max():.0f}; "
            f"{self.dream.mean():.0f} ± {self.dream.std():.0f} in the dream"
        )


@dataclass(frozen=True)
class _Game:
    """A block of a recipe that says a game alone."""

    world: GameConfig


def game_of(world: Mapping[str, Any], source: str) -> GameConfig:
    """The game that a dataset or a checkpoint tells of; raises `ConfigError` where it tells of a world with an arm."""
    return parse(_Game, {"world": world}, source).world


def dream_train(config: DreamTrainConfig, say: Callable[[str], None]) -> Scores:
    """Does all that is not done yet, and leaves it in `config.out`. Raises `RoboDreamError`."""
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device is {config.device}, and there is no CUDA device here; use device=cpu")
    config.out.mkdir(parents=True, exist_ok=True)
    if config.play is None:
        replace_file(config.out / "config.yaml", to_yaml(config).encode())
    path = config.init if config.init is not None else config.out / MODEL
    if config.init is None and not path.is_file():
        train_model(config, say)
    model, info = recurrent.load(path, config.device)
    if config.init is None:
        config.require_recipe(info.recipe)
    made_with = sha256(path)
    with ExitStack() as stack, Bars({}, "controller", unit="generation") as bars:
        games = open_games(stack, game_of(info.world, f"{path}"))
        if config.play is not None:
            playing = controller.load(config.play, model, made_with)
        else:
            playing = _learn_to_play(config, model, games, made_with, bars)
        scores = measure(model, playing, games, config)
        draw_strips(model, playing, games[0], config.controller.temperature, FIRST_SEED, config.out / "strips.png")
    return scores


def open_games(stack: ExitStack, config: GameConfig) -> list[Game]:
    """As many of one game as are played side by side: V and M see six pictures in little more time than one."""
    return [stack.enter_context(build_game(config)) for _ in range(_SIDE_BY_SIDE)]


def train_model(config: DreamTrainConfig, say: Callable[[str], None]) -> None:
    """V, then M, each going on where it was; then `model.safetensors`."""
    data = open_dataset((config.dataset, *config.more))
    game_of(data.spec.recipe.get("world", {}), f"{config.dataset}")
    side = data.spec.cameras[0].height if data.spec.cameras else 0
    if side != config.model.image_size:
        raise ConfigError(
            f"model.image_size is {config.model.image_size}, but pictures of {config.dataset} have {side} px; make them equal"
        )
    with Bars({}, "reading", unit="game") as bars:
        games = games_in(data, bars)
    say(f"{len(games.is_train)} games, {len(games.pictures)} frames, {int(games.over.sum())} of them lost.")
    with torch.random.fork_rng():
        torch.manual_seed(config.seed % 2**63)
        model = RecurrentModel(config.model, data.spec.action_spec).to(config.device)
    with MetricsLog(config.out) as log:
        with Bars({}, "vision", unit="step") as bars:
            train_vision(model, games, config.vision, config.out, log, config.seed, bars)
        with Bars({}, "looking", unit="frame") as bars:
            seen = see_all(model, games, bars)
        with Bars({}, "memory", unit="step") as bars:
            train_memory(model, games, seen, config.memory, config.out, log, config.seed, bars)
        metrics = held_out(model, games, seen, config.memory)
        log.write("held_out", config.memory.steps, metrics)
    firsts = games.starts[:-1][games.is_train]
    model.starts.copy_(seen.means[torch.from_numpy(np.resize(firsts, NUM_STARTS))])
    recurrent.save(model, config.out / MODEL, data.spec.recipe["world"], games.dataset_id, metrics, config.recipe)
    say(f"Held out: termination costs {metrics['over_nats']:.4f} nats a step, {metrics['over_nats_of_the_rate']:.4f} by its rate alone.")


def _learn_to_play(config: DreamTrainConfig, model: RecurrentModel, games: Sequence[Game], made_with: str, bars: Bars) -> LinearControllers:
    about = {"temperature": config.controller.temperature, "seed": config.seed}

    def look(generation: int, playing: LinearControllers) -> dict[str, float]:
        controller.save(playing, config.out / CONTROLLER, made_with, {**about, "generation": generation})
        said = {"dream_of_the_middle": float(dreamed(model, playing, config.controller, _DREAMED, config.controller.horizon).mean())}
        if config.controller.real_games:
            said["real"] = float(play_games(model, playing, games, _LOOKED_AT, config.controller.real_games).mean())
        bars.note(", ".join(f"{name} {value:.0f}" for name, value in said.items()))
        return said

    with MetricsLog(config.out) as log:
        if isinstance(config.controller, ActorCriticConfig):
            playing = train_actor_critic(model, config.controller, config.out, log, config.seed, made_with, bars, look)
        else:
            playing = train_controller(model, config.controller, config.out, log, config.seed, made_with, bars, look)
    controller.save(playing, config.out / CONTROLLER, made_with, {**about, "generation": config.controller.generations})
    draw_scores(config.out / "metrics.jsonl", config.out / "scores.png", games[0].counts)
    return playing


def measure(model: RecurrentModel, playing: LinearControllers, games: Sequence[Game], config: DreamTrainConfig) -> Scores:
    """`config.games` games of seeds that nothing was learned from, and as many dreamed ones."""
    real = play_games(model, playing, games, FIRST_SEED, config.games)
    dream = dreamed(model, playing, config.controller, config.games, games[0].longest_steps)
    return Scores(real, dream.cpu().numpy(), games[0].counts)


@torch.no_grad()
def play_games(model: RecurrentModel, playing: Player, games: Sequence[Game], seed: int, count: int) -> Float[np.ndarray, " game"]:
    """What each of `count` real games was worth, `games` of them side by side. Raises `RoboDreamError` where a game takes other actions."""
    if odd := model.action_spec.differences(games[0].action_spec):
        raise RoboDreamError(f"the model was trained in another game: {'; '.join(odd)}")
    worth, waiting = np.zeros(count), iter(range(count))
    numbers, steps = [next(waiting, None) for _ in games], [0] * len(games)  # which game each of them plays, none when there are no more
    for game, number in zip(games, numbers, strict=True):
        game.reset(np.random.default_rng(seed + (number or 0)))
    state = model.start(len(games))
    while any(number is not None for number in numbers):
        latents = model.encode(torch.cat([picture(game, model) for game in games]))[0]
        actions = playing.act(torch.cat([latents, state[0]], -1)[None])[0]
        state = model.step(latents, actions, state)
        for row, (game, number) in enumerate(zip(games, numbers, strict=True)):
            if number is None:
                continue
            outcome = game.play(actions[row].cpu().numpy())
            worth[number] += outcome.reward
            steps[row] += 1
            if outcome.terminated or steps[row] == game.longest_steps:
                numbers[row], steps[row] = (following := next(waiting, None)), 0
                state[0][row], state[1][row] = 0.0, 0.0  # nothing is remembered from one game to the next
                if following is not None:
                    game.reset(np.random.default_rng(seed + following))
    return worth


def picture(game: Game, model: RecurrentModel) -> Float[Tensor, "1 3 height width"]:
    """What the game shows, as the model takes it."""
    seen = torch.from_numpy(game.image(game.cameras[0].name)).to(model.mean_picture.device)
    return seen.permute(2, 0, 1)[None].float() / 255
