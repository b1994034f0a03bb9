"""CarRacing-v3, learned in a dream: points over 100 tracks, in rounds of dreaming and playing.

    robo-dream collect --config configs/collect/car_racing.yaml
    python benchmarks/car_racing.py

In round 0 V, M and controller learn from random games alone. In each further round the last round's controller plays `--played` games, with
random choices mixed in, and V, M and a new controller learn from all games so far; the controller wholly in the dream, as ever (the source:
Ha and Schmidhuber, "World Models", arXiv 1803.10122, section 5, "iterative training procedure"). With the model of the last round one more
controller learns that is shown z alone. Seeds of the tracks that are counted are nobody else's. Killed, it goes on.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from results_file import write_figures

from robo_dream import config
from robo_dream.data.cache import open_dataset
from robo_dream.data.reader import Dataset
from robo_dream.data.writer import DatasetWriter
from robo_dream.games import controller
from robo_dream.games import model as recurrent
from robo_dream.games.actor_critic import ActorCriticConfig
from robo_dream.games.controller import LinearControllers
from robo_dream.games.model import RecurrentModel
from robo_dream.models.checkpoint import sha256
from robo_dream.runtime.dream_train import CONTROLLER, MODEL, DreamTrainConfig, dream_train, game_of, picture
from robo_dream.runtime.environment import build_game
from robo_dream.runtime.progress import Bars
from sim.environment import Game
from sim.games import game_of_choices

_ASIDE = (0.0, 0.02, 0.05)  # chance at each control step of a random choice, drawn for each game
_HELD = 8  # control steps that it is held at most
_PLAYED_SEED = 100_000  # of round 1; each further round counts from so many more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="after the first, on random games")
    parser.add_argument("--played", type=int, default=150, help="games of each round's controller before the next")
    parser.add_argument("--out", type=Path, default=Path("docs/results/car_racing.json"))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of configs/dream_train/car_racing.yaml")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    base = config.load(DreamTrainConfig, Path("configs/dream_train/car_racing.yaml"), args.overrides)
    assert isinstance(base.controller, ActorCriticConfig), "z alone is a setting of the actor and critic"
    figures: dict[str, float] = {"games": base.games, "played_a_round": args.played} | random_points(base)
    before: Path | None = None
    more: tuple[Path, ...] = ()
    for number in range(args.rounds + 1):
        began = time.process_time()
        if before is not None:
            more = (*more, base.out / f"played_{number}")
            play(before, more[-1], base.dataset, _PLAYED_SEED * number, args.played)
        before = base.out / f"round_{number}"
        scores = dream_train(replace(base, out=before, more=more), print)
        figures |= spread(f"round_{number}", scores.real, scores.dream)
        figures[f"round_{number}/cpu_minutes"] = (time.process_time() - began) / 60
        write_figures(args.out, {name: round(value, 1) for name, value in figures.items()})
    assert before is not None
    alone = replace(base, init=before / MODEL, out=base.out / "picture_alone", controller=replace(base.controller, memory=False))
    scores = dream_train(alone, print)
    figures |= spread("picture_alone", scores.real, scores.dream) | {"mean_with_memory": figures[f"round_{args.rounds}/real_mean_points"]}
    write_figures(args.out, {name: round(value, 1) for name, value in figures.items()})


def spread(stem: str, real: np.ndarray, dream: np.ndarray) -> dict[str, float]:
    return {
        f"{stem}/tracks": len(real), f"{stem}/real_mean_points": float(real.mean()), f"{stem}/real_std_points": float(real.std()),
        f"{stem}/dream_mean_points": float(dream.mean()), f"{stem}/dream_std_points": float(dream.std()),
    }  # fmt: skip


def random_points(base: DreamTrainConfig) -> dict[str, float]:
    """Of the games that are learned from first."""
    data = open_dataset(base.dataset)
    worth = [float(rewards.sum()) for number in range(len(data)) if (rewards := data.episode(number).rewards) is not None]
    return {"random_games": len(worth), "random_mean_points": float(np.mean(worth)), "random_std_points": float(np.std(worth))}


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
    sys.exit(main())
