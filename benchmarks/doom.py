"""Doom, learned in a dream: frames survived in the real game and in the dream, by the temperature that the controller learned at.

    robo-dream collect --config configs/collect/doom.yaml
    python benchmarks/doom.py --seeds 0 1 2 --temperatures 0.1 0.5 1.0 1.15 1.3 --out docs/results/doom.json

For each seed it trains V and M of configs/dream_train/doom.yaml where they are not trained yet, and a controller a temperature, each of
which plays 100 real games of seeds that nothing was learned from. Of the first seed's model it asks what it knows of held-out games and of
ways to play that look at nothing. Killed, it goes on: what was measured is kept in each folder. `real_mean_frames` and
`dream_mean_frames` are those of the temperature that did best on other games. Figures below a stem that a `_made/STEM` of the file
explains were measured by commands of their own, and stay.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from doom_checks import Blind, blind_ways, dreamed_ticks, hazard
from results_file import write_figures

from robo_dream import config
from robo_dream.data.cache import open_dataset
from robo_dream.files import replace_file
from robo_dream.games import controller
from robo_dream.games import model as recurrent
from robo_dream.games.training import games_in, see_all
from robo_dream.models.checkpoint import sha256
from robo_dream.runtime.dream_train import (
    CONTROLLER,
    FIRST_SEED,
    MODEL,
    DreamTrainConfig,
    dream_train,
    game_of,
    open_games,
    play_games,
    train_model,
)
from robo_dream.runtime.environment import build_game
from sim.environment import Game
from sim.games import Choices

_TUNING_SEED, _TUNING_GAMES = 600_000, 20
Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.1, 0.5, 1.0, 1.15, 1.3])
    parser.add_argument("--one_model", action="store_true", help="V and M of the first seed for all: then only controllers differ")
    parser.add_argument("--out", type=Path, default=Path("docs/results/doom.json"))
    parser.add_argument("--stem", default="", help="before every figure's name, such as second_round/; then other figures of the file stay")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of configs/dream_train/doom.yaml")
    args = parser.parse_intermixed_args()
    torch.set_num_threads(1)
    base = config.load(DreamTrainConfig, Path("configs/dream_train/doom.yaml"), args.overrides)
    figures: Figures = {}
    for seed in args.seeds:
        own = replace(base, seed=seed, out=base.out / f"seed_{seed}")
        trained = replace(base, seed=args.seeds[0], out=base.out / f"seed_{args.seeds[0]}") if args.one_model else own
        own.out.mkdir(parents=True, exist_ok=True)
        if trained == own:
            figures |= prefixed(f"seed_{seed}", kept(own.out / "model.json", partial(learn_model, own)))
        if seed == args.seeds[0]:
            figures |= kept(own.out / "checks.json", partial(checks, own))
        for temperature in args.temperatures:
            stem = f"temperature_{temperature:g}"
            learned = partial(learn_controller, own, trained.out / MODEL, temperature, own.out / stem)
            figures |= prefixed(f"seed_{seed}/{stem}", kept(own.out / stem / "figures.json", learned))
            write(args.out, args.stem, figures | over_seeds(figures))


def over_seeds(figures: Mapping[str, float]) -> Figures:
    """Means over the seeds that are there, and between which means they lie; spread over all games; the temperature that did best."""
    found: Figures = {"seeds": len({name.split("/")[0] for name in figures if name.startswith("seed_")})}
    temperatures = {name.split("/")[1] for name in figures if name.startswith("seed_") and "/temperature_" in name}
    for stem in temperatures:
        own = {name.split("/")[2]: [] for name in figures if f"/{stem}/" in name}
        for name, value in figures.items():
            if f"/{stem}/" in name:
                own[name.split("/")[2]].append(value)
        for name, values in own.items():
            found[f"{stem}/{name}"] = float(np.mean(values))
        for kind in ("real", "dream"):  # all seeds play equally many games
            means, stds = (np.array(own[f"{kind}_{part}_frames"]) for part in ("mean", "std"))
            found[f"{stem}/{kind}_std_frames"] = float(np.sqrt((stds**2 + (means - means.mean()) ** 2).mean()))
            found |= {f"{stem}/{kind}_lowest_seed_frames": float(means.min()), f"{stem}/{kind}_highest_seed_frames": float(means.max())}
    best = max(temperatures, key=lambda stem: found[f"{stem}/tuning_mean_frames"])
    found["best_temperature"] = float(best.removeprefix("temperature_"))
    found["model_cpu_minutes"] = float(np.mean([value for name, value in figures.items() if name.endswith("model_cpu_minutes")]))
    names = ("real_mean_frames", "real_std_frames", "real_lowest_seed_frames", "real_highest_seed_frames", "dream_mean_frames")
    found |= {name: found[f"{best}/{name}"] for name in names}
    games = found["seeds"] * figures["games"]
    for other in ("random", "swept"):
        apart = 1.96 * np.sqrt(found["real_std_frames"] ** 2 / games + figures[f"{other}_std_frames"] ** 2 / figures["games"])
        gain = found["real_mean_frames"] - figures[f"{other}_mean_frames"]
        found |= {f"above_{other}": gain, f"above_{other}_low": gain - apart, f"above_{other}_high": gain + apart}
    return found


def learn_model(own: DreamTrainConfig) -> Figures:
    began = time.process_time()
    if not (own.out / MODEL).is_file():
        train_model(own, print)
    return {"model_cpu_minutes": (time.process_time() - began) / 60}


def checks(own: DreamTrainConfig) -> Figures:
    """What M knows of held-out games, and of ways to play that look at nothing."""
    model, info = recurrent.load(own.out / MODEL)
    data = open_dataset(own.dataset)
    figures: Figures = {f"held_out/{name}": value for name, value in info.metrics.items()}
    figures |= {"episodes": len(data), "frames": data.num_frames, "games": own.games}
    games = games_in(data, numbers=[number for number in range(len(data)) if not data.is_train(number)])
    figures |= hazard(model, games, see_all(model, games))
    ways = blind_ways(model.action_spec)
    with build_game(game_of(info.world, f"{own.out}")) as game:
        for name, way in ways.items():
            figures |= spread(f"fixed/{name}/real", blind_ticks(game, own.games, way))
            dreamed = dreamed_ticks(model, Blind(way, model.action_spec), 1.0, own.games, game.longest_steps)
            figures |= spread(f"fixed/{name}/dream", dreamed)
    for name, of in (("random", "held_random"), ("swept", "swept_random")):
        figures |= {f"{name}_{part}_frames": figures[f"fixed/{of}/real_{part}_frames"] for part in ("mean", "std")}
    return figures


def learn_controller(own: DreamTrainConfig, path: Path, temperature: float, out: Path) -> Figures:
    began = time.process_time()
    asked = replace(own, init=path, out=out, controller=replace(own.controller, temperature=temperature))
    scores = dream_train(asked, print)
    print(f"seed {own.seed}, temperature {temperature:g}: {scores.in_words}")
    figures = {**spread("real", scores.real), **spread("dream", scores.dream), "cpu_minutes": (time.process_time() - began) / 60}
    model, info = recurrent.load(path)
    playing = controller.load(out / CONTROLLER, model, sha256(path))
    with ExitStack() as stack:
        games = open_games(stack, game_of(info.world, f"{own.out}"))
        figures["tuning_mean_frames"] = float(play_games(model, playing, games, _TUNING_SEED, _TUNING_GAMES).mean())
    return figures


def blind_ticks(game: Game, count: int, way: Choices) -> np.ndarray:
    """What `count` games are worth, played in a way that looks at nothing."""
    worth = np.zeros(count)
    for number in range(count):
        rng = np.random.default_rng(FIRST_SEED + number)
        game.reset(rng)
        for action in islice(way(game.action_spec, rng), game.longest_steps):
            outcome = game.play(action)
            worth[number] += outcome.reward
            if outcome.terminated:
                break
    return worth


def spread(stem: str, ticks: np.ndarray) -> Figures:
    return {f"{stem}_mean_frames": float(ticks.mean()), f"{stem}_std_frames": float(ticks.std())}


def prefixed(stem: str, figures: Mapping[str, float]) -> Figures:
    return {f"{stem}/{name}": value for name, value in figures.items()}


def kept(path: Path, measure: Callable[[], Figures]) -> Figures:
    """What was measured before, or is measured now."""
    if not path.is_file():
        figures = measure()
        replace_file(path, json.dumps(figures, indent=1).encode())
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, stem: str, figures: Mapping[str, float]) -> None:
    """Frames to a tenth; beside what the file has of other commands."""
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    others = {name.removeprefix("_made/") for name in before if name.startswith("_made/")}
    stays = {
        name: value
        for name, value in before.items()
        if name.startswith("_made/") or any(name.startswith(f"{other}/") for other in others) or (stem and not name.startswith(stem))
    }
    places = {name: 1 if name.endswith("_frames") or "above_" in name else 4 for name in figures}
    write_figures(path, {**stays, **{f"{stem}{name}": round(value, places[name]) for name, value in figures.items()}})


if __name__ == "__main__":
    main()
