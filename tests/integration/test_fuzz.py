"""Made-up input for every reader of what others write: a result or one clear error, within 5 s of a processor and 1 GB."""

import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from fuzz import SHARES, campaign

CASES = 500


def test_five_hundred_cases_give_a_result_or_one_clear_error() -> None:
    outcomes = list(campaign(0, CASES))
    wrong = [f"{one.outcome} --only {one.number}: {one.words}" for one in outcomes if one.outcome not in ("result", "clear")]
    assert not wrong, "\n".join(wrong[:5])
    kinds = Counter(one.kind for one in outcomes)
    assert set(kinds) == set(SHARES) and {one.outcome for one in outcomes} == {"result", "clear"}


def test_a_reader_that_fails_is_found() -> None:
    """The campaign itself: each way of failing that it counts, planted."""
    from fuzz import Worker

    with Worker() as worker:
        planted = {name: worker.outcome(-number) for number, name in enumerate(("traceback", "hang", "wrongly_accepted", "memory"), 1)}
        assert [one.outcome for one in planted.values()] == ["traceback", "hang", "wrongly_accepted", "traceback"]
        assert "MemoryError" in planted["memory"].words and "planted" in planted["traceback"].words
        assert worker.outcome(0).outcome in ("result", "clear")  # a new process
