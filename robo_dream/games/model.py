"""A world model of games, small enough for one core: V sees a picture as a vector z, M dreams what comes next and what it is worth.

Ha and Schmidhuber 2018, "World Models", arXiv 1803.10122: a convolutional variational autoencoder and a recurrent network with a mixture
density, here with heads for reward and termination. It stands beside `LatentVideoModel`, whose encoder and dynamics ask for an arm's own
word and for goals, of which a game has none. On disk: safetensors, with what is needed to use it as JSON in the header.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Float
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from robo_dream.embodiment import ActionSpec
from robo_dream.errors import CheckpointError, DataError, RoboDreamError, one_line
from robo_dream.files import replacing
from robo_dream.foreign import BUDGET, parse_object, require_budget
from robo_dream.schema import configuration, shown

FORMAT, VERSION = "robo_dream.recurrent_model", 1
_LEAST_LOG_STD = -4.0  # of a component: one that is surer explains noise
_SIDE_BY_SIDE = 8  # games that M learns from in one piece
NUM_STARTS = 512  # first looks that a model keeps: where its dreams begin
State = tuple[Float[Tensor, "row hidden"], Float[Tensor, "row hidden"]]


@configuration
class RecurrentConfig:
    """Sizes. `mixtures`: Gaussians for each number of z, with which M says in how many ways it may go on."""

    image_size: Annotated[int, Field(ge=32, le=128, multiple_of=32)] = 64
    width: Annotated[int, Field(ge=4, le=256)] = 32  # channels of V's second layer; the others have half, twice and four times as many
    latent: Annotated[int, Field(ge=2, le=1024)] = 64
    hidden: Annotated[int, Field(ge=2, le=4096)] = 192
    mixtures: Annotated[int, Field(ge=1, le=32)] = 3


@dataclass(frozen=True)
class Next:
    """What M expects: a mixture for each number of z, the reward, and the logit of being over."""

    log_odds: Float[Tensor, "*batch channel mixture"]
    means: Float[Tensor, "*batch channel mixture"]
    log_stds: Float[Tensor, "*batch channel mixture"]
    reward: Float[Tensor, "*batch"]
    over: Float[Tensor, "*batch"]

    def log_likelihood(self, latents: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        """In nats, of each number by itself, without the constant."""
        apart = (latents[..., None] - self.means) * torch.exp(-self.log_stds)
        return torch.logsumexp(self.log_odds - self.log_stds - 0.5 * apart.square(), -1)

    def sample(self, temperature: float, generator: torch.Generator) -> Float[Tensor, "*batch channel"]:
        """Odds are evened and spread is widened by `temperature`, as in the source: above 1 the dream is less certain than it learned."""
        cumulative = torch.softmax(self.log_odds / temperature, -1).cumsum(-1)
        draws = torch.rand(self.means.shape[:-1], generator=generator, device=self.means.device)
        chosen = (draws[..., None] > cumulative[..., :-1]).sum(-1, keepdim=True)
        mean, log_std = (values.gather(-1, chosen).squeeze(-1) for values in (self.means, self.log_stds))
        noise = torch.randn(mean.shape, generator=generator, device=mean.device)
        return mean + temperature**0.5 * log_std.exp() * noise


class RecurrentModel(nn.Module):
    """V and M. Pictures are float32 in [0, 1]; z is V's mean, or a draw around it; actions are as the spec has them."""

    def __init__(self, config: RecurrentConfig, action_spec: ActionSpec) -> None:
        super().__init__()
        self.config, self.action_spec = config, action_spec
        width, side = config.width, config.image_size // 32
        widths = (width // 2, width, 2 * width, 4 * width)
        self.see = nn.Sequential(
            nn.Conv2d(3, widths[0], 4, 4), nn.ReLU(), nn.Conv2d(widths[0], widths[1], 4, 2, 1), nn.ReLU(),
            nn.Conv2d(widths[1], widths[2], 4, 2, 1), nn.ReLU(), nn.Conv2d(widths[2], widths[3], 4, 2, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(widths[3] * side * side, 2 * config.latent),
        )  # fmt: skip
        self.draw = nn.Sequential(
            nn.Linear(config.latent, widths[3] * side * side), nn.ReLU(), nn.Unflatten(1, (widths[3], side, side)),
            nn.ConvTranspose2d(widths[3], widths[2], 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(widths[2], widths[1], 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(widths[1], widths[0], 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(widths[0], 3, 4, 4),
        )  # fmt: skip
        self.memory = nn.LSTM(config.latent + action_spec.size, config.hidden, batch_first=True)
        self.tell = nn.Linear(config.hidden, 3 * config.latent * config.mixtures)
        self.worth = nn.Linear(config.hidden, 2)  # reward, and the logit of being over
        self.mean_picture: Tensor
        self.register_buffer("mean_picture", torch.zeros(3, config.image_size, config.image_size))
        self.starts: Tensor
        self.register_buffer("starts", torch.zeros(NUM_STARTS, config.latent))

    def encode(self, pictures: Float[Tensor, "row 3 height width"]) -> tuple[Float[Tensor, "row channel"], Float[Tensor, "row channel"]]:
        """Mean and log standard deviation of z."""
        mean, log_std = self.see(pictures - self.mean_picture).float().chunk(2, -1)
        return mean, log_std.clamp(-6, 2)

    def decode(self, latents: Float[Tensor, "row channel"]) -> Float[Tensor, "row 3 height width"]:
        return self.draw(latents).float() + self.mean_picture

    def start(self, rows: int) -> State:
        """What is remembered before anything was seen."""
        zeros = self.mean_picture.new_zeros(rows, self.config.hidden)
        return zeros, zeros

    def step(self, latents: Float[Tensor, "row channel"], actions: Float[Tensor, "row action"], state: State) -> State:
        """What is remembered after an action; h is the first of the two."""
        _, (hidden, cell) = self.memory(torch.cat([latents, actions], -1)[:, None], (state[0][None], state[1][None]))
        return hidden[0], cell[0]

    def remembered(
        self, latents: Float[Tensor, "step channel"], actions: Float[Tensor, "step action"], lengths: Sequence[int]
    ) -> Float[Tensor, "step hidden"]:
        """h after each action of whole games, one after the other, of `lengths` steps; nothing is remembered from one to the next."""
        games = torch.cat([latents, actions], -1).split(list(lengths))
        longest_first = sorted(range(len(games)), key=lambda number: -lengths[number])
        found = {}
        for first in range(0, len(games), _SIDE_BY_SIDE):  # alike in length: what is padded is computed too
            numbers = longest_first[first : first + _SIDE_BY_SIDE]
            side_by_side, _ = self.memory(pad_sequence([games[number] for number in numbers], batch_first=True))  # packed: 7 times slower
            found |= {number: one[: lengths[number]] for number, one in zip(numbers, side_by_side, strict=True)}
        return torch.cat([found[number] for number in range(len(games))])

    def following(self, hidden: Float[Tensor, "*batch hidden"]) -> Next:
        log_odds, means, log_stds = self.tell(hidden).float().unflatten(-1, (self.config.latent, -1)).chunk(3, -1)
        reward, over = self.worth(hidden).float().unbind(-1)
        return Next(torch.log_softmax(log_odds, -1), means, log_stds.clamp(_LEAST_LOG_STD, 3.0), reward, over)


@dataclass(frozen=True)
class RecurrentInfo:
    """What a checkpoint says of itself: `world` is the configuration of the game that was recorded, `recipe` how it was trained."""

    config: RecurrentConfig
    action_spec: ActionSpec
    world: Mapping[str, Any] = field(default_factory=dict)
    dataset_id: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


def save(
    model: RecurrentModel, path: Path, world: Mapping[str, Any], dataset_id: str, metrics: Mapping[str, Any], recipe: Mapping[str, Any]
) -> Path:
    """Writes the checkpoint, whole or not at all."""
    header = {
        "format": FORMAT, "version": VERSION, "config": asdict(model.config), "action_spec": model.action_spec.to_json(),
        "world": dict(world), "dataset_id": dataset_id, "metrics": dict(metrics), "recipe": dict(recipe),
    }  # fmt: skip
    write_weights(path, {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, header)
    return path


def load(path: Path, device: str = "cpu") -> tuple[RecurrentModel, RecurrentInfo]:
    """The model, for use and not for training; raises `CheckpointError` for a damaged file or one of another kind."""
    header, weights = read_weights(path, FORMAT, VERSION)
    try:
        info = RecurrentInfo(
            RecurrentConfig(**header["config"]), ActionSpec.from_json(header["action_spec"]), header["world"], header["dataset_id"],
            header["metrics"], header["recipe"],
        )  # fmt: skip
        model = RecurrentModel(info.config, info.action_spec)
        model.load_state_dict(weights)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, RoboDreamError) as error:
        raise CheckpointError(f"{path}: its weights and its description do not fit ({one_line(error, 200)}); train it again") from error
    return model.to(device).eval().requires_grad_(False), info


def write_weights(path: Path, weights: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """A safetensors file with `header` as JSON and a checksum of the weights."""
    text = json.dumps({**header, "weights_sha256": _digest(weights)})
    with replacing(path, in_folder=True) as beside:
        save_file(dict(weights), beside, metadata={"robo_dream": text})
        beside.chmod(0o644)  # safetensors writes for the owner alone


def read_weights(path: Path, kind: str, version: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What `write_weights` wrote; raises `CheckpointError` where it is missing, damaged, or of another kind."""
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; make one with `robo-dream dream-train`, or give the path of one")
    try:
        require_budget(path.stat().st_size, BUDGET.weights, f"{path}", "bytes")
        with safe_open(path, framework="pt") as file:
            header = parse_object((file.metadata() or {}).get("robo_dream", "{}"), "its header")
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, DataError, OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file ({one_line(error)}); make it again") from error
    if (header.get("format"), header.get("version")) != (kind, version):
        found = shown(header.get("format", "no robo_dream header"))
        raise CheckpointError(f"{path} holds {found}, version {shown(header.get('version'))}; expected {kind!r}, version {version}")
    if header.get("weights_sha256") != _digest(weights):
        raise CheckpointError(f"{path}: the weights do not match their checksum; the file is damaged, make it again")
    return header, weights


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)}".encode())
        digest.update(memoryview(weights[name].contiguous().reshape(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return digest.hexdigest()
