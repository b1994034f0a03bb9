"""`robo-dream sweep`: trainings or evaluations that differ in some settings, side by side in a table."""

import argparse

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.sweep import SweepConfig, cells_of, swept, table

_DESCRIPTION = """\
Trains or evaluates once for every combination of the settings in `grid`, and once for each of `cells`: what they change of a configuration
of that verb, named as on its command line. All cells are checked before the first begins. Kill it whenever you like: the same command goes
on, and what is finished is not done again. With `runner.kind=ray` the cells are spread over a cluster."""

_EPILOG = """\
example:
  robo-dream sweep --config configs/sweep/push_proposals.yaml
  robo-dream sweep --config configs/sweep/push_proposals.yaml 'grid={planning.planner.least_gain: [0.0, 0.5]}' out=runs/sweep/least_gain
  robo-dream sweep verb=train config=configs/train/jaco_recorded.yaml 'grid={training.seed: [0, 1, 2]}' out=runs/sweep/seeds
  robo-dream sweep --config configs/sweep/push_proposals.yaml runner='{kind: ray, address: 10.0.0.1:6379}' workers=32

Results go to the folder `out`: table.md and results.json, after every cell, and a folder for each cell with what its verb leaves."""

CONFIG = SweepConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "sweep")


def run(args: argparse.Namespace) -> int:
    config = load_config(SweepConfig, args)
    cells = cells_of(config)
    found = {}
    with Bars({}, "sweeping", unit="cell") as bars:
        bars(0, len(cells))
        for number, (cell, figures) in enumerate(swept(config, cells), start=1):
            found[cell.name] = figures
            bars(number, len(cells))
            bars.note(cell.name)
    print(f"{table(cells, found)}\n\nresults: {config.out}")
    return 0
