"""Questions put on the page: one at a time, in the background, with an answer or a sentence that says why there is none."""

import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from askers import Ready, asker
from dreamers import routes_of
from PIL import Image
from recorded_runs import HORIZON, SIDE, write_run
from test_page_server import Reply, ask, get_json, read_whole, serving

from robo_dream.viewer.questions import OnStage, Questions, Told
from robo_dream.viewer.server import PageServer

Served = tuple[PageServer, Ready]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    write_run(tmp_path, 12)
    one = Ready()
    with serving(PageServer(routes_of(tmp_path, asker=asker(one)))) as server:
        read_whole(server)
        yield server, one
        one.go.set()


def post(server: PageServer, path: str, asked: object, **headers: str) -> Reply:
    return ask(server, "POST", path, json.dumps(asked).encode(), Content_Type="application/json", **headers)


def put(server: PageServer, asked: object) -> Any:
    status, _, body = post(server, "/api/ask", asked)
    assert status == 200, body
    return json.loads(body)


def answered(server: PageServer, number: int) -> Any:
    until = time.monotonic() + 30
    while (view := get_json(server, f"/api/asked/{number}"))["state"] == "running":
        assert time.monotonic() < until
        time.sleep(0.005)
    return view


def test_an_answer_holds_both_plans_with_their_costs_actions_and_pictures(served: Served) -> None:
    server, one = served
    view = answered(server, put(server, {"kind": "what_if", "decision": 1, "changes": ["seed=3", " planner.kind=cem"]})["number"])
    assert one.asked == [("seed=3", "planner.kind=cem")]
    assert view["state"] == "done" and view["step"] == 5 and view["words"] == "control step 5: what if seed=3 planner.kind=cem"
    recorded, other = view["plans"]
    assert (recorded["name"], other["name"]) == ("recorded", "what if") and recorded["moments"] == 1 + HORIZON
    assert np.allclose(np.array(other["actions"]) - recorded["actions"], 1, atol=2e-3)
    assert other["sums"]["recorded cost"] - recorded["sums"]["recorded cost"] == pytest.approx(2 * HORIZON, abs=1e-3)  # two terms
    pictures = [picture(ask(server, "GET", f"/picture/asked/{view['number']}/{place}")[2]) for place in (0, 1)]
    assert pictures[0].shape == (2 * SIDE, (1 + HORIZON) * SIDE, 3)
    assert (pictures[1] - pictures[0])[:, SIDE:].mean() > 15 > abs((pictures[1] - pictures[0])[:, :SIDE].mean())  # the belief is one


def picture(body: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(float)


def test_what_can_be_asked_is_said_of_each_decision(served: Served) -> None:
    choices = get_json(served[0], "/api/decision/1/choices")
    assert choices["state"] == "ready" and choices["values"]["planner.kind"] == "policy_guided" and choices["runs"] == ["/runs/other"]
    assert choices["presets"][0] == {"name": "another seed", "changes": [f"seed={5 + 2**40 + 1}"]}


def test_a_second_question_waits_and_the_first_can_be_stopped(served: Served) -> None:
    server, _ = served
    first = put(server, {"kind": "what_if", "decision": 0, "changes": ["wait=1"]})
    assert first["state"] == "running"
    while get_json(server, f"/api/asked/{first['number']}")["stage"] != "planning again":
        time.sleep(0.005)
    assert get_json(server, f"/api/asked/{first['number']}")["done"] == 3
    status, _, body = post(server, "/api/ask", {"kind": "recompute", "decision": 0})
    assert status == 404 and b"one question at a time" in body and b"what if wait=1" in body
    assert ask(server, "GET", f"/picture/asked/{first['number']}/0")[0] == 404  # no answer yet
    assert post(server, "/api/stop", {"number": first["number"]})[0] == 200
    assert answered(server, first["number"])["error"] == "stopped"
    assert answered(server, put(server, {"kind": "recompute", "decision": 0})["number"])["text"] == "the very same plan"


def test_what_goes_wrong_is_an_answer_and_the_next_question_is_taken(served: Served) -> None:
    server, _ = served
    wrong = answered(server, put(server, {"kind": "what_if", "decision": 0, "changes": ["sed=3"]})["number"])
    assert wrong["state"] == "failed" and wrong["error"] == "unknown key sed; did you mean seed?"
    mistaken = answered(server, put(server, {"kind": "recompute_all"})["number"])
    assert "RuntimeError: a mistake; this is a mistake in robo-dream" in mistaken["error"]
    number = put(server, {"kind": "diff", "run": "/other", "tolerance": 0.1})["number"]
    assert "/other at control step 5, 0.1" in answered(server, number)["text"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([], "JSON object"),
        ({"kind": "delete"}, "recompute, recompute_all, what_if, diff"),
        ({"kind": "recompute"}, "asks about one decision"),
        ({"kind": "recompute", "decision": 99}, "no Decision 99"),
        ({"kind": "what_if", "decision": 0}, "give `changes`"),
        ({"kind": "what_if", "decision": 0, "changes": []}, "give `changes`"),
        ({"kind": "what_if", "decision": 0, "changes": ["a=1"] * 21}, "21 changes; allowed are up to 20"),
        ({"kind": "diff"}, "give `run`"),
        ({"kind": "diff", "run": "x", "tolerance": 1}, "allowed is 0 up to 1"),
        ({"kind": "diff", "run": "x", "tolerance": "0"}, "allowed is 0 up to 1"),
    ],
)
def test_a_question_that_cannot_be_put_is_refused_with_a_sentence(served: Served, asked: object, sentence: str) -> None:
    status, _, body = post(served[0], "/api/ask", asked)
    assert status == 404 and sentence in json.loads(body)["error"]


