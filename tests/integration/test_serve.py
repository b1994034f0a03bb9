"""`robo-dream serve` over loopback sockets, with the released checkpoint and, where it is installed, openpi's own unmodified client."""

import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("msgpack")
sync_client = pytest.importorskip("websockets.sync.client")
sync_server = pytest.importorskip("websockets.sync.server")

from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402

from robo_dream.control.choosing import Decided, NoAnswer, decision_seed  # noqa: E402
from robo_dream.control.decision import Decider  # noqa: E402
from robo_dream.control.episode import Bench, LoopConfig  # noqa: E402
from robo_dream.embodiment import Observation  # noqa: E402
from robo_dream.errors import ConfigError, NoAnswerError  # noqa: E402
from robo_dream.imagination import Goal  # noqa: E402
from robo_dream.recording.decision import Decision  # noqa: E402
from robo_dream.runtime.attempt import prepare, simulated_devices  # noqa: E402
from robo_dream.runtime.planner import build_planner, planning_for  # noqa: E402
from robo_dream.runtime.run import RemotePlanner  # noqa: E402
from robo_dream.runtime.serving.answers import Answer, Answers, DecisionAsked  # noqa: E402
from robo_dream.runtime.serving.metrics import open_descriptors  # noqa: E402
from robo_dream.runtime.serving.remote import Link, RemoteDecider  # noqa: E402
from robo_dream.runtime.serving.server import PlannerServer, ServeConfig, answers_for, serving  # noqa: E402
from robo_dream.runtime.serving.wire import observation_message, pack, unpack  # noqa: E402
from robo_dream.safety.limits import SafetyLimits  # noqa: E402
from robo_dream.testing.clocks import ManualClock  # noqa: E402
from sim.pairs import drawn_pair  # noqa: E402
from sim.tabletop.environment import Tabletop  # noqa: E402
from sim.tabletop.scene import SceneConfig  # noqa: E402

ROUNDING = 1e-5  # of actions: products of another number of rows add in another order; see test_batch_invariance.py
LIMITS = SafetyLimits(max_tool_error=None)
CONFIG = ServeConfig(port=0)


@pytest.fixture(scope="module")
def answers() -> Answers:
    return answers_for(CONFIG, lambda text: None)


@pytest.fixture(scope="module")
def moments(answers: Answers) -> list[Observation]:
    """What is seen at four starts, and last a goal."""
    seen = []
    with Tabletop(SceneConfig()) as world:
        for seed in range(4):
            prepared = prepare(world, drawn_pair(world, "push", np.random.default_rng(seed)), LoopConfig())
            devices = simulated_devices(prepared, answers.model)
            seen.append(Bench(devices.arm, devices.cameras, devices.clock).observe())
        return [*seen, prepared.goal_observation]


@pytest.fixture
def server(answers: Answers) -> Iterator[PlannerServer]:
    with serving(CONFIG, answers) as running:
        yield running


@dataclass(frozen=True)
class Gated(Answers):
    """Begins no search before the gate is open, and notes how many decisions each one made."""

    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    sizes: list[int] = field(default_factory=list)

    def decisions(self, asked: Sequence[DecisionAsked]) -> list[Answer]:
        self.entered.set()
        assert self.gate.wait(30)
        self.sizes.append(len(asked))
        return super().decisions(asked)


def gated(answers: Answers) -> Gated:
    return Gated(**{part.name: getattr(answers, part.name) for part in fields(Answers)})


def link_to(server: PlannerServer, **how: Any) -> Link:
    return Link(RemotePlanner(url=server.url, **how))


def question(seen: Observation, goal: Observation, **more: Any) -> dict[str, Any]:
    return {"task": "push", "observation": observation_message(seen), "goal": {"observation": observation_message(goal)}, "seed": 5, **more}


def remote(link: Link, goal: Observation, block: int = 5) -> RemoteDecider:
    encoded = link.ask({"ask": "goal", "task": "push", "goal": {"observation": observation_message(goal)}}, 20.0)["goal"]
    return RemoteDecider(link, block, "push", encoded, 3, lambda: 0.0, LIMITS, 20.0)


