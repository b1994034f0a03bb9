"""Episodes of the tabletop shown again in other looks: what was done, felt and true stays, and pictures are drawn anew.

A recorded state tells where arm and objects were, so nothing is simulated, and looks may change from frame to frame. Both recordings of an
episode agree in everything but their pictures, to the bit.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robo_dream.data.episode import Episode
from robo_dream.errors import ConfigError, DataError
from robo_dream.schema import Unit, configuration
from sim.tabletop.randomization import MOST_SEEDS, PhysicsRanges, Randomization
from sim.tabletop.scene import SceneConfig
from sim.tabletop.world import World


@configuration
class RedrawnConfig:
    """Which dataset is shown again, and for how long looks last."""

    dataset: Path
    lasts: Annotated[int, Field(ge=1, le=1_000_000), Unit("control steps")] = 1


def require_looks_alone(config: SceneConfig) -> None:
    """Raises `ConfigError` unless looks are all that `config` draws anew: things and physics are the recording's."""
    drawn = config.randomization
    if drawn is None or drawn == Randomization(held_out=drawn.held_out):
        raise ConfigError("redrawn shows episodes in other looks, but world.randomization.visual varies nothing; give it ranges")
    usual = Randomization()
    if (drawn.kinds, drawn.physics, drawn.any_object) != (usual.kinds, usual.physics, usual.any_object):
        raise ConfigError(
            "redrawn shows the things that were recorded, in a physics that was; of world.randomization give visual and held_out alone"
        )


def require_redrawable(recipe: Mapping[str, Any], config: SceneConfig, dataset: Path) -> None:
    """Raises `DataError` unless states of a dataset made by `recipe` can be drawn in `config`: the same arm, cameras and boxes."""
    made = recipe.get("world")
    if not isinstance(made, Mapping) or made.get("kind") != "tabletop":
        raise DataError(f"{dataset} was not played on the tabletop, whose episodes alone can be drawn again; its recipe names {made}")
    drawn = made.get("randomization") or {}
    sizes = (drawn.get("physics") or {}).get("size", (1.0, 1.0))
    if tuple(drawn.get("kinds", ("box",))) != ("box",) or tuple(sizes) != PhysicsRanges().size:
        raise DataError(
            f"the things in {dataset} were of many kinds or sizes (world.randomization), which states do not tell; name a dataset of boxes"
        )
    here = {"arm": config.arm, "objects": [list(box.half_size) for box in config.objects]}
    there = {"arm": made.get("arm"), "objects": [list(box["half_size"]) for box in made.get("objects", [])]}
    if here != there:
        raise DataError(f"{dataset} was played with {there}, and world has {here}; give it the same arm and boxes")


def redrawn_episode(world: World, episode: Episode, config: RedrawnConfig, seed: int) -> Episode:
    """`episode` in other looks, which `seed` and the episode's own decide; new ones every `config.lasts` control steps."""
    pictures: dict[str, list[np.ndarray]] = {name: [] for name in episode.images}
    states, told = [], []
    for number, state in enumerate(episode.sim_state):
        drawn = int(np.random.default_rng((seed, episode.seed, number // config.lasts)).integers(MOST_SEEDS))
        world.show(state, drawn)
        for name, seen in pictures.items():
            seen.append(world.image(name))
        states.append(world.state)
        if number % config.lasts == 0:
            told.append(drawn)
    return replace(
        episode, images={name: np.stack(seen) for name, seen in pictures.items()}, sim_state=np.stack(states),
        info={**episode.info, "redrawn": {"seeds_of_looks": told, "lasts": config.lasts}},
    )  # fmt: skip
