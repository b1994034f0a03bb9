"""Decision times before and after, side by side: `python benchmarks/speed.py` (some twenty minutes; with --pairs 40 an hour and a half).

Before is the code of `--before`, taken out of git into a folder that is removed at the end, with its own defaults: float32, not
compiled. After is this code with `compiled=true precision=auto`. `same_settings` is the older code with what it could be set to by
hand, and `plain` is this code with the old defaults. Each runs in a process of its own; they take turns of a few decisions, so that
whatever else the machine does meets all of them alike, and a ratio is of the medians of one round. Figures: the median over rounds,
and its 95 % bootstrap interval.

It is done on the processor as it is and as one without AVX-512 (`avx2/`: torch, MKL and oneDNN are told so), with one thread and with
two (`threads_1`, `threads_2`). The ratios named without either are the lower of both on the processor as it is. `compile_seconds` is
what a first start costs, with an empty cache: the first two decisions of the slower plan, in a process of its own, torch's compiler
imported.

With `--pairs` both codes also plan that many held-out pushes, each the same pairs with the same seeds, and success is compared pair
by pair.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from results_file import write_figures
from tqdm import tqdm

from robo_dream.evaluation.intervals import bootstrap, paired_difference
from robo_dream.evaluation.results import Result, read_results

ROOT = Path(__file__).parents[1]
SIDE = Path(__file__).with_name("speed_side.py")
PLANS = ("released_push", "policy_guided_128x3x5")
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
CODE = ("robo_dream", "sim", "hardware", "configs")
Figures = dict[str, float | int | str | None]


@dataclass(frozen=True)
class Way:
    """A code and its settings; an empty `precision` is what the other side chose."""

    code: Path
    compiled: bool
    precision: str


class Side:
    """A process that decides one way. `first` is what it said when it had decided for the first time."""

    def __init__(self, way: Way, checkpoint: Path, threads: int, more: Mapping[str, str], cache: Path) -> None:
        env = {**os.environ, **more, "PYTHONPATH": str(way.code), "OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_CACHE_DIR": str(cache)}
        command = [
            sys.executable,
            "-W",
            "ignore",
            str(SIDE),
            str(checkpoint),
            "compiled" if way.compiled else "plain",
            way.precision,
            str(threads),
        ]
        self._process = subprocess.Popen(
            command, env=env, cwd=way.code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.first = self._read()

    def decide(self, plan: str, count: int) -> Mapping:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{plan} {count}\n")
        self._process.stdin.flush()
        return self._read()

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> Mapping:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a side ended early ({' '.join(map(str, self._process.args))}); run this command by hand to see why")  # type: ignore[arg-type]
        return json.loads(line)


@contextmanager
def code_of(commit: str) -> Iterator[Path]:
    """A folder with the code of `commit`, while it is needed."""
    with tempfile.TemporaryDirectory(prefix="speed-") as folder:
        archive = subprocess.run(["git", "archive", commit, *CODE], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield Path(folder)


def timed(before: Path, args: argparse.Namespace, more: Mapping[str, str], threads: int, cache: Path) -> Figures:
    """Figures of both plans on one kind of processor."""
    figures: Figures = {}
    with ExitStack() as stack:

        def side(way: Way) -> Side:
            return stack.enter_context(Side(way, args.checkpoint, threads, more, cache))

        after = side(Way(ROOT, True, "auto"))
        figures["auto_is_half"] = int(after.first["precision"] == "bfloat16")
        sides = {
            "before": side(Way(before, False, "float32")),
            "same_settings": side(Way(before, True, after.first["precision"])),
            "plain": side(Way(ROOT, False, "float32")),
            "after": after,
        }
        for plan in PLANS:
            rounds: dict[str, list[float]] = {name: [] for name in sides}
            said: Mapping = {}
            for number in tqdm(range(args.rounds + 1), desc=f"{plan}, {threads} thread(s){', AVX2' if more else ''}"):
                order = list(sides)[number % len(sides) :] + list(sides)[: number % len(sides)]  # nobody is always first
                said = {name: sides[name].decide(plan, args.decisions) for name in order}
                for name in sides:
                    rounds[name].append(float(np.median(said[name]["ms"])))
            rows = {name: np.array(values[1:]) for name, values in rounds.items()}  # the first round warms up
            figures |= {f"{plan}/{name}_p50_ms": round(float(np.median(values)), 1) for name, values in rows.items()}
            figures |= {
                f"{plan}/{name}_stage_{stage}_ms": round(ms, 2)
                for name in ("before", "after")
                for stage, ms in said[name]["stages"].items()
            }
            figures[f"{plan}/plain_plans_the_same_bits"] = int(said["plain"]["bits"] == said["before"]["bits"])
            for name in ("before", "same_settings", "plain"):
                ratios = rows[name] / rows["after"]
                low, high = bootstrap(lambda index, ratios=ratios: float(np.median(ratios[index])), len(ratios))
                figures |= {f"{plan}/{name}_ratio": round(float(np.median(ratios)), 2)}
                figures |= {f"{plan}/{name}_ratio_low": round(low, 2), f"{plan}/{name}_ratio_high": round(high, 2)}
    return figures


def started(before: Path, args: argparse.Namespace) -> Figures:
    """What the first start with an empty cache costs, and a later one, beside the start of the code before with the same settings."""
    figures: Figures = {}
    for name, code in (("before_", before), ("", ROOT)):
        with tempfile.TemporaryDirectory(prefix="speed-cache-") as cache:
            way = Way(code, True, str(args.precision))
            for when in ("compile", "later_start"):
                with Side(way, args.checkpoint, 1, {}, Path(cache)) as side:
                    figures[f"{name}{when}_seconds"] = round(max(side.first["first"].values()), 1)
                    figures[f"{name}{when}_both_plans_seconds"] = round(side.first["start"], 1)
    return figures


def outcomes(before: Path, args: argparse.Namespace) -> Figures:
    """Success of both on the same held-out pushes."""
    args.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[int, Result]] = {}
    for name, code, settings in (("before", before, ()), ("after", ROOT, ("compiled=true", "precision=bfloat16"))):
        out = args.out / name
        command = [
            sys.executable, "-W", "ignore", "-m", "robo_dream.cli.main", "evaluate", f"checkpoint={args.checkpoint}", "tasks=[push]",
            "methods=[planner]", f"num_pairs={args.pairs}", "workers=1", f"out={out.resolve()}", *settings,
        ]  # fmt: skip
        subprocess.run(command, env={**os.environ, "PYTHONPATH": str(code), "OMP_NUM_THREADS": "1"}, cwd=code, check=True)
        found[name] = {result.pair: result for result in read_results(out / "results.jsonl")}
    pairs = sorted(found["before"].keys() & found["after"].keys())
    figures: Figures = {"outcomes/pairs": len(pairs)}
    for kind in ("moderate", "strict"):
        first, second = (np.array([getattr(found[name][pair], kind) for pair in pairs]) for name in ("before", "after"))
        points, low, high = (round(100 * value, 1) for value in paired_difference(second, first))
        figures |= {f"outcomes/before_{kind}": round(100 * first.mean(), 1), f"outcomes/after_{kind}": round(100 * second.mean(), 1)}
        figures |= {f"outcomes/after_minus_before_{kind}": points, f"outcomes/after_minus_before_{kind}_low": low}
        figures |= {f"outcomes/after_minus_before_{kind}_high": high, f"outcomes/pairs_that_differ_{kind}": int((first != second).sum())}
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="904b58b", help="commit")
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "configs/checkpoints/jaco_recorded_s.safetensors")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--decisions", type=int, default=5, help="of each side in a round")
    parser.add_argument("--pairs", type=int, default=0, help="held-out pushes planned by both; 0: none, and what is known of them stays")
    parser.add_argument("--only-pairs", action="store_true", help="time nothing, and keep what is known of times")
    parser.add_argument("--out", type=Path, default=ROOT / "runs/speed")
    parser.add_argument("--results", type=Path, default=ROOT / "docs/results/speed.json")
    args = parser.parse_args()
    known = json.loads(args.results.read_text()) if args.results.exists() else {}
    figures: Figures = {name: value for name, value in known.items() if not name.startswith("_") or name == "_before"}
    with code_of(args.before) as before, tempfile.TemporaryDirectory(prefix="speed-cache-") as cache:
        if not args.only_pairs:
            figures = {name: value for name, value in figures.items() if name.startswith("outcomes/")} | {
                "_before": args.before,
                "rounds": args.rounds,
            }
            figures["decisions_a_round"] = args.decisions
            for kind, more in (("", {}), ("avx2/", AVX2)):
                for threads in (1, 2):
                    there = Path(cache) / (kind.strip("/") or "own")
                    figures |= {
                        f"{kind}threads_{threads}/{name}": value for name, value in timed(before, args, more, threads, there).items()
                    }
            args.precision = "bfloat16" if figures["threads_1/auto_is_half"] else "float32"
            figures |= started(before, args)
            for plan, name in zip(PLANS, ("released_push_ratio", "policy_guided_128x3x5_ratio"), strict=True):
                for kind in ("", "avx2/"):
                    figures[f"{kind}{name}"] = min(
                        float(figures[f"{kind}threads_{threads}/{plan}/before_ratio"] or 0) for threads in (1, 2)
                    )
        if args.pairs:
            figures |= outcomes(before, args)
    write_figures(args.results, figures)
    for name, value in figures.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
