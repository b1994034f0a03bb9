"""The robot's side of a planner that serves: asks over a websocket, and hands what comes back to the loop like any decision. No torch.

A question carries all that its answer depends on, so a connection that was lost is made anew and nothing else is. No answer in time, no
connection, an error and an answer that cannot be used are all the same to the loop: there is no plan, the arm holds, and stops after
`max_consecutive_holds`. By the robot's own limits it is judged what is too old, odd or wrong to act on, never by the server's.
"""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from robo_dream.control.asynchronous import Ahead, ThreadWorker
from robo_dream.control.choosing import Chooser, Decided, NoAnswer, TurnByTurn, decision_seed, execute_steps_of, judged
from robo_dream.control.episode import Bench, EpisodeRun, LoopConfig
from robo_dream.embodiment import ActionSpec, Observation
from robo_dream.errors import CheckpointError, ConfigError, DataError, NoAnswerError, RoboDreamError, one_line
from robo_dream.recording.odd import action_spec_in, require_about, require_decision, require_indices
from robo_dream.recording.record import GoalRecord
from robo_dream.runtime.connect import CameraSetup, Connected
from robo_dream.runtime.goals import goal_seen, pictures_of
from robo_dream.runtime.mover import Aimed, Mover
from robo_dream.runtime.run import PoseGoal, RemotePlanner, RunConfig, TextGoal
from robo_dream.runtime.serving.wire import array_in, decision_in, extra, map_in, number_in, observation_message, pack, unpack, whole_in
from robo_dream.safety.limits import SafetyLimits, belief_reasons, perception_reasons
from robo_dream.schema import shown
from robo_dream.status import PlanStatus

_FIRST = 10.0  # s for connecting and for the goal, before anything moves
_MAX_ANSWER = 256 << 20  # bytes
_SERVER = "robo_dream"


class Link:
    """A connection to a planner that serves, made when it is first asked and again where it was lost. One question at a time.

    Each question is asked by a thread of its own, so that no send, name server or silent peer keeps the loop longer than it waits.
    """

    def __init__(self, planner: RemotePlanner) -> None:
        self.planner = planner
        self._tls = None
        if planner.url.startswith("wss://"):
            self._tls = ssl.create_default_context()
            if planner.certificate is not None:
                try:
                    self._tls.load_verify_locations(planner.certificate)
                except (OSError, ssl.SSLError) as error:
                    raise ConfigError(f"planner.certificate {planner.certificate} cannot be used: {one_line(error)}") from None
        self._token = None
        if planner.token_file is not None:
            try:
                self._token = planner.token_file.read_text(encoding="ascii").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"planner.token_file {planner.token_file} cannot be read: {one_line(error)}") from None
        self._connection: Any = None
        self._lock, self._asking = threading.Lock(), 0  # which question is under way: who asks an older one lets the connection be
        self.metadata: dict[str, Any] = {}

    def ask(self, message: Mapping[str, Any] | None, seconds: float) -> dict[str, Any]:
        """The answer to `message` (None: only connects, and gives the metadata); raises `NoAnswerError` after `seconds` at the latest."""
        end = time.monotonic() + seconds
        with self._lock:
            self._asking += 1
        answers: queue.SimpleQueue[dict[str, Any] | Exception] = queue.SimpleQueue()
        threading.Thread(target=self._ask, args=(message, end, answers, self._asking), name="planner link", daemon=True).start()
        try:
            answer = answers.get(timeout=seconds)
        except queue.Empty:
            answer = TimeoutError()
        if isinstance(answer, TimeoutError):
            self.close()  # an answer that comes later is to nobody's question
            raise NoAnswerError(f"the planner at {self.planner.url} gave no answer within {seconds:.3g} s")
        if isinstance(answer, NoAnswerError):
            raise answer
        if isinstance(answer, Exception):
            self.close()
            said = one_line(answer, 300)
            raise NoAnswerError(f"the planner at {self.planner.url} cannot be reached ({type(answer).__name__}: {said})") from answer
        return answer

    def close(self) -> None:
        """Ends the connection at once: who waits on it is let go."""
        with self._lock:
            self._asking += 1
            connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def _ask(
        self, message: Mapping[str, Any] | None, end: float, answers: "queue.SimpleQueue[dict[str, Any] | Exception]", number: int
    ) -> None:
        try:
            connection = self._connection
            if connection is None:
                connection = self._connected(end)
                with self._lock:
                    if number != self._asking:
                        connection.close()
                        return
                    self._connection = connection
            if message is None:
                answers.put(self.metadata)
                return
            connection.send(pack(message))
            answer = connection.recv(timeout=max(end - time.monotonic(), 0.0))
            if isinstance(answer, str):
                raise NoAnswerError(f"the planner at {self.planner.url} says: {answer[:1000]}")
            answers.put(unpack(answer))
        except Exception as error:
            answers.put(error)

    def _connected(self, end: float) -> Any:
        connect, left = extra("websockets.sync.client").connect, max(end - time.monotonic(), 0.001)
        headers = None if self._token is None else {"Authorization": f"Api-Key {self._token}"}
        connection = connect(  # entered and never left: leaving it waits for the other side, see `close`
            self.planner.url, ssl=self._tls, compression=None, max_size=_MAX_ANSWER, additional_headers=headers, open_timeout=left,
            proxy=None,
        ).__enter__()  # fmt: skip
        try:
            told = connection.recv(timeout=max(end - time.monotonic(), 0.0))
            metadata = unpack(told) if isinstance(told, bytes) else {}
            if self.metadata and metadata.get("checkpoint_sha256") != self.metadata["checkpoint_sha256"]:
                raise NoAnswerError(f"the planner at {self.planner.url} has another checkpoint than when this run began")
        except BaseException:  # nobody else knows of it yet
            connection.close()
            raise
        self.metadata = metadata
        return connection