def differences(first: Decision, second: Decision) -> list[str]:
    """What is not equal to the bit, times that were measured left out."""
    found = [f"term {name}" for name in first.terms if not np.array_equal(first.terms[name], second.terms[name])]
    for name in (part.name for part in fields(Decision) if part.name not in ("seconds", "terms")):
        one, other = getattr(first, name), getattr(second, name)
        if type(one) is not type(other) or not (np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other):
            found.append(name)
    return found


def wait_until(is_so: Any, seconds: float = 20.0) -> None:
    end = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if is_so():
            return
        end.wait(0.01)
    raise AssertionError("it never came to be")


def test_a_plan_from_the_server_is_the_one_made_in_process_to_the_bit(
    server: PlannerServer, answers: Answers, moments: list[Observation]
) -> None:
    planning = planning_for(answers.info, "push")
    planner = build_planner(planning.planner, answers.model, planning.cost, planning.proposals, futures=planning.futures)
    goal = Goal(answers.model.believe([[moments[-1]]]).latent)
    here, link = Decider(answers.model, planner, goal, 3, lambda: 0.0, LIMITS), link_to(server)
    there = remote(link, moments[-1])
    committed = np.full((5, here.model.action_spec.size), 0.01, np.float32)
    mine, served = None, None
    for step, fixed, start in ((0, None, None), (5, None, None), (10, committed, 15)):  # the later ones are warm-started
        before = None if mine is None else mine.plan, None if served is None else served.plan
        mine = here.decide([moments[0]], step, before[0], fixed, start)
        served = there.decide([moments[0]], step, before[1], fixed, start)
        assert isinstance(served, Decided) and differences(mine.decision, served.decision) == []
        assert mine.reasons == served.reasons and served.decision.together == 1
        if step == 0:  # executed beyond one block
            moved = here.moved_on(mine.plan, 5), there.moved_on(served.plan, 5)
            np.testing.assert_array_equal(moved[0].actions[0].numpy(), moved[1].actions)
    link.close()


def test_openpis_unmodified_client_drives_it(server: PlannerServer, moments: list[Observation], answers: Answers) -> None:
    client = pytest.importorskip("openpi_client.websocket_client_policy")
    broker = pytest.importorskip("openpi_client.action_chunk_broker")
    assert server.address is not None
    policy = client.WebsocketClientPolicy(server.address[0], server.address[1])
    assert policy.get_server_metadata()["cameras"] == ["front", "side"]
    asked = question(moments[0], moments[-1])
    answer = policy.infer(asked)
    assert answer["status"] == "OK" and answer["actions"].shape[1] == 5 and answer["actions"].dtype == np.float32
    alone = answers.decisions([answers.asked(asked)])[0]  # type: ignore[list-item]
    np.testing.assert_array_equal(answer["actions"], alone["actions"])
    with pytest.raises(RuntimeError, match="goal is missing"):
        policy.infer({key: value for key, value in asked.items() if key != "goal"})
    chunks = broker.ActionChunkBroker(policy, action_horizon=5)  # it takes every array apart, step by step
    taken = [chunks.infer(asked)["actions"] for _ in range(5)]
    np.testing.assert_array_equal(np.stack(taken), answer["actions"][:5])
    policy._ws.close()


