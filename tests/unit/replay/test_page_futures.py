"""The fan on the page: where a plan may lead, from the best future to the worst, with a picture of each."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dreamers import routes_of
from PIL import Image
from recorded_runs import CHANNELS, HORIZON, SIDE, action, decision, new_writer, observation

from robo_dream.errors import DataError
from robo_dream.viewer.export import html_page
from robo_dream.viewer.page_data import decision_view
from robo_dream.viewer.watch import RunWatch

COUNT = 12


def write_fan(root: Path, totals: np.ndarray) -> np.ndarray:
    """A run of two decisions, the first with futures whose first channel is their number; these."""
    futures = np.zeros((COUNT, HORIZON, CHANNELS), np.float32)
    futures[..., 0] = 0.1 * np.arange(COUNT)[:, None]
    with new_writer(root) as writer:
        writer.on_decision(replace(decision(0), futures=futures, future_totals=totals))
        writer.on_step(observation(0), action(0), action(0))
        writer.on_decision(decision(5))
        writer.finish(observation(1), {})
    return futures


TOTALS = np.roll(np.arange(COUNT, dtype=np.float32), 5)


def test_futures_stand_from_the_best_to_the_worst_and_are_as_they_were_kept(tmp_path: Path) -> None:
    futures = write_fan(tmp_path, TOTALS)
    watch = RunWatch(tmp_path)
    watch.refresh()
    assert np.array_equal(watch.decision(0).futures, futures)  # type: ignore[arg-type]
    fan = decision_view(watch, 0)["futures"]
    assert fan["count"] == COUNT and [one["total"] for one in fan["shown"]] == sorted(one["total"] for one in fan["shown"])
    assert (fan["shown"][0], fan["shown"][-1]) == ({"future": 5, "total": 0.0}, {"future": 4, "total": 11.0})
    assert decision_view(watch, 1)["futures"] is None


def test_a_future_is_drawn_from_the_belief_on_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    write_fan(tmp_path, TOTALS)
    routes = routes_of(tmp_path)
    routes.get("/api/run/0/0")
    picture = np.asarray(Image.open(io.BytesIO(routes.get("/picture/decision/0/future/10").body)))
    assert picture.shape == (2 * SIDE, (HORIZON + 1) * SIDE, 3)
    assert abs(float(picture[:, SIDE + 2 :].mean()) - (128 + 40 * 1.0)) < 3
    with pytest.raises(DataError, match="step 0 has no future 12; it kept 12"):
        routes.get("/picture/decision/0/future/12")
    with pytest.raises(DataError, match="step 5 has no future 0; it kept 0"):
        routes.get("/picture/decision/1/future/0")


def test_an_exported_page_keeps_the_fan(tmp_path: Path) -> None:
    write_fan(tmp_path, np.where(TOTALS == 11, np.inf, TOTALS))
    routes = routes_of(tmp_path)
    text = html_page(routes).decode()
    kept = json.loads(text.split('id="kept">')[1].split("</script>")[0])
    shown = kept["answers"]["/api/decision/0"]["futures"]["shown"]
    assert shown[-1] == {"future": 4, "total": None}
    assert all(f"/picture/decision/0/future/{one['future']}" in kept["pictures"] for one in shown)
