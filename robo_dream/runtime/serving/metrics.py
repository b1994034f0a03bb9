"""What a server counts, as Prometheus reads it: plain text, one line a number."""

import os
import resource
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)  # s


@dataclass
class Metrics:
    """Counters of a planner that serves, and how long its answers took from the question to the end of the search."""

    clients: int = 0  # connected now
    waiting: int = 0  # questions that wait for a search now
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] += by

    def took(self, seconds: float) -> None:
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds

    def text(self) -> str:
        """All of it, with memory and descriptors of this process."""
        lines: list[str] = []

        def add(name: str, kind: str, help_text: str, *values: tuple[str, float]) -> None:
            lines.extend([f"# HELP robo_dream_{name} {help_text}", f"# TYPE robo_dream_{name} {kind}"])
            lines.extend(f"robo_dream_{name}{labels} {value:.10g}" for labels, value in values)

        add("clients", "gauge", "Clients that are connected.", ("", self.clients))
        add("waiting", "gauge", "Questions that wait for a search.", ("", self.waiting))
        for name, help_text in COUNTERS.items():
            add(f"{name}_total", "counter", help_text, ("", self.counts[name]))
        add("resident_bytes", "gauge", "Memory of this process.", ("", resident_bytes()))
        add("open_descriptors", "gauge", "Descriptors of this process.", ("", open_descriptors()))
        number, shown = 0, []
        for limit, count in zip((*map(str, BUCKETS), "+Inf"), self.buckets, strict=True):
            number += count
            shown.append((f'_bucket{{le="{limit}"}}', float(number)))
        add("answer_seconds", "histogram", "From a question to its answer.", *shown, ("_sum", self.seconds), ("_count", number))
        return "\n".join(lines) + "\n"


COUNTERS = {
    "questions": "Messages that came.",
    "decisions": "Decisions that were answered.",
    "searches": "Searches that were made; several decisions may share one.",
    "errors": "Questions that were answered by an error.",
    "late": "Of these, those that no search could begin or end for in time.",
    "left": "Questions whose client left before the answer.",
    "refused": "Connections that were refused: no token, too many clients.",
}


def resident_bytes() -> int:
    """Memory of this process that is in use (on other systems than Linux, the most it ever was)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def open_descriptors() -> int:
    """Files and sockets that this process has open; 0 where the system does not tell."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return 0
