"""A controller that learns inside the dream by policy gradient, with a critic that tells what a dreamed game is still worth.

Hafner et al. 2020, "Dream to Control", arXiv 1912.01603, for learning by imagination alone; Schulman et al. 2016, arXiv 1506.02438, for the
advantage, and 2017, arXiv 1707.06347, for the clipped step. A dream's chance of ending stands in the returns itself, not its draws alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor, nn

from robo_dream.games.controller import DreamSettings, LinearControllers, mixed
from robo_dream.games.model import RecurrentModel
from robo_dream.games.training import Count
from robo_dream.schema import NotNegative, Positive, configuration
from robo_dream.training.optimiser import optimisers
from robo_dream.training.stage import MetricsLog, OnProgress, learn, load_state, save_state

STATE_FILE = "actor_critic.state.safetensors"
_CLIP, _PASSES, _PARTS = 0.2, 2, 4  # of the clipped step: how far odds may move; passes over a generation's steps, and parts of each


@configuration
class ActorCriticConfig(DreamSettings):
    """A generation: `dreams` dreamed side by side for `steps` more control steps, then learned from."""

    kind: Literal["actor_critic"] = "actor_critic"
    dreams: Count = 128
    steps: Annotated[int, Field(ge=2, le=10_000)] = 32
    learning_rate: Positive = 1e-3
    discount: Annotated[float, Field(gt=0, lt=1)] = 0.98
    trace: Annotated[float, Field(ge=0, le=1)] = 0.95  # λ of the advantage
    entropy: NotNegative = 0.005
    memory: bool = True  # the controller reads h beside z; without, it goes by the picture of now alone


class ActorCritic(nn.Module):
    """A matrix from [z, h] to choices, a small network from [z, h] to worth, and where the dreams that they learn from are."""

    def __init__(self, model: RecurrentModel, config: ActorCriticConfig) -> None:
        super().__init__()
        features = model.config.latent + model.config.hidden
        self.actor = nn.Linear(features, model.action_spec.size)
        self.critic = nn.Sequential(nn.Linear(features, 64), nn.Tanh(), nn.Linear(64, 1))
        nn.init.zeros_(self.actor.weight)
        nn.init.zeros_(self.actor.bias)
        self.latents: Tensor
        self.register_buffer("latents", torch.zeros(config.dreams, model.config.latent))
        self.hidden: Tensor
        self.register_buffer("hidden", torch.zeros(config.dreams, model.config.hidden))
        self.cell: Tensor
        self.register_buffer("cell", torch.zeros(config.dreams, model.config.hidden))
        self.heeded: Tensor  # of [z, h], by the actor
        self.register_buffer("heeded", torch.arange(features).less(model.config.latent + config.memory * model.config.hidden).float())
        self.left: Tensor  # control steps until a dream is broken off
        self.register_buffer("left", torch.zeros(config.dreams))

    def playing(self, model: RecurrentModel) -> LinearControllers:
        numbers = torch.cat([self.actor.weight * self.heeded, self.actor.bias[:, None]], -1).detach().clone()
        return LinearControllers(model.action_spec, numbers[None])


def train_actor_critic(
    model: RecurrentModel, config: ActorCriticConfig, folder: Path, log: MetricsLog, seed: int, made_with: str,
    progress: OnProgress | None = None, look: Callable[[int, LinearControllers], Mapping[str, float]] | None = None,
) -> LinearControllers:  # fmt: skip
    """What it learned at the end. `look` is told of the controller every now and then; what it says is logged, not learned from.

    Killed and called again it goes on, to the same result. Raises `CheckpointError` where the state is of another training.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed % 2**63)
        both = ActorCritic(model, config).to(model.mean_picture.device)
    parameters = list(both.parameters())
    adam = list(optimisers(parameters, config.learning_rate, 0.0, 0.0))
    about = {**asdict(config), "seed": seed, "made_with": made_with}
    for name in ("evaluate_every", "real_games", "generations"):  # change nothing of what is found
        del about[name]
    path = folder / STATE_FILE
    for generation in range(load_state(path, both, adam, about) or 0, config.generations):
        generator = torch.Generator(model.starts.device).manual_seed(mixed(seed, generation))
        features, chosen, odds, advantages, returns, survived = dream_on(model, both, config, generator)
        scale = 1 / advantages.std().clamp(min=1e-6)
        for part in torch.cat([torch.randperm(len(chosen), generator=generator) for _ in range(_PASSES)]).chunk(_PASSES * _PARTS):
            told = torch.log_softmax(both.actor(features[part] * both.heeded), -1)
            ratio = (told.gather(-1, chosen[part, None]).squeeze(-1) - odds[part]).exp()
            gain = scale * (advantages[part] - advantages.mean())
            losses = {
                "actor": -torch.minimum(ratio * gain, ratio.clamp(1 - _CLIP, 1 + _CLIP) * gain).mean(),
                "entropy": config.entropy * (told * told.exp()).sum(-1).mean(),
                "critic": (both.critic(features[part]).squeeze(-1) - returns[part]).square().mean(),
            }
            learn(parameters, adam, losses)
        done = generation + 1
        said = {"dream": float(survived), **{name: value.item() for name, value in losses.items()}}
        if done % config.evaluate_every == 0 or done == config.generations:
            if look is not None:
                said |= look(done, both.playing(model))
            save_state(path, both, adam, {**about, "step": done})
        if done % 10 == 0 or done == config.generations:
            log.write("controller", done, said)
        if progress is not None:
            progress(done, config.generations)
    return both.playing(model)


