"""Feeds made-up input to every reader of what others write, and counts what comes of it: `python benchmarks/fuzz.py`. Writes fuzz.json.

    python benchmarks/fuzz.py --cases 20000               # by hand; CI tries 500
    python benchmarks/fuzz.py --only 4711                 # one case again, with its traceback

Configurations, overrides, datasets, checkpoints, manifests, records and requests to the replay page are made from their own schemas, one
thing or more changed. Each must give a result, or one clear error: a `RoboDreamError` of one line, or an answer 4xx. It gets 5 s of a
processor and 1 GB beyond what the program takes by itself. What was made invalid in a known way must not give a result.
"""

import argparse
import json
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

SECONDS = 5.0  # of a processor
PATIENCE = 60.0  # s without any of a processor, for what waits for something that never comes
MEMORY = 1 << 30  # bytes, beyond what is taken once everything is imported
MOST_LETTERS = 4000
OUTCOMES = ("result", "clear", "traceback", "hang", "wrongly_accepted")


SHARES: Mapping[str, int] = {
    "configuration": 6, "override": 6, "dataset": 3, "checkpoint": 1, "manifest": 3, "record": 3, "request": 6,
}  # fmt: skip


def kind_of(number: int) -> str:
    """Of case `number`: each kind in its share, in turn."""
    wheel = [kind for kind, share in SHARES.items() for _ in range(share)]
    return wheel[number * 11 % len(wheel)]


@dataclass(frozen=True)
class Outcome:
    """What came of a case; `words` say what was tried and what was said."""

    number: int
    kind: str
    outcome: str
    words: str = ""


def tried(number: int, shop: object) -> Outcome:
    """Case `number`, in this process; numbers below 0 are faults that are planted, to see that they are found."""
    from fuzz_cases import KINDS, PLANTED

    from robo_dream.errors import RoboDreamError

    kind = kind_of(number)
    case = KINDS[kind](random.Random(number), shop) if number >= 0 else PLANTED[-number - 1]  # type: ignore[arg-type]
    try:
        case.act()
    except RoboDreamError as error:
        is_clear = "\n" not in str(error) and 0 < len(str(error)) <= MOST_LETTERS
        return Outcome(number, kind, "clear" if is_clear else "traceback", f"{case.words}: {error}"[:1500])
    except BaseException:
        return Outcome(number, kind, "traceback", f"{case.words}: {traceback.format_exc()[-2500:]}")
    return Outcome(number, kind, "wrongly_accepted" if case.is_invalid else "result", case.words[:1500])


def work() -> None:
    """Tries the cases whose numbers come in, one a line, each within its memory."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import logging

    from fuzz_cases import Workshop

    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as home:
        shop = Workshop(Path(home))
        _ = shop.server
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            print(json.dumps(asdict(tried(int(line), shop))), file=answers, flush=True)


class Worker:
    """A process that tries cases, and is replaced when it dies or takes too long."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *exc: object) -> None:
        self._end()

    def outcome(self, number: int) -> Outcome:
        process = self._process or self._begin()
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{number}\n")
        process.stdin.flush()
        used, spent, moved = _seconds(process.pid), 0.0, time.monotonic()
        while not select.select([process.stdout], [], [], 0.2)[0]:
            now, before = time.monotonic(), spent
            spent = _seconds(process.pid) - used
            moved = now if spent > before else moved  # a machine that others use too gives it little, and not nothing
            if spent > SECONDS or now - moved > PATIENCE:
                self._end()
                return Outcome(number, kind_of(number), "hang", f"{spent:.1f} s of a processor, then {now - moved:.0f} s of nothing")
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            self._end()
            return Outcome(number, kind_of(number), "traceback", f"the process ended with code {code}")
        return Outcome(**json.loads(line))

    def _begin(self) -> subprocess.Popen[str]:
        command = [sys.executable, str(Path(__file__).resolve()), "--work"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MUJOCO_GL": "egl"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the worker did not begin; try it with --work")
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _seconds(pid: int) -> float:
    """Of a processor that a process has had; 0 where it is gone."""
    try:
        parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def campaign(first: int, cases: int) -> Iterator[Outcome]:
    """What comes of each of `cases` cases, from number `first` on."""
    with Worker() as worker:
        for number in range(first, first + cases):
            yield worker.outcome(number)


def main() -> int:
    from results_file import write_figures

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, help="this case alone, in this process")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="such as docs/results/fuzz.json")
    args = parser.parse_args()
    if args.work:
        work()
        return 0
    if args.only is not None:
        from fuzz_cases import Workshop

        with tempfile.TemporaryDirectory() as home:
            print(json.dumps(asdict(tried(args.only, Workshop(Path(home)))), indent=1).replace("\\n", "\n"))
        return 0
    count, kinds, began = Counter[str](), Counter[str](), time.monotonic()
    for outcome in campaign(args.first, args.cases):
        count[outcome.outcome] += 1
        kinds[outcome.kind] += 1
        if outcome.outcome not in ("result", "clear"):
            print(f"{outcome.outcome} {outcome.kind} --only {outcome.number}\n{outcome.words}\n", flush=True)
        if sum(count.values()) % 500 == 0:
            print(f"{sum(count.values())} in {time.monotonic() - began:.0f} s: {dict(count)}", flush=True)
    found = {
        "tried": sum(count.values()),
        **{name: count[name] for name in OUTCOMES},
        **{f"tried/{kind}": n for kind, n in sorted(kinds.items())},
    }
    print(json.dumps(found))
    if args.out is not None:
        write_figures(args.out, found)
    return int(count["traceback"] + count["hang"] + count["wrongly_accepted"] > 0)


if __name__ == "__main__":
    sys.exit(main())
