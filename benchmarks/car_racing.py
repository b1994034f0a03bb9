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
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from own_play import FIRST_SEED, play
from results_file import write_figures

from robo_dream import config
from robo_dream.data.cache import open_dataset
from robo_dream.games.actor_critic import ActorCriticConfig
from robo_dream.runtime.dream_train import MODEL, DreamTrainConfig, dream_train

_PLAYED_SEED = FIRST_SEED  # of round 1; each further round counts from so many more


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


if __name__ == "__main__":
    sys.exit(main())
