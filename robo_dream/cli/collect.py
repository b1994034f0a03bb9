"""`robo-dream collect`: episodes of play in simulation, made by several processes, or on an arm; killable and resumable at any moment."""

import argparse
import os
import sys
import time

from robo_dream import store
from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.data.reader import Dataset
from robo_dream.errors import SafetyStopError
from robo_dream.runtime.collect import CollectConfig, collect, committed_seeds, dataset_spec, seeds_of, shards
from robo_dream.runtime.progress import Bars

_DESCRIPTION = """\
Plays in a simulated world and keeps every episode as LeRobotDataset v3.0: on our tabletop with the box (reaching, pushing, lifting,
arranging, straying; as clumsy, shaken and interrupted as `play` says), in any other `world` by its own scripts, as `script` says. Episode i
is played with seed + i, so the same file gives the same episodes however many workers play. Kill it whenever you like: finished episodes
stay, and the same command goes on with those that are missing. With `redrawn`, episodes that are there are shown in other looks.

With `arm`, an arm on a bench is played, or its twin: any that `robo-dream run` takes, by the same file, through the same guard, cameras,
limits and checks. It plays by itself, told of no object: lay what is to be played with below the hand. It rests between episodes and
while a motor is hot. An episode that is cut short, by a stop, a hot motor, Ctrl-C or a kill, is told of, does not count, and is played
anew."""

_EPILOG = """\
example:
  robo-dream collect --config configs/collect/jaco.yaml
  robo-dream collect --config configs/collect/jaco_demonstrations.yaml    (no cameras: lessons for the policy)
  robo-dream collect --config configs/collect/jaco.yaml num_episodes=50 out=datasets/small workers=4
  robo-dream collect --config configs/collect/ogbench.yaml
  robo-dream collect --twin so101 num_episodes=20
  robo-dream collect --config configs/collect/so101_arm.yaml    (a real one, by configs/hardware/so101.yaml)
  robo-dream collect --config configs/collect/jaco_redrawn.yaml    (the episodes of jaco_memory.yaml in other looks)

The dataset goes to the folder `out`, one shard for each worker; `robo-dream train` reads it from there."""

CONFIG = CollectConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "collect")
    parser.add_argument("--twin", metavar="NAME", help="play the twin that configs/hardware/NAME_twin.yaml describes")


def run(args: argparse.Namespace) -> int:
    if args.twin:
        told = [f"arm.hardware=configs/hardware/{args.twin}_twin.yaml", f"out=datasets/{args.twin}_twin"]
        args.overrides = [*(told if args.config is None else told[:1]), *args.overrides]
    config = load_config(CollectConfig, args)
    try:
        return _collected(config)
    except SafetyStopError as error:
        print(f"robo-dream collect: {error}", file=sys.stderr)
        return 1


def _collected(config: CollectConfig) -> int:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the workers: each has a core of its own
    spec = dataset_spec(config)
    done = committed_seeds(config.out, spec)
    seeds = [seed for seed in seeds_of(config) if seed not in done]
    if done:
        print(f"{store.url(config.out)} has {len(done)} episodes already; {len(seeds)} to go.")
    start = first = time.monotonic()
    workers = 1 if config.arm is not None else config.workers
    with Bars({}, "collecting", unit="episode") as bars:
        for number, _ in enumerate(collect(config, spec, seeds, bars.say), start=1):
            bars(config.num_episodes - len(seeds) + number, config.num_episodes)
            if number == workers:  # every worker has started, and played about one
                first = time.monotonic()
            elif number == 2 * workers:
                bars.say(_estimate(config, len(seeds) - number, (time.monotonic() - first) / workers))
    datasets = [Dataset.open(root) for root in shards(config.out)]
    num_test = sum(not data.is_train(i) for data in datasets for i in range(data.num_episodes))
    frames = sum(data.num_frames for data in datasets)
    counts = f"{sum(map(len, datasets))} episodes, {num_test} of them held out, {frames} frames"
    took = f" in {time.monotonic() - start:.0f} s" if seeds else ""
    print(f"{store.url(config.out)}: {counts}{' of ' * bool(spec.cameras)}{' and '.join(spec.camera_names)}{took}.")
    return 0


def _estimate(config: CollectConfig, left: int, seconds: float) -> str:
    """What the first episodes say of the rest."""
    if config.arm is not None:
        return f"About {left * seconds / 60:.1f} minutes to go, {seconds:.0f} s an episode with its rest; fewer num_episodes shorten it."
    rate = "" if config.redrawn is not None else f"{(config.played.num_steps + 1) / seconds:.0f} frames/s, "
    return (
        f"About {rate}{left * seconds / 60:.1f} minutes to go; fewer num_episodes, smaller or fewer pictures "
        f"and more workers (now {config.workers}) shorten it."
    )
