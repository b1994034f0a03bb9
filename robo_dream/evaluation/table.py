"""Results as a table for people."""

from collections.abc import Mapping, Sequence

import numpy as np

from robo_dream.evaluation.intervals import paired_difference, wilson
from robo_dream.evaluation.results import Result

AGAINST = "planner"  # the method with which the others are compared, pair by pair


def markdown_table(results: Sequence[Result], methods: Sequence[str], rollouts: Mapping[tuple[str, str], int]) -> str:
    """One line for each task and method that has results.

    Rates with Wilson's 95 % intervals, and how many points more the planner reaches on the same pairs with its paired bootstrap
    interval, in percent; then decision times.
    """
    lines = [
        "| task | method | pairs | moderate % | strict % | planner minus it, moderate | strict | rollouts | decision p50 / p95 / p99 ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task in dict.fromkeys(result.task for result in results):
        of_method = {method: [result for result in results if (result.task, result.method) == (task, method)] for method in methods}
        for method, some in of_method.items():
            if some:
                rates = " | ".join(_rate([getattr(result, kind) for result in some]) for kind in ("moderate", "strict"))
                gains = " | ".join(_gain(of_method.get(AGAINST, []), some, kind) for kind in ("moderate", "strict"))
                lines.append(
                    f"| {task} | {method} | {len(some)} | {rates} | {gains} | {rollouts.get((task, method), 0)} | {_times(some)} |"
                )
    return "\n".join(lines)


def _rate(outcomes: Sequence[bool]) -> str:
    low, high = wilson(sum(outcomes), len(outcomes))
    return f"{100 * np.mean(outcomes):.1f} ({100 * low:.0f} to {100 * high:.0f})"


def _gain(planner: Sequence[Result], other: Sequence[Result], kind: str) -> str:
    """The difference on the pairs that both have attempted; empty for the planner itself and when there are none."""
    first, second = ({result.pair: getattr(result, kind) for result in some} for some in (planner, other))
    both = sorted(first.keys() & second.keys())
    if not both or other[0].method == AGAINST:
        return ""
    gain, low, high = paired_difference(np.array([first[pair] for pair in both]), np.array([second[pair] for pair in both]))
    return f"{100 * gain:+.0f} ({100 * low:+.0f} to {100 * high:+.0f})"


def _times(results: Sequence[Result]) -> str:
    seconds = np.concatenate([result.decision_seconds for result in results])
    return " / ".join(f"{1e3 * value:.0f}" for value in np.percentile(seconds, [50, 95, 99])) if len(seconds) else ""