def test_each_of_300_malformed_messages_is_answered_by_one_error_and_the_server_lives(
    server: PlannerServer, moments: list[Observation]
) -> None:
    rng, whole = np.random.default_rng(0), question(moments[0], moments[-1])
    good, before = pack(whole), open_descriptors()
    small = {**whole, "observation": {"images": {"front": np.zeros((3, 3, 3), np.uint8), "side": np.zeros((3, 3, 3), np.uint8)}}}
    wrong = [
        whole | {"ask": "everything"}, whole | {"task": 3}, whole | {"step": -1}, whole | {"seed": 0.5}, whole | {"sed": 1},
        whole | {"goal": {}}, whole | {"goal": {"latent": np.zeros(3, np.float32)}}, whole | {"previous": np.zeros((2, 5), np.float32)},
        whole | {"committed": np.zeros((3, 5), np.float32)}, whole | {"memory": {"step": 0}}, small, whole | {"search_seconds": -1.0},
        whole | {"goal": {"object_pos": np.zeros((7, 3))}}, whole | {"moved": "all"}, {"__ctrl__": "episode_start"}, {},
    ]  # fmt: skip
    bad: list[bytes | str] = [pack(message) for message in wrong]
    bad += ["text", "", *[rng.bytes(int(rng.integers(0, 200))) for _ in range(130)]]
    bad += [good[: int(rng.integers(0, len(good)))] for _ in range(300 - len(bad))]
    connect = sync_client.connect(server.url, compression=None, max_size=None)
    with connect as connection:
        connection.recv()
        for number, message in enumerate(bad):
            connection.send(message)
            answer = connection.recv(timeout=20)
            assert isinstance(answer, str) and answer and "\n" not in answer, (number, message[:50])
        with pytest.raises(TimeoutError):  # one answer each
            connection.recv(timeout=0.05)
        connection.send(good)
        assert unpack(connection.recv(timeout=20))["status"] == "OK"
    assert server.metrics.counts["errors"] == len(bad) == 300
    wait_until(lambda: server.metrics.clients == 0 and open_descriptors() <= before)


def http(server: PlannerServer, path: str, token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(
        server.url.replace("ws", "http", 1) + path, headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_who_lacks_the_token_is_refused(answers: Answers, tmp_path: Path) -> None:
    right, wrong = tmp_path / "token.txt", tmp_path / "other.txt"
    right.write_text("a-token-of-many-letters\n")
    wrong.write_text("another-token-of-letters\n")
    with serving(replace(CONFIG, token_file=right), answers) as server:
        for how in ({}, {"token_file": wrong}):
            with pytest.raises(NoAnswerError, match="401"):
                link_to(server, **how).ask(None, 10.0)
        link = link_to(server, token_file=right)
        assert link.ask(None, 10.0)["server"] == "robo_dream"
        assert http(server, "/healthz") == (200, "OK\n") and http(server, "/metrics")[0] == 401
        code, text = http(server, "/metrics", "a-token-of-many-letters")
        assert code == 200 and "robo_dream_refused_total 3" in text and "robo_dream_clients 1" in text
        link.close()


def test_it_serves_this_machine_alone_unless_told_otherwise_and_then_with_a_token(answers: Answers, tmp_path: Path) -> None:
    assert CONFIG.host == "127.0.0.1"
    for host in ("0.0.0.0", "192.0.2.7", "::", "robot.example"):
        with pytest.raises(ConfigError, match="token_file"):
            ServeConfig(host=host)
    guessed = tmp_path / "short.txt"
    guessed.write_text("1234")
    with pytest.raises(ConfigError, match="openssl rand"):
        PlannerServer(replace(CONFIG, token_file=guessed), answers)


def test_numbers_and_sizes_are_limited_and_pages_of_browsers_are_refused(answers: Answers) -> None:
    with serving(replace(CONFIG, max_clients=1, max_message=2000), answers) as server:
        with sync_client.connect(server.url, compression=None) as first:
            first.recv()
            with pytest.raises(InvalidStatus, match="503"):
                sync_client.connect(server.url).__enter__()
            first.send(bytes(5000))
            with pytest.raises(ConnectionClosed, match="1009"):
                first.recv(timeout=10)
        wait_until(lambda: server.metrics.clients == 0)
        with pytest.raises(InvalidStatus, match="403"):
            sync_client.connect(server.url, origin="http://evil.example").__enter__()
        assert http(server, "/healthz")[0] == 200


def test_with_a_certificate_it_is_spoken_to_in_tls(answers: Answers, tmp_path: Path) -> None:
    certificate, key = tmp_path / "server.pem", tmp_path / "server.key"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)], capture_output=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl makes a certificate here")
    with serving(replace(CONFIG, certificate=certificate, key=key), answers) as server:
        link = link_to(server, certificate=certificate)
        assert server.url.startswith("wss://") and link.ask(None, 10.0)["server"] == "robo_dream"
        link.close()
        with pytest.raises(NoAnswerError, match="CERTIFICATE_VERIFY_FAILED"):
            link_to(server).ask(None, 10.0)


