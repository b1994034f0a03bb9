"""Muon: what its steps are, of which shape of weight, and that it learns."""

import pytest
import torch

from robo_dream.training.optimiser import Muon, orthogonal

GENERATOR = torch.Generator().manual_seed(0)


@pytest.mark.parametrize("shape", [(8, 8), (5, 12), (12, 5), (3, 6, 9)])
def test_a_step_has_the_singular_vectors_of_the_gradient_and_values_near_one(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=GENERATOR)
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    values = u.mT @ orthogonal(matrices) @ vh.mT
    diagonal = values.diagonal(dim1=-2, dim2=-1)
    torch.testing.assert_close(values, torch.diag_embed(diagonal), atol=1e-4, rtol=0)
    assert diagonal.min() > 0.6 and diagonal.max() < 1.3


@pytest.mark.parametrize(("shape", "scale"), [((4, 4), 1.0), ((16, 4), 2.0), ((4, 16), 1.0), ((2, 4, 16), 2.0), ((16, 2, 1, 2), 2.0)])
def test_the_first_step_is_the_rate_times_an_orthogonal_matrix_larger_for_more_outputs(shape: tuple[int, ...], scale: float) -> None:
    weight = torch.zeros(shape, requires_grad=True)
    weight.grad = torch.randn(shape, generator=GENERATOR)
    Muon([weight], lr=0.1, weight_decay=0.0).step()
    flat = weight.grad.flatten(1) if weight.ndim == 4 else weight.grad
    torch.testing.assert_close(weight.detach(), -0.1 * scale * orthogonal(flat).reshape(shape))


def test_directions_of_small_gradient_are_learned_as_fast() -> None:
    """A regression whose inputs have very different sizes, which plain gradient descent cannot do in as many steps."""
    inputs = torch.randn(256, 6, generator=GENERATOR) * torch.tensor([1.0, 0.6, 0.4, 0.25, 0.15, 0.1])
    truth = torch.randn(6, 6, generator=GENERATOR)

    def missed(optimiser_of: type[Muon] | type[torch.optim.SGD], rate: float) -> float:
        weight = torch.zeros(6, 6, requires_grad=True)
        optimiser = optimiser_of([weight], lr=rate, weight_decay=0.0)
        for step in range(200):
            optimiser.param_groups[0]["lr"] = rate * (1 - step / 200)
            weight.grad = None
            (inputs @ (weight - truth)).square().mean().backward()
            optimiser.step()
        return (weight.detach() - truth).abs().max().item()

    assert missed(Muon, 0.1) < 0.1 < missed(torch.optim.SGD, 1.0)


def test_weights_decay_apart_from_the_gradient() -> None:
    weight = torch.ones(3, 3, requires_grad=True)
    weight.grad = torch.zeros(3, 3)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 3), 0.95))
