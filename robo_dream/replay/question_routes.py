"""What the page may ask that takes a while: the paths of questions, and what is wrong with one that cannot be put."""

from concurrent.futures import Future
from dataclasses import asdict
from pathlib import Path
from typing import Any

from robo_dream.errors import DataError, RoboDreamError
from robo_dream.replay.decision import Decision
from robo_dream.replay.questions import Asker, Questions, ToldPlan

_MAX_CHANGES, _MAX_LETTERS = 20, 400
_KINDS = ("recompute", "recompute_all", "what_if", "diff")


class QuestionRoutes:
    """Puts what the page asks to an asker, which may still be loading, or have failed: then an error says so."""

    def __init__(self, asker: "Future[Asker] | None" = None) -> None:
        self._asker, self._questions = asker, Questions()

    def choices(self, decision: Decision) -> dict[str, Any]:
        """What can be asked about `decision`, as JSON; `state` says whether anything can."""
        if self._asker is None:
            return {"state": "none", "sentence": "questions are answered on the machine itself only, where the page is served at loopback"}
        if not self._asker.done():
            return {"state": "loading"}
        error = self._asker.exception()
        if error is not None:
            return {"state": "none", "sentence": str(error)}
        return {"state": "ready", **asdict(self._asker.result().choices(decision))}

    def ask(self, asked: Any, decision: Decision | None) -> dict[str, Any]:
        """Begins to answer; raises `DataError` that says what was wrong with `asked`, or that another question comes first."""
        asker, kind = self._ready(), asked["kind"]
        if kind == "recompute_all":
            number = self._questions.ask("recompute every decision", asker.recompute_all)
        elif kind == "diff":
            other, tolerance = _path(asked.get("run")), _share(asked.get("tolerance", 0))
            number = self._questions.ask(f"diff against {other}", lambda on_stage: asker.diff(other, tolerance, on_stage))
        elif decision is None:
            raise DataError(f"{kind} asks about one decision; give its number as `decision`")
        elif kind == "recompute":
            number = self._questions.ask(f"recompute control step {decision.step}", lambda on_stage: asker.recompute(decision, on_stage))
        else:
            changes = _changes(asked.get("changes"))
            words = f"control step {decision.step}: what if {' '.join(changes)}"
            number = self._questions.ask(words, lambda on_stage: asker.what_if(decision, changes, on_stage))
        return self._questions.view(number)

    def view(self, number: int) -> dict[str, Any]:
        return self._questions.view(number)

    def stop(self, number: int) -> dict[str, Any]:
        self._questions.stop(number)
        return self._questions.view(number)

    def plan(self, number: int, place: int) -> ToldPlan:
        """One of the plans of an answer."""
        plans = self._questions.told(number).plans
        if not 0 <= place < len(plans):
            raise DataError(f"the answer to question {number} has no plan {place}; it has {len(plans)}")
        return plans[place]

    def _ready(self) -> Asker:
        if self._asker is None:
            raise DataError("this page answers no questions; open it on the machine itself, without --host")
        try:
            return self._asker.result()
        except RoboDreamError as error:
            raise DataError(f"no question can be answered: {error}") from None


def checked(asked: Any) -> dict[str, Any]:
    """`asked` with a kind that there is; raises `DataError`."""
    if not isinstance(asked, dict) or asked.get("kind") not in _KINDS:
        raise DataError(f"a question is a JSON object whose `kind` is one of {', '.join(_KINDS)}")
    return asked


def _changes(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
        raise DataError("what if what? give `changes`, a list of key=value, such as seed=3")
    if len(value) > _MAX_CHANGES or max(map(len, value)) > _MAX_LETTERS:
        raise DataError(f"{len(value)} changes; allowed are up to {_MAX_CHANGES} of {_MAX_LETTERS} letters")
    return tuple(one.strip() for one in value)


def _path(value: Any) -> Path:
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > 4096:
        raise DataError("compare with which run? give `run`, the folder of an episode")
    return Path(value.strip()).expanduser()


def _share(value: Any) -> float:
    if not isinstance(value, int | float) or not 0 <= value < 1:
        raise DataError(f"tolerance is {value!r}; allowed is 0 up to 1, a share of the largest number")
    return float(value)
