"""`robo-dream dream-train`: a controller that never saw the world, learned inside a dream of a game."""

import argparse

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.runtime.dream_train import DreamTrainConfig, dream_train

_DESCRIPTION = """\
Learns a game from recordings of random play: first to see (pictures become a vector z), then to dream (what comes next, what it is worth,
whether the game is over), then a controller wholly inside the dream, by CMA-ES at a temperature. At intervals, and at the end, the
controller plays the real game, from which nothing is learned. Kill it whenever you like: the same command goes on where it was."""

_EPILOG = """\
example:
  robo-dream collect --config configs/collect/doom.yaml
  robo-dream dream-train --config configs/dream_train/doom.yaml
  robo-dream dream-train --config configs/dream_train/doom.yaml init=runs/dream_train/doom/model.safetensors controller.temperature=1.3 \
out=runs/dream_train/doom_hotter
  robo-dream dream-train init=runs/dream_train/doom/model.safetensors play=runs/dream_train/doom/controller.safetensors games=100

Results go to the folder `out`: model.safetensors, controller.safetensors, metrics.jsonl, scores.png and strips.png (dreamed above real)."""

CONFIG = DreamTrainConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "dream_train")


def run(args: argparse.Namespace) -> int:
    config = load_config(DreamTrainConfig, args)
    scores = dream_train(config, lambda text: print(text, flush=True))
    print(f"{scores.in_words}.")
    return 0
