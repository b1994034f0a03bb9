"""Cases of the fuzz campaign: something that others wrote, with something wrong, and what is done with it."""

import json
import math
import random
import shutil
import socket
import struct
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/unit/replay"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/unit/models"))
sys.path.insert(0, str(Path(__file__).parent))

from askers import Ready
from dreamers import routes_of
from fuzz_values import bent, block, edited, forbidden, leaves, merged, nested, places
from recorded_runs import write_run
from safetensors.numpy import load_file, save
from small import small_model

from robo_dream import config
from robo_dream.data.reader import Dataset
from robo_dream.data.writer import DatasetWriter
from robo_dream.errors import ConfigError, DataError
from robo_dream.evaluation.manifest import Manifest, read_manifest, write_manifest
from robo_dream.models import checkpoint
from robo_dream.recording.archive import read_archive, write_archive
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import find_record, read_run
from robo_dream.runtime.bench import BenchConfig
from robo_dream.runtime.collect import CollectConfig
from robo_dream.runtime.evaluate import EvaluateConfig
from robo_dream.runtime.plan import PlanConfig
from robo_dream.runtime.planner import planning_for
from robo_dream.runtime.run import RunConfig
from robo_dream.runtime.train import TrainConfig
from robo_dream.viewer.questions import Asker, OnStage, Told
from robo_dream.viewer.server import PageServer
from robo_dream.yaml_text import Dumper
from tests.unit.data.episodes import make_episode, make_spec

VERBS: tuple[type, ...] = (PlanConfig, CollectConfig, EvaluateConfig, TrainConfig, RunConfig, BenchConfig)


@dataclass(frozen=True)
class Case:
    """What is done; `is_invalid` where it is known that it cannot be right, so that a `RoboDreamError` must come of it."""

    act: Callable[[], object]
    is_invalid: bool = False
    words: str = ""


class Workshop:
    """Sound examples of everything, made once, in `home`."""

    def __init__(self, home: Path) -> None:
        self.home, self.case = home, home / "case"
        spec = make_spec()
        with DatasetWriter(home / "dataset", spec) as writer:
            for seed in range(2):
                writer.append(make_episode(spec, seed))
        model = small_model(0, latent_dim=16, num_heads=2)
        settings = checkpoint.Settings({"default": {}, "tasks": {}}, {"kind": "tabletop"})
        self.checkpoint = checkpoint.save(model, home / "model.safetensors", {"data": {}}, settings=settings).read_bytes()
        rng = np.random.default_rng(0)
        pairs = Manifest("push", rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), np.array([8, 20, 40]), np.array([1, 1, 2]))
        write_manifest(home / "push.safetensors", pairs)
        self.manifest = (home / "push.safetensors").read_bytes()
        write_run(home / "record", 7)

    def fresh(self, name: str) -> Path:
        """A copy of one example, for one case."""
        shutil.rmtree(self.case, ignore_errors=True)
        self.case.mkdir()
        return Path(shutil.copytree(self.home / name, self.case / name))

    def file(self, content: bytes, name: str) -> Path:
        shutil.rmtree(self.case, ignore_errors=True)
        self.case.mkdir()
        (self.case / name).write_bytes(content)
        return self.case / name

    @property
    @cache  # noqa: B019 - one for each process
    def server(self) -> PageServer:
        asker: Future[Asker] = Future()
        asker.set_result(Quick())
        server = PageServer(routes_of(self.home / "record", asker=asker))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        while json.loads(server.routes.get("/api/run/0/0").body)["more"]:
            pass
        return server


def _used(cls: type, made: Any) -> object:
    """What is looked at only when it is used."""
    return planning_for(None, "push", made.planning, made.by_task) if cls in (PlanConfig, EvaluateConfig, RunConfig) else None


def _wrong(draw: random.Random, cls: type) -> tuple[Mapping[tuple[str, ...], Any], tuple[str, ...], Any]:
    """Kinds that come first, and a key that is not known, or a value that is not allowed."""
    while True:
        leaf = draw.choice(leaves(cls))
        if draw.random() < 0.3:
            return leaf.beside, (*leaf.key[:-1], "nosuch_key"), 1
        try:
            return leaf.beside, leaf.key, forbidden(draw, leaf)
        except LookupError:
            continue