def test_four_robots_that_ask_at_once_share_a_search_and_get_the_plans_they_would_get_alone(
    answers: Answers, moments: list[Observation]
) -> None:
    slow, sizes = gated(answers), {}
    messages = [question(seen, moments[-1], seed=decision_seed(9, i)) for i, seen in enumerate(moments[:4])]
    alone = [answers.decisions([answers.asked(message)])[0] for message in messages]  # type: ignore[list-item]
    for most in (16, 1):
        slow.sizes.clear()
        slow.gate.clear()
        slow.entered.clear()
        with serving(replace(CONFIG, max_together=most), slow) as server, ThreadPoolExecutor(5) as pool:
            links = [link_to(server) for _ in range(5)]
            first = pool.submit(links[4].ask, messages[0], 20.0)  # keeps the planner busy
            assert slow.entered.wait(20)
            asked = [pool.submit(link.ask, message, 20.0) for link, message in zip(links, messages, strict=False)]
            wait_until(lambda: len(server._waiting) == 4)
            slow.gate.set()
            first.result()
            for one, expected in zip((future.result() for future in asked), alone, strict=True):
                assert one["together"] == min(most, 4)
                np.testing.assert_allclose(one["actions"], expected["actions"], atol=ROUNDING if most > 1 else 0, rtol=0)
            sizes[most] = list(slow.sizes)
            for link in links:
                link.close()
    assert sizes == {16: [1, 4], 1: [1, 1, 1, 1, 1]}


def test_an_odd_question_spoils_nobodys_a_late_one_is_told_and_one_whose_client_left_is_dropped(
    answers: Answers, moments: list[Observation]
) -> None:
    slow = gated(answers)
    with serving(CONFIG, slow) as server, ThreadPoolExecutor(4) as pool:
        links = [link_to(server) for _ in range(5)]
        busy = pool.submit(links[0].ask, question(moments[0], moments[-1]), 20.0)
        assert slow.entered.wait(20)
        with pytest.raises(NoAnswerError, match=r"no plan within 0\.1 s"):
            links[1].ask(question(moments[1], moments[-1], seconds=0.1), 20.0)
        with pytest.raises(NoAnswerError, match="gave no answer within"):  # gives up by itself, and hangs up
            links[2].ask(question(moments[1], moments[-1]), 0.2)
        wait_until(lambda: server.metrics.counts["left"] == 1)
        seen = moments[1]
        dark = {name: replace(frame, image=np.zeros((32, 32, 3), np.uint8)) for name, frame in seen.frames.items()}
        odd = pool.submit(links[3].ask, question(replace(seen, frames=dark), moments[-1]), 20.0)
        good = pool.submit(links[4].ask, question(seen, moments[-1]), 20.0)
        wait_until(lambda: sum(not one.answer.done() for one in server._waiting) == 2)
        slow.gate.set()
        assert busy.result()["status"] == "OK" and good.result()["status"] == "OK"
        with pytest.raises(NoAnswerError, match=r"camera 'front' gives \(32, 32, 3\)"):
            odd.result()
        assert slow.sizes == [1, 2, 1, 1] and server.metrics.counts["late"] == 1  # the search of two failed, then each alone
        for link in links:
            link.close()


