"""What can be changed of a recorded decision, and changes worth trying, from how its run was planned."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robo_dream.planning.kinds import PLANNER_CONFIGS
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import RUN
from robo_dream.viewer.questions import Choices, Preset

_MAX_RUNS = 40
_UNASKED = ("policy_guided", "zero_action", "random")  # the default, and what needs no imagination
_SMALLER = {"cem": ("planner.num_samples=100", "planner.num_iterations=5"), "mppi": ("planner.num_samples=128",)}  # seconds, not a minute


def choices_of(about: Mapping[str, Any], root: Path, decision: Decision) -> Choices:
    """Every key that a change can name with its value in the run, presets, and other runs that lie beside this one."""
    values = dict(_leaves(about.get("planning", {})))
    values["seed"] = decision.seed
    return Choices(
        {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in values.items()},
        tuple(_presets(values, decision)),
        tuple(PLANNER_CONFIGS),
        tuple(str(path) for path in _runs_beside(root)),
    )


def _presets(values: Mapping[str, Any], decision: Decision) -> Iterator[Preset]:
    yield Preset("another seed", (f"seed={decision.seed + 1}",))
    samples, iterations, horizon = (values.get(f"planner.{name}") for name in ("num_samples", "num_iterations", "horizon"))
    if isinstance(samples, int):
        yield Preset("4 times the candidates", (f"planner.num_samples={4 * samples}",))
    if isinstance(iterations, int):
        yield Preset("2 more iterations", (f"planner.num_iterations={iterations + 2}",))
    if isinstance(horizon, int) and horizon > 1:
        yield Preset("half the look-ahead", (f"planner.horizon={horizon // 2}",))
    if values.get("proposals.policy") is True and values.get("planner.kind") != "policy_alone":
        yield Preset("no learned proposals", ("proposals.policy=false",))
    for key, value in values.items():
        if key.startswith("cost.pose_parts.") and isinstance(value, int | float) and value > 0 and values.get("cost.pose"):
            yield Preset(f"twice {key.rpartition('.')[2]}", (f"{key}={2 * value:g}",))
    if values.get("cost.disagreement") == 0:
        yield Preset("disagreement costs", ("cost.disagreement=1.0",))
    for kind in PLANNER_CONFIGS:
        if kind not in _UNASKED and kind != values.get("planner.kind"):
            same = (f"planner.horizon={horizon}",) if isinstance(horizon, int) else ()
            yield Preset(kind, (f"planner.kind={kind}", *same, *_SMALLER.get(kind, ())))


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else name)
    elif value is not None:
        yield key, value


def _runs_beside(root: Path) -> list[Path]:
    """Other records in the folders around `root`, the newest first."""
    home = root.resolve()
    places = [home.parents[n] for n in range(min(3, len(home.parents)))]
    patterns = (f"*/{RUN}", f"*/record/{RUN}", f"*/*/record/{RUN}")
    found = {file.parent.resolve() for place, pattern in zip(places, patterns, strict=False) for file in place.glob(pattern)} - {home}
    return sorted(found, key=lambda folder: (folder / RUN).stat().st_mtime, reverse=True)[:_MAX_RUNS]