def configuration(draw: random.Random, shop: Workshop) -> Case:
    cls, is_invalid = draw.choice(VERBS), draw.random() < 0.5
    if is_invalid:
        beside, key, told = _wrong(draw, cls)
        document: dict[str, Any] = {}
        for place, kind in beside.items():
            document = merged(document, nested(place, kind))
        document = merged(document, nested(key, told))
    else:
        document = block(draw, cls)
    text = yaml.dump(document, Dumper=Dumper, allow_unicode=True, sort_keys=False).encode("utf-8", "replace")
    if not is_invalid and draw.random() < 0.4:
        text = bent(draw, text)
    path = shop.file(text, f"{cls.__name__}.yaml")
    return Case(lambda: _used(cls, config.load(cls, path)), is_invalid, f"{cls.__name__}: {text[:300]!r}")


def override(draw: random.Random, shop: Workshop) -> Case:
    cls, is_invalid = draw.choice(VERBS), draw.random() < 0.5
    if is_invalid:
        beside, key, told = _wrong(draw, cls)
        said = [*beside.items(), (key, told)]
    else:
        told = block(draw, cls)
        said = [(key, _at(told, key)) for key in places(told) if all(isinstance(name, str) for name in key)]
        said = draw.sample(said, min(len(said), 4))
    words = [f"{'.'.join(key)}={_flow(one)}" for key, one in said]
    if not is_invalid and draw.random() < 0.4:
        words.append(bent(draw, words[-1].encode() if words else b"a=1").decode("latin-1"))
    return Case(lambda: _used(cls, config.load(cls, None, words)), is_invalid, f"{cls.__name__}: {words}"[:300])


def _at(document: Any, key: tuple[Any, ...]) -> Any:
    for name in key:
        document = document[name]
    return document


def _flow(told: Any) -> str:
    text = yaml.dump(told, Dumper=Dumper, default_flow_style=True, width=10**6, allow_unicode=True)
    return text.removesuffix("...\n").strip()


_BAD_INFO: tuple[tuple[str, Any], ...] = (
    ("data_path", "../../etc/passwd"), ("data_path", "/dev/zero"), ("data_path", "{chunk_index:999999999d}"), ("data_path", None),
    ("data_path", "{nosuch}"), ("fps", math.nan), ("fps", 0), ("fps", -1), ("fps", math.inf), ("features", []),
    ("codebase_version", "v9.9"), ("total_episodes", -1), ("total_episodes", 10**12), ("total_episodes", "two"),
    ("total_episodes", 2.5), ("total_episodes", 3),
)  # fmt: skip
_BAD_SPEC: tuple[tuple[tuple[Any, ...], Any], ...] = (
    (("action_spec", "control_dt"), -1), (("action_spec", "low"), [math.nan] * 5), (("storage",), "zip"), (("num_objects",), 10**9),
    (("cameras", 0, "name"), "a/b"), (("cameras", 0, "height"), 10**9), (("skills",), []), (("action_spec", "names"), ["x"]),
)  # fmt: skip


def dataset(draw: random.Random, shop: Workshop) -> Case:
    root, is_invalid = shop.fresh("dataset"), False
    info, spec = root / "meta/info.json", root / "meta/robo_dream.json"
    tables = [*root.glob("data/*/*.parquet"), *root.glob("meta/episodes/*/*.parquet"), root / "meta/tasks.parquet"]
    match draw.randrange(7):
        case 0:
            info.write_text(json.dumps(edited(draw, json.loads(info.read_text()))))
        case 1:
            is_invalid, (name, told) = True, draw.choice(_BAD_INFO)
            info.write_text(json.dumps(edited(draw, json.loads(info.read_text()), (name,), told)))
        case 2:
            spec.write_text(json.dumps(edited(draw, json.loads(spec.read_text()))))
        case 3:
            is_invalid, (key, told) = True, draw.choice(_BAD_SPEC)
            spec.write_text(json.dumps(edited(draw, json.loads(spec.read_text()), key, told)))
        case 4:
            path = draw.choice([info, spec, root / "meta/stats.json", *tables])
            path.write_bytes(bent(draw, path.read_bytes()))
        case 5:
            is_invalid, path = True, draw.choice(tables[:-1])
            path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])
        case _:
            path = draw.choice(tables)
            table = pq.read_table(path)
            name = draw.choice(table.column_names)
            told = draw.choice((math.nan, -1, 10**6, 2**40, "x", None, [1.0], [], True))
            at = table.column_names.index(name)
            pq.write_table(
                table.set_column(at, name, pa.array([told] * table.num_rows)) if draw.random() < 0.8 else table.drop([name]), path
            )

    def read() -> None:
        data = Dataset.open(root)
        for number in range(min(data.num_episodes, 2)):
            data.episode(number)

    return Case(read, is_invalid, "dataset")