@dataclass(frozen=True)
class Followed:
    """The plan before, as far as the next search reads it."""

    actions: Float[np.ndarray, "time action"]
    elites: Float[np.ndarray, "elite time action"]

    def moved_on(self, num_steps: int) -> "Followed":
        """After `num_steps` more than one block; what is missing at the end holds still."""

        def moved(actions: np.ndarray) -> np.ndarray:
            still = np.zeros((*actions.shape[:-2], min(num_steps, actions.shape[-2]), actions.shape[-1]), actions.dtype)
            return np.concatenate([actions[..., num_steps:, :], still], -2)

        return Followed(moved(self.actions), moved(self.elites)) if num_steps else self


@dataclass(frozen=True)
class KeptMemory:
    """What a model that remembers gave back at control step `step`, to be given to it again."""

    step: int
    message: Mapping[str, Any]


@dataclass(frozen=True)
class RemoteDecider:
    """Asks for each decision of an episode. Nobody waits longer than `seconds`: then no answer could be acted on any more."""

    link: Link
    action_block: int
    task: str
    goal: Mapping[str, Any]
    seed: int
    clock: Callable[[], float]
    limits: SafetyLimits
    seconds: float
    search_seconds: float | None = None  # deadline of each search

    def decide(
        self,
        observations: Sequence[Observation],
        step: int,
        previous: Followed | None,
        committed: Float[np.ndarray, "time action"] | None = None,
        start: int | None = None,
        before: KeptMemory | None = None,
        moved: Sequence[Float[np.ndarray, " action"]] = (),
    ) -> Decided[Followed, KeptMemory] | NoAnswer:
        """See `Decides`."""
        began, seen = self.clock(), observations[-1]
        message: dict[str, Any] = {
            "task": self.task, "observation": observation_message(seen), "goal": dict(self.goal), "step": step,
            "start": step if start is None else start, "seed": decision_seed(self.seed, step), "seconds": self.seconds, "keep": True,
            "perception": self.limits.false_alarms is not None, "search_seconds": self.search_seconds,
        }  # fmt: skip
        if previous is not None:
            message |= {"previous": previous.actions, "previous_elites": previous.elites}
        if committed is not None and len(committed):
            message["committed"] = committed
        if before is not None:
            message["memory"] = dict(before.message)
            if len(moved):
                message["moved"] = np.asarray(moved, np.float32)
        try:
            return self._decided(self.link.ask(message, self.seconds), message, seen, began)
        except (NoAnswerError, DataError) as error:
            return NoAnswer((str(error),))

    def moved_on(self, plan: Followed, num_steps: int) -> Followed:
        return plan.moved_on(num_steps)

    def _decided(
        self, answer: Mapping[str, Any], message: Mapping[str, Any], seen: Observation, began: float
    ) -> Decided[Followed, KeptMemory]:
        """What is to be done with `answer`; raises `DataError` for one that is none to `message`."""
        source = Path(f"the answer of {self.planner_name}")
        decision = replace(decision_in(answer, "decision"), time=seen.time)
        require_decision(decision, source)
        require_indices(decision.elites, 0, len(decision.candidates), "elites", source)
        require_indices(decision.origins, 0, len(decision.origin_names), "origins", source)
        if (decision.step, decision.seed) != (message["start"], message["seed"]) or decision.elites is None:
            raise DataError(f"{source} is to another question: step {decision.step}, seed {decision.seed}")
        told = np.asarray(answer.get("tool_pos"), object)
        if told.shape != (3,) or not all(isinstance(x, float) for x in told):
            raise DataError(f"{source} does not say where the model sees the tool, but {shown(answer.get('tool_pos'))}")
        unsure_reasons = belief_reasons(told.astype(np.float64), seen.arm, self.limits)
        if self.limits.false_alarms is not None:
            usual, cause = number_in(answer, "usual", None, 0.0, 1.0), answer.get("cause")
            if usual is None or not isinstance(cause, str):
                raise DataError(f"{source} does not say whether what is seen looks usual, which limits.false_alarms asks for")
            unsure_reasons += perception_reasons(float(usual), cause[:300], self.limits)
        status, reasons = judged(PlanStatus(decision.status), unsure_reasons)
        decision = replace(decision, status=status.value, unsure_reasons=unsure_reasons)
        remembered = None
        if "memory" in answer:
            memory = map_in(answer, "memory", ("latent", "memory", "unseen", "step", "exposed"))
            remembered = KeptMemory(whole_in(memory, "step", 0, 10**9), memory)
        followed = Followed(decision.actions, decision.candidates[decision.elites])
        return Decided(followed, decision, self.clock() - began, reasons, remembered)

    @property
    def planner_name(self) -> str:
        return self.link.planner.url.replace("//", "")


