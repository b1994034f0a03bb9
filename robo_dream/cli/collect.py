"""`robo-dream collect`: episodes of play in simulation, made by several processes, killable and resumable at any moment."""

import argparse
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

from tqdm import tqdm

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.config import dump
from robo_dream.data.reader import Dataset
from robo_dream.data.spec import DatasetSpec, Storage
from robo_dream.errors import ConfigError, DataError
from robo_dream.runtime import collect_workers as crew
from robo_dream.runtime.players import EnvironmentPlayer, Player, ScenePlayer, Split
from sim.adapters.catalogue import EnvironmentConfig
from sim.scripts import ScriptConfig
from sim.tabletop.behaviours.play import PlayConfig
from sim.tabletop.scene import SceneConfig

_DESCRIPTION = """\
Plays with the box in simulation (reaching, pushing, lifting, arranging, straying; as clumsy, shaken and interrupted as you say) and
keeps every episode as LeRobotDataset v3.0. Episode i is played with seed + i, so the same file gives the same episodes however
many workers play. Kill it whenever you like: finished episodes stay, and the same command goes on with those that are missing.
Where `world` names one that others wrote, its own scripts are followed there instead, as `script` says."""

_EPILOG = """\
example:
  robo-dream collect --config configs/collect/jaco.yaml
  robo-dream collect --config configs/collect/jaco_demonstrations.yaml    (no cameras: lessons for the policy)
  robo-dream collect --config configs/collect/jaco.yaml num_episodes=50 out=datasets/small workers=4
  robo-dream collect --config configs/collect/ogbench.yaml

The dataset goes to the folder `out`, one shard for each worker; `robo-dream train` reads it from there."""


@dataclass(frozen=True)
class CollectConfig:
    """What is collected and where to. `workers` changes no episode.

    `world` is one that others wrote, played as `script` says; without it our own `scene` is, as `play` says.
    """

    out: Path = Path("datasets/jaco")
    num_episodes: int = 1200
    seed: int = 0
    workers: int = 2
    storage: Storage = "image"
    test_fraction: float = 0.1  # of the episodes are held out
    play: PlayConfig = field(default_factory=PlayConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)
    world: EnvironmentConfig | None = None
    script: ScriptConfig = field(default_factory=ScriptConfig)

    def __post_init__(self) -> None:
        for name in ("num_episodes", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 < self.test_fraction <= 0.5:
            raise ConfigError(f"test_fraction is {self.test_fraction}; allowed: above 0, at most 0.5")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; it must be 0 or more")

    @property
    def player(self) -> Player:
        return ScenePlayer(self.play, self.scene) if self.world is None else EnvironmentPlayer(self.script, self.world)


CONFIG = CollectConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "collect")


def run(args: argparse.Namespace) -> int:
    config = load_config(CollectConfig, args)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the workers: each has a core of its own
    spec = dataset_spec(config)
    done = committed_seeds(config.out, spec)
    seeds = [seed for seed in range(config.seed, config.seed + config.num_episodes) if seed not in done]
    if done:
        print(f"{config.out} has {len(done)} episodes already; {len(seeds)} to go.")
    with tqdm(total=config.num_episodes, initial=config.num_episodes - len(seeds), unit="episode", disable=not seeds) as bar:
        for _ in crew.collect(config.out, spec, seeds, config.seed, config.workers, config.player):
            bar.update()
    datasets = [Dataset.open(root) for root in crew.shards(config.out)]
    num_test = sum(not data.is_train(i) for data in datasets for i in range(data.num_episodes))
    frames = sum(data.num_frames for data in datasets)
    counts = f"{sum(map(len, datasets))} episodes, {num_test} of them held out, {frames} frames"
    print(f"{config.out}: {counts}{' of ' * bool(spec.cameras)}{' and '.join(spec.camera_names)}.")
    return 0


def dataset_spec(config: CollectConfig) -> DatasetSpec:
    """What the dataset's metadata will say: actions, cameras with their poses, and the recipe that made it."""
    spec = config.player.spec(Split(config.storage, config.seed, config.test_fraction))
    return replace(spec, recipe=recipe(config))


def recipe(config: CollectConfig) -> dict[str, object]:
    """All that decides what the episodes are; not where they go, how many there are, or who plays them."""
    settings = dump(config)
    stored = {name: settings[name] for name in ("seed", "storage", "test_fraction")}
    return {"command": "robo-dream collect", **stored, **config.player.recipe}


def committed_seeds(out: Path, spec: DatasetSpec) -> set[int]:
    """Seeds of the episodes in `out`; raises `DataError` when they were made by another recipe."""
    seeds: set[int] = set()
    for root in crew.shards(out):
        data = Dataset.open(root)
        differing = [key for key in spec.recipe if data.spec.recipe.get(key) != spec.recipe[key]]
        if differing or data.spec.differences(spec):
            raise DataError(
                f"{root} was collected with another {', '.join(differing) or 'scene'}; give the same configuration to go on, "
                "or another folder with out=..."
            )
        seeds |= {int(row["robo_dream/seed"]) for row in data.rows}
    return seeds