def _split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and data of a safetensors file."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _joined(header: Any, data: bytes) -> bytes:
    text = header.encode() if isinstance(header, str) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _safetensors(draw: random.Random, content: bytes, known: tuple[tuple[tuple[Any, ...], Any], ...]) -> tuple[bytes, bool]:
    """A file with something wrong, and whether that must be noticed."""
    header, data = _split(content)
    said = json.loads(header["__metadata__"]["robo_dream"])
    tensors = [name for name in header if name != "__metadata__"]
    match draw.randrange(8):
        case 0 | 1:
            header["__metadata__"]["robo_dream"] = json.dumps(edited(draw, said))
            return _joined(header, data), False
        case 2:
            key, told = draw.choice(known)
            header["__metadata__"]["robo_dream"] = json.dumps(edited(draw, said, key, told))
            return _joined(header, data), True
        case 3:
            at = draw.randrange(len(data))
            return _joined(header, data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :]), True
        case 4:
            return content[: draw.randrange(len(content))], True
        case 5:
            header["__metadata__"]["robo_dream"] = draw.choice(("[]", "null", "7", "[" * 5000, '{"a":' * 100 + "1" + "}" * 100, ""))
            return _joined(header, data), True
        case 6:
            key = draw.choice(places(header[draw.choice(tensors)]))
            name = draw.choice(tensors)
            header[name] = edited(
                draw, header[name], draw.choice(places(header[name])), draw.choice(("F8", [], -1, 10**12, None, [0, 1], {}, "x"))
            )
            return _joined(header, data), True
        case _:
            return bent(draw, content), False


_BAD_CHECKPOINT: tuple[tuple[tuple[Any, ...], Any], ...] = (
    (("version",), 99), (("format",), "other"), (("weights_sha256",), "0" * 64), (("spec",), []), (("recipe",), 7), (("metrics",), None),
    (("spec", "config", "image_size"), -5), (("spec", "config", "size"), "XXL"), (("spec", "config", "nosuch"), 1),
    (("spec", "cameras"), []), (("spec", "config", "latent_dim"), 8192), (("spec", "config", "num_heads"), 64),
    (("spec", "action_spec", "control_dt"), math.nan), (("spec", "pose", "mean"), [0.0]), (("planning",), []),
    (("planning",), {"push": {}}), (("goal",), "sound"), (("regime",), "any"),
)  # fmt: skip
_BAD_MANIFEST: tuple[tuple[tuple[Any, ...], Any], ...] = (
    (("version",), "2"), (("sha256",), "0" * 64), (("task",), "pull"), (("task",), [1]), (("budget_steps",), -1), (("budget_steps",), "x"),
)  # fmt: skip


def checkpoint_file(draw: random.Random, shop: Workshop) -> Case:
    content, is_invalid = _safetensors(draw, shop.checkpoint, _BAD_CHECKPOINT)
    path = shop.file(content, "model.safetensors")

    def read() -> None:
        info = checkpoint.read_info(path)
        planning_for(info, "push")
        checkpoint.load(path)

    return Case(read, is_invalid, "checkpoint")


def manifest(draw: random.Random, shop: Workshop) -> Case:
    if draw.random() < 0.2:
        arrays = dict(load_file(shop.home / "push.safetensors"))
        name = draw.choice(sorted(arrays))
        arrays[name] = draw.choice((np.zeros(()), np.zeros(3), np.full((3, 4), np.nan), np.zeros((3, 4), np.float16), np.array([-1, 0, 1])))
        header, _ = _split(shop.manifest)
        content, is_invalid = save(arrays, metadata=header["__metadata__"]), True
    else:
        content, is_invalid = _safetensors(draw, shop.manifest, _BAD_MANIFEST)
    path = shop.file(content, "push.safetensors")
    return Case(lambda: read_manifest(path).pair(0), is_invalid, "manifest")


_BAD_ABOUT: tuple[tuple[tuple[Any, ...], Any], ...] = tuple(
    ((name,), told) for name, told in (("task", ["x"]), ("seed", "x"), ("version", 2), ("version", []), ("seed", 0.5), ("task", 7))
)
_ARRAYS = (
    np.zeros(()), np.zeros((0,)), np.zeros((2, 2, 2, 2)), np.array(["x"] * 3), np.zeros(3, bool), np.full(7, 2**40),
    np.zeros((1, 99), np.float32), np.zeros((3, 4), np.complex64),
)  # fmt: skip


