"""What the page may ask that takes a while: the paths of questions, and what is wrong with one that cannot be put."""

import base64
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from robo_dream.embodiment import ActionSpec
from robo_dream.errors import DataError, RoboDreamError
from robo_dream.recording.decision import Decision
from robo_dream.schema import shown
from robo_dream.viewer.page_data import (
    candidate_view,
    decision_view,
    pixel_view,
    real_pictures,
    require_future,
    require_sample,
    run_view,
)
from robo_dream.viewer.pictures import PictureFormat, encoded, sprite
from robo_dream.viewer.questions import Asker, Questions, ToldPlan
from robo_dream.viewer.watch import RunWatch

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
        return {"state": "ready", "running": self._questions.running(), **asdict(self._asker.result().choices(decision))}

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
    try:
        return Path(value.strip()).expanduser()
    except RuntimeError as error:
        raise DataError(f"{shown(value)} is no folder ({error})") from None


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise DataError(f"tolerance is {shown(value)}; allowed is 0 up to 1, a share of the largest number")
    return float(value)


_KEPT_BYTES = 96 * 2**20  # of drawn pictures
_READ_SECONDS = 0.3  # spent on new files while a page waits


@dataclass(frozen=True)
class Dream:
    """A state to imagine on from, the disagreement gathered on the way there, and what was remembered where it began."""

    latent: Float[np.ndarray, " channel"]
    disagreement: float = 0.0
    memory: Float[np.ndarray, " memory"] | None = None  # of a model that remembers


@runtime_checkable
class Dreamer(Protocol):
    """What draws latents and imagines, for several callers at once."""

    @property
    def action_spec(self) -> ActionSpec: ...

    @property
    def action_block(self) -> int:
        """Control steps in one imagined step."""
        ...

    def draw(self, latents: Float[np.ndarray, "row channel"]) -> Mapping[str, UInt8[np.ndarray, "row height width 3"]]: ...

    def imagine(self, dream: Dream, actions: Float[np.ndarray, "time action"]) -> Dream:
        """The state after one block of actions."""
        ...


@dataclass(frozen=True)
class Answer:
    """The body of an answer and its media type. `lasting` answers never change."""

    kind: str
    body: bytes
    lasting: bool = False


