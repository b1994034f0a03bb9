"""The page over real sockets: it answers what it should, refuses what it should not, and the exported file holds the same."""

import base64
import http.client
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dreamers import Plain, missing, ready, routes_of
from PIL import Image
from recorded_runs import BLOCK, CHANNELS, HORIZON, SIDE, decision, new_writer, observation, write_run

from robo_dream.errors import ConfigError
from robo_dream.viewer.export import ExportConfig, html_page, picked_decisions
from robo_dream.viewer.routes import Answer
from robo_dream.viewer.server import LOOPBACK, SCRIPTS, PageServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    write_run(tmp_path / "record", 12)
    with serving(PageServer(routes_of(tmp_path / "record"))) as running:
        yield running


class serving:
    """Runs a server until the block ends."""

    def __init__(self, server: PageServer) -> None:
        self.server = server

    def __enter__(self) -> PageServer:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self.server

    def __exit__(self, *exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()


Reply = tuple[int, http.client.HTTPMessage, bytes]


def ask(server: PageServer, method: str, path: str, body: bytes | None = None, **headers: str) -> Reply:
    connection = http.client.HTTPConnection(LOOPBACK, server.server_port, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    reply = connection.getresponse()
    status, got, content = reply.status, reply.headers, reply.read()
    connection.close()
    return status, got, content


def get_json(server: PageServer, path: str) -> Any:
    status, _, body = ask(server, "GET", path)
    assert status == 200, body
    return json.loads(body)


def read_whole(server: PageServer) -> Any:
    """The run, once all that there is was read: a busy machine takes several requests."""
    while (run := get_json(server, "/api/run/0/0"))["more"]:
        pass
    return run


def dream(server: PageServer, asked: object) -> tuple[int, Any]:
    status, _, body = ask(server, "POST", "/api/dream", json.dumps(asked).encode(), Content_Type="application/json")
    return status, json.loads(body)


def picture(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(float)


def test_the_page_and_its_parts_are_served_and_nothing_else_is_loaded(server: PageServer) -> None:
    status, headers, body = ask(server, "GET", "/")
    assert status == 200 and "default-src 'none'" in headers["Content-Security-Policy"]
    for name in (*SCRIPTS, "page.css"):
        assert name in body.decode()
        assert ask(server, "GET", f"/{name}")[0] == 200
    everything = body + b"".join(ask(server, "GET", f"/{name}")[2] for name in (*SCRIPTS, "page.css"))
    found = set(re.findall(rb"https?://[^\s\"'`)]+", everything))
    assert found == {b"http://www.w3.org/2000/svg"}  # the name of a vocabulary; nothing is fetched from there


def test_it_listens_on_loopback_only(server: PageServer) -> None:
    assert server.server_address[0] == LOOPBACK and server.url == f"http://127.0.0.1:{server.server_port}/"


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "localhost.evil.example:{port}", "127.0.0.1.evil.example", "["])
def test_another_name_for_this_machine_is_refused(server: PageServer, host: str) -> None:
    status, _, body = ask(server, "GET", "/api/run/0/0", Host=host.format(port=server.server_port))
    assert status == 403 and b"decisions" not in body


@pytest.mark.parametrize("host", ["localhost:{port}", "127.0.0.1:{port}", "[::1]:{port}"])
def test_its_own_names_are_taken(server: PageServer, host: str) -> None:
    assert ask(server, "GET", "/api/run/0/0", Host=host.format(port=server.server_port))[0] == 200


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/page/../server.py", "/%2e%2e/server.py", "/etc/passwd", "/picture/decision/../../run.json", "/server.py",
     "/api/decision/-1", "/api/decision/99", "/api/decision/0/candidate/99", "/picture/step/99", "/api/decision/0x1", "//x"],
)  # fmt: skip
def test_what_is_not_of_the_run_is_not_found(server: PageServer, path: str) -> None:
    status, _, body = ask(server, "GET", path)
    assert status == 404 and json.loads(body)["error"]


