"""Writes a run as it happens: every decision before it is acted on, every observation and action as soon as it is over."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.data.layout import json_bytes, replace_file
from robo_dream.embodiment import ArmState, Observation
from robo_dream.errors import ContractError, DataError
from robo_dream.imagination import Goal, ImaginationRecord
from robo_dream.replay.archive import write_archive
from robo_dream.replay.decision import Decision
from robo_dream.replay.record import DECISIONS, GOAL, RESULT, RUN, STEPS, VERSION

_IN_JSON = ("step", "time", "planner", "seed", "origin_names", "seconds")


class RunWriter:
    """Keeps one episode in `root`, which must not hold a run. Hand `on_decision` and `on_step` to `control.loop.run_episode`.

    `about` is any JSON: configuration, checkpoint and its hash, code version, the goal in words.
    """

    def __init__(
        self, root: Path | str, about: Mapping[str, Any], goal: Goal, pictures: Mapping[str, UInt8[np.ndarray, "height width 3"]]
    ) -> None:
        self.root = Path(root)
        self.num_steps = 0
        if (self.root / RUN).exists():
            raise DataError(f"{self.root} already holds a run; choose another folder or delete it")
        if len(goal.latent) != 1:
            raise ContractError(f"a run has one goal; got a batch of {len(goal.latent)}")
        arrays = {"latent": goal.latent, "object_pos": goal.object_pos, "tool_pos": goal.tool_pos}
        given = {name: array[0].float().cpu().numpy() for name, array in arrays.items() if array is not None}
        write_archive(self.root / GOAL, given | {f"picture.{name}": picture for name, picture in pictures.items()}, {})
        replace_file(self.root / RUN, json_bytes({**about, "version": VERSION}))  # last: from here on it is a run

    def on_decision(self, record: ImaginationRecord) -> None:
        arrays = {f"term.{name}": term.numpy() for name, term in record.terms.items()}
        for field in fields(Decision):
            value = getattr(record, field.name)
            if field.name not in (*_IN_JSON, "status", "terms") and value is not None:
                arrays[field.name] = value.numpy()
        about = {name: getattr(record, name) for name in _IN_JSON} | {"status": record.status.value, "seconds": dict(record.seconds)}
        write_archive(self.root / DECISIONS / f"{record.step:06d}.npz", arrays, about)

    def on_step(self, before: Observation, sent: Float[np.ndarray, " action"], applied: Float[np.ndarray, " action"]) -> None:
        self._write_step(before, {"sent": np.asarray(sent, np.float32), "applied": np.asarray(applied, np.float32)})

    def finish(self, last: Observation, result: Mapping[str, Any]) -> None:
        """The observation after the last action, and how it ended (any JSON)."""
        self._write_step(last, {})
        replace_file(self.root / RESULT, json_bytes(dict(result)))

    def _write_step(self, observation: Observation, actions: Mapping[str, np.ndarray]) -> None:
        state = {field.name: getattr(observation.arm, field.name) for field in fields(ArmState)}
        arrays = dict(actions)
        arrays |= {f"image.{name}": frame.image for name, frame in observation.frames.items()}
        arrays |= {f"arm.{name}": value for name, value in state.items() if isinstance(value, np.ndarray)}
        arrays |= {f"truth.{name}": np.asarray(value) for name, value in observation.truth.items()}
        about = {
            "time": observation.time,
            "frames": {name: (frame.time, frame.number) for name, frame in observation.frames.items()},
            "arm": {name: None if value is None else float(value) for name, value in state.items() if not isinstance(value, np.ndarray)},
        }
        write_archive(self.root / STEPS / f"{self.num_steps:06d}.npz", arrays, about)
        self.num_steps += 1