def test_the_oldest_question_is_next_whatever_it_asks_for(answers: Answers, moments: list[Observation]) -> None:
    slow, order = gated(answers), []
    with serving(CONFIG, slow) as server, ThreadPoolExecutor(6) as pool:
        links = [link_to(server) for _ in range(6)]
        asked = [pool.submit(links[0].ask, question(moments[0], moments[-1]), 20.0)]
        assert slow.entered.wait(20)
        for number, task in enumerate(("reach", "push", "lift", "reach", "push"), 1):
            message = question(moments[0], moments[-1]) | {"task": task}
            asked.append(
                pool.submit(lambda link, message: (link.ask(message, 20.0), order.append(message["task"])), links[number], message)
            )
            wait_until(lambda number=number: len(server._waiting) == number)
        slow.gate.set()
        for one in asked:
            one.result()
        assert slow.sizes == [1, 2, 2, 1] and set(order[:2]) == {"reach"} and set(order[2:4]) == {"push"} and order[4] == "lift"
        for link in links:
            link.close()


def test_a_line_that_breaks_is_no_answer_and_is_made_anew_when_the_server_is_back(answers: Answers, moments: list[Observation]) -> None:
    with serving(CONFIG, answers) as server:
        assert server.address is not None
        port, link = server.address[1], link_to(server)
        decider = remote(link, moments[-1])
        first = decider.decide([moments[0]], 0, None)
        assert isinstance(first, Decided)
    for step in (5, 6):
        lost = decider.decide([moments[0]], step, first.plan)
        assert isinstance(lost, NoAnswer) and server.url in lost.reasons[0]
    with serving(replace(CONFIG, port=port), answers):  # it kept nothing, and needs nothing but the question
        again = decider.decide([moments[0]], 5, first.plan)
        assert isinstance(again, Decided) and again.decision.previous is not None
        link.close()


def without(key: str) -> Any:
    return lambda answer: answer.pop(key)


def with_other(**values: Any) -> Any:
    return lambda answer: answer["decision"].update(values)


@pytest.mark.parametrize(
    "spoil",
    [
        without("decision"), without("tool_pos"), with_other(seed=1), with_other(step=7), with_other(status="FINE"), with_other(more=1),
        with_other(actions=np.zeros((4, 5), np.int32)), with_other(elites=np.array([10**6])), lambda answer: answer.update(tool_pos=[1.0]),
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_used_is_no_answer(answers: Answers, moments: list[Observation], spoil: Any) -> None:
    seen = moments[0]

    class Spoilt(Link):
        def ask(self, message: Any, seconds: float) -> dict[str, Any]:
            asked = answers.asked(message)
            assert isinstance(asked, DecisionAsked)
            answer = unpack(pack(answers.decisions([asked])[0]))
            spoil(answer)
            return answer

    goal = {"latent": answers.model.believe([[moments[-1]]]).latent[0].numpy()}
    decider = RemoteDecider(Spoilt(RemotePlanner()), 5, "push", goal, 3, ManualClock().now, LIMITS, 1.0)
    assert isinstance(decider.decide([seen], 0, None), NoAnswer)


def test_what_is_seen_is_judged_by_the_robots_own_limits(server: PlannerServer, moments: list[Observation]) -> None:
    link, seen = link_to(server), moments[0]
    away = replace(seen, arm=replace(seen.arm, tool_pos=seen.arm.tool_pos + [0.0, 0.0, 0.5]))
    decided = replace(remote(link, moments[-1]), limits=SafetyLimits()).decide([away], 0, None)
    assert isinstance(decided, Decided) and decided.decision.status == "UNSURE" and "the model sees the tool" in decided.reasons[0]
    assert torch.get_num_threads() >= 1
    link.close()


def test_a_connection_whose_greeting_never_comes_is_closed() -> None:
    left = threading.Event()

    def silent(connection: Any) -> None:
        try:
            connection.recv(timeout=20)
        except ConnectionClosed:
            left.set()

    with sync_server.serve(silent, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        link = Link(RemotePlanner(url=f"ws://127.0.0.1:{server.socket.getsockname()[1]}"))
        with pytest.raises(NoAnswerError, match=r"gave no answer within 0\.3 s"):
            link.ask(None, 0.3)
        assert left.wait(10)
        server.shutdown()