def test_pictures_have_a_column_for_each_moment_and_a_row_for_each_camera(server: PageServer) -> None:
    read_whole(server)
    plan = picture(ask(server, "GET", "/picture/decision/0/plan")[2])
    assert plan.shape == (2 * SIDE, (1 + HORIZON) * SIDE, 3)
    latents = np.concatenate([decision(0).belief[None], decision(0).latents])
    for column, latent in enumerate(latents):
        shade = np.clip(128 + 40 * latent[0], 0, 255)
        assert plan[4:12, column * SIDE + 4 : (column + 1) * SIDE - 4].mean() == pytest.approx(shade, abs=4)  # JPEG
    real = picture(ask(server, "GET", "/picture/decision/2/real")[2])  # step 10; 15 has not come
    assert real[:SIDE, :SIDE].mean() == pytest.approx(observation(10).frames["front"].image.mean(), abs=6)
    assert real[:, 2 * SIDE :].max() < 60
    assert picture(ask(server, "GET", "/picture/goal")[2]).mean() == pytest.approx(200, abs=3)


def test_a_picture_is_drawn_once(tmp_path: Path) -> None:
    write_run(tmp_path, 6)
    plain = Plain()
    routes = routes_of(tmp_path, ready(plain))
    while json.loads(routes.get("/api/run/0/0").body)["more"]:
        pass
    assert routes.get("/picture/decision/0/candidate/3") == routes.get("/picture/decision/0/candidate/3")
    assert plain.num_drawn == 1 + HORIZON


def test_walking_adds_up(server: PageServer) -> None:
    read_whole(server)
    status, start = dream(server, {"decision": 1})
    assert status == 200 and start["latent"] == pytest.approx(decision(5).belief.tolist(), rel=1e-5)
    block = [[0.02, 0, 0, 0, 0]] * BLOCK
    _, one = dream(server, {"latent": start["latent"], "disagreement": start["disagreement"], "actions": block})
    _, two = dream(server, {"latent": one["latent"], "disagreement": one["disagreement"], "actions": block})
    assert two["latent"] == pytest.approx([x + 2 * BLOCK * 0.02 for x in start["latent"]], abs=1e-5) and two["disagreement"] == 2
    kind, data = two["picture"].split(";base64,")
    assert kind == "data:image/jpeg" and picture(base64.b64decode(data)).shape == (2 * SIDE, SIDE, 3)


def test_moving_a_channel_redraws_and_imagines_nothing(server: PageServer) -> None:
    _, moved = dream(server, {"latent": [2.0, 0, 0, 0], "disagreement": 3.0})
    assert moved["latent"] == [2, 0, 0, 0] and moved["disagreement"] == 3
    assert picture(base64.b64decode(moved["picture"].split(",")[1])).mean() == pytest.approx(208, abs=3)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"latent": [0.0] * (CHANNELS + 1)}, "expected (4,)"),
        ({"latent": [0.0] * CHANNELS, "actions": [[0.0] * 5] * (BLOCK - 1)}, "one block of 5 steps of 5 numbers"),
        ({"latent": [0.0] * CHANNELS, "actions": [[0.5] * 5] * BLOCK}, "allowed -0.1 to 0.1"),
        ({"latent": ["x"] * CHANNELS}, "no array of numbers"),
        ({"latent": [float("nan")] * CHANNELS}, "not finite"),
        ({"decision": 99}, "no Decision 99"),
        ({"decision": "0"}, "neither was given"),
        ([], "JSON object"),
    ],
)
def test_a_dream_that_cannot_be_is_refused_with_a_sentence(server: PageServer, asked: object, sentence: str) -> None:
    status, answer = dream(server, asked)
    assert status == 404 and sentence in answer["error"]


def test_another_sites_form_cannot_ask(server: PageServer) -> None:
    body = json.dumps({"latent": [0.0] * CHANNELS}).encode()
    assert ask(server, "POST", "/api/dream", body, Content_Type="text/plain")[0] == 400
    assert ask(server, "POST", "/api/dream", b"{", Content_Type="application/json")[0] == 400
    assert ask(server, "POST", "/api/dream", b"", Content_Type="application/json", Content_Length=str(2**30))[0] == 400
    assert ask(server, "POST", "/api/run/0/0", body, Content_Type="application/json")[0] == 404


