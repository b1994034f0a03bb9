"""Datasets played in any world, or drawn again, by processes that each write a shard of their own and end the moment their parent does.

On a Ray cluster workers only play: this process writes what they send, so each episode is there once, whoever is lost. An arm on a bench,
or its twin, is played by this process itself: there is one of it, and its keys are this terminal's.
"""

import logging
import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import field, replace
from functools import partial
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from robo_dream import store
from robo_dream.config import dump
from robo_dream.data import layout
from robo_dream.data.cache import Datasets, open_dataset, shard_root
from robo_dream.data.episode import Episode
from robo_dream.data.overlaid import OverlayConfig, overlaid, overlaid_spec
from robo_dream.data.reader import Dataset
from robo_dream.data.spec import DatasetSpec, Storage
from robo_dream.data.writer import DatasetWriter, EncodedEpisode, encode
from robo_dream.errors import ConfigError, DataError, RoboDreamError
from robo_dream.models.checkpoint import sha256
from robo_dream.renamed import with_new_blocks
from robo_dream.runtime.arm_world import ArmWorld
from robo_dream.runtime.collect_arm import ArmPlayConfig, arm_episodes, arm_stage, cut_short
from robo_dream.runtime.curious import CuriousConfig
from robo_dream.runtime.environment import GameConfig, WorldConfig, build_environment, build_game, name_of
from robo_dream.runtime.ray_cluster import LocalRunner, RayRunner, Runner, spread
from robo_dream.schema import Seed, Unit, configuration
from sim.environment import Environment, Game
from sim.games import random_game
from sim.scripts import RANDOM, Play, ScriptConfig, scripted_episode
from sim.tabletop.behaviours.play import PlayConfig
from sim.tabletop.redrawn import RedrawnConfig, redrawn_episode, require_looks_alone, require_redrawable
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World

_log = logging.getLogger(__name__)


@configuration
class CollectConfig:
    """What is collected and where to. `workers` changes no episode. The tabletop is played as `play` says, any other world as `script`.

    Games are played at random, for `script.num_steps` at most; their datasets have rewards.

    With `redrawn` nothing is played: recorded episodes of the tabletop are shown in other looks, which `seed` decides. With `arm` an arm on
    a bench, or its twin, is played, as `arm` says; its world is that of the arm's file. With `curious` play in a simulated world is planned
    by a checkpoint for what its heads disagree on.

    With `overlay` a strip below the first camera's pictures shows what was commanded, whoever plays, or in the episodes that it names.
    """

    out: Path = Path("datasets/jaco")
    num_episodes: Annotated[int, Field(ge=1, le=10_000_000)] = 1200
    seed: Seed = 0
    workers: Annotated[int, Field(ge=1, le=1_024)] = 2
    runner: Runner = field(default_factory=LocalRunner)  # where these are; kind=ray: on a cluster, with the same episodes
    storage: Storage = "image"
    test_fraction: Annotated[float, Field(gt=0, le=0.5), Unit("1")] = 0.1  # of the episodes are held out
    world: WorldConfig | GameConfig = field(default_factory=SceneConfig)
    play: PlayConfig = field(default_factory=PlayConfig)
    script: ScriptConfig = field(default_factory=ScriptConfig)
    redrawn: RedrawnConfig | None = None
    arm: ArmPlayConfig | None = None
    curious: CuriousConfig | None = None
    overlay: OverlayConfig | None = None

    def __post_init__(self) -> None:
        if self.overlaid is not None and not (self.redrawn is self.arm is self.curious is None):
            raise ConfigError("overlay.dataset shows recorded episodes, and nothing is played; leave out redrawn, arm and curious, or that")
        if self.curious is not None and (self.redrawn is not None or self.arm is not None or isinstance(self.world, GameConfig)):
            raise ConfigError("curious plans play in a simulated world with an arm; leave out redrawn, arm and games, or leave out curious")
        if self.redrawn is not None and self.arm is not None:
            raise ConfigError("redrawn shows recorded episodes and arm plays new ones; give one of them")
        if self.arm is not None and isinstance(self.runner, RayRunner):
            raise ConfigError("runner.kind is ray, and an arm is played by its own machine; leave out arm or set runner.kind=local")
        if self.arm is not None and store.is_remote(self.out):
            raise ConfigError(
                f"out is {store.url(self.out)}, and what an arm plays is written to its own machine; give a folder with out=..."
            )
        if self.redrawn is not None:
            if not isinstance(self.world, SceneConfig):
                raise ConfigError("redrawn shows episodes of the tabletop, but world is another; give the dataset's world, or leave it out")
            require_looks_alone(self.world)
        if isinstance(self.world, GameConfig) and (set(self.script.mix) != {RANDOM} or self.script.picture_every != 1):
            raise ConfigError(
                f"script.mix is {dict(self.script.mix)} and script.picture_every {self.script.picture_every}; a game is played at random, "
                "and every picture is kept: leave both out"
            )

    @property
    def overlaid(self) -> Path | None:
        """The episodes that are shown again, with strips."""
        return None if self.overlay is None else self.overlay.dataset

    @property
    def played(self) -> Play:
        if self.arm is not None:
            return self.arm.script
        if self.curious is not None:
            return self.curious
        return self.play if isinstance(self.world, SceneConfig) else self.script


