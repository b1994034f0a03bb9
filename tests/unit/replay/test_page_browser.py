"""The page in a real browser: it shows, steps, plays, walks and follows, and the exported file does so offline."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from askers import Ready, asker
from dreamers import routes_of
from recorded_runs import action, decision, new_writer, observation, write_run
from test_page_server import serving

from robo_dream.imagination import PlanStatus
from robo_dream.viewer.export import html_page
from robo_dream.viewer.server import PageServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install 'robo-dream[page-tests]'")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")
RANK = "state.decision.candidates.findIndex((one) => one.sample === state.sample)"
WAIT_MS = 60_000  # a busy machine is not a broken page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1366, "height": 768}, color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(WAIT_MS)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()
    assert errors == []


def write_odd_run(root: Path) -> None:
    """Ten decisions; the fifth is UNSURE, and the arm cut off an action at step 31."""
    writer = new_writer(root)
    for step in range(50):
        if step % 5 == 0:
            record = decision(step)
            record = replace(record, actions=record.candidates[2].copy(), status=PlanStatus.UNSURE if step == 20 else PlanStatus.OK)
            writer.on_decision(record)
        sent = action(step) + 1
        writer.on_step(observation(step), sent, 0 * sent if step == 31 else sent)
    writer.finish(observation(50), {"moderate": False, "distances": [0.1] * 51, "reasons": []})


def test_how_odd_each_decision_looks_is_drawn_on_the_time_line_and_odder_stands_higher(page: Any, tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    for step, share in ((0, 0.5), (5, 0.003), (10, None)):
        writer.on_decision(replace(decision(step), perception=share))
        writer.on_step(observation(step), action(step), action(step))
    writer.finish(observation(11), {})
    with serving(PageServer(routes_of(tmp_path))) as server:
        page.goto(server.url)
        settled(page, 0)
        heights = page.evaluate("[...document.querySelectorAll('#timeline circle.perception')].map((one) => +one.getAttribute('cy'))")
        assert len(heights) == 2 and heights[1] < heights[0] - 20
        assert "as odd to look at as 0.3 % of usual moments" in page.text_content("#timeline")


def test_a_finished_run_is_named_by_its_task_world_and_checkpoint(page: Any, tmp_path: Path) -> None:
    write_run(tmp_path)
    told = json.loads((tmp_path / "run.json").read_text())
    told |= {"world": {"kind": "ogbench", "env": "cube-single"}, "checkpoint": "configs/checkpoints/ogbench_cube_single_s.safetensors"}
    (tmp_path / "run.json").write_text(json.dumps(told))
    with serving(PageServer(routes_of(tmp_path))) as server:
        page.goto(server.url)
        settled(page, 0)
        assert page.inner_text("#about").startswith("push in ogbench cube-single · ogbench_cube_single_s · policy_guided")


def test_limits_that_were_widened_stand_in_red_and_an_interrupted_run_says_so(page: Any, tmp_path: Path) -> None:
    write_run(tmp_path)
    told = json.loads((tmp_path / "run.json").read_text())
    limits = {"max_state_age": 2.0, "max_plan_age": 60.0, "beyond": ["max_state_age", "max_plan_age"]}
    (tmp_path / "run.json").write_text(json.dumps(told | {"loop": {"limits": limits}}))
    (tmp_path / "result.json").write_text(json.dumps({"end": "INTERRUPTED", "reasons": ["told to end (SIGTERM)"]}))
    with serving(PageServer(routes_of(tmp_path))) as server:
        page.goto(server.url)
        settled(page, 0)
        red = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--bad').trim()")
        as_rgb = "rgb(" + ", ".join(str(int(red[at : at + 2], 16)) for at in (1, 3, 5)) + ")"
        assert page.inner_text("#widened") == "limits widened: max_state_age, max_plan_age"
        assert page.evaluate("getComputedStyle(document.getElementById('widened')).color") == as_rgb
        assert "max_state_age is 2 s (plausible 0.005 to 0.5 s)" in page.get_attribute("#widened", "title")
        assert "max_plan_age is 60 s" in page.inner_text("#side") and page.locator("#side .widened").count() == 2
        assert page.inner_text("#verdict") == "interrupted"


def test_a_run_within_plausible_limits_shows_nothing_of_them(page: Any, tmp_path: Path) -> None:
    write_run(tmp_path)
    with serving(PageServer(routes_of(tmp_path))) as server:
        page.goto(server.url)
        settled(page, 0)
        assert page.locator("#widened").is_hidden() and page.locator("#side .widened").count() == 0


def settled(page: Any, index: int) -> None:
    page.wait_for_selector(f"body[data-settled='{index}']")


def test_stepping_marks_and_views(page: Any, tmp_path: Path) -> None:
    write_odd_run(tmp_path)
    with serving(PageServer(routes_of(tmp_path))) as server:
        page.goto(server.url)
        settled(page, 0)
        page.locator("#verdict", has_text="not reached").wait_for()
        page.keyboard.press("ArrowRight")
        settled(page, 1)
        assert "Decision 2" in page.inner_text("#side")
        page.locator("#chips button", has_text="UNSURE").click()  # the odd moment, one click away
        settled(page, 4)
        assert "UNSURE" in page.inner_text("#side") and "should hold" in page.inner_text("#side")
        page.locator("#chips button", has_text="1 clipped").click()
        settled(page, 6)
        views = ("imagined", "candidates of the last iteration", "converging", "Latent error", "gripper", "your dream")
        for number, seen in enumerate(views, 1):
            page.keyboard.press(str(number))
            page.locator("#view", has_text=seen).wait_for()
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight && document.documentElement.scrollWidth <= innerWidth")
        assert all(url.startswith((server.url, "data:")) for url in page.asked)


def test_candidates_are_picked_with_the_keys_and_played(page: Any, tmp_path: Path) -> None:
    write_odd_run(tmp_path)
    with serving(PageServer(routes_of(tmp_path))) as server:
        page.goto(server.url + "#decision=3&view=candidates")
        settled(page, 2)
        totals = [float(text) for text in page.locator(".candidate .cost").all_inner_texts() if text[0].isdigit()]
        assert totals == sorted(totals) and page.locator(".candidate").count() == 7
        chosen = page.evaluate(RANK)
        page.keyboard.press("ArrowUp" if chosen == 6 else "ArrowDown")
        assert page.evaluate(RANK) == (5 if chosen == 6 else chosen + 1)
        assert page.locator(".candidate.selected").count() == 1
        page.locator(".candidate.selected .strip[style*='/picture/decision/2/candidate/']").first.wait_for()
        page.keyboard.press(" ")
        page.locator("#side .playing", has_text="+").wait_for()  # another moment than now
        page.keyboard.press(" ")
        assert page.evaluate("state.playing") is None


def test_walking_in_the_dream_with_keys_and_sliders(page: Any, tmp_path: Path) -> None:
    write_odd_run(tmp_path)
    with serving(PageServer(routes_of(tmp_path))) as server:
        page.goto(server.url + "#decision=2&view=walk")
        page.locator("#walked", has_text="now").wait_for()
        start = page.evaluate("[...walk.latent]")
        page.keyboard.press("w")
        page.locator("#walked", has_text="+0.5 s").wait_for()
        moved = page.evaluate("[walk.latent, walk.stride, walk.disagreement]")
        assert moved[0] == pytest.approx([x + 5 * 0.1 * moved[1] for x in start], abs=1e-5) and moved[2] == 1
        before = page.evaluate("walk.picture")
        page.locator("[data-channel='0']").fill(page.locator("[data-channel='0']").get_attribute("max"))
        while page.evaluate("walk.picture") == before:
            page.wait_for_timeout(50)
        page.keyboard.press("Backspace")
        page.locator("#walked", has_text="now").wait_for()
        while page.evaluate("walk.latent") != start:
            page.wait_for_timeout(50)


def test_asking_what_if_shows_both_plans(page: Any, tmp_path: Path) -> None:
    write_odd_run(tmp_path)
    one = Ready()
    with serving(PageServer(routes_of(tmp_path, asker=asker(one)))) as server:
        page.goto(server.url + "#decision=2&view=ask")
        page.locator(".preset", has_text="another seed").click()
        key, value = page.locator("[data-key='0']"), page.locator("[data-value-of='0']")
        assert key.input_value() == "seed" and value.input_value() == str(5 + 2**40 + 1)
        value.fill("123")  # digits are words here, not views
        assert page.evaluate("state.view") == "ask"
        page.locator("[data-ask=what_if]").click()
        page.locator("pre.told", has_text="recorded | what if").wait_for()
        assert one.asked == [("seed=123",)]
        page.locator(".strip[style*='/picture/asked/1/0']").first.wait_for()
        page.locator(".strip[style*='/picture/asked/1/1']").first.wait_for()
        assert "By the recorded cost" in page.inner_text("#answer") and "gripper" in page.inner_text("#answer")
        page.locator(".preset", has_text="wait").click()
        page.locator("[data-ask=what_if]").click()
        page.locator("#answer", has_text="planning again: 3 of 10").wait_for()
        assert page.locator("[data-ask=recompute]").is_disabled()  # one at a time
        page.locator("#answer button", has_text="stop").click()
        page.locator("#answer [role=alert]", has_text="stopped").wait_for()
        page.locator("[data-ask=recompute]").click()
        page.locator("pre.told", has_text="the very same plan").wait_for()
        assert page.locator(".answered").count() == 3
        page.locator(".answered").last.click()  # the first one asked
        page.locator("pre.told", has_text="recorded | what if").wait_for()


def test_asking_for_a_difference_leads_to_the_decision(page: Any, tmp_path: Path) -> None:
    write_odd_run(tmp_path)
    with serving(PageServer(routes_of(tmp_path, asker=asker()))) as server:
        page.goto(server.url + "#decision=1&view=ask")
        page.get_by_label("other run").fill("/runs/other")
        page.locator("[data-ask=diff]").click()
        page.locator("pre.told", has_text="they part from /runs/other at control step 5").wait_for()
        page.get_by_label("key of a change").fill("sed")
        page.get_by_label("value of a change").fill("3")
        page.locator("[data-ask=what_if]").click()
        page.locator("#answer [role=alert]", has_text="did you mean seed?").wait_for()


def test_a_running_run_grows_on_the_page(page: Any, tmp_path: Path) -> None:
    writer = new_writer(tmp_path)
    with serving(PageServer(routes_of(tmp_path))) as server:
        page.goto(server.url)
        page.locator("#view", has_text="Waiting for the first decision").wait_for()
        for step in range(7):
            if step % 5 == 0:
                writer.on_decision(decision(step))
            writer.on_step(observation(step), action(step), action(step))
            if step in (0, 6):
                settled(page, step // 5)  # the newest decision is shown without a key
        assert "running" in page.inner_text("#verdict")
        writer.finish(observation(7), {"moderate": True, "strict": True})
        page.locator("#verdict", has_text="success, held").wait_for()


def test_the_exported_file_opens_offline(page: Any, tmp_path: Path) -> None:
    write_run(tmp_path / "record", 12)
    file = tmp_path / "run.html"
    file.write_bytes(html_page(routes_of(tmp_path / "record")))
    page.context.set_offline(True)
    page.goto(file.as_uri())
    settled(page, 0)
    page.keyboard.press("ArrowRight")
    settled(page, 1)
    page.locator(".strip[style*='data:image/jpeg']").first.wait_for()
    page.keyboard.press("6")
    page.locator("#view", has_text="robo-dream replay RUN").wait_for()
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []


def test_light_and_dark(page: Any, tmp_path: Path) -> None:
    write_run(tmp_path, 6)
    with serving(PageServer(routes_of(tmp_path))) as server:
        page.goto(server.url)
        settled(page, 0)
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.keyboard.press("t")
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, dark[4:-1].split(","))) < 150 < 600 < sum(map(int, light[4:-1].split(",")))
        page.reload()
        settled(page, 0)
        assert page.evaluate("document.documentElement.dataset.theme") == "light"  # a choice is kept