def test_a_run_without_its_checkpoint_shows_everything_but_imagination(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    with serving(PageServer(routes_of(tmp_path, missing()))) as server:
        assert read_whole(server)["dreamer"] == {"state": "none", "sentence": "no checkpoint here"}
        assert get_json(server, "/api/decision/0")["cost"] is not None
        assert ask(server, "GET", "/picture/decision/0/real")[0] == 200
        status, _, body = ask(server, "GET", "/picture/decision/0/plan")
        assert status == 404 and b"no checkpoint here" in body


def test_a_running_run_is_followed(tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    with serving(PageServer(routes_of(tmp_path))) as server:
        before = read_whole(server)
        assert before["decisions"] == [] and not before["finished"]
        writer.on_decision(decision(0))
        writer.on_step(observation(0), np.zeros(5), np.zeros(5))
        writer.flush()
        after = read_whole(server)
        assert len(after["decisions"]) == len(after["steps"]) == 1 and not after["finished"]
        writer.finish(observation(1), {"moderate": False, "reasons": ["a frame was 3 s old"]})
        read_whole(server)
        last = get_json(server, "/api/run/1/1")
        assert last["decisions"] == [] and len(last["steps"]) == 1 and last["result"]["reasons"] == ["a frame was 3 s old"]


def test_a_port_that_is_taken_is_named(server: PageServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"127.0.0.1:{server.server_port} .*--port"):
        PageServer(server.routes, port=server.server_port)


def test_the_exported_file_needs_nothing_else_and_says_what_it_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, 12)
    said: list[tuple[int, int]] = []
    page = html_page(routes_of(tmp_path), ExportConfig(max_decisions=2, max_candidates=3), lambda *done: said.append(done)).decode()
    assert not re.search(r'<(script|link)[^>]+(src|href)="(?!data:)', page) and "connect-src" not in page and said == [(1, 2), (2, 2)]
    kept = json.loads(re.search(r'<script type="application/json" id="kept">(.*?)</script>', page, re.S)[1])  # type: ignore[index]
    assert kept["run"]["picked"] == [0, 2] and "2 of 3 decisions, the 3 best candidates" in kept["run"]["note"]
    assert len(kept["answers"]["/api/decision/2"]["candidates"]) == 3 and kept["answers"]["/api/decision/2"]["of"] == 7
    best = kept["answers"]["/api/decision/2"]["candidates"][0]["sample"]
    drawn = kept["pictures"][f"/picture/decision/2/candidate/{best}"].split(",")[1]
    assert picture(base64.b64decode(drawn)).shape == (2 * SIDE, (1 + HORIZON) * SIDE, 3)


def test_a_name_in_the_run_cannot_end_the_script_of_the_exported_file(tmp_path: Path) -> None:
    write_run(tmp_path, 2)
    about = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**about, "goal": "</script><script>alert(1)</script>"}))
    assert b"<script>alert" not in html_page(routes_of(tmp_path))


def test_what_was_odd_is_exported_first() -> None:
    rows = [{"status": "OK", "surprise": 0.1} for _ in range(100)]
    rows[37], rows[61], rows[62] = {"status": "UNSURE", "surprise": 0.1}, {"status": "OK", "surprise": 0.9}, {"damage": "half a file"}
    picked = picked_decisions(rows, 10)
    assert {37, 61} <= set(picked) and 62 not in picked and len(picked) == 10 and picked == sorted(picked)
    assert picked_decisions(rows[:5], 10) == [0, 1, 2, 3, 4]


HOSTILE_BODIES = (
    b"[" * 1_000_000, b'{"a":' * 100_000, b'{"latent": ' + b"[" * 60 + b"]" * 60 + b"}", b'{"latent": [0,0,0,0], "disagreement": [1,2]}',
    b'{"latent": [1e999,0,0,0]}', b'{"latent": [true,false,true,false]}', b'{"latent": ["1","2","3","4"]}', b'{"latent": [[],[]]}',
    b'{"latent": [1' + b"0" * 400 + b",0,0,0]}", b'{"decision": true}', b'{"decision": 1' + b"0" * 4000 + b"}", b"\xff\xfe", b"NaN", b"",
    b'{"latent": [0,0,0,0], "actions": [[1e300,0,0,0,0],[0,0,0,0,0],[0,0,0,0,0],[0,0,0,0,0],[0,0,0,0,0]]}', b'{"latent": null}',
)  # fmt: skip


