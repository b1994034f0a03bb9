"""Games of a controller that learned in a dream, kept to be learned from: for the next round of dreaming.

    python benchmarks/own_play.py runs/dream_train/doom datasets/doom_own --like datasets/doom --games 300

The folder holds `model.safetensors` and `controller.safetensors`. Now and then a random choice is held for some control steps, so that the
next dream knows more than this controller's way. Killed, it goes on.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from robo_dream.data.cache import open_dataset
from robo_dream.data.reader import Dataset
from robo_dream.data.writer import DatasetWriter
from robo_dream.games import controller
from robo_dream.games import model as recurrent
from robo_dream.games.controller import LinearControllers
from robo_dream.games.model import RecurrentModel
from robo_dream.models.checkpoint import sha256
from robo_dream.runtime.dream_train import CONTROLLER, MODEL, game_of, picture
from robo_dream.runtime.environment import build_game
from robo_dream.runtime.progress import Bars
from sim.environment import Game
from sim.games import game_of_choices

FIRST_SEED = 100_000  # of a first round; recorded games count from 0, and those that are counted from 1,000,000
_ASIDE = (0.0, 0.02, 0.05)  # chance at each control step of a random choice, drawn for each game
_HELD = 8  # control steps that it is held at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--like", type=Path, required=True, help="a dataset of the same game, whose recipe is kept")
    parser.add_argument("--games", type=int, default=300)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    args = parser.parse_args()
    torch.set_num_threads(1)
    play(args.folder, args.out, args.like, args.first_seed, args.games)


@torch.no_grad()
def play(folder: Path, out: Path, like: Path, first_seed: int, count: int) -> None:
    """`count` games of the controller in `folder` into the dataset `out`, made as those in `like`; what is there stays."""
    model, info = recurrent.load(folder / MODEL)
    playing = controller.load(folder / CONTROLLER, model, sha256(folder / MODEL))
    spec = open_dataset(like).spec
    there = len(Dataset.open(out)) if (out / "meta/info.json").is_file() else 0
    if there >= count:
        return
    writer = DatasetWriter(out, spec)
    with build_game(game_of(info.world, f"{folder}")) as game, Bars({}, "playing", unit="game") as bars:
        for number in range(there, count):
            rng = np.random.default_rng(first_seed + number)
            game.reset(rng)
            writer.append(game_of_choices(game, first_seed + number, game.longest_steps, choices(model, playing, game, rng), "controller"))
            bars(number + 1, count)
    writer.close()


def choices(model: RecurrentModel, playing: LinearControllers, game: Game, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The controller's own, and now and then a random one for some control steps."""
    state, chance, left = model.start(1), float(rng.choice(_ASIDE)), 0
    aside = torch.zeros(0)
    while True:
        latents = model.encode(picture(game, model))[0]
        action = playing.act(torch.cat([latents, state[0]], -1)[None])[0]
        if left == 0 and rng.random() < chance:
            left, aside = (
                int(rng.integers(1, _HELD + 1)),
                torch.from_numpy(game.action_spec.chosen(int(rng.integers(game.action_spec.size)))),
            )
        if left > 0:
            action, left = aside[None].float(), left - 1
        yield action[0].cpu().numpy()
        state = model.step(latents, action, state)


if __name__ == "__main__":
    main()
