"""Recorded moves: which thing was brought from where to where while the others stood how. What `Affordances` learns from."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robo_dream.errors import DataError
from robo_dream.models import checkpoint
from robo_dream.models.heads import TOOL_POS, Affordances
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.training.config import MoveStage, TrainingConfig
from robo_dream.training.frames import Frames, Split
from robo_dream.training.processes import ALONE, Processes
from robo_dream.training.stage import MOVES, MetricsLog, OnProgress, TrainingRun, run_stage, stage_of

MODEL_FILE = "model.safetensors"
MOVED = 0.02  # metres, above which a thing was brought elsewhere
_ROUNDS, _HELD_OUT = 20, 4096


@dataclass(frozen=True)
class RecordedMoves:
    """One row a move: where all things stood before it, which was moved, where that was left, and where the tool was then; metres."""

    things: Float[np.ndarray, "move thing 3"]
    which: Int[np.ndarray, " move"]
    to: Float[np.ndarray, "move 3"]
    tool: Float[np.ndarray, "move 3"]


def recorded_moves(cache: Frames, split: Split = "train") -> RecordedMoves:
    """Of each time in which one skill was under way, from its first frame that tells all poses to its last: what was elsewhere then.

    Raises `DataError` where things never moved while it was told where all of them were.
    """
    bounds, skill = np.asarray(cache.episode_starts, np.int64), np.asarray(cache.skill)
    pos = np.asarray(cache.object_pose).reshape(bounds[-1], -1, 7)[..., :3]
    tool_pos = np.asarray(cache.proprio)[:, TOOL_POS]
    is_told = np.asarray(np.isfinite(pos).all((1, 2)))
    before, which, to, tool = [], [], [], []
    chosen = np.flatnonzero(np.asarray(cache.is_train, bool) == (split == "train"))
    for first, end in zip(bounds[chosen], bounds[chosen + 1], strict=True):
        cuts = 1 + first + np.flatnonzero(np.diff(skill[first:end]))
        for begin, stop in itertools.pairwise((first, *cuts, end)):
            told = begin + np.flatnonzero(is_told[begin:stop])
            if len(told) > 1:
                moved = np.flatnonzero(np.linalg.norm(pos[told[-1]] - pos[told[0]], axis=-1) > MOVED)
                before += [pos[told[0]]] * len(moved)
                which += list(moved)
                to += list(pos[told[-1], moved])
                tool += [tool_pos[told[-1]]] * len(moved)
    if not which:
        raise DataError(
            f"no {split} episode of {cache.dataset_id} tells of a thing that was brought elsewhere while all were told; record some, "
            f"or leave training.moves out"
        )
    return RecordedMoves(
        np.asarray(before, np.float32), np.asarray(which, np.int64), np.asarray(to, np.float32), np.asarray(tool, np.float32)
    )  # fmt: skip


def waypoints_of(moves: RecordedMoves, num_waypoints: int) -> Float[np.ndarray, "thing waypoint 3"]:
    """Where each thing was left, `num_waypoints` of these, each in the middle of others: k-medoids, begun with those farthest apart.

    A thing that was never moved stays where it is.
    """
    found = []
    for thing in range(moves.things.shape[1]):
        left = moves.to[moves.which == thing]
        left = left if len(left) else moves.things[:1, thing]
        chosen = [left[np.linalg.norm(left - left.mean(0), axis=-1).argmin()]]
        for _ in range(num_waypoints - 1):
            chosen.append(left[np.min([np.linalg.norm(left - one, axis=-1) for one in chosen], 0).argmax()])
        centres = np.stack(chosen)
        for _ in range(_ROUNDS):
            nearest = np.linalg.norm(left[:, None] - centres, axis=-1).argmin(1)
            means = [left[nearest == place].mean(0) if (nearest == place).any() else centre for place, centre in enumerate(centres)]
            centres = np.stack([left[np.linalg.norm(left - mean, axis=-1).argmin()] for mean in means])
        found.append(centres)
    return np.stack(found).astype(np.float32)


def hands_of(moves: RecordedMoves) -> Float[np.ndarray, "thing 3"]:
    """How far the tool was from each thing that was left (the median of each number); 0 for one that was never moved."""
    away = [(moves.tool - moves.to)[moves.which == thing] for thing in range(moves.things.shape[1])]
    return np.stack([np.median(one, 0) if len(one) else np.zeros(3) for one in away]).astype(np.float32)


def move_losses(
    affordances: Affordances, moves: RecordedMoves, stage: MoveStage, rng: np.random.Generator, among: Processes = ALONE
) -> dict[str, Tensor]:
    """Nats a move, told from the same move among things as they stood at another one; 1.39 is guessing."""
    row, other = rng.integers(len(moves.which), size=(2, stage.batch))
    which = moves.which[row]
    elsewhere = moves.things[other].copy()
    elsewhere[np.arange(stage.batch), which] = moves.things[row, which]
    device = affordances.waypoints.device
    noise, mine = stage.noise * rng.normal(size=(2, *elsewhere.shape)).astype(np.float32), among.rows(stage.batch)
    row, which, elsewhere, noise = row[mine], which[mine], elsewhere[mine], noise[:, mine]
    things = torch.from_numpy(np.concatenate([moves.things[row] + noise[0], elsewhere + noise[1]])).to(device)
    logits = affordances(things, torch.from_numpy(which).to(device).repeat(2), torch.from_numpy(moves.to[row]).to(device).repeat(2, 1))
    seen, shuffled = logits.chunk(2)
    return {MOVES: nn.functional.softplus(-seen).mean() + nn.functional.softplus(shuffled).mean()}


def learn_moves(
    run: TrainingRun, model: LatentVideoModel, cache: Frames, stage: MoveStage, init: str | None = None
) -> tuple[LatentVideoModel, dict[str, float]]:
    """A copy of `model` that has learned what can be moved, all else as it was; and how well, held out. `init` as in `run_stage`.

    Raises `DataError` where recordings tell of other things than the model, or of none that was moved.
    """
    moves, config = recorded_moves(cache), run.config
    if moves.things.shape[1] != model.spec.num_objects:
        raise DataError(
            f"{cache.dataset_id} tells of {moves.things.shape[1]} things, and the model of {model.spec.num_objects}; give the data that it "
            f"was made from, and its training.grasps, slides and switches"
        )
    model = model.extended(replace(model.spec, waypoints=stage.waypoints), config.seed)
    learned = model.affordances
    assert learned is not None
    learned.waypoints.copy_(torch.from_numpy(waypoints_of(moves, stage.waypoints)))
    learned.hands.copy_(torch.from_numpy(hands_of(moves)))
    learned.requires_grad_(True)

    def losses(step: int) -> Mapping[str, Tensor]:
        return move_losses(learned, moves, stage, np.random.default_rng((config.seed, 30, step)), run.processes)

    run_stage(run, stage_of(MOVES, stage), learned, [learned], losses, cache.dataset_id, init=init)
    found = {"recorded": float(len(moves.which))}
    if not np.all(cache.is_train):
        others, rng = recorded_moves(cache, "test"), np.random.default_rng((config.seed, 31))
        with torch.no_grad():
            found["held_out_nats"] = round(float(move_losses(learned, others, replace(stage, batch=_HELD_OUT), rng)[MOVES]), 4)
    return model, found


def add_moves(
    cache: Frames,
    config: TrainingConfig,
    run_dir: Path,
    init: Path,
    *,
    progress: OnProgress | None = None,
    resume: bool = True,
    processes: Processes = ALONE,
) -> LatentVideoModel:
    """The finished checkpoint `init` with moves learned, also written to `run_dir`/model.safetensors; all else is as it was."""
    assert config.moves is not None, "say how moves are learned"
    info, model = checkpoint.read_info(init), checkpoint.load(init, config.device)
    with MetricsLog(run_dir, config.tensorboard, processes.is_first) as log:
        run = TrainingRun(config, run_dir, log, progress, resume, processes)
        model, found = learn_moves(run, model, cache, config.moves, checkpoint.sha256(init))
        log.write("held_out", config.moves.steps, {MOVES: found})
    model = model.requires_grad_(False)
    metrics = {**info.metrics, MOVES: found}
    if processes.is_first:
        checkpoint.save(model, run_dir / MODEL_FILE, info.recipe, info.dataset_id, metrics, settings=info.settings)
    processes.wait()
    return checkpoint.load(run_dir / MODEL_FILE, config.device)
