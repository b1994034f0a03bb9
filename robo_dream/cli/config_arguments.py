"""`--config FILE key=value ...`: the arguments shared by verbs that a configuration file describes."""

import argparse
from pathlib import Path
from typing import TypeVar

from robo_dream import config

Config = TypeVar("Config")


def add_config_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Adds `--config`, `--show-config` and the overrides."""
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"what to do: a file in configs/{verb}/; without it, the defaults")
    parser.add_argument("--show-config", action="store_true", help="print the complete configuration that would be used, and stop")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change a value of the file: planner.num_samples=64")


def load_config(cls: type[Config], args: argparse.Namespace) -> Config:
    """The configuration that the arguments of `add_config_arguments` name; prints it and exits on `--show-config`."""
    loaded = config.load(cls, args.config, args.overrides)
    if args.show_config:
        print(config.to_yaml(loaded), end="")
        raise SystemExit(0)
    return loaded
