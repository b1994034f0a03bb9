"""Decisions of a model that remembers can be made again to the bit: the record keeps what was remembered."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import Recipe, record_run

from robo_dream.control.loop import LoopConfig
from robo_dream.errors import DataError
from robo_dream.models.config import ModelConfig, ModelSpec, Normaliser
from robo_dream.models.policy_prior import PolicyPrior
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.costs import build_cost
from robo_dream.planning.kinds import planner_of
from robo_dream.planning.proposals import PolicyProposer
from robo_dream.safety.limits import SafetyLimits
from robo_dream.testing.point_mass import point_action_spec
from robo_dream.viewer.again import compared, question_of, recomputed
from robo_dream.viewer.dreams import ModelDreams
from robo_dream.viewer.routes import Dream


def remembering() -> LatentVideoModel:
    unit = Normaliser((0.0,) * 11, (0.5,) * 11)
    model = LatentVideoModel(ModelSpec(ModelConfig(image_size=32, memory=12), ("front",), point_action_spec(), unit, unit))
    generator = torch.Generator().manual_seed(1)
    assert model.memory is not None and model.dynamics.remembered is not None
    for values in (model.dynamics.remembered, *model.memory.parameters()):
        values.data += 0.1 * torch.randn(values.shape, generator=generator)
    return model.eval().requires_grad_(False)


MODEL = remembering()


class Remembers(Recipe):
    @property
    def model(self) -> LatentVideoModel:  # type: ignore[override]
        return MODEL

    def planner_of(self, clock):  # type: ignore[no-untyped-def]
        proposer = PolicyProposer(MODEL, PolicyPrior(MODEL, MODEL))
        return planner_of(self.planner, MODEL, build_cost(self.cost, MODEL), [proposer], clock)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_decision_of_a_model_that_remembers_is_the_same_again(asynchronous: bool, tmp_path: Path) -> None:
    limits = SafetyLimits(max_tool_error=None)
    recipe = Remembers(loop=LoopConfig(max_steps=25, asynchronous=asynchronous, limits=limits), goal=tuple([0.0] * 256))
    run = record_run(tmp_path, recipe)
    assert len(run.decisions) > 3 and all(one.memory is not None and one.memory.any() for one in run.decisions[1:])
    for one in run.decisions:
        assert compared(one, recomputed(recipe.planner_of, one), question_of(one)).exact
    forgotten = replace(run.decisions[-1], memory=None)
    assert not compared(forgotten, recomputed(recipe.planner_of, forgotten), question_of(forgotten)).exact


def test_walking_on_from_a_decision_imagines_what_its_plan_did(tmp_path: Path) -> None:
    recipe = Remembers(loop=LoopConfig(max_steps=25, limits=SafetyLimits(max_tool_error=None)), goal=tuple([0.0] * 256))
    last, dreams = record_run(tmp_path, recipe).decisions[-1], ModelDreams(MODEL)
    block = MODEL.action_block
    here = Dream(last.belief, memory=last.memory)
    for number, imagined in enumerate(last.latents[:2]):
        here = dreams.imagine(here, last.actions[number * block : (number + 1) * block])
        assert np.allclose(here.latent, imagined, atol=1e-5)
    forgotten = dreams.imagine(Dream(last.belief), last.actions[:block])
    assert not np.allclose(forgotten.latent, last.latents[0], atol=1e-3)
    with pytest.raises(DataError, match=r"memory has shape \(3,\); expected \(12,\)"):
        dreams.imagine(Dream(last.belief, memory=np.zeros(3, np.float32)), last.actions[:block])