@dataclass(frozen=True)
class RemotePolicy:
    """Actions from plans that are made elsewhere, towards a goal that was encoded there. As `PlannerPolicy` in all else."""

    link: Link
    action_spec: ActionSpec
    action_block: int
    remembers: bool
    task: str
    goal: Mapping[str, Any] = field(repr=False)
    seed: int = 0

    def begin(self, run: EpisodeRun) -> Chooser:
        config = run.config
        execute_steps = execute_steps_of(run, self.action_spec, self.action_block, self.remembers)
        decider = RemoteDecider(
            self.link, self.action_block, self.task, self.goal, self.seed, run.clock.now, config.limits,
            patience(config, self.action_block, self.action_spec.control_dt), config.decision_seconds,
        )  # fmt: skip
        return Ahead(run, decider, ThreadWorker()) if config.asynchronous else TurnByTurn(run, decider, execute_steps)


def patience(config: LoopConfig, block: int, control_dt: float) -> float:
    """How long an answer is waited for (s): as long as it could be acted on."""
    ahead = ((config.commit_steps or block) + config.limits.max_late_steps) * control_dt
    return max(config.limits.max_plan_age, ahead if config.asynchronous else 0.0)


@contextmanager
def remote_mover(config: RunConfig, planner: RemotePlanner) -> Iterator[Mover]:
    """A planner elsewhere as the one who chooses the moves. Raises `NoAnswerError` where it is not there, and `CheckpointError` where it is
    something else, or has not learned what the limits of this run ask for."""
    link = Link(planner)
    try:
        told = link.ask(None, _FIRST)
        if told.get("server") != _SERVER:
            raise CheckpointError(f"{planner.url} is no planner of robo_dream: it says {shown(told)}. Start one with `robo-dream serve`")
        setup, policy = _told(told, planner, link, config)
        asked, least = config.loop.limits.false_alarms, told.get("perception_least")
        if asked is not None and (not isinstance(least, float) or asked < least):
            raise ConfigError(
                f"limits.false_alarms is {asked:g}, and the checkpoint of {planner.url} "
                f"{'never learned what is usual to see' if least is None else f'tells shares from {shown(least)} on'}; set it to null, or "
                "calibrate that checkpoint with `robo-dream calibrate perception`"
            )
        said = f"the moves are planned at {planner.url}, with {shown(told.get('checkpoint'))}"
        yield Mover(setup, lambda bench: None, lambda bench: _aimed(config, link, policy, setup, told, bench), said=said)
    finally:
        link.close()


