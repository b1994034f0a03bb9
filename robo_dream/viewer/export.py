"""The page and what it asks for as one HTML file, which opens anywhere, offline: the same page, with fewer pictures."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from robo_dream.errors import DataError
from robo_dream.schema import configuration
from robo_dream.viewer.routes import Routes
from robo_dream.viewer.server import SCRIPTS, page_file

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@configuration
class ExportConfig:
    """How much goes into the file: about 9 kB for each candidate that is drawn (3 imagined steps, 2 cameras of 96 px; 12 take 17)."""

    max_decisions: Annotated[int, Field(ge=1, le=100_000)] = 60  # the odd ones first, the others evenly
    max_candidates: Annotated[int, Field(ge=1, le=100_000)] = 12  # of each decision, the best


def html_page(routes: Routes, config: ExportConfig | None = None, on_progress: Callable[[int, int], None] | None = None) -> bytes:
    """The file. `on_progress(done, all)` is called after every decision. Without a model it holds no imagined pictures and says so."""
    config = config or ExportConfig()
    answers: dict[str, Any] = {}
    pictures: dict[str, str] = {}
    run = _whole_run(routes)
    picked = picked_decisions(run["decisions"], config.max_decisions)
    drawn = run["dreamer"]["state"] == "ready"

    def keep_picture(path: str) -> None:
        answer = routes.get(path)
        pictures[path] = f"data:{answer.kind};base64,{base64.b64encode(answer.body).decode()}"

    if run["goal_cameras"]:
        keep_picture("/picture/goal")
    for row in run["steps"] if not picked else ():  # nothing was imagined; what was seen is all there is
        if "damage" not in row:
            keep_picture(f"/picture/step/{row['step']}")
    for done, index in enumerate(picked):
        path = f"/api/decision/{index}"
        decision = json.loads(routes.get(path).body)
        keep_picture(f"/picture/decision/{index}/real")
        if drawn:
            answers[f"{path}/pixels"] = json.loads(routes.get(f"{path}/pixels").body)
            keep_picture(f"/picture/decision/{index}/plan")
            for one in (decision["futures"] or {"shown": ()})["shown"]:
                keep_picture(f"/picture/decision/{index}/future/{one['future']}")
        kept = [candidate["sample"] for candidate in decision["candidates"][: config.max_candidates]]
        for sample in kept:
            answers[f"{path}/candidate/{sample}"] = json.loads(routes.get(f"{path}/candidate/{sample}").body)
            if drawn:
                keep_picture(f"/picture/decision/{index}/candidate/{sample}")
        answers[path] = decision | {"candidates": decision["candidates"][: config.max_candidates], "of": len(decision["candidates"])}
        if on_progress is not None:
            on_progress(done + 1, len(picked))
    note = _note(len(picked), len(run["decisions"]), config.max_candidates)
    return _page({"run": run | {"picked": picked, "note": note}, "answers": answers, "pictures": pictures})


def picked_decisions(rows: Sequence[dict[str, Any]], most: int) -> list[int]:
    """At most `most` readable decisions, in order: those whose status is not OK first, the largest surprise, the others evenly."""
    readable = [index for index, row in enumerate(rows) if "damage" not in row]
    odd = [index for index in readable if rows[index]["status"] != "OK"]
    surprising = max((index for index in readable if rows[index]["surprise"] is not None), key=lambda i: rows[i]["surprise"], default=None)
    first = [*([surprising] if surprising is not None else []), *odd]
    evenly = [readable[i] for i in np.linspace(0, len(readable) - 1, min(most, len(readable))).round().astype(int)] if readable else []
    return sorted(list(dict.fromkeys([*first[: most // 2], *evenly]))[:most]) if len(readable) > most else readable


def _whole_run(routes: Routes) -> dict[str, Any]:
    while True:
        run = json.loads(routes.get("/api/run/0/0").body)
        if not run["more"]:
            return run


def _note(num_picked: int, num_all: int, max_candidates: int) -> str:
    some = f"{num_picked} of {num_all} decisions" if num_picked < num_all else f"all {num_all} decisions"
    return f"This file keeps {some}, the {max_candidates} best candidates each. For everything, and to walk in: robo-dream replay RUN"


def _page(kept: dict[str, Any]) -> bytes:
    data = json.dumps(kept, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")  # no tag can end the script early
    page = page_file("index.html").decode()
    scripts = "\n".join(page_file(name).decode() for name in SCRIPTS)
    parts = {
        '<link rel="stylesheet" href="page.css">': f"<style>{page_file('page.css').decode()}</style>",
        "<!-- policy -->": f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        **{f'<script src="{name}" defer></script>\n': "" for name in SCRIPTS},
        "<!-- kept -->": f'<script type="application/json" id="kept">{data}</script>\n<script>\n{scripts}</script>',
    }
    for mark, content in parts.items():
        if mark not in page:
            raise DataError(f"the page has no {mark!r} to replace; the installation is damaged: install robo-dream again")
        page = page.replace(mark, content)
    return page.encode()
