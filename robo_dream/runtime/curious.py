"""Play that is planned for what a checkpoint's heads disagree on: data from where its model can learn most."""

from collections.abc import Iterator
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from robo_dream.errors import ConfigError
from robo_dream.imagination import Goal
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import CostConfig
from robo_dream.planning.icem import IcemConfig
from robo_dream.planning.kinds import PlannerConfig
from robo_dream.runtime.environment import require_same_world
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import build_planner
from robo_dream.schema import Unit, configuration
from sim.environment import Environment, observation_of
from sim.scripts import Playing, Steps

CURIOUS = "curious"
_SEED_LIMIT = 2**31


@configuration
class CuriousConfig:
    """A `Play` in any simulated world: Plan2Explore (Sekar et al. 2020, arXiv 2005.05960) with any planner, by `cost.curiosity` alone.

    A new plan is made after each action block, from the last picture. Proposals of the checkpoint's policy are for goals, and left out.
    """

    checkpoint: Path
    planner: PlannerConfig = field(default_factory=IcemConfig)
    num_steps: Annotated[int, Field(ge=2, le=100_000), Unit("control steps")] = 150
    picture_every: Steps = 1

    def skills(self, environment: Environment) -> tuple[str, ...]:
        return (CURIOUS,)

    def require(self, environment: Environment) -> None:
        """Raises `ConfigError` for a checkpoint of another world, or with a single head, which has nothing to disagree with."""
        model = _model(self.checkpoint)
        require_same_world(model, environment, self.checkpoint)
        if (heads := model.spec.config.num_heads) < 2:
            raise ConfigError(
                f"{self.checkpoint} has {heads} head, and curiosity is what several disagree on; train with model.num_heads=2 or more"
            )

    def begin(self, environment: Environment, rng: np.random.Generator) -> Playing:
        environment.reset(rng)
        return Playing(self._actions(environment, rng), "curious play", CURIOUS)

    def _actions(self, environment: Environment, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
        model, spec = _model(self.checkpoint), environment.action_spec
        planner = build_planner(self.planner, model, CostConfig(distance=0, curiosity=1))
        while True:
            with torch.inference_mode():
                belief = model.believe([[observation_of(environment)]])
                plan = planner.plan(belief, Goal(belief.latent), [int(rng.integers(_SEED_LIMIT))])
            for action in plan.actions[0, : model.action_block].cpu().numpy():
                yield 0, spec.clip(action.astype(np.float32))


@cache
def _model(path: Path) -> LatentVideoModel:
    """Loaded once for all episodes of a process."""
    return load_checkpoint_model(path)