def dataset_spec(config: CollectConfig) -> DatasetSpec:
    """What the dataset's metadata will say: actions, cameras with their poses, and the recipe that made it.

    Raises `ConfigError` for what the world cannot be played by.
    """
    spec = _seen_spec(config)
    if config.overlay is None:
        return spec
    told = {"overlay": {"commands": config.overlay.commands}}
    if config.overlaid is not None:
        told = {"command": "robo-dream collect", "about": {}, "overlay": {**told["overlay"], "dataset": dict(spec.recipe)}}
        return overlaid_spec(replace(spec, storage=config.storage, recipe=told), config.overlay)
    return overlaid_spec(replace(spec, recipe={**spec.recipe, **told}), config.overlay)


def _seen_spec(config: CollectConfig) -> DatasetSpec:
    """Without a strip."""
    if config.overlaid is not None:
        return open_dataset(config.overlaid).spec
    if config.redrawn is not None:
        return _redrawn_spec(config, config.redrawn)
    if isinstance(config.world, GameConfig):
        return _game_spec(config, config.world)
    if config.arm is not None:
        return _arm_spec(config, config.arm)
    with build_environment(config.world) as environment:
        config.played.require(environment)
        return DatasetSpec(
            environment.action_spec, environment.cameras, sim_state_size=len(environment.state),
            num_objects=len(environment.ground_truth().object_poses), skills=config.played.skills(environment),
            robot_type=name_of(config.world), storage=config.storage, seed=config.seed, test_fraction=config.test_fraction,
            picture_every=config.played.picture_every if environment.cameras else 1, recipe=_recipe(config, environment.about),
        )  # fmt: skip


def _game_spec(config: CollectConfig, world: GameConfig) -> DatasetSpec:
    """Of a game: there is no arm that could tell of itself."""
    with build_game(world) as game:
        return DatasetSpec(
            game.action_spec, game.cameras, proprio_names=(), skills=(RANDOM,), robot_type=name_of(world), storage=config.storage,
            seed=config.seed, test_fraction=config.test_fraction, recipe=_recipe(config, game.about), has_rewards=True,
        )  # fmt: skip


def _arm_spec(config: CollectConfig, arm: ArmPlayConfig) -> DatasetSpec:
    """Nothing is connected for it."""
    stage = arm_stage(arm)
    action_spec, cameras, num_objects = stage.seen()
    stored = {name: dump(config)[name] for name in ("seed", "storage", "test_fraction")}
    return DatasetSpec(
        action_spec, cameras, num_objects=num_objects, skills=(*ArmWorld.scripts, RANDOM), robot_type=stage.run.world.arm,
        storage=config.storage, picture_every=arm.script.picture_every, seed=config.seed, test_fraction=config.test_fraction,
        recipe={"command": "robo-dream collect", **stored, **stage.recipe(), "about": dict(ArmWorld.about)},
    )  # fmt: skip


def _redrawn_spec(config: CollectConfig, redrawn: RedrawnConfig) -> DatasetSpec:
    """As the dataset that is shown again, but for cameras, states, and how pictures came about."""
    source = open_dataset(redrawn.dataset)
    assert isinstance(config.world, SceneConfig)
    for part in source.parts:
        require_redrawable(part.spec.recipe, config.world, redrawn.dataset)
    with build_environment(config.world) as environment:
        if names := [camera.name for camera in environment.cameras if camera.name not in source.spec.camera_names]:
            raise DataError(f"{redrawn.dataset} has no camera {names[0]!r}; it has {list(source.spec.camera_names)}: name these in world")
        settings = dump(config)
        stored = {name: settings[name] for name in ("seed", "storage", "test_fraction", "world")}
        about = {"about": dict(environment.about), "redrawn": {"lasts": redrawn.lasts, "dataset": dict(source.spec.recipe)}}
        return replace(
            source.spec, cameras=environment.cameras, sim_state_size=len(environment.state), storage=config.storage,
            seed=config.seed, test_fraction=config.test_fraction, recipe={"command": "robo-dream collect", **stored, **about},
        )  # fmt: skip


