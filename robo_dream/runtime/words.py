"""Goals in words, asked of a checkpoint that has learned them (`robo-dream train stage=words`)."""

import torch

from robo_dream.errors import ConfigError
from robo_dream.imagination import Goal
from robo_dream.models.text import text_encoder
from robo_dream.models.words import nearest_texts, strangeness
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import goal_from_positions
from robo_dream.runtime.planner import PlanningConfig

_NEAREST = 3


def goal_in_words(model: LatentVideoModel, text: str, latent: torch.Tensor) -> Goal:
    """What `text` asks for where things are as `latent` (batch channel) has them: positions of what it wants moved; all else stays.

    Raises `ConfigError` for a model that has learned no words, and for a text with a word that it never heard, or at which it would move
    nothing: with the texts it knows that are nearest.
    """
    words = model.words
    if words is None:
        raise ConfigError(
            f"the goal is given in words, {text!r}, and this checkpoint has learned none; add them with `robo-dream train stage=words "
            "init=CHECKPOINT 'training.words={things: [...]}'`, or give the goal otherwise"
        )
    encoder, known = text_encoder(), words.size.texts
    alike = ", ".join(repr(one) for one in nearest_texts(encoder, text, known, _NEAREST))
    strange = float(strangeness(encoder, [text], known)[0])
    if strange > float(words.strangest):
        raise ConfigError(
            f"goal.text {text!r} has a word that this checkpoint never heard (strangeness {strange:.1f}; allowed is {words.strangest:.1f}); "
            f"the nearest it knows: {alike}"
        )
    with torch.no_grad():
        here = model.poses(latent).object_pos
        things = words(encoder.tokens([text] * len(here)), here.float()).likeliest()
    if things.isnan().all():
        raise ConfigError(
            f"at goal.text {text!r} this checkpoint would move none of {', '.join(words.size.things)}; the nearest it knows: {alike}"
        )
    return goal_from_positions(latent, things.to(latent))


def require_moves(planning: PlanningConfig, model: LatentVideoModel) -> None:
    """Raises `ConfigError` where the policy would not be told a goal of which positions alone are given."""
    if planning.proposals.moves is None and planning.proposals.policy and model.spec.config.policy_input == "poses":
        raise ConfigError(
            "the goal is given in words, which say where things are to lie, and without planning.proposals.moves the policy is shown the "
            "goal's picture alone; take a task of the checkpoint that has it (such as task=five_tasks), or set "
            "'planning.proposals.moves={}' of a checkpoint with stage=moves"
        )
