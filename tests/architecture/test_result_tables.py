"""The tables of README.md and docs/ say what docs/results/*.json say, and every result file says where it comes from."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "docs" / "results").glob("*.json"))
METADATA = {"_commit", "_date", "_command", "_machine", "_gflops"}


def test_tables_are_as_the_results_say() -> None:
    command = [sys.executable, "benchmarks/tables.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_result_file_is_flat_and_says_where_it_comes_from(path: Path) -> None:
    data = json.loads(path.read_text())
    assert data.keys() >= METADATA
    figures = {key: value for key, value in data.items() if not key.startswith("_") and key != "device"}  # a name: what measured it
    assert figures and all(isinstance(value, int | float) and not isinstance(value, bool) for value in figures.values())


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_a_success_rate_is_a_whole_number_of_pairs(path: Path) -> None:
    """Within the rounding of the figure: a rate that no count gives was mistyped."""
    data = json.loads(path.read_text())
    for key, rate in data.items():
        stem, _, kind = key.rpartition("/")
        if kind in ("moderate", "strict") and f"{stem}/pairs" in data:
            pairs = data[f"{stem}/pairs"]
            successes = rate * pairs / 100
            assert abs(successes - round(successes)) <= 0.5 * pairs / 100 + 1e-9, f"{key} is {rate} % of {pairs}"
