"""Doom, learned in a dream: ticks survived in the real game and in the dream, by the temperature that the controller learned at.

    robo-dream collect --config configs/collect/doom.yaml
    python benchmarks/doom.py --temperatures 1.0 0.5 --out docs/results/doom.json

Trains the model of configs/dream_train/doom.yaml where it is not trained yet, then one controller a temperature, and plays 100 real games
of seeds that nothing was learned from; killed, it goes on. `real_mean_frames` and `dream_mean_frames` are those of the first temperature.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from results_file import write_figures

from robo_dream import config
from robo_dream.data.cache import open_dataset
from robo_dream.games import model as recurrent
from robo_dream.runtime.dream_train import FIRST_SEED, MODEL, DreamTrainConfig, dream_train, game_of, train_model
from robo_dream.runtime.environment import build_game
from sim.environment import Game
from sim.games import random_game


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1.0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/doom.json"))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of configs/dream_train/doom.yaml")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    base = config.load(DreamTrainConfig, Path("configs/dream_train/doom.yaml"), args.overrides)
    figures: dict[str, float] = {}
    began = time.process_time()
    if not (base.out / MODEL).is_file():
        base.out.mkdir(parents=True, exist_ok=True)
        train_model(base, print)
        figures["model_cpu_minutes"] = (time.process_time() - began) / 60
    info = recurrent.load(base.out / MODEL)[1]
    figures |= {f"held_out/{name}": value for name, value in info.metrics.items()}
    data = open_dataset(base.dataset)
    figures |= {"episodes": len(data), "frames": data.num_frames, "games": base.games}
    with build_game(game_of(info.world, f"{base.out}")) as game:
        for name, ticks in (("random", random_ticks(game, base.games)), ("random_each_step", each_step(game, base.games))):
            figures |= {f"{name}_mean_frames": float(ticks.mean()), f"{name}_std_frames": float(ticks.std())}
    for temperature in args.temperatures:
        began = time.process_time()
        learning = replace(base.controller, temperature=temperature)
        asked = replace(base, init=base.out / MODEL, out=base.out / f"temperature_{temperature:g}", controller=learning)
        scores = dream_train(asked, print)
        print(f"temperature {temperature:g}: {scores.in_words}")
        for kind, ticks in (("real", scores.real), ("dream", scores.dream)):
            figures |= {f"temperature_{temperature:g}/{kind}_mean_frames": float(ticks.mean())}
            figures |= {f"temperature_{temperature:g}/{kind}_std_frames": float(ticks.std())}
        figures[f"temperature_{temperature:g}/cpu_minutes"] = (time.process_time() - began) / 60
    first = f"temperature_{args.temperatures[0]:g}"
    figures |= {f"{kind}_mean_frames": figures[f"{first}/{kind}_mean_frames"] for kind in ("real", "dream")}
    write_figures(args.out, {name: round(value, 4) for name, value in figures.items()})


def random_ticks(game: Game, count: int) -> np.ndarray:
    """As the recordings were played: each choice for 1 to 3 control steps."""
    games = [random_game(game, FIRST_SEED + number, game.longest_steps) for number in range(count)]
    return np.array([one.rewards.sum() for one in games if one.rewards is not None])


def each_step(game: Game, count: int) -> np.ndarray:
    """A choice of its own at each control step."""
    worth = np.zeros(count)
    for number in range(count):
        rng = np.random.default_rng(FIRST_SEED + number)
        game.reset(rng)
        for _ in range(game.longest_steps):
            outcome = game.play(game.action_spec.chosen(int(rng.integers(game.action_spec.size))))
            worth[number] += outcome.reward
            if outcome.terminated:
                break
    return worth


if __name__ == "__main__":
    main()
