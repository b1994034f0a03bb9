"""Pictures of learning in a dream: its scores beside the real ones, and a dreamed game above a real one."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.figure import Figure
from PIL import Image

from robo_dream.files import replace_file
from robo_dream.games.controller import LinearControllers
from robo_dream.games.model import RecurrentModel
from sim.environment import Game

_FRAMES, _EVERY, _SIZE, _GAP = 12, 3, 128, 4  # pictures of a strip, control steps between them, pixels


def draw_scores(metrics: Path, path: Path, counts: str) -> None:
    """Of the controller, as `metrics` has them: what the dream says, and what the real game said at intervals; in what players count."""
    said = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    said = {one["step"]: one for one in said if one["stage"] == "controller"}
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(list(said), [one["dream"] for one in said.values()], color="0.7", label="dream, mean of a generation")
    for key, label in (("dream_of_the_middle", "dream, the controller"), ("real", "real game, the controller")):
        points = {step: one[key] for step, one in said.items() if key in one}
        if points:
            axes.plot(list(points), list(points.values()), marker="o", label=label)
    axes.set(xlabel="generation", ylabel=counts)
    axes.legend()
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    replace_file(path, drawn.getvalue())


@torch.no_grad()
def draw_strips(model: RecurrentModel, playing: LinearControllers, game: Game, temperature: float, seed: int, path: Path) -> None:
    """Above, what the controller dreams; below, what it sees in a real game: a picture each `_EVERY` control steps, until it is over."""
    steps = _FRAMES * _EVERY
    rows = [dreamed_pictures(model, playing, temperature, seed, steps), real_pictures(model, playing, game, seed, steps)]
    drawn = io.BytesIO()
    strips([pictures[::_EVERY] for pictures in rows]).save(drawn, format="png")
    replace_file(path, drawn.getvalue())


def strips(rows: Sequence[Sequence[UInt8[np.ndarray, "height width 3"]]], size: int = _SIZE) -> Image.Image:
    """A strip of at most `_FRAMES` pictures a row; where a row is short, its game was over."""
    sheet = Image.new("RGB", (_FRAMES * (size + _GAP) - _GAP, len(rows) * (size + _GAP) - _GAP), "white")
    for row, pictures in enumerate(rows):
        for place, one in enumerate(pictures[:_FRAMES]):
            sheet.paste(Image.fromarray(one).resize((size, size), Image.Resampling.NEAREST), (place * (size + _GAP), row * (size + _GAP)))
    return sheet


@torch.no_grad()
def dreamed_pictures(
    model: RecurrentModel, playing: LinearControllers, temperature: float, seed: int, steps: int
) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Until the dream says by chance that it is over."""
    generator = torch.Generator(model.starts.device).manual_seed(seed)
    latents, state, found = model.starts[seed % len(model.starts)][None], model.start(1), []
    for _ in range(steps):
        drawn = (model.decode(latents)[0].clamp(0, 1) * 255).round().byte()
        found.append(drawn.permute(1, 2, 0).cpu().numpy())
        action = playing.act(torch.cat([latents, state[0]], -1)[None])[0]
        state = model.step(latents, action, state)
        told = model.following(state[0])
        latents = told.sample(temperature, generator)
        if torch.rand((), generator=generator, device=latents.device) < torch.sigmoid(told.over[0]):
            break
    return found


@torch.no_grad()
def real_pictures(
    model: RecurrentModel, playing: LinearControllers, game: Game, seed: int, steps: int
) -> list[UInt8[np.ndarray, "height width 3"]]:
    game.reset(np.random.default_rng(seed))
    state, found = model.start(1), []
    for _ in range(steps):
        found.append(game.image(game.cameras[0].name))
        seen = torch.from_numpy(found[-1]).to(model.starts.device).permute(2, 0, 1)[None].float() / 255
        latents = model.encode(seen)[0]
        action = playing.act(torch.cat([latents, state[0]], -1)[None])[0]
        state = model.step(latents, action, state)
        if game.play(action[0].cpu().numpy()).terminated:
            break
    return found
