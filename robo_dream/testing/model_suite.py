"""What every `WorldModel` must do. Inherit in a test file, give `make` and `make_observation`, and pytest does the rest."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from robo_dream.embodiment import Observation
from robo_dream.errors import ContractError
from robo_dream.imagination import Belief, WorldModel


class WorldModelSuite:
    """`class TestMyModel(WorldModelSuite)`."""

    tolerance = 1e-4  # of latents; sums in another order for another batch size

    def make(self) -> WorldModel:
        """A model; the same each time it is called."""
        raise NotImplementedError

    def make_observation(self, seed: int) -> Observation:
        """An observation that the model can read; another one for another seed."""
        raise NotImplementedError

    def test_is_a_world_model(self) -> None:
        assert isinstance(self.make(), WorldModel)

    def test_believe_gives_one_belief_for_each_history(self) -> None:
        latent = self._belief(self.make(), 3).latent
        assert latent.shape[0] == 3 and torch.isfinite(latent).all()

    def test_belief_does_not_depend_on_the_other_histories(self) -> None:
        model = self.make()
        together = self._belief(model, 3).latent
        alone = torch.cat([model.believe([[self.make_observation(seed)]]).latent for seed in range(3)])
        torch.testing.assert_close(together, alone, atol=self.tolerance, rtol=self.tolerance)

    def test_missing_camera_is_named(self) -> None:
        model, observation = self.make(), self.make_observation(0)
        for name in model.cameras:
            frames = {k: v for k, v in observation.frames.items() if k != name}
            with pytest.raises(ContractError, match=name):
                model.believe([[dataclasses.replace(observation, frames=frames)]])

    def test_belief_does_not_read_the_truth(self) -> None:
        model, observation = self.make(), self.make_observation(0)
        blind = dataclasses.replace(observation, truth={name: np.full_like(v, np.nan) for name, v in observation.truth.items()})
        assert torch.equal(model.believe([[observation]]).latent, model.believe([[blind]]).latent)

    def test_imagination_has_one_step_for_each_block(self) -> None:
        model = self.make()
        belief = self._belief(model, 2)
        imagined = model.imagine(belief, self._actions(model, 2, 3, 4))
        assert imagined.latents.shape == (2, 3, 4, belief.latent.shape[1])
        assert imagined.disagreement.shape == (2, 3, 4)
        assert torch.isfinite(imagined.latents).all() and (imagined.disagreement >= 0).all()

    def test_imagining_twice_gives_the_same(self) -> None:
        model = self.make()
        belief, actions = self._belief(model, 2), self._actions(model, 2, 3, 4)
        assert torch.equal(model.imagine(belief, actions).latents, model.imagine(belief, actions).latents)

    def test_imagination_of_a_candidate_does_not_depend_on_the_others(self) -> None:
        model = self.make()
        belief, actions = self._belief(model, 2), self._actions(model, 2, 3, 4)
        together = model.imagine(belief, actions)
        for problem in range(2):
            for sample in range(3):
                row = Belief(belief.latent[problem : problem + 1])
                alone = model.imagine(row, actions[problem : problem + 1, sample : sample + 1])
                torch.testing.assert_close(alone.latents[0, 0], together.latents[problem, sample], atol=self.tolerance, rtol=self.tolerance)

    def test_later_actions_do_not_change_earlier_steps(self) -> None:
        model = self.make()
        belief, actions = self._belief(model, 1), self._actions(model, 1, 2, 4)
        changed = actions.clone()
        changed[:, :, 2 * model.action_block :] *= -1
        before, after = model.imagine(belief, actions).latents, model.imagine(belief, changed).latents
        torch.testing.assert_close(before[:, :, :2], after[:, :, :2], atol=self.tolerance, rtol=self.tolerance)
        assert not torch.allclose(before[:, :, 2:], after[:, :, 2:], atol=0, rtol=0)

    def test_imagining_on_from_an_imagined_state_is_the_same_as_imagining_through(self) -> None:
        model = self.make()
        belief, actions = self._belief(model, 1), self._actions(model, 1, 1, 4)
        half = 2 * model.action_block
        through = model.imagine(belief, actions)
        onward = model.imagine(model.imagine(belief, actions[:, :, :half]).end(), actions[:, :, half:])
        tolerance = 10 * self.tolerance
        torch.testing.assert_close(through.latents[:, :, 2:], onward.latents, atol=tolerance, rtol=tolerance)
        torch.testing.assert_close(through.disagreement[:, :, 2:], onward.disagreement, atol=tolerance, rtol=tolerance)

    def test_arguments_are_left_alone(self) -> None:
        model = self.make()
        belief, actions = self._belief(model, 2), self._actions(model, 2, 3, 4)
        latent, kept = belief.latent.clone(), actions.clone()
        model.imagine(belief, actions)
        assert torch.equal(belief.latent, latent) and torch.equal(actions, kept)

    def test_poses_have_the_shape_of_the_latents(self) -> None:
        model = self.make()
        latents = model.imagine(self._belief(model, 2), self._actions(model, 2, 3, 4)).latents
        poses = model.poses(latents)
        num_objects = poses.object_pos.shape[-2]
        assert poses.tool_pos.shape == (2, 3, 4, 3) and poses.object_pos.shape == (2, 3, 4, num_objects, 3)
        assert poses.tool_yaw.shape == (2, 3, 4, 2) and poses.object_yaw.shape == (2, 3, 4, num_objects, 2)
        assert poses.gripper.shape == (2, 3, 4)

    def _belief(self, model: WorldModel, num_problems: int) -> Belief:
        return model.believe([[self.make_observation(seed)] for seed in range(num_problems)])

    def _actions(self, model: WorldModel, num_problems: int, num_samples: int, num_blocks: int) -> Tensor:
        spec, generator = model.action_spec, torch.Generator().manual_seed(0)
        unit = torch.rand(num_problems, num_samples, num_blocks * model.action_block, spec.size, generator=generator)
        low, high = torch.as_tensor(spec.low), torch.as_tensor(spec.high)
        return low + (high - low) * unit
