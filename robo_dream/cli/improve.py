"""`robo-dream improve`: acting and learning in turn."""

import argparse

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.runtime.improve import ImproveConfig, best, improve
from robo_dream.runtime.progress import Bars

_DESCRIPTION = """\
Rounds of acting and learning: plans in the simulated world with the last checkpoint, adds what happened to the data, weighs every window
by how wrong the model was on it, trains on, and measures success on tuning pairs. Recorded runs of `robo-dream run` are added with `runs`.
Each round keeps its checkpoint and its figures. Kill it whenever you like: the same command goes on. Ends when success stops rising."""

_EPILOG = """\
example:
  robo-dream improve --config configs/improve/jaco_push.yaml
  robo-dream improve --config configs/improve/jaco_push.yaml priority.kind=uniform out=runs/improve/uniform
  robo-dream improve --config configs/improve/jaco_push.yaml episodes=0 runs='[runs/run]'

Results go to the folder `out`: round-NN/figures.json, round-NN/acted (a dataset) and round-NN/train/model.safetensors."""

CONFIG = ImproveConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "improve")


def run(args: argparse.Namespace) -> int:
    config = load_config(ImproveConfig, args)
    rounds = improve(config, lambda text: print(text, flush=True), lambda name, names, unit: Bars(names, name, unit))
    found = best(rounds)
    print(f"Best: {found.folder.name}, {found.success:.1f} % of the tuning pairs; {found.checkpoint}")
    return 0
