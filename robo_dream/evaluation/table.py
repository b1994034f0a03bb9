"""Results as a table for people."""

from collections.abc import Mapping, Sequence

import numpy as np

from robo_dream.evaluation.intervals import wilson
from robo_dream.evaluation.results import Result


def markdown_table(results: Sequence[Result], rows: Sequence[str], rollouts: Mapping[tuple[str, str], int]) -> str:
    """One line for each task and row that has results: rates with Wilson's 95 % intervals in percent, and decision times."""
    lines = [
        "| task | row | pairs | moderate % | strict % | rollouts a decision | decision p50 / p95 / p99 ms |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in dict.fromkeys(result.task for result in results):
        for row in rows:
            some = [result for result in results if result.task == task and result.row == row]
            if some:
                rates = " | ".join(_rate([getattr(result, kind) for result in some]) for kind in ("moderate", "strict"))
                lines.append(f"| {task} | {row} | {len(some)} | {rates} | {rollouts.get((task, row), 0)} | {_times(some)} |")
    return "\n".join(lines)


def _rate(outcomes: Sequence[bool]) -> str:
    low, high = wilson(sum(outcomes), len(outcomes))
    return f"{100 * np.mean(outcomes):.1f} ({100 * low:.0f} to {100 * high:.0f})"


def _times(results: Sequence[Result]) -> str:
    seconds = np.concatenate([result.decision_seconds for result in results])
    return " / ".join(f"{1e3 * value:.0f}" for value in np.percentile(seconds, [50, 95, 99])) if len(seconds) else ""
