"""`least_gain` in a checkpoint: what is measured is what is planned with, and nothing else of it changes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from robo_dream.errors import ConfigError
from robo_dream.models import checkpoint
from robo_dream.planning.policy_guided import PolicyGuidedConfig
from robo_dream.runtime.least_gain import least_gains, with_least_gains, write_with_least_gains
from robo_dream.runtime.planner import planning_for
from robo_dream.training import promises
from tests.unit.models.squares import square_frames

JACO = Path("configs/checkpoints/jaco_s.safetensors")


def test_a_checkpoint_with_its_least_gain_is_the_same_in_all_else(tmp_path: Path) -> None:
    out = write_with_least_gains(JACO, tmp_path / "careful.safetensors", {"default": 2.5, "reach": 0.25})
    before, after = checkpoint.read_info(JACO), checkpoint.read_info(out)
    for task, gain in {"push": 2.5, "lift": 0.0, "reach": 0.25}.items():
        planning = planning_for(before, task)
        assert isinstance(planning.planner, PolicyGuidedConfig)
        assert planning_for(after, task) == replace(planning, planner=replace(planning.planner, least_gain=gain))
    same = replace(after.settings, planning=before.settings.planning, source=before.settings.source)
    assert same == before.settings and after.spec.to_json() == before.spec.to_json()
    assert (after.recipe, after.metrics, after.dataset_id) == (before.recipe, before.metrics, before.dataset_id)
    weights = (checkpoint.load(path).state_dict() for path in (JACO, out))
    for (name, one), (again, other) in zip(*(some.items() for some in weights), strict=True):
        assert name == again and torch.equal(one, other)


def test_settings_that_the_checkpoint_does_not_have_are_refused_with_those_that_it_has() -> None:
    with pytest.raises(ConfigError, match="no policy_guided planning settings named 'pusch'; it has default, lift, reach"):
        with_least_gains(checkpoint.read_info(JACO), {"pusch": 1.0})


def test_each_planning_settings_are_measured_by_their_own_cost_and_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    info, model, cache = checkpoint.read_info(JACO), checkpoint.load(JACO), square_frames(8, 90, side=96)
    horizons = []
    found = promises.promises

    def noting(model, cache, searched, num_windows, seed):
        horizons.append(searched.horizon)
        return found(model, cache, searched, num_windows, seed)

    monkeypatch.setattr("robo_dream.runtime.least_gain.promises", noting)
    gains = least_gains(info, model, cache, num_windows=20)
    assert list(gains) == ["default", "lift", "reach"] and horizons == [12, 12, 3]
    assert all(gain >= 0 for gain in gains.values()) and gains["default"] != gains["reach"]
