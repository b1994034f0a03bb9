"""The losses that both stages share, each in units of the variance of what it predicts.

Where several processes share a batch (`among`), each is the part of this one: the mean of theirs is the loss of the whole batch.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from robo_dream.training.processes import ALONE, Processes


def ensemble_loss(
    heads: Float[Tensor, "head batch horizon channel"],
    targets: Float[Tensor, "batch horizon channel"],
    weights: Float[Tensor, "head batch"],
) -> Float[Tensor, ""]:
    """Squared error of every head against the same targets, each on its own bootstrap of the windows."""
    errors = (heads.float() - targets).square().mean((-1, -2))  # (head, batch)
    return (errors * weights).mean()


def weighted_mean(
    values: Float[Tensor, "batch *rest"], weights: Float[Tensor, "batch *#rest"] | None, among: Processes = ALONE
) -> Float[Tensor, ""]:
    """The mean of `values`, of each row as much as its weight; without weights the plain mean, to the bit."""
    if weights is None:
        return values.mean()
    weights = weights.expand_as(values)
    return (values * weights).sum() / among.mean(weights.sum()).clamp(min=1e-6)


def as_told(
    bootstrap: Float[Tensor, "head batch"], weights: Float[Tensor, "batch horizon"] | None, among: Processes = ALONE
) -> Float[Tensor, "head batch"]:
    """The heads' weights of windows, each as far as all of its actions are told, the mean kept; without weights, as they are."""
    if weights is None:
        return bootstrap
    told = weights.mean(-1)
    return bootstrap * (told / among.mean(told.mean()).clamp(min=1e-6))


def pose_loss(predicted: Float[Tensor, "batch pose"], desired: Float[Tensor, "batch pose"], among: Processes = ALONE) -> Float[Tensor, ""]:
    """Huber loss in normalised units, over the numbers that are known (finite)."""
    mask = desired.isfinite().to(desired.dtype)
    errors = torch.nn.functional.smooth_l1_loss(predicted.float(), torch.nan_to_num(desired), beta=0.5, reduction="none")
    return (errors * mask).sum() / among.mean(mask.sum())


def pixel_loss(
    predicted: Float[Tensor, "batch 3 height width"],
    desired: Float[Tensor, "batch 3 height width"],
    mean_image: Float[Tensor, "3 height width"],
    variance: float,
    focus: float,
    among: Processes = ALONE,
) -> Float[Tensor, ""]:
    """Squared error over the variance of the data, heavier by up to `focus` where a picture is unlike the mean one."""
    unlike = (desired - mean_image).abs().amax(1, keepdim=True).mul(5.0).clamp_max(1.0)
    weights = 1.0 + focus * unlike
    return ((predicted.float() - desired).square() * weights).sum() / (3.0 * among.mean(weights.sum()) * variance)


def covariance_loss(latents: Float[Tensor, "batch channel"], among: Processes = ALONE) -> Float[Tensor, ""]:
    """VICReg's covariance term: mean square of a latent's off-diagonal covariances, summed over a row (arXiv 2105.04906)."""
    centred = latents - among.mean(latents.mean(0))
    covariance = among.mean(centred.T @ centred) / (len(latents) - 1 / among.count)
    return (covariance.square().sum() - covariance.diagonal().square().sum()) / latents.shape[1]


def expectile_loss(predicted: Float[Tensor, " batch"], desired: Float[Tensor, " batch"], expectile: float) -> Float[Tensor, ""]:
    """Asymmetric squared error of discounted distances: a shorter way that was seen counts `expectile`, a longer 1 - `expectile`."""
    weights = torch.where(desired < predicted, expectile, 1.0 - expectile)
    return (weights * (predicted - desired).square()).mean()


def likelihood_loss(
    density: Float[Tensor, " batch"], weights: Float[Tensor, " batch"], num: int, among: Processes = ALONE
) -> Float[Tensor, ""]:
    """Nats for each of the `num` numbers of what was to be told, of each row as much as its weight."""
    return -(density * weights).sum() / (among.mean(weights.sum()).clamp(min=1.0 / among.count) * num)
