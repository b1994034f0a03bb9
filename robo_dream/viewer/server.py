"""The page of a run over HTTP, for this machine: the standard library's server, on loopback unless asked otherwise, read-only."""

import ipaddress
import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from robo_dream.errors import ConfigError, DataError, RoboDreamError
from robo_dream.foreign import parse_json
from robo_dream.viewer.routes import Answer, Routes

LOOPBACK = "127.0.0.1"
_log = logging.getLogger(__name__)
_NAME = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d+)?")  # a host, then perhaps a port
_MAX_BODY = 2**20  # bytes; a latent and a block of actions take some kB
MAX_CONNECTIONS = 64  # each with a thread of its own; a browser opens six
SCRIPTS = (  # in the order of the page
    "source.js", "draw.js", "timeline.js", "views.js", "ask.js", "walk.js", "frames.js", "keys.js", "page.js",
)  # fmt: skip
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in SCRIPTS},
}
_ALLOWED = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def page_file(name: str) -> bytes:
    """A file of the page, as it lies in the package."""
    return resources.files("robo_dream.viewer").joinpath("page", name).read_bytes()


class PageServer(ThreadingHTTPServer):
    """Serves `routes` at `host` and `port` (0: any free one); `url` is where. Raises `ConfigError` when that cannot be had."""

    daemon_threads = True

    def __init__(self, routes: Routes, host: str = LOOPBACK, port: int = 0, max_connections: int = MAX_CONNECTIONS) -> None:
        self.routes, self.host, self.connections = routes, host, _Connections(max_connections)
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"nothing can be served at {host}:{port} ({error}); give another --port, or none for any free one") from None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.server_port}/"

    def names(self, host: str | None) -> bool:
        """Whether a request with this Host header means this server; a name that anybody can point here (DNS rebinding) does not."""
        name = _NAME.fullmatch(host or "")
        if name is None:
            return False
        try:
            ipaddress.ip_address(name[1].strip("[]"))
            return True  # a number is nobody's name
        except ValueError:
            return name[1].lower() in ("localhost", self.host.lower())

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.connections.begin(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        self.connections.end(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a connection from %s ended", client_address, exc_info=True)


class _Connections:
    """Those that are open, at most so many. Who is waited for gives way: a client that says or takes nothing keeps nobody out."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._open: dict[socket.socket, bool] = {}  # in the order in which they last had an answer: whether one is being made

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, request: socket.socket) -> bool:
        """Whether there is room for `request`; the one that has been waited for longest is ended for it."""
        with self._lock:
            if len(self._open) >= self._most:
                idle = next((one for one, is_answered in self._open.items() if not is_answered), None)
                if idle is None:
                    return False
                del self._open[idle]
                with suppress(OSError):  # its thread reads the end, and ends
                    idle.shutdown(socket.SHUT_RDWR)
            self._open[request] = False
            return True

    def answering(self, request: socket.socket, is_answered: bool) -> None:
        """An answer to `request` is being made, or is made and waits to be taken."""
        with self._lock:
            if self._open.pop(request, None) is not None:
                self._open[request] = is_answered

    def end(self, request: socket.socket) -> None:
        with self._lock:
            self._open.pop(request, None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "robo-dream", ""
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one piece
    timeout = 60
    server: PageServer

    def do_GET(self) -> None:
        self._reply(self._get)

    def do_POST(self) -> None:
        self._reply(self._post)

    def _get(self) -> Answer:
        path = _path(self.path)
        if path in _FILES:
            name, kind = _FILES[path]
            return Answer(kind, page_file(name))
        with self._answering():
            return self.server.routes.get(path)

    def _post(self) -> Answer:
        origin = self.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != self.headers.get("Host"):  # every browser says which site asks
            self.close_connection = True
            raise ConfigError(f"a request from {origin[:80]}; only this page itself may ask")
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdecimal() and len(length) < 9) or int(length) > _MAX_BODY:
            self.close_connection = True
            raise ConfigError(f"a request of {length[:20] or 'unknown'} bytes; allowed are up to {_MAX_BODY}")
        body = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":  # another site's form cannot send this
            raise ConfigError(f"a request of type {self.headers.get_content_type()}; send application/json")
        try:
            asked = parse_json(body, "a request")
        except DataError as error:
            raise ConfigError(str(error)) from None
        with self._answering():
            return self.server.routes.post(_path(self.path), asked)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Nobody waits for the client meanwhile."""
        self.server.connections.answering(self.connection, True)
        try:
            yield
        finally:
            self.server.connections.answering(self.connection, False)

    def _reply(self, answer_to: Callable[[], Answer]) -> None:
        if not self.server.names(self.headers.get("Host")):
            self.close_connection = True
            return self._send(HTTPStatus.FORBIDDEN, _sentence(f"this page is at {self.server.url}, not at another name for it"))
        self._send(*self._made(answer_to))

    def _made(self, answer_to: Callable[[], Answer]) -> tuple[HTTPStatus, Answer]:
        try:
            return HTTPStatus.OK, answer_to()
        except ConfigError as error:
            return HTTPStatus.BAD_REQUEST, _sentence(str(error))
        except RoboDreamError as error:
            return HTTPStatus.NOT_FOUND, _sentence(str(error))
        except TimeoutError:
            self.close_connection = True
            return HTTPStatus.REQUEST_TIMEOUT, _sentence("the request did not come to its end")
        except Exception as error:  # the page must hear of it, and the server goes on
            _log.exception("%s", self.path)
            said = f"{type(error).__name__}: {error}; this is a mistake in robo-dream, the server's terminal shows where"
            return HTTPStatus.INTERNAL_SERVER_ERROR, _sentence(said)

    def _send(self, status: HTTPStatus, answer: Answer) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", "private, max-age=86400" if answer.lasting else "no-store")
            self.send_header("Content-Security-Policy", _ALLOWED)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
        except OSError:
            self.close_connection = True  # the page has moved on, or takes nothing

    def log_message(self, format: str, *args: object) -> None:
        _log.debug(format, *args)


def _path(asked: str) -> str:
    return asked.partition("?")[0].partition("#")[0]


def _sentence(text: str) -> Answer:
    return Answer("application/json", json.dumps({"error": text}).encode())
