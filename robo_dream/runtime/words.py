"""Goals that are asked for in words, of a checkpoint that has learned them (`robo-dream train stage=words`), or taken from another run."""

from pathlib import Path

import torch

from robo_dream.errors import ConfigError, DataError
from robo_dream.imagination import Goal
from robo_dream.models.words import nearest_texts, strangeness, text_encoder
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.planning.goals import goal_from_positions
from robo_dream.recording.record import find_record, read_run
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
            f"goal.text {text!r} has a word that this checkpoint never heard (strangeness {strange:.1f}; allowed is "
            f"{words.strangest:.1f}); the nearest it knows: {alike}"
        )
    with torch.no_grad():
        here = model.poses(latent).object_pos
        things = words(encoder.tokens([text] * len(here)), here.float()).likeliest(here.float(), words.gap)
    if things.isnan().all():
        raise ConfigError(
            f"at goal.text {text!r} this checkpoint would move none of {', '.join(words.size.things)}; the nearest it knows: {alike}"
        )
    return goal_from_positions(latent, things.to(latent))


def goal_of_run(folder: Path, latent: torch.Tensor) -> Goal:
    """The goal of the run in `folder`; raises `DataError` for one of another model than that of `latent` (batch channel)."""
    other = read_run(find_record(folder)).goal
    if other.latent.shape != latent.shape[1:]:
        raise DataError(f"the goal of {folder} has {len(other.latent)} numbers, this model's have {latent.shape[1]}; take one of its own")
    object_pos, tool_pos = (p if p is None else torch.tensor(p, device=latent.device)[None] for p in (other.object_pos, other.tool_pos))
    return Goal(torch.tensor(other.latent, device=latent.device)[None], object_pos, tool_pos)


def require_moves(planning: PlanningConfig, model: LatentVideoModel) -> None:
    """Raises `ConfigError` where the policy would not be told a goal of which positions alone are given."""
    if planning.proposals.moves is None and planning.proposals.policy and model.spec.config.policy_input == "poses":
        raise ConfigError(
            "the goal is given in words, which say where things are to lie, and without planning.proposals.moves the policy is shown the "
            "goal's picture alone; take a task of the checkpoint that has it (such as task=five_tasks), or set "
            "'planning.proposals.moves={}' of a checkpoint with stage=moves"
        )
