"""Somebody who answers questions about a made-up run: what is said is known, and when."""

import threading
from concurrent.futures import Future
from pathlib import Path

import numpy as np

from robo_dream.errors import ConfigError
from robo_dream.recording.decision import Decision
from robo_dream.viewer.questions import Asker, Choices, OnStage, Preset, Told, ToldPlan


class Ready:
    """Answers at once; what is asked with `wait=1` not before `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: list[tuple[str, ...]] = []

    def choices(self, decision: Decision) -> Choices:
        presets = (Preset("another seed", (f"seed={decision.seed + 1}",)), Preset("wait", ("wait=1",)))
        return Choices({"seed": str(decision.seed), "planner.kind": "policy_guided"}, presets, ("policy_guided", "cem"), ("/runs/other",))

    def recompute(self, decision: Decision, on_stage: OnStage) -> Told:
        return Told("the very same plan", (told(decision, "recorded", 0), told(decision, "made again", 0)), decision.step)

    def recompute_all(self, on_stage: OnStage) -> Told:
        raise RuntimeError("a mistake")

    def what_if(self, decision: Decision, changes: tuple[str, ...], on_stage: OnStage) -> Told:
        self.asked.append(changes)
        if changes == ("wait=1",):
            while not self.go.wait(0.005):
                on_stage("planning again", 3, 10)
        if changes[0].startswith("sed="):
            raise ConfigError("unknown key sed; did you mean seed?")
        return Told("recorded | what if", (told(decision, "recorded", 0), told(decision, "what if", 1)), decision.step)

    def diff(self, other: Path, tolerance: float, on_stage: OnStage) -> Told:
        return Told(f"they part from {other} at control step 5, {tolerance}", (), 5)


def told(decision: Decision, name: str, more: float) -> ToldPlan:
    costs = {"recorded cost": {term: values[1] + more for term, values in decision.terms.items()}}
    latents = np.concatenate([decision.belief[None], decision.latents + more])
    return ToldPlan(name, "OK", 1.5 + more, decision.actions + more, costs, latents)


def asker(one: Asker | None = None) -> "Future[Asker]":
    future: Future[Asker] = Future()
    future.set_result(one or Ready())
    return future
