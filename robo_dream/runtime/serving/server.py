"""A planner that serves: robots ask over a websocket, in openpi's protocol, and decisions that are alike are made in one search.

A client is told the metadata when it connects; then each message is a question, answered by a message or, where it cannot be, by an error
as text, and the connection goes on. Nothing of a client is kept between two questions. A client has one question at a time under way, and
the oldest question is always of the next search, so nobody is passed over.
"""

import asyncio
import hmac
import logging
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from robo_dream.config import Changes
from robo_dream.errors import ConfigError, NoAnswerError, RoboDreamError, one_line
from robo_dream.models.compiled import precision_here
from robo_dream.models.config import PrecisionChoice
from robo_dream.runtime.inspect import require_fit
from robo_dream.runtime.model import device_named, load_checkpoint_model
from robo_dream.runtime.planner import PlanningChanges, planning_for
from robo_dream.runtime.serving.answers import Answer, Answers, Asked, DecisionAsked, GoalAsked, answers_of
from robo_dream.runtime.serving.metrics import Metrics
from robo_dream.runtime.serving.wire import extra, number_in, pack, unpack
from robo_dream.schema import Device, Unit, configuration

_log = logging.getLogger(__name__)
_SHORTEST_TOKEN = 16  # letters
_HELLO = 5.0  # s that a connection may take to open
_TOO_MANY = 1013  # websocket's "try again later"