def _told(told: Mapping[str, Any], planner: RemotePlanner, link: Link, config: RunConfig) -> tuple[CameraSetup, RemotePolicy]:
    try:
        spec = action_spec_in(told["action_spec"], planner.url)
        cameras, size = tuple(map(str, told["cameras"])), whole_in(told, "image_size", 0, 8192)
        moves = spec if spec.kind == "joint_move" else None
        setup = CameraSetup(cameras, size, spec.control_dt, moves, told["picture_goals"] is True)
        block = max(whole_in(told, "action_block", 1, 1000), 1)
        return setup, RemotePolicy(link, spec, block, told["remembers"] is True, config.task, {}, config.seed)
    except (KeyError, TypeError, RoboDreamError) as error:
        raise CheckpointError(f"{planner.url} tells badly of its checkpoint ({one_line(error)}); is it of this release?") from None


def _aimed(config: RunConfig, link: Link, policy: RemotePolicy, setup: CameraSetup, told: Mapping[str, Any], bench: Connected) -> Aimed:
    """The goal is encoded by the server, once; what it is made of is kept here."""
    seen = goal_seen(config.goal, setup, bench)
    assert not isinstance(seen, TextGoal), "see `require_policy`"
    message: dict[str, Any] = {"ask": "goal", "task": config.task}
    if isinstance(seen, PoseGoal):
        goal: dict[str, Any] = {} if seen.tool_pos is None else {"tool_pos": np.asarray(seen.tool_pos, np.float32)}
        if seen.object_pos is not None:  # of the first object; the others stay
            things = np.full((max(whole_in(told, "num_objects", 1, 1000), 1), 3), np.nan, np.float32)
            things[0] = seen.object_pos
            goal["object_pos"] = things
        message |= {"goal": goal, "observation": observation_message(Bench(bench.arm, bench.cameras, bench.clock).observe())}
    else:
        shown_goal = replace(seen, frames={name: seen.frames[name] for name in setup.cameras})
        message["goal"] = {"observation": _picture_alone(shown_goal)}
    answer = link.ask(message, _FIRST)
    given, made_by = map_in(answer, "goal", ("latent", "object_pos", "tool_pos")), map_in(answer, "made_by")
    require_about(made_by, Path(policy.link.planner.url))
    object_pos = array_in(given, "object_pos", 2, 3, is_partial=True) if "object_pos" in given else None
    tool_pos = array_in(given, "tool_pos", 1, 3) if "tool_pos" in given else None
    kept = GoalRecord(pictures_of(seen, setup.cameras), array_in(given, "latent", 1), object_pos, tool_pos)
    how = map_in(answer, "how", ("device", "compiled", "precision"))
    return Aimed(replace(policy, goal=given), kept, made_by, how)


def _picture_alone(seen: Observation) -> dict[str, Any]:
    """A goal of pictures alone has an arm that says nothing; that is left out."""
    message = observation_message(seen)
    if not np.isfinite(seen.arm.tool_pos).all():
        del message["arm"]
    return message
