"""Faults planted in a healthy model or in its data, one at a time, and what `robo-dream inspect` must say of each."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from robo_dream.data.cache import FrameCache
from robo_dream.models.world_model import LatentVideoModel

Planted = tuple[LatentVideoModel, FrameCache]


def cameras_swapped(model: LatentVideoModel, cache: FrameCache) -> Planted:
    front, side = (cache.images[name] for name in ("front", "side"))
    return model, replace(cache, images={"front": side, "side": front})


def colours_swapped(model: LatentVideoModel, cache: FrameCache) -> Planted:
    return model, replace(cache, images={name: np.asarray(view)[..., ::-1] for name, view in cache.images.items()})


def actions_twice_as_large(model: LatentVideoModel, cache: FrameCache) -> Planted:
    return model, replace(cache, actions=2 * cache.actions)


def proprioception_of_other_data(model: LatentVideoModel, cache: FrameCache) -> Planted:
    model = copy.deepcopy(model)
    model.encoder.proprio_mean += 1.5 * model.encoder.proprio_std
    model.encoder.proprio_std *= 0.5
    return model, cache


def latents_scaled_for_other_data(model: LatentVideoModel, cache: FrameCache) -> Planted:
    model = copy.deepcopy(model)
    mean, variance = _scale(model)
    model.encoder.set_scale(mean, 9 * variance)
    return model, cache


def encoder_that_tells_nothing(model: LatentVideoModel, cache: FrameCache) -> Planted:
    model = copy.deepcopy(model)
    model.encoder.out.weight.zero_()
    return model, cache


def encoder_of_one_dimension(model: LatentVideoModel, cache: FrameCache) -> Planted:
    """Normalised as ever, so that no single channel looks odd."""
    model = copy.deepcopy(model)
    for values in model.encoder.out.parameters():
        values.copy_(values[:1].clone().expand_as(values))
    model.encoder.set_scale(*(values[:1].clone().expand_as(values) for values in _scale(model)))
    return model, cache


def cost_that_is_constant(model: LatentVideoModel, cache: FrameCache) -> Planted:
    model = copy.deepcopy(model)
    for name, value in model.pose_head.body.named_parameters():
        if name.endswith("weight"):
            value.zero_()
    return model, cache


def arm_ahead_of_its_pictures(model: LatentVideoModel, cache: FrameCache, steps: int = 4) -> Planted:
    """Joints are read some control steps later than the cameras."""
    bounds = np.asarray(cache.episode_starts)
    last = np.repeat(bounds[1:] - 1, np.diff(bounds))
    return model, replace(cache, proprio=cache.proprio[np.minimum(np.arange(len(last)) + steps, last)])


def _scale(model: LatentVideoModel) -> tuple[Tensor, Tensor]:
    mean, variance = model.encoder.scale.running_mean, model.encoder.scale.running_var
    assert mean is not None and variance is not None
    return mean, variance


FAULTS: Mapping[Callable[..., Planted], tuple[str, str]] = {  # what finds it, and what it says
    cameras_swapped: ("pictures", "cameras front and side swapped"),
    colours_swapped: ("pictures", "red and blue swapped"),
    actions_twice_as_large: ("actions", "multiplied by 0.5"),
    proprioception_of_other_data: ("normaliser", "proprioception"),
    latents_scaled_for_other_data: ("normaliser", "latents"),
    encoder_that_tells_nothing: ("collapse", "dimensions"),
    encoder_of_one_dimension: ("collapse", "dimensions"),
    cost_that_is_constant: ("cost (default)", "spread by 0.00"),
}