@configuration
class ServeConfig:
    """Which checkpoint serves, where, to whom, and how much of it."""

    checkpoint: Path = Path("configs/checkpoints/jaco_recorded_s.safetensors")
    host: str = "127.0.0.1"  # this machine alone; any other address needs a token
    port: Annotated[int, Field(ge=0, le=65535)] = 8765  # 0: any free one
    token_file: Path | None = None  # whose text clients must show
    certificate: Path | None = None  # PEM, with its chain; makes it wss://
    key: Path | None = None  # PEM, of the certificate
    max_clients: Annotated[int, Field(ge=1, le=1000)] = 16
    max_message: Annotated[int, Field(ge=1024, le=1 << 30), Unit("bytes")] = 8 << 20
    max_together: Annotated[int, Field(ge=1, le=256)] = 16  # decisions of one search; 1: each alone, equal to the bit to one in process
    seconds: Annotated[float, Field(gt=0, le=600), Unit("s")] = 10.0  # that a question may take at most; a client may ask for less
    refuse_unfit: bool = True  # by the verdict of `robo-dream inspect`; false only says it
    device: Device = "cpu"
    compiled: bool = False
    precision: PrecisionChoice = "float32"
    planning: PlanningChanges = field(default_factory=Changes)  # what is changed of the checkpoint's settings
    by_task: Mapping[str, PlanningChanges] = field(default_factory=dict)  # and of those for a task, after that

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("certificate and key belong together; give both, or none to serve without TLS")
        if not self.is_loopback and self.token_file is None:
            raise ConfigError(
                f"host is {self.host!r}, where others than this machine can ask; give token_file=FILE, whose text they must know "
                "(and certificate= and key=, so that nobody reads it on the way), or leave host at 127.0.0.1"
            )

    @property
    def is_loopback(self) -> bool:
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def read_token(path: Path) -> str:
    """The token in a file; raises `ConfigError` for one that is not there, or that can be guessed."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"token_file {path} cannot be read: {one_line(error)}") from None
    if len(token) < _SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(f"the token in {path} has {len(token)} letters; give {_SHORTEST_TOKEN} or more in one word: openssl rand -hex 32")
    return token


def answers_for(config: ServeConfig, say: Callable[[str], None]) -> Answers:
    """The model of `config`, ready to answer; raises as `load_checkpoint_model` and `require_fit` do."""
    precision = precision_here(config.precision, device_named(config.device))
    model = load_checkpoint_model(config.checkpoint, config.device, config.compiled, precision)
    how = {"device": config.device, "compiled": config.compiled, "precision": precision}
    answers = answers_of(config.checkpoint, model, how, config.planning, config.by_task)
    require_fit(config.checkpoint, model, planning_for(answers.info, "", config.planning), config.refuse_unfit, say)
    return answers


@dataclass
class _Waiting:
    """A question that waits for its search."""

    asked: Asked
    answer: "asyncio.Future[Answer]"
    since: float


class PlannerServer:
    """Serves `answers` as `config` says. `run` serves until it is cancelled; `address` is then where."""

    def __init__(self, config: ServeConfig, answers: Answers) -> None:
        self.config, self.answers, self.metrics = config, answers, Metrics()
        self.address: tuple[str, int] | None = None
        self._token = None if config.token_file is None else read_token(config.token_file)
        self._hello = pack(answers.metadata())
        self._waiting: list[_Waiting] = []
        self._work = asyncio.Event()

    @property
    def url(self) -> str:
        assert self.address is not None
        host = f"[{self.address[0]}]" if ":" in self.address[0] else self.address[0]
        return f"{'ws' if self.config.certificate is None else 'wss'}://{host}:{self.address[1]}"

    async def run(self, is_ready: Callable[[], None]) -> None:
        """Raises `ConfigError` where the address cannot be had or the certificate cannot be used."""
        serve, config = extra("websockets.asyncio.server").serve, self.config
        logging.getLogger("websockets").setLevel(logging.WARNING)
        pool = ThreadPoolExecutor(1, "planner")
        searching = asyncio.create_task(self._search(pool))
        try:
            server = await serve(
                self._client, config.host, config.port, ssl=self._tls(), compression=None, max_size=config.max_message,
                process_request=self._request, origins=[None], open_timeout=_HELLO,
            )  # fmt: skip
        except OSError as error:
            searching.cancel()
            raise ConfigError(
                f"nothing can be served at {config.host}:{config.port} ({one_line(error)}); give another host= or port="
            ) from None
        try:
            async with server:
                self.address = next(iter(server.sockets)).getsockname()[:2]
                is_ready()
                await searching  # it ends by being cancelled, or by a mistake
        finally:
            searching.cancel()
            pool.shutdown(wait=False, cancel_futures=True)

    def _tls(self) -> ssl.SSLContext | None:
        if self.config.certificate is None or self.config.key is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.config.certificate, self.config.key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"certificate {self.config.certificate} with key {self.config.key} cannot be used: {one_line(error)}"
            ) from None
        return context

    def _request(self, connection: Any, request: Any) -> Any:
        """What is answered to a request before it becomes a websocket; None lets it become one. Pages of browsers cannot: see `origins`."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return connection.respond(HTTPStatus.OK, "OK\n")
        if not self._is_known(request.headers.get("Authorization", "")):
            self.metrics.count("refused")
            return connection.respond(HTTPStatus.UNAUTHORIZED, "This planner needs its token: `Authorization: Api-Key TOKEN`\n")
        if path == "/metrics":
            return connection.respond(HTTPStatus.OK, self.metrics.text())
        if self.metrics.clients >= self.config.max_clients:
            self.metrics.count("refused")
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{self.config.max_clients} clients are connected; no more may be\n")
        return None

    def _is_known(self, said: str) -> bool:
        if self._token is None:
            return True
        kind, _, token = said.partition(" ")
        return kind in ("Api-Key", "Bearer") and hmac.compare_digest(token.strip().encode(), self._token.encode())

    async def _client(self, connection: Any) -> None:
        if self.metrics.clients >= self.config.max_clients:  # several came at once
            self.metrics.count("refused")
            await connection.close(_TOO_MANY, f"{self.config.max_clients} clients are connected")
            return
        self.metrics.clients += 1
        gone = asyncio.ensure_future(connection.wait_closed())
        try:
            await connection.send(self._hello)
            async for message in connection:
                answer = await self._answer(message, gone)
                if answer is None:
                    return
                await connection.send(answer)
        except extra("websockets.exceptions").ConnectionClosed:
            pass
        finally:
            gone.cancel()
            self.metrics.clients -= 1

    async def _answer(self, message: bytes | str, gone: "asyncio.Future[None]") -> bytes | str | None:
        """What is sent back to `message`: an answer, or an error as text. None: nobody is there any more."""
        began = time.monotonic()
        self.metrics.count("questions")
        try:
            if isinstance(message, str):
                raise NoAnswerError("a text came; expected msgpack with NumPy arrays, as openpi has it")
            told = unpack(message)
            seconds = min(number_in(told, "seconds", None, 0.0, 1e9) or self.config.seconds, self.config.seconds)
            waiting = _Waiting(self.answers.asked(told), asyncio.get_running_loop().create_future(), began)
            self._waiting.append(waiting)
            self._work.set()
            await asyncio.wait({waiting.answer, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.answer.done():
                waiting.answer.cancel()
                if gone.done():
                    self.metrics.count("left")
                    return None
                self.metrics.count("late")
                raise NoAnswerError(f"no plan within {seconds:g} s: {len(self._waiting)} questions are before or beside this one")
            answer = waiting.answer.result()
        except RoboDreamError as error:
            self.metrics.count("errors")
            return one_line(error)
        except Exception as error:
            self.metrics.count("errors")
            _log.exception("a question could not be answered")
            return f"the planner failed ({type(error).__name__}: {one_line(error, 300)}); its log says where"
        self.metrics.count("decisions", isinstance(waiting.asked, DecisionAsked))
        self.metrics.took(time.monotonic() - began)
        return pack(answer)

    async def _search(self, pool: ThreadPoolExecutor) -> None:
        """Makes one search after another, for the oldest question and those that are like it."""
        loop = asyncio.get_running_loop()
        while True:
            await self._work.wait()
            batch = self._next()
            if not batch:
                self._work.clear()
                continue
            self.metrics.count("searches")
            answers = await loop.run_in_executor(pool, self._answered, [one.asked for one in batch])
            for one, answer in zip(batch, answers, strict=True):
                if one.answer.done():  # whoever asked gave up
                    continue
                if isinstance(answer, Exception):
                    one.answer.set_exception(answer)
                else:
                    one.answer.set_result(answer)

    def _next(self) -> list[_Waiting]:
        """The oldest question that is still waited for, and those that can share its search; they wait no more."""
        waiting = [one for one in self._waiting if not one.answer.done()]
        batch = waiting[:1]
        if batch and isinstance(first := batch[0].asked, DecisionAsked):
            others = (one for one in waiting[1:] if isinstance(one.asked, DecisionAsked) and one.asked.alike == first.alike)
            batch += list(others)[: self.config.max_together - 1]
        chosen = {id(one) for one in batch}
        self._waiting = [one for one in waiting if id(one) not in chosen]
        self.metrics.waiting = len(self._waiting)
        return batch

    def _answered(self, asked: Sequence[Asked]) -> list[Answer | Exception]:
        """In the planner's thread. Where a search of several fails, each is searched alone: one odd question spoils nobody's."""
        try:
            if isinstance(asked[0], GoalAsked):
                return [self.answers.goal_answer(asked[0])]
            return list(self.answers.decisions([one for one in asked if isinstance(one, DecisionAsked)]))
        except Exception as error:
            if len(asked) > 1:
                return [answer for one in asked for answer in self._answered([one])]
            return [error]


@contextmanager
def serving(config: ServeConfig, answers: Answers) -> Iterator[PlannerServer]:
    """A server in a thread of this process, for as long as the block lasts."""
    ready, failed = threading.Event(), []
    loop = asyncio.new_event_loop()
    server = PlannerServer(config, answers)
    task = loop.create_task(server.run(ready.set))

    def work() -> None:
        try:
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        except BaseException as error:
            failed.append(error)
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=work, name="planner server", daemon=True)
    thread.start()
    ready.wait()
    try:
        if failed:
            raise failed[0]
        yield server
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(task.cancel)
        thread.join()


def serve_forever(config: ServeConfig, say: Callable[[str], None]) -> int:
    """Serves until Ctrl-C or SIGTERM."""
    for library in ("websockets.asyncio.server", "msgpack"):
        extra(library)  # before the model is loaded
    server = PlannerServer(config, answers_for(config, say))

    def ready() -> None:
        say(f"{config.checkpoint} plans at {server.url}   health: /healthz   metrics: /metrics   Ctrl-C ends it")
        if config.certificate is None and not config.is_loopback:
            say("without TLS: whoever is on the way reads token and pictures; give certificate= and key=")

    asyncio.run(server.run(ready))
    return 0