def test_another_site_cannot_ask_and_the_page_itself_can(served: Served) -> None:
    server, one = served
    asked = {"kind": "what_if", "decision": 0, "changes": ["seed=1"]}
    for origin in ("http://evil.example", f"http://127.0.0.1:{server.server_port + 1}", "null"):
        status, _, body = post(server, "/api/ask", asked, Origin=origin)
        assert status == 400 and b"only this page itself may ask" in body
    assert one.asked == []
    assert post(server, "/api/ask", asked, Origin=server.url.rstrip("/"))[0] == 200


def test_a_page_that_others_can_see_answers_nothing(tmp_path: Path) -> None:
    write_run(tmp_path, 6)
    with serving(PageServer(routes_of(tmp_path))) as server:
        read_whole(server)
        assert "on the machine itself" in get_json(server, "/api/decision/0/choices")["sentence"]
        status, _, body = post(server, "/api/ask", {"kind": "recompute", "decision": 0})
        assert status == 404 and b"answers no questions" in body


def test_no_answer_is_kept_of_what_was_never_asked(served: Served) -> None:
    assert ask(served[0], "GET", "/api/asked/1")[0] == 404 and ask(served[0], "GET", "/picture/asked/1/0")[0] == 404
    number = put(served[0], {"kind": "recompute", "decision": 0})["number"]
    answered(served[0], number)
    status, _, body = ask(served[0], "GET", f"/picture/asked/{number}/2")
    assert status == 404 and b"has no plan 2; it has 2" in body


def test_a_question_that_another_page_put_is_told_and_can_be_stopped(served: Served) -> None:
    server, _ = served
    assert get_json(server, "/api/decision/1/choices")["running"] is None
    first = put(server, {"kind": "what_if", "decision": 0, "changes": ["wait=1"]})
    told = get_json(server, "/api/decision/1/choices")["running"]
    assert told["number"] == first["number"] and told["state"] == "running"
    status, _, body = post(server, "/api/ask", {"kind": "recompute", "decision": 0})
    assert status == 404 and f"(question {first['number']})" in json.loads(body)["error"]
    post(server, "/api/stop", {"number": told["number"]})
    answered(server, first["number"])
    assert get_json(server, "/api/decision/1/choices")["running"] is None


def test_a_question_that_nobody_stops_ends_by_itself() -> None:
    now = [0.0]
    questions = Questions(lambda: now[0], max_seconds=600)
    begun, ended = threading.Event(), threading.Event()

    def forever(on_stage: OnStage) -> Told:
        try:
            while True:
                on_stage("planning again", 0, 0)
                begun.set()
        finally:
            ended.set()

    number = questions.ask("for ever", forever)
    assert begun.wait(30)
    now[0] = 601.0
    assert ended.wait(30)
    while questions.view(number)["state"] == "running":
        time.sleep(0.005)
    assert "stopped after 600 s" in questions.view(number)["error"]
    assert questions.ask("another", lambda on_stage: Told("an answer")) == number + 1


def test_what_needs_more_memory_than_there_is_is_a_sentence() -> None:
    questions = Questions()

    def too_much(on_stage: OnStage) -> Told:
        raise MemoryError

    number = questions.ask("too much", too_much)
    while questions.view(number)["state"] == "running":
        time.sleep(0.005)
    assert "more memory than this machine has" in questions.view(number)["error"]