class Routes:
    """Answers to what a page asks about one run.

    `dreamer` and `asker` may still be loading, or have failed: then pictures and questions say so. Without an `asker` no question is
    answered.
    """

    def __init__(
        self, watch: RunWatch, dreamer: "Future[Dreamer]", pictures: PictureFormat = "JPEG", asker: "Future[Asker] | None" = None
    ) -> None:
        self._watch, self._dreamer = watch, dreamer
        self._questions = QuestionRoutes(asker)
        self._pictures: PictureFormat = pictures
        self._reading = threading.RLock()
        self._drawn: OrderedDict[str, bytes] = OrderedDict()
        self._gets: tuple[tuple[re.Pattern[str], Callable[..., Answer]], ...] = tuple(
            (re.compile(pattern), answer)
            for pattern, answer in (
                (r"/api/run/(\d{1,9})/(\d{1,9})", self._run),
                (r"/api/decision/(\d{1,9})", self._decision),
                (r"/api/decision/(\d{1,9})/candidate/(\d{1,9})", self._candidate),
                (r"/api/decision/(\d{1,9})/pixels", self._pixels),
                (r"/picture/goal", self._goal),
                (r"/picture/step/(\d{1,9})", self._step),
                (r"/picture/decision/(\d{1,9})/real", self._real),
                (r"/picture/decision/(\d{1,9})/plan", self._plan),
                (r"/picture/decision/(\d{1,9})/candidate/(\d{1,9})", self._candidate_picture),
                (r"/picture/decision/(\d{1,9})/future/(\d{1,9})", self._future_picture),
                (r"/api/decision/(\d{1,9})/choices", self._choices),
                (r"/api/asked/(\d{1,9})", self._asked),
                (r"/picture/asked/(\d{1,9})/(\d{1,9})", self._asked_picture),
            )
        )

    def get(self, path: str) -> Answer:
        """Raises `DataError` for a path that means nothing here, and for what the run does not hold."""
        for pattern, answer in self._gets:
            match = pattern.fullmatch(path)
            if match:
                return answer(*map(int, match.groups()))
        raise DataError(f"{path[:80]!r} is nothing of a run; the page asks for /api/... and /picture/...")

    def post(self, path: str, asked: Any) -> Answer:
        """`/api/dream` imagines on from a latent, or only draws it; `/api/ask` puts a question, `/api/stop` takes it back.

        Raises `DataError` that says what was wrong with `asked`.
        """
        if path == "/api/dream":
            return self._dream(asked)
        if path == "/api/ask":
            return self._ask(asked)
        if path == "/api/stop" and isinstance(asked, dict) and _is_whole(asked.get("number")):
            return _json(self._questions.stop(asked["number"]))
        raise DataError(f"{path[:80]!r} takes nothing like that; POST to /api/dream, /api/ask or /api/stop")

    def _run(self, decisions_from: int, steps_from: int) -> Answer:
        with self._reading:
            more = self._watch.refresh(_READ_SECONDS)
            view = run_view(self._watch, decisions_from, steps_from)
        return _json(view | {"more": more, "dreamer": self._dreamer_view()})

    def _dreamer_view(self) -> dict[str, Any]:
        if not self._dreamer.done():
            return {"state": "loading"}
        error = self._dreamer.exception()
        if error is not None:
            return {"state": "none", "sentence": str(error)}
        dreamer = self._dreamer.result()
        return {"state": "ready", "spec": dreamer.action_spec.to_json(), "block": dreamer.action_block}

    def _decision(self, index: int) -> Answer:
        with self._reading:
            return _json(decision_view(self._watch, index))

    def _candidate(self, index: int, sample: int) -> Answer:
        with self._reading:
            return _json(candidate_view(self._watch, index, sample))

    def _pixels(self, index: int) -> Answer:
        dreamer = self._ready()
        with self._reading:
            return _json(pixel_view(self._watch, index, dreamer.draw))

    def _goal(self) -> Answer:
        return self._picture({name: picture[None] for name, picture in self._watch.goal.pictures.items()}, 1)

    def _step(self, number: int) -> Answer:
        with self._reading:
            frames = self._watch.step(number).observation.frames
        return self._picture({name: frame.image[None] for name, frame in frames.items()}, 1)

    def _real(self, index: int) -> Answer:
        with self._reading:
            decision = self._watch.decision(index)
            views = real_pictures(self._watch, decision)
        return self._picture(views, 1 + len(decision.latents), lasting=False)  # the future comes in while one watches

    def _plan(self, index: int) -> Answer:
        with self._reading:
            decision = self._watch.decision(index)
        return self._drawing(f"{index}", np.concatenate([decision.belief[None], decision.latents]))

    def _candidate_picture(self, index: int, sample: int) -> Answer:
        with self._reading:
            decision = self._watch.decision(index)
        require_sample(decision, sample)
        return self._drawing(f"{index}/{sample}", np.concatenate([decision.belief[None], decision.candidate_latents[sample]]))

    def _future_picture(self, index: int, number: int) -> Answer:
        with self._reading:
            decision = self._watch.decision(index)
        return self._drawing(f"{index}/future/{number}", np.concatenate([decision.belief[None], require_future(decision, number)]))

    def _drawing(self, key: str, latents: np.ndarray) -> Answer:
        body = self._drawn.get(key)
        if body is None:
            drawn = {name: np.asarray(view) for name, view in self._ready().draw(latents).items()}
            body = self._picture(drawn, len(latents)).body
            self._keep(key, body)
        return Answer(f"image/{self._pictures.lower()}", body, lasting=True)

    def _keep(self, key: str, body: bytes) -> None:
        with self._reading:
            self._drawn[key] = body
            while sum(map(len, self._drawn.values())) > _KEPT_BYTES and len(self._drawn) > 1:
                self._drawn.popitem(last=False)

    def _picture(self, views: Mapping[str, np.ndarray], columns: int, lasting: bool = True) -> Answer:
        image = sprite(views, self._watch.cameras, columns)
        return Answer(f"image/{self._pictures.lower()}", encoded(image, self._pictures), lasting)

    def _ready(self) -> Dreamer:
        try:
            return self._dreamer.result()
        except RoboDreamError as error:
            raise DataError(f"imagination cannot be drawn: {error}") from None

    def _choices(self, index: int) -> Answer:
        with self._reading:
            decision = self._watch.decision(index)
        return _json(self._questions.choices(decision))

    def _ask(self, asked: Any) -> Answer:
        asked, decision = checked(asked), None
        if _is_whole(asked.get("decision")):
            with self._reading:
                decision = self._watch.decision(asked["decision"])
        return _json(self._questions.ask(asked, decision))

    def _asked(self, number: int) -> Answer:
        return _json(self._questions.view(number))

    def _asked_picture(self, number: int, place: int) -> Answer:
        latents = self._questions.plan(number, place).latents
        if latents is None:
            raise DataError("this plan was imagined by another checkpoint, which is not loaded")
        return self._drawing(f"asked {number}/{place}", latents)

    def _dream(self, asked: Any) -> Answer:
        dreamer = self._ready()
        dream = self._asked_dream(asked)
        actions = asked.get("actions")
        if actions is not None:
            dream = dreamer.imagine(dream, _asked_actions(actions, dreamer))
        views = {name: np.asarray(view) for name, view in dreamer.draw(dream.latent[None]).items()}
        picture = base64.b64encode(self._picture(views, 1).body).decode()
        told = {"latent": _told(dream.latent), "disagreement": dream.disagreement}
        told |= {} if dream.memory is None else {"memory": _told(dream.memory)}
        return _json(told | {"picture": f"data:image/{self._pictures.lower()};base64,{picture}"})

    def _asked_dream(self, asked: Any) -> Dream:
        """The dream to go on from: a latent that the page sends back, or the belief of a decision."""
        if not isinstance(asked, dict):
            raise DataError(f"a dream is asked for with a JSON object; got {type(asked).__name__}")
        channels = self._watch.channels
        if "latent" in asked:
            latent = _numbers(asked["latent"], "latent")
            if latent.shape != (channels,):
                raise DataError(f"latent has shape {latent.shape}; expected ({channels},) as in the run")
            disagreement = _numbers(asked.get("disagreement", 0.0), "disagreement")
            if disagreement.shape != ():
                raise DataError(f"disagreement has shape {disagreement.shape}; expected one number")
            memory = None if asked.get("memory") is None else _numbers(asked["memory"], "memory")
            return Dream(latent, float(disagreement), memory)
        index = asked.get("decision")
        if not _is_whole(index):
            raise DataError("a dream begins at a `latent` or at the number of a `decision`; neither was given")
        with self._reading:
            decision = self._watch.decision(index)
        return Dream(decision.belief.astype(np.float32), memory=decision.memory)


