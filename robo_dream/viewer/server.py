"""The page of a run over HTTP, for this machine: the standard library's server, on loopback unless asked otherwise, read-only."""

import ipaddress
import json
import logging
import re
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from urllib.parse import urlsplit

from robo_dream.errors import ConfigError, RoboDreamError
from robo_dream.viewer.routes import Answer, Routes

LOOPBACK = "127.0.0.1"
_log = logging.getLogger(__name__)
_NAME = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]]+)(?::\d+)?")  # a host, then perhaps a port
_MAX_BODY = 2**20  # bytes; a latent and a block of actions take some kB
SCRIPTS = (  # in the order of the page
    "source.js", "draw.js", "timeline.js", "views.js", "ask.js", "walk.js", "frames.js", "keys.js", "page.js",
)  # fmt: skip
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    **{f"/{name}": (name, "text/javascript; charset=utf-8") for name in SCRIPTS},
}
_ALLOWED = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"


def page_file(name: str) -> bytes:
    """A file of the page, as it lies in the package."""
    return resources.files("robo_dream.viewer").joinpath("page", name).read_bytes()


class PageServer(ThreadingHTTPServer):
    """Serves `routes` at `host` and `port` (0: any free one); `url` is where. Raises `ConfigError` when that cannot be had."""

    daemon_threads = True

    def __init__(self, routes: Routes, host: str = LOOPBACK, port: int = 0) -> None:
        self.routes, self.host = routes, host
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
        path = urlsplit(self.path).path
        if path in _FILES:
            name, kind = _FILES[path]
            return Answer(kind, page_file(name))
        return self.server.routes.get(path)

    def _post(self) -> Answer:
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != self.headers.get("Host"):  # every browser says which site asks
            self.close_connection = True
            raise ConfigError(f"a request from {origin[:80]}; only this page itself may ask")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MAX_BODY:
            self.close_connection = True
            raise ConfigError(f"a request of {length[:20] or 'unknown'} bytes; allowed are up to {_MAX_BODY}")
        body = self.rfile.read(int(length))
        if self.headers.get_content_type() != "application/json":  # another site's form cannot send this
            raise ConfigError(f"a request of type {self.headers.get_content_type()}; send application/json")
        try:
            asked = json.loads(body)
        except ValueError as error:
            raise ConfigError(f"a request that is not JSON ({error})") from None
        return self.server.routes.post(urlsplit(self.path).path, asked)

    def _reply(self, answer_to: Callable[[], Answer]) -> None:
        if not self.server.names(self.headers.get("Host")):
            self.close_connection = True
            return self._send(HTTPStatus.FORBIDDEN, _sentence(f"this page is at {self.server.url}, not at another name for it"))
        try:
            self._send(HTTPStatus.OK, answer_to())
        except ConfigError as error:
            self._send(HTTPStatus.BAD_REQUEST, _sentence(str(error)))
        except RoboDreamError as error:
            self._send(HTTPStatus.NOT_FOUND, _sentence(str(error)))

    def _send(self, status: HTTPStatus, answer: Answer) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", "private, max-age=86400" if answer.lasting else "no-store")
            self.send_header("Content-Security-Policy", _ALLOWED)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(answer.body)
            self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the page has moved on

    def log_message(self, format: str, *args: object) -> None:
        _log.debug(format, *args)


def _sentence(text: str) -> Answer:
    return Answer("application/json", json.dumps({"error": text}).encode())
