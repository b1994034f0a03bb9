"""`robo-dream collect`: episodes of play in simulation, made by several processes, killable and resumable at any moment."""

import argparse
import os
import time

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.data.reader import Dataset
from robo_dream.runtime.collect import CollectConfig, collect, committed_seeds, dataset_spec, seeds_of, shards
from robo_dream.runtime.progress import Bars

_DESCRIPTION = """\
Plays in a simulated world and keeps every episode as LeRobotDataset v3.0: on our tabletop with the box (reaching, pushing, lifting,
arranging, straying; as clumsy, shaken and interrupted as `play` says), in any other `world` by its own scripts, as `script` says. Episode i
is played with seed + i, so the same file gives the same episodes however many workers play. Kill it whenever you like: finished episodes
stay, and the same command goes on with those that are missing. With `redrawn`, episodes that are there are shown in other looks."""

_EPILOG = """\
example:
  robo-dream collect --config configs/collect/jaco.yaml
  robo-dream collect --config configs/collect/jaco_demonstrations.yaml    (no cameras: lessons for the policy)
  robo-dream collect --config configs/collect/jaco.yaml num_episodes=50 out=datasets/small workers=4
  robo-dream collect --config configs/collect/ogbench.yaml
  robo-dream collect --config configs/collect/jaco_redrawn.yaml    (the episodes of jaco_memory.yaml in other looks)

The dataset goes to the folder `out`, one shard for each worker; `robo-dream train` reads it from there."""

CONFIG = CollectConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "collect")


def run(args: argparse.Namespace) -> int:
    config = load_config(CollectConfig, args)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the workers: each has a core of its own
    spec = dataset_spec(config)
    done = committed_seeds(config.out, spec)
    seeds = [seed for seed in seeds_of(config) if seed not in done]
    if done:
        print(f"{config.out} has {len(done)} episodes already; {len(seeds)} to go.")
    start = first = time.monotonic()
    with Bars({}, "collecting", unit="episode") as bars:
        for number, _ in enumerate(collect(config, spec, seeds), start=1):
            bars(config.num_episodes - len(seeds) + number, config.num_episodes)
            if number == config.workers:  # every worker has started, and played about one
                first = time.monotonic()
            elif number == 2 * config.workers:
                bars.say(_estimate(config, len(seeds) - number, (time.monotonic() - first) / config.workers))
    datasets = [Dataset.open(root) for root in shards(config.out)]
    num_test = sum(not data.is_train(i) for data in datasets for i in range(data.num_episodes))
    frames = sum(data.num_frames for data in datasets)
    counts = f"{sum(map(len, datasets))} episodes, {num_test} of them held out, {frames} frames"
    took = f" in {time.monotonic() - start:.0f} s" if seeds else ""
    print(f"{config.out}: {counts}{' of ' * bool(spec.cameras)}{' and '.join(spec.camera_names)}{took}.")
    return 0


def _estimate(config: CollectConfig, left: int, seconds: float) -> str:
    """What the first episodes say of the rest."""
    rate = "" if config.redrawn is not None else f"{(config.played.num_steps + 1) / seconds:.0f} frames/s, "
    return (
        f"About {rate}{left * seconds / 60:.1f} minutes to go; fewer num_episodes, smaller or fewer pictures "
        f"and more workers (now {config.workers}) shorten it."
    )
