"""Names of before: configurations, checkpoints and records that still say them are understood, and told the name of today.

Nothing else in the tree knows an old name.
"""

from collections.abc import Collection, Mapping
from typing import Any

OLD_KEYS: Mapping[str, tuple[str, ...]] = {  # of a configuration: what is meant is the one that the block has
    "returns": ("action_selection", "returning_goals"),
    "colour": ("noise_beta",),
    "inverse": ("policy",),
    "hand": ("gripper_goal", "gripper"),
    "inverse_sees": ("policy_input",),
    "points": ("num_keypoints",),
    "places": ("feature_grid",),
    "matrix_rate": ("muon_lr",),
    "sight_errors": ("perception_noise",),
    "adjacent_inverse": ("inverse_dynamics",),
    "goal_inverse": ("goal_policy",),
    "tool_turn": ("tool_yaw",),
    "object_turn": ("object_yaw",),
    "overlap": ("asynchronous",),
    "max_hand_error": ("max_tool_error",),
    "look": ("visual_randomization",),
    "rows": ("methods",),
    "others": ("extra_planners",),
    "physics": ("oracle_planner",),
    "physics_pairs": ("oracle_pairs",),
}
OLD_BLOCKS: Mapping[str, tuple[str, str]] = {"scene": ("world", "tabletop")}
"""Blocks that became one of several kinds of another: by their old key, today's key and their `kind`."""

OLD_SWITCHES = ("one_at_a_time",)  # that are no more, and are left out where they were off

OLD_VALUES: Mapping[str, str] = {  # of a planner's `kind`, and of what is measured
    "guarded": "policy_guided",
    "direct": "policy_alone",
    "do_nothing": "zero_action",
    "nothing": "zero_action",
    "inverse": "policy_alone",
    "physics": "oracle_dynamics",
    "fp32": "float32",
    "bf16": "bfloat16",
}
OLD_WEIGHTS: Mapping[str, str] = {"inverse.": "policy.", "adjacent_inverse.": "inverse_dynamics."}  # how names of weights begin
STREAMS: Mapping[str, str] = {"policy_guided": "guarded", "policy_alone": "direct", "zero_action": "do_nothing"}
"""Under what name a planner draws its random numbers: as ever, so that a seed means what it always meant."""

OLD_FIELDS: Mapping[str, str] = {"doubts": "unsure_reasons"}  # of a recorded decision
OLD_ORIGINS: Mapping[str, str] = {"inverse": "policy"}  # of a recorded decision's candidates
OLD_TERMS: Mapping[str, str] = {"tool_turn": "tool_yaw", "object_turn": "object_yaw"}  # how names of a recorded cost's parts end


def new_key(old: str, allowed: Collection[str]) -> str | None:
    """Today's name of the key `old` in a block that has the keys `allowed`; None where it never had another."""
    if old in allowed:
        return None
    block = OLD_BLOCKS[old][:1] if old in OLD_BLOCKS else ()
    return next((new for new in (*OLD_KEYS.get(old, ()), *block) if new in allowed), None)


def is_off(old: str, value: Any) -> bool:
    """Whether the key `old` is no more and switched nothing on."""
    return old in OLD_SWITCHES and value is False


def new_block(old: str, value: Any) -> Any:
    """What the key `old` said, for the key of today that `new_key` gave: a block that has become a kind of another says its kind."""
    return {"kind": OLD_BLOCKS[old][1], **value} if old in OLD_BLOCKS and isinstance(value, Mapping) else value


def new_value(old: str, allowed: Collection[str]) -> str | None:
    """Today's word for `old` where the words `allowed` may stand; None where it never was another."""
    new = OLD_VALUES.get(old)
    return new if old not in allowed and new in allowed else None


def with_new_blocks(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """`recipe`, of a dataset or a checkpoint, with the blocks of today."""
    return {OLD_BLOCKS[name][0] if name in OLD_BLOCKS else name: new_block(name, value) for name, value in recipe.items()}


def with_new_keys(block: Mapping[str, Any], allowed: Collection[str]) -> dict[str, Any]:
    """`block` with today's keys, in its order."""
    return {new_key(name, allowed) or name: value for name, value in block.items()}


def new_weight(name: str) -> str:
    """Today's name of a weight in a checkpoint."""
    old = next((old for old in OLD_WEIGHTS if name.startswith(old)), None)
    return name if old is None else OLD_WEIGHTS[old] + name.removeprefix(old)


def new_term(name: str) -> str:
    """Today's name of a part of a recorded cost, such as `pose.object_yaw`."""
    head, dot, tail = name.rpartition(".")
    return head + dot + OLD_TERMS.get(tail, tail)