def seeds_of(config: CollectConfig) -> list[int]:
    """By their seeds, the episodes that `config` asks for. Raises `DataError` where there are fewer to show again."""
    shown = _shown_again(config)
    if shown is None:
        return list(range(config.seed, config.seed + config.num_episodes))
    seeds = list(_rows(open_dataset(shown)))
    if len(seeds) < config.num_episodes:
        raise DataError(f"{shown} has {len(seeds)} episodes with seeds of their own; set num_episodes to at most that")
    return seeds[: config.num_episodes]


def _shown_again(config: CollectConfig) -> Path | None:
    return config.overlaid if config.redrawn is None else config.redrawn.dataset


def _rows(source: Datasets) -> dict[int, tuple[Dataset, int]]:
    """By an episode's seed, where it is."""
    return {int(row["robo_dream/seed"]): (part, number) for part in source.parts for number, row in enumerate(part.rows)}


def _recipe(config: CollectConfig, about: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides what the episodes are; not where they go, how many there are, or who plays them."""
    settings = dump(config)
    if isinstance(config.world, SceneConfig) and config.world.randomization is None:
        del settings["world"]["randomization"]  # as recipes were before anything could be; datasets of then can go on
    if config.curious is not None:
        settings["curious"]["checkpoint"] = sha256(config.curious.checkpoint)  # wherever it lies
    how = "curious" if config.curious is not None else "play" if config.played is config.play else "script"
    stored = {name: settings[name] for name in ("seed", "storage", "test_fraction", how, "world")}
    return {"command": "robo-dream collect", **stored, "about": dict(about)}


def committed_seeds(out: Path, spec: DatasetSpec) -> set[int]:
    """Seeds of the episodes in `out`; raises `DataError` when they were made by another recipe."""
    seeds: set[int] = set()
    for root in shards(out):
        data = Dataset.open(root)
        made = {"about": spec.recipe["about"], **with_new_blocks(data.spec.recipe)}  # the tabletop said nothing about itself before 0.2
        differing = [key for key in spec.recipe if made.get(key) != spec.recipe[key]]
        differing = [key for name in differing for key in _differing(name, made.get(name), spec.recipe[name])]
        if differing or data.spec.differences(spec):
            raise DataError(
                f"{root} was collected with another {', '.join(differing) or 'world'}; give the same configuration to go on, "
                "or another folder with out=..."
            )
        seeds |= {int(row["robo_dream/seed"]) for row in data.rows}
    return seeds


def _differing(name: str, one: Any, other: Any) -> Iterator[str]:
    """The keys at which two blocks differ, dotted."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        yield name
        return
    for key in dict.fromkeys((*one, *other)):
        if one.get(key) != other.get(key):
            yield from _differing(f"{name}.{key}", one.get(key), other.get(key))


def shards(out: Path) -> list[Path]:
    """The shards in `out` that hold a dataset."""
    return [root for root in store.listed(store.place(out), "shard-*") if store.exists(root / layout.INFO)]


def collect(config: CollectConfig, spec: DatasetSpec, seeds: Sequence[int], say: Callable[[str], None] = _log.info) -> Iterator[int]:
    """Plays every seed and yields it once its episode is committed. Raises `RoboDreamError` when a worker fails.

    On an arm, `say` is told what happens, for people; see `arm_episodes` for what it raises.
    """
    if config.arm is not None:
        committed = set(range(config.seed, config.seed + config.num_episodes)) - set(seeds)
        cut_short(config.out, committed, say)
        episodes = arm_episodes(arm_stage(config.arm), config.out, seeds, say) if seeds else iter(())
        yield from _committed(shard_root(config.out, 0), spec, (_encoded(episode, config, spec) for episode in episodes))
        return
    if isinstance(config.runner, RayRunner):
        yield from _on_cluster(config.runner, config, spec, seeds)
        return
    context = mp.get_context("spawn")  # a forked GL context is broken
    crew: dict[connection.Connection, BaseProcess] = {}
    try:
        for worker in range(min(config.workers, len(seeds))):
            ours, theirs = context.Pipe(duplex=False)
            arguments = (theirs, shard_root(config.out, worker), config, spec, list(seeds[worker :: config.workers]))
            process = context.Process(target=_work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            crew[ours] = process
        running = set(crew)
        while running:
            for ready in connection.wait(list(running)):
                assert isinstance(ready, connection.Connection)
                try:
                    message = ready.recv()
                except EOFError:
                    crew[ready].join()
                    raise RoboDreamError(
                        f"a worker ended with exit code {crew[ready].exitcode} (a negative one is a signal, -9 out of memory); "
                        "finished episodes are kept: give the same command again, perhaps with fewer workers"
                    ) from None
                if message is None:
                    running.remove(ready)
                elif isinstance(message, str):
                    raise RoboDreamError(f"a worker failed: {message}; finished episodes are kept")
                else:
                    yield message
    finally:
        for process in crew.values():
            process.terminate()
        for process in crew.values():
            process.join()


def _on_cluster(runner: RayRunner, config: CollectConfig, spec: DatasetSpec, seeds: Sequence[int]) -> Iterator[int]:
    """As `collect`, to as many shards as there are workers, in turn."""
    with ExitStack() as open_shards:
        roots = [shard_root(config.out, number) for number in range(min(config.workers, len(seeds)))]
        writers = [open_shards.enter_context(DatasetWriter(root, spec)) for root in roots]
        for number, episode in enumerate(spread(runner, partial(_started, config, spec), seeds, config.workers)):
            writers[number % len(writers)].append_encoded(episode)
            yield episode.seed


def _started(config: CollectConfig, spec: DatasetSpec) -> Callable[[int], EncodedEpisode]:
    """What a worker of a cluster plays with; its world ends with it."""
    return _player(_world(config).__enter__(), config, spec)


def _work(channel: connection.Connection, root: Path, config: CollectConfig, spec: DatasetSpec, seeds: list[int]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted too, and ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with _world(config) as world:
            for seed in _committed(root, spec, map(_player(world, config, spec), seeds)):
                channel.send(seed)
        channel.send(None)
    except RoboDreamError as error:
        channel.send(str(error))
    except BrokenPipeError:  # the parent is gone
        return


def _world(config: CollectConfig) -> AbstractContextManager[Environment | Game | None]:
    if config.overlaid is not None:
        return nullcontext()
    return build_game(config.world) if isinstance(config.world, GameConfig) else build_environment(config.world)


def _committed(root: Path, spec: DatasetSpec, episodes: Iterable[EncodedEpisode]) -> Iterator[int]:
    """Writes the dataset in `root`, and gives the seed of every episode that is there for good."""
    with DatasetWriter(root, spec) as writer:
        for episode in episodes:
            writer.append_encoded(episode)
            yield episode.seed


def _player(environment: Environment | Game | None, config: CollectConfig, spec: DatasetSpec) -> Callable[[int], EncodedEpisode]:
    """What gives the episode of a seed."""
    source = _shown_again(config)
    if source is None:
        assert environment is not None
        return lambda seed: _encoded(_played(environment, config, seed), config, spec)
    rows = _rows(open_dataset(source))

    def shown_again(seed: int) -> EncodedEpisode:
        part, row = rows[seed]
        episode = part.episode(row)
        if config.redrawn is not None:
            assert isinstance(environment, World)
            episode = redrawn_episode(environment, episode, config.redrawn, config.seed)
        return replace(encode(_overlaid(episode, config, spec), spec), is_train=part.is_train(row))

    return shown_again


def _played(environment: Environment | Game, config: CollectConfig, seed: int) -> Episode:
    if isinstance(environment, Game):
        return random_game(environment, seed, min(config.script.num_steps, environment.longest_steps))
    return scripted_episode(environment, seed, config.played)


def _encoded(episode: Episode, config: CollectConfig, spec: DatasetSpec) -> EncodedEpisode:
    """Learned from or not by its seed and not by its place in a shard, so that the split does not depend on the number of workers."""
    return replace(encode(_overlaid(episode, config, spec), spec), is_train=spec.split_rule.is_train(episode.seed - config.seed))


def _overlaid(episode: Episode, config: CollectConfig, spec: DatasetSpec) -> Episode:
    return episode if config.overlay is None else overlaid(episode, spec, config.overlay)


def _end_with_parent() -> None:
    parent = mp.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