def _asked_actions(actions: Any, dreamer: Dreamer) -> Float[np.ndarray, "time action"]:
    """A block of actions; raises `DataError` for another shape, and for what the limits do not allow."""
    block, spec = _numbers(actions, "actions"), dreamer.action_spec
    if block.shape != (dreamer.action_block, spec.size):
        raise DataError(f"actions have shape {block.shape}; expected one block of {dreamer.action_block} steps of {spec.size} numbers")
    try:
        return np.stack([spec.check(action) for action in block])
    except RoboDreamError as error:
        raise DataError(str(error)) from None


def _told(numbers: Float[np.ndarray, " number"]) -> list[float]:
    """To as many digits as single precision has."""
    return [float(f"{x:.7g}") for x in numbers]


def _is_whole(value: Any) -> TypeGuard[int]:
    """Whether it may number anything, as in a path."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9


def _numbers(value: Any, name: str) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(value, np.float64).astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{name} is no array of numbers") from None
    if np.asarray(value).dtype.kind not in "iuf":  # "1" is none, and true neither
        raise DataError(f"{name} is no array of numbers")
    if not np.isfinite(array).all():
        raise DataError(f"{name} holds numbers that are not finite")
    return array


def _json(value: Any) -> Answer:
    return Answer("application/json", json.dumps(value, separators=(",", ":"), allow_nan=False).encode())
