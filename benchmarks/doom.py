"""Doom, learned in a dream: ticks survived in the real game and in the dream, by the temperature that the controller learned at.

    robo-dream collect --config configs/collect/doom.yaml
    python benchmarks/doom.py --temperatures 0.5 1.0 1.15 1.3 --out docs/results/doom.json

Trains the model of configs/dream_train/doom.yaml where it is not trained yet, asks it what it knows of held-out games and of ways to play
that look at nothing, learns one controller a temperature, and plays 100 real games of seeds that nothing was learned from; killed, it goes
on. `real_mean_frames` and `dream_mean_frames` are those of the temperature that did best on 20 other games.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from doom_checks import HELD, dreamed_ticks, fixed, hazard
from results_file import write_figures

from robo_dream import config
from robo_dream.data.cache import open_dataset
from robo_dream.games import controller
from robo_dream.games import model as recurrent
from robo_dream.games.training import games_in, see_all
from robo_dream.models.checkpoint import sha256
from robo_dream.runtime.dream_train import CONTROLLER, FIRST_SEED, MODEL, DreamTrainConfig, dream_train, game_of, play_games, train_model
from robo_dream.runtime.environment import build_game
from sim.environment import Game
from sim.games import random_game

_TUNING_SEED, _TUNING_GAMES = 600_000, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.5, 1.0, 1.15, 1.3])
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
    model, info = recurrent.load(base.out / MODEL)
    figures |= {f"held_out/{name}": value for name, value in info.metrics.items()}
    data = open_dataset(base.dataset)
    figures |= {"episodes": len(data), "frames": data.num_frames, "games": base.games}
    games = games_in(data, numbers=[number for number in range(len(data)) if not data.is_train(number)])
    figures |= hazard(model, games, see_all(model, games))
    del games
    tuned: dict[float, float] = {}
    with build_game(game_of(info.world, f"{base.out}")) as game:
        held = random_ticks(game, base.games)
        figures |= spread("random", held) | spread("random_each_step", each_step(game, base.games))
        for name, player in fixed(model).items():
            real = (
                held if name == "held_random" else each_step(game, base.games, game.action_spec.names.index(name.removeprefix("always_")))
            )
            figures |= spread(f"fixed/{name}/real", real)
            figures |= spread(f"fixed/{name}/dream", dreamed_ticks(model, player, 1.0, base.games, game.longest_steps))
        for temperature in args.temperatures:
            began, stem = time.process_time(), f"temperature_{temperature:g}"
            learning = replace(base.controller, temperature=temperature)
            asked = replace(base, init=base.out / MODEL, out=base.out / stem, controller=learning)
            scores = dream_train(asked, print)
            print(f"temperature {temperature:g}: {scores.in_words}")
            figures |= spread(f"{stem}/real", scores.real) | spread(f"{stem}/dream", scores.dream)
            figures[f"{stem}/cpu_minutes"] = (time.process_time() - began) / 60
            apart = 1.96 * np.sqrt(scores.real.var() / len(scores.real) + held.var() / len(held))
            gain = scores.real.mean() - held.mean()
            figures |= {f"{stem}/above_random": gain, f"{stem}/above_random_low": gain - apart, f"{stem}/above_random_high": gain + apart}
            playing = controller.load(asked.out / CONTROLLER, model, sha256(base.out / MODEL))
            tuned[temperature] = float(play_games(model, playing, game, _TUNING_SEED, _TUNING_GAMES).mean())
            figures[f"{stem}/tuning_mean_frames"] = tuned[temperature]
            write_figures(args.out, {name: round(value, 4) for name, value in figures.items()})
    best = max(tuned, key=lambda temperature: tuned[temperature])
    figures |= {"best_temperature": best} | {
        name: figures[f"temperature_{best:g}/{name}"]
        for name in ("real_mean_frames", "dream_mean_frames", "above_random", "above_random_low", "above_random_high")
    }
    write_figures(args.out, {name: round(value, 4) for name, value in figures.items()})


def spread(stem: str, ticks: np.ndarray) -> dict[str, float]:
    return {f"{stem}_mean_frames": float(ticks.mean()), f"{stem}_std_frames": float(ticks.std())}


def random_ticks(game: Game, count: int) -> np.ndarray:
    """Each choice for 1 to 3 control steps: of ways to hold choices the one that lives longest."""
    games = [random_game(game, FIRST_SEED + number, game.longest_steps, (HELD,)) for number in range(count)]
    return np.array([one.rewards.sum() for one in games if one.rewards is not None])


def each_step(game: Game, count: int, always: int | None = None) -> np.ndarray:
    """A choice of its own at each control step, or `always` the same."""
    worth = np.zeros(count)
    for number in range(count):
        rng = np.random.default_rng(FIRST_SEED + number)
        game.reset(rng)
        for _ in range(game.longest_steps):
            outcome = game.play(game.action_spec.chosen(int(rng.integers(game.action_spec.size)) if always is None else always))
            worth[number] += outcome.reward
            if outcome.terminated:
                break
    return worth


if __name__ == "__main__":
    main()