def record(draw: random.Random, shop: Workshop) -> Case:
    root, is_invalid = shop.fresh("record"), False
    files = [*root.glob("steps/*.npz"), *root.glob("decisions/*.npz"), root / "goal.npz"]
    path, run = draw.choice(files), root / "run.json"
    match draw.randrange(9):
        case 0:
            run.write_text(json.dumps(edited(draw, json.loads(run.read_text()) | _plausible_about())))
        case 1:
            is_invalid, (key, told) = True, draw.choice(_BAD_ABOUT)
            run.write_text(json.dumps(edited(draw, json.loads(run.read_text()), key, told)))
        case 2:
            result = root / "result.json"
            result.write_text(json.dumps(edited(draw, json.loads(result.read_text()))))
        case 3:
            path = draw.choice([*files, run, root / "result.json"])
            path.write_bytes(bent(draw, path.read_bytes()))
        case 4:
            arrays, about = read_archive(path)
            write_archive(path, arrays, edited(draw, about) if about else {"x": 1})
        case 5:
            arrays, about = read_archive(path)
            name = draw.choice(sorted(arrays))
            is_invalid = not name.startswith("truth.")
            write_archive(path, arrays | {name: _unlike(draw, arrays[name])}, about)
        case 6:
            far = draw.choice(("999999999", "500000", "1x", "-1", "00000000000", "²"))
            (path.parent / f"{far}.npz").write_bytes(path.read_bytes())
        case 7:
            is_invalid = True
            with zipfile.ZipFile(path, "w", draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))) as packed:
                packed.writestr("image.front.npy", bytes(draw.choice((10**3, 10**6))))
        case _:
            lines = [
                json.dumps(edited(draw, {"time": 1.0, "step": 1, "kind": "clip", "reason": "x", "numbers": {"a": 1}})) for _ in range(3)
            ]
            (root / "events.jsonl").write_bytes(bent(draw, "\n".join(lines).encode()))

    def read() -> None:
        found = read_run(root)
        shown(root)
        if found.damaged:
            raise DataError(str(next(iter(found.damaged.values()))))

    return Case(read, is_invalid, f"{path.parent.name}/{path.name}")


def _plausible_about() -> dict[str, Any]:
    return {
        "moves": {"max_lag": 0.05, "max_grip_lag": 0.4}, "config": {"world": {"kind": "tabletop", "arm": "jaco"}, "device": "cpu"},
        "planning": {"planner": {"kind": "cem"}}, "made_with": {"threads": 1}, "checkpoint": "x", "checkpoint_sha256": "y",
    }  # fmt: skip


def _unlike(draw: random.Random, array: np.ndarray) -> np.ndarray:
    """An array of another kind, or another number of axes, than `array`."""
    while True:
        other = draw.choice(_ARRAYS)
        if other.ndim != array.ndim or other.dtype.kind not in (array.dtype.kind, "i", "u"):
            return other


def shown(root: Path) -> None:
    """Everything that the page asks for; an answer that is refused is one of one sentence."""
    routes = routes_of(root)
    while json.loads(body := routes.get("/api/run/0/0").body)["more"]:
        pass
    run = json.loads(body)
    decisions, steps = range(len(run["decisions"])), range(min(len(run["steps"]), 12))
    paths = [f"/api/decision/{n}" for n in decisions] + [f"/api/decision/{n}/pixels" for n in decisions] + ["/picture/goal"]
    paths += [f"/picture/decision/{n}/{what}" for n in decisions for what in ("real", "plan", "candidate/0")]
    for path in [*paths, *(f"/picture/step/{n}" for n in steps)]:
        try:
            routes.get(path)
        except DataError as error:
            assert "\n" not in str(error), str(error)


class Quick(Ready):
    """Answers of the test's asker, but for runs, which it opens."""

    def recompute_all(self, on_stage: OnStage) -> Told:
        return Told("the same")

    def what_if(self, decision: Decision, changes: tuple[str, ...], on_stage: OnStage) -> Told:
        config.load(PlanConfig, None, [f"planning.{change}" for change in changes])
        return Told("what if")

    def diff(self, other: Path, tolerance: float, on_stage: OnStage) -> Told:
        return Told(f"{len(read_run(find_record(other)).steps)} steps")


