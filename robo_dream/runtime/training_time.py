"""What a training will cost on this machine, by what its first steps take; and what it cost."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from robo_dream.data.cache import FrameCache, HeldPictures
from robo_dream.data.streamed import StreamedPictures
from robo_dream.training import dream, representation
from robo_dream.training.config import TrainingConfig

ADDED = {"local_goals": ("local goals", "planning.cost.local_goal"), "moves": ("moves", "planning.proposals.moves")}
"""Stages that add to a finished checkpoint: what, for people, and where a plan is told to heed it."""
_PROBE_STEPS, _PROBE_FRAMES = 4, 600  # of each stage, to see what a step costs


def estimated(cache: FrameCache, training: TrainingConfig) -> dict[str, float]:
    """Seconds that each stage will take here, by what its first steps take on some of the episodes; nothing is kept of these."""
    some = _some(cache, max(_PROBE_FRAMES, 4 * training.dream.unroll * training.model.action_block))
    probe = _of_steps(training, _PROBE_STEPS)
    watch = _Stopwatch()
    with TemporaryDirectory() as folder:
        representation.train_representation(some, probe, Path(folder), progress=watch, resume=False)
        dream.train_dream(some, probe, Path(folder), progress=watch, resume=False)
    new_pictures = cache.num_frames / cache.picture_every
    counts = {"representation": training.representation.steps, "frames into latents": new_pictures, "dream": training.dream.steps}
    counts |= {"policy": training.policy.steps, "decoder": training.dream.decoder_steps}
    counts |= {name: count for count, name in added_steps(training).items()}
    names = [name for name, count in counts.items() if count]
    return {name: counts[name] * rate for name, rate in zip(names, watch.rates(), strict=True)}


def in_words(seconds: Mapping[str, float]) -> str:
    """What `estimated` gives, and which stage to shrink first."""
    keys = {"representation": "training.representation.steps (or batch_windows)", "frames into latents": "the number of episodes"}
    keys |= {"dream": "training.dream.steps (or batch)", "policy": "training.policy.steps (or batch)"}
    keys |= {"decoder": "training.dream.decoder_steps (or decoder_batch)"}
    keys |= {name: f"training.{stage}.steps (or batch)" for stage, (name, _) in ADDED.items()}
    longest = max(seconds, key=lambda name: seconds[name])
    parts = ", ".join(f"{name} {_minutes(value)}" for name, value in seconds.items())
    return f"About {_minutes(sum(seconds.values()))} on this machine: {parts}. To shorten it, lower {keys[longest]} first."


def training_seconds(log: Path) -> float:
    """Seconds spent on training steps, interruptions left out, from the rates in the metrics log."""
    seconds, last = 0.0, ("", 0)
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        if rate := entry.get("steps_per_second"):
            before = last[1] if last[0] == entry["stage"] and last[1] < entry["step"] else 0
            seconds += (entry["step"] - before) / rate
            last = (entry["stage"], entry["step"])
    return seconds


class _Stopwatch:
    """A `Progress` that keeps when it was called; another total, or a count that starts over, is another stage."""

    def __init__(self) -> None:
        self._begun, self._total = time.perf_counter(), 0
        self._stages: list[list[tuple[int, float]]] = []  # how much was done when

    def __call__(self, done: int, total: int) -> None:
        now = time.perf_counter()
        if total != self._total or done <= self._stages[-1][-1][0]:
            self._stages.append([(0, self._stages[-1][-1][1] if self._stages else self._begun)])
            self._total = total
        self._stages[-1].append((done, now))

    def rates(self) -> list[float]:
        """Seconds for one more, by stage; the first step, which warms up, is left out where there are others."""
        measured = [stage[1:] if len(stage) > 2 else stage for stage in self._stages]
        return [(stage[-1][1] - stage[0][1]) / (stage[-1][0] - stage[0][0]) for stage in measured]


def _of_steps(training: TrainingConfig, steps: int) -> TrainingConfig:
    """`training` with so many steps in each stage that has any, and nothing that asks more of the data."""
    return replace(
        training, tensorboard=False,
        representation=replace(training.representation, steps=steps),
        dream=replace(training.dream, steps=steps, decoder_steps=min(steps, training.dream.decoder_steps)),
        policy=replace(training.policy, steps=steps, skills=(), perception_noise=0.0),
        local_goals=None if training.local_goals is None else replace(training.local_goals, steps=steps),
        moves=None if training.moves is None else replace(training.moves, steps=steps),
    )  # fmt: skip


def _some(cache: FrameCache, num_frames: int) -> FrameCache:
    """The first episodes that are learned from, of so many frames altogether."""
    count = int(np.searchsorted(cache.episode_starts, num_frames)) or 1
    last = int(cache.episode_starts[min(count, cache.num_episodes)])

    def first(pictures: Any) -> Any:
        if isinstance(pictures, HeldPictures | StreamedPictures):
            return replace(pictures, picture_of=pictures.picture_of[:last])
        return pictures[:last]

    starts = cache.episode_starts[cache.episode_starts <= last]
    arrays = {name: getattr(cache, name)[:last] for name in ("proprio", "actions", "object_pose", "skill", "sim_state")}
    arrays["action_std"] = None if cache.action_std is None else cache.action_std[:last]
    images = {name: first(pictures) for name, pictures in cache.images.items()}
    return replace(cache, **arrays, images=images, episode_starts=starts, is_train=np.ones(len(starts) - 1, bool))


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def added_steps(training: TrainingConfig) -> dict[int, str]:
    """Of a bar: the steps of what is learned after all else, if anything is, and its name."""
    stages = {"local_goals": training.local_goals, "moves": training.moves}
    return {stage.steps: ADDED[name][0] for name, stage in stages.items() if stage is not None}
