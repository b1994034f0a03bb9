"""Figures of docs/results as cells and rows of tables: rates with their intervals, differences, times, sentences."""

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from robo_dream.evaluation.intervals import wilson

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
Row = Sequence[str]
Figures = Mapping[str, float]
METHODS = {
    "planner": "policy-guided search",
    "policy_alone": "policy alone",
    "oracle_dynamics": "search with oracle dynamics",
    "random": "random",
    "zero_action": "zero action",
    "lewm_cem": "LeWM with CEM",
    "intact": "INTACT",
}
TABLETOP = ("reach", "push", "lift")


@cache
def results(name: str) -> Figures:
    """The figures of docs/results/`name`.json; of what begins with `_` nothing is a figure."""
    data = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return {key: value for key, value in data.items() if not key.startswith("_")}


def plain(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def rate(figures: Figures, key: str, kind: str) -> str:
    """A success rate in percent, with Wilson's 95 % interval where the number of pairs is known."""
    percent = figures[f"{key}/{kind}"]
    if f"{key}/pairs" not in figures:
        return f"{percent:g}"
    pairs = int(figures[f"{key}/pairs"])
    low, high = wilson(round(percent * pairs / 100), pairs)
    return f"{percent:.1f} ({100 * low:.0f} to {100 * high:.0f})"


def gain(figures: Figures, key: str, kind: str) -> str:
    """Policy-guided search minus this method, in points, with the interval that was bootstrapped over the pairs of both."""
    if f"{key}/gain_{kind}" not in figures:
        return ""
    return "{:+d} ({:+d} to {:+d})".format(*(int(figures[f"{key}/gain{part}_{kind}"]) for part in ("", "_low", "_high")))


def decision_times(figures: Figures, key: str) -> str:
    """p50 and p95 in milliseconds; empty where nobody timed it."""
    return " / ".join(plain(figures[f"{key}/decision_{q}_ms"]) for q in ("p50", "p95") if f"{key}/decision_{q}_ms" in figures)


def both_rates(figures: Figures, key: str) -> str:
    return " / ".join(rate(figures, key, kind) for kind in ("moderate", "strict"))


def plain_rates(figures: Figures, key: str) -> str:
    return " / ".join(plain(figures[f"{key}/{kind}"]) for kind in ("moderate", "strict"))


def success(file: str, world: str, regime: str = "privileged", methods: Sequence[str] = tuple(METHODS)) -> list[Row]:
    """What each method reaches in a world, and what a decision takes."""
    figures = results(file)
    rows: list[Row] = [("method", "pairs", "moderate %", "strict %", "rollouts", "decision p50 / p95, ms")]
    for method in methods:
        key = f"{world}/{regime}/{method}"
        if f"{key}/moderate" in figures:
            times = decision_times(figures, key)
            rollouts = plain(figures[f"{key}/rollouts"]) if f"{key}/rollouts" in figures else ""
            rates = (rate(figures, key, kind) for kind in ("moderate", "strict"))
            rows.append((METHODS[method], plain(figures[f"{key}/pairs"]), *rates, rollouts, times))
    return rows


def gains(file: str, worlds: Mapping[str, str], regime: str = "privileged") -> list[Row]:
    """Policy-guided search minus every other method on identical pairs."""
    figures, rows = results(file), [("task", "search minus", "moderate, points", "strict, points")]
    for world, name in worlds.items():
        for method in METHODS:
            key = f"{world}/{regime}/{method}"
            if f"{key}/gain_moderate" in figures:
                rows.append((name, METHODS[method], gain(figures, key, "moderate"), gain(figures, key, "strict")))
    return rows


def rates(file: str, head: str, cases: Mapping[str, str]) -> list[Row]:
    """One line a case: its name, pairs and both rates; `cases` names the key of each."""
    figures, rows = results(file), [(head, "pairs", "moderate %", "strict %")]
    for name, key in cases.items():
        rows.append((name, plain(figures[f"{key}/pairs"]), rate(figures, key, "moderate"), rate(figures, key, "strict")))
    return rows


def facts(file: str, head: str, cases: Mapping[str, str]) -> list[Row]:
    """One line a case: what was measured, and a template with the names of its figures in braces."""
    figures = results(file)

    def filled(template: str) -> str:
        return re.sub(r"{(\S+?)}", lambda found: plain(figures[found[1]]), template)

    return [(head, "measured"), *((name, filled(template)) for name, template in cases.items())]


def points(figures: Figures, key: str) -> str:
    """A difference in points with its interval."""
    return "{:+.0f} ({:+.0f} to {:+.0f})".format(*(figures[f"{key}{end}"] for end in ("", "_low", "_high")))