@torch.no_grad()
def dream_on(
    model: RecurrentModel, both: ActorCritic, config: ActorCriticConfig, generator: torch.Generator
) -> tuple[
    Float[Tensor, "step feature"], Int64[Tensor, " step"], Float[Tensor, " step"], Float[Tensor, " step"], Float[Tensor, " step"],
    Float[Tensor, ""],
]:  # fmt: skip
    """Goes on with all dreams and begins anew those that are over: [z, h], choice, its log odds, advantage and worth of each step.

    Worth is in units of 1 / (1 - discount) control steps' reward. At last, what a game is worth at the rate at which dreams ended.
    """
    rows, device = torch.arange(config.dreams, device=model.starts.device), model.starts.device
    seen, chosen, odds, rewards, going_on, values, broken = [], [], [], [], [], [], []
    for _ in range(config.steps):
        begin = both.left <= 0
        drawn = torch.randint(len(model.starts), (config.dreams,), generator=generator, device=device)
        both.latents[begin], both.hidden[begin], both.cell[begin] = model.starts[drawn[begin]], 0.0, 0.0
        both.left[begin] = float(config.horizon)
        features = torch.cat([both.latents, both.hidden], -1)
        told = torch.log_softmax(both.actor(features * both.heeded), -1)
        choice = torch.multinomial(told.exp(), 1, generator=generator).squeeze(-1)
        actions = nn.functional.one_hot(choice, model.action_spec.size).float()
        both.hidden, both.cell = model.step(both.latents, actions, (both.hidden, both.cell))
        after = model.following(both.hidden)
        both.latents = after.sample(config.temperature, generator)
        survives = torch.sigmoid(-after.over)
        both.left -= 1
        both.left[torch.rand(config.dreams, generator=generator, device=device) > survives] = 0.0
        for kept, value in zip(
            (seen, chosen, odds, rewards, going_on, values, broken),
            (features, choice, told[rows, choice], after.reward, survives, both.critic(features)[:, 0], both.left <= 0), strict=True,
        ):  # fmt: skip
            kept.append(value)
        values.append(both.critic(torch.cat([both.latents, both.hidden], -1))[:, 0])
    unit = torch.stack(rewards).abs().mean().clamp(min=1e-6) / (1 - config.discount)
    advantages, ahead = [], torch.zeros_like(values[0])
    for step in reversed(range(config.steps)):
        discount = config.discount * going_on[step]
        error = rewards[step] / unit + discount * values[2 * step + 1] - values[2 * step]
        ahead = error + torch.where(broken[step], 0.0, discount * config.trace * ahead)
        advantages.append(ahead)
    gained = torch.stack(advantages[::-1])
    ending = 1 - torch.stack(going_on).mean()
    return (
        torch.cat(seen), torch.cat(chosen), torch.cat(odds), gained.flatten(), (gained + torch.stack(values[::2])).flatten(),
        torch.stack(rewards).mean() / ending.clamp(min=1 / config.horizon),
    )  # fmt: skip