_PATHS = (
    "/", "/page.css", "/api/run/{}/{}", "/api/decision/{}", "/api/decision/{}/candidate/{}", "/api/decision/{}/pixels", "/picture/goal",
    "/picture/step/{}", "/picture/decision/{}/real", "/picture/decision/{}/plan", "/picture/decision/{}/candidate/{}", "/api/asked/{}",
    "/api/decision/{}/choices", "/picture/asked/{}/{}", "/../{}", "//{}", "/%00{}", "/api/{}?{}", "/[{}", "*{}",
)  # fmt: skip
_NUMBERS = ("0", "1", "2", "99", "-1", "999999999", "1e3", "²", "0x1", "", "9" * 400)
_QUESTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/api/dream", {"decision": 0}), ("/api/dream", {"latent": [0.0] * 4, "disagreement": 0.5, "actions": [[0.01] * 5] * 5}),
    ("/api/ask", {"kind": "recompute", "decision": 1}), ("/api/ask", {"kind": "recompute_all"}),
    ("/api/ask", {"kind": "what_if", "decision": 1, "changes": ["planner.kind=cem", "planner.num_samples=64"]}),
    ("/api/ask", {"kind": "diff", "run": "/tmp", "tolerance": 0.1}), ("/api/stop", {"number": 1}),
)  # fmt: skip
_BAD_QUESTIONS: tuple[tuple[str, Any], ...] = (
    ("/api/dream", {"latent": [0.0] * 5}), ("/api/dream", {"latent": [math.nan] * 4}), ("/api/dream", []), ("/api/dream", {"decision": 99}),
    ("/api/dream", {"latent": [True] * 4}), ("/api/ask", {"kind": "delete"}), ("/api/ask", {"kind": "recompute"}),
    ("/api/stop", {"number": "1"}),
    ("/api/ask", {"kind": "what_if", "decision": 0, "changes": ["a=1"] * 21}), ("/api/ask", {"kind": "diff", "run": "", "tolerance": 0}),
    ("/api/ask", {"kind": "diff", "run": "x", "tolerance": 2}), ("/api/run/0/0", {"kind": "recompute"}), ("/api/stop", {"number": True}),
)  # fmt: skip


def request(draw: random.Random, shop: Workshop) -> Case:
    host = f"127.0.0.1:{shop.server.server_port}"
    headers, body, is_invalid = {"Host": host, "Connection": "close"}, b"", False
    how = draw.randrange(6)
    if how == 0:
        method, path = "GET", draw.choice(_PATHS).format(*(draw.choice(_NUMBERS) for _ in range(2)))
    elif how == 1:
        method, path, is_invalid = "GET", "/api/run/0/0", True
        headers["Host"] = draw.choice(("evil.example", f"evil.example:{host.partition(':')[2]}", "[", "", "localhost.evil.example"))
    else:
        path, asked = draw.choice(_QUESTIONS)
        method, body = "POST", json.dumps(asked).encode()
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        if how == 2:
            body = json.dumps(edited(draw, asked)).encode()
        elif how == 3:
            is_invalid, (path, asked) = True, draw.choice(_BAD_QUESTIONS)
            body = json.dumps(asked).encode()
        elif how == 4:
            body = bent(draw, body)
        else:
            is_invalid = True
            headers[draw.choice(("Origin", "Content-Type"))] = draw.choice(("http://evil.example", "null", "text/plain"))
        headers["Content-Length"] = str(len(body))
        if how == 4 and draw.random() < 0.3:
            is_invalid, headers["Content-Length"] = True, draw.choice(("-1", "x", "²", "9" * 30, ""))
    said = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {told}\r\n" for name, told in headers.items())
    return Case(partial(_sent, shop, said.encode("latin-1", "replace") + b"\r\n" + body), is_invalid, said)


def _sent(shop: Workshop, content: bytes) -> object:
    """The answer to a request; raises `ConfigError` where it is refused, and `AssertionError` where there is none, or a mistake of ours."""
    with socket.create_connection(("127.0.0.1", shop.server.server_port), timeout=60) as connection:
        connection.sendall(content)
        parts = []
        while part := connection.recv(1 << 16):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1]) if head.startswith(b"HTTP/1.") else 0
    assert 200 <= status < 500, f"{status}: {(body or head)[:300]!r}"
    if status >= 400:
        raise ConfigError(json.loads(body)["error"] if body.startswith(b"{") else f"{status}")
    if b'"state":"running"' in body:
        number = json.loads(body)["number"]
        while (view := json.loads(shop.server.routes.get(f"/api/asked/{number}").body))["state"] == "running":
            time.sleep(0.002)
        assert "mistake in robo-dream" not in str(view.get("error")), view
    return status


KINDS: Mapping[str, Callable[[random.Random, Workshop], Case]] = {
    "configuration": configuration, "override": override, "dataset": dataset, "checkpoint": checkpoint_file, "manifest": manifest,
    "record": record, "request": request,
}  # fmt: skip


def _fails() -> None:
    raise KeyError("planted")


def _hangs() -> None:
    while True:
        pass


PLANTED: tuple[Case, ...] = (Case(_fails), Case(_hangs), Case(lambda: None, True), Case(lambda: bytes(2 << 30)))