@pytest.mark.parametrize("path", ["/api/dream", "/api/ask", "/api/stop", "/api/nothing"])
@pytest.mark.parametrize("body", HOSTILE_BODIES, ids=range(len(HOSTILE_BODIES)))
def test_a_body_that_is_no_question_is_refused_and_the_connection_stays(server: PageServer, path: str, body: bytes) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, server.server_port, timeout=20)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    reply = connection.getresponse()
    assert reply.status in (400, 404) and json.loads(reply.read())["error"]
    connection.request("GET", "/page.css")
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("length", ["²", "-1", "1e3", "99999999999999999999", " ", "0x10"])
def test_a_length_that_is_no_number_of_bytes_is_refused(server: PageServer, length: str) -> None:
    with socket.create_connection((LOOPBACK, server.server_port), timeout=20) as connection:
        host = f"127.0.0.1:{server.server_port}"
        connection.sendall(f"POST /api/ask HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n".encode("latin-1"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("path", ["//[", "http://[::1", "/?#", "/%", "/api/decision/²", "/api/decision/" + "9" * 300, "*", "/\x01"])
def test_a_path_that_is_none_has_an_answer(server: PageServer, path: str) -> None:
    with socket.create_connection((LOOPBACK, server.server_port), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode("latin-1"))
        assert connection.recv(4096)[:12] in (b"HTTP/1.1 404", b"HTTP/1.1 200", b"HTTP/1.1 400")


def test_no_other_page_may_frame_it_or_take_its_pictures(server: PageServer) -> None:
    for path in ("/", "/picture/goal", "/api/run/0/0", "/nothing"):
        _, headers, _ = ask(server, "GET", path)
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_mistake_of_ours_is_an_answer_and_no_dropped_connection(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.routes, "get", lambda path: 1 / 0)
    status, _, body = ask(server, "GET", "/api/run/0/0")
    assert status == 500 and "a mistake in robo-dream" in json.loads(body)["error"]


def test_slow_clients_take_a_bounded_number_of_threads_and_keep_nobody_out(tmp_path: Path) -> None:
    write_run(tmp_path / "record", 6)
    before = threading.active_count()
    with serving(PageServer(routes_of(tmp_path / "record"), max_connections=8)) as server, ExitStack() as open_ones:
        for number in range(40):  # who says nothing, half a request, or half a body
            connection = open_ones.enter_context(socket.create_connection((LOOPBACK, server.server_port), timeout=20))
            host = f"Host: 127.0.0.1:{server.server_port}\r\n"
            said = ("", f"GET / HTTP/1.1\r\n{host}", f"POST /api/ask HTTP/1.1\r\n{host}Content-Length: 900\r\n\r\n{{")[number % 3]
            connection.sendall(said.encode())
            if number % 8 == 7:
                assert ask(server, "GET", "/page.css")[0] == 200
        until = time.monotonic() + 30
        while (count := threading.active_count() - before - 1) > 8 and time.monotonic() < until:
            time.sleep(0.01)
        assert count <= 8
        assert len(server.connections) <= 8


def test_where_everybody_has_a_question_the_next_is_turned_away(tmp_path: Path) -> None:
    write_run(tmp_path / "record", 6)
    with serving(PageServer(routes_of(tmp_path / "record"), max_connections=2)) as server:
        go, begun = threading.Event(), threading.Semaphore(0)

        def waits(path: str) -> Answer:
            begun.release()
            assert go.wait(30)
            return Answer("text/plain", b"done")

        server.routes.get = waits  # type: ignore[method-assign]
        replies: list[int] = []
        askers = [threading.Thread(target=lambda: replies.append(ask(server, "GET", "/api/run/0/0")[0])) for _ in range(2)]
        for asker in askers:
            asker.start()
        for _ in askers:
            assert begun.acquire(timeout=30)
        with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
            ask(server, "GET", "/api/run/0/0")
        go.set()
        for asker in askers:
            asker.join(30)
        assert replies == [200, 200]
