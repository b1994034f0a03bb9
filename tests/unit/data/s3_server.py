"""A server on this machine that speaks S3, for tests."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import Request, urlopen

import pytest

from robo_dream import store

BUCKET = "episodes"


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its address, with an empty bucket, and with this process and those that it starts set to ask it."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        address = f"http://{host}:{port}"
        for name, value in (("ENDPOINT_URL", address), ("ACCESS_KEY_ID", "x"), ("SECRET_ACCESS_KEY", "x"), ("DEFAULT_REGION", "us-east-1")):
            monkeypatch.setenv(f"AWS_{name}", value)
        store.filesystem.cache_clear()  # of a server before
        urlopen(Request(f"{address}/moto-api/reset", method="POST")).close()  # servers of one process share what they keep
        store.filesystem("s3").mkdir(BUCKET)
        yield address
    finally:
        store.filesystem.cache_clear()
        server.stop()
