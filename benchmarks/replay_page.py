"""How fast the page of a long run is: `python benchmarks/replay_page.py`.

A made-up run of 500 decisions with 128 candidates, 5 imagined steps and two 64 px cameras is served with a model of size S (random weights,
which cost as much as learned ones) and opened in a headless Chromium (pip install 'robo-dream[page-tests]', apt-get install chromium). The
issue asks for 2 s until the page can be used, 100 ms between decisions and 10 pictures a second when one walks in a dream.
"""

import argparse
import os
import platform
import shutil
import tempfile
import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robo_dream.embodiment import ArmState, Frame, Observation
from robo_dream.errors import MissingExtraError
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.recording.decision import Decision
from robo_dream.recording.record import GoalRecord
from robo_dream.recording.writer import RunWriter
from robo_dream.viewer.dreams import ModelDreams
from robo_dream.viewer.export import html_page
from robo_dream.viewer.routes import Dreamer, Routes
from robo_dream.viewer.server import PageServer
from robo_dream.viewer.watch import RunWatch

BLOCK, HORIZON, SIDE = 5, 5, 64
CHECKPOINT = Path("configs/checkpoints/jaco_s.safetensors")


def made_up_model() -> LatentVideoModel:
    """The released model's shape, for 64 px."""
    spec = checkpoint.load(CHECKPOINT, torch.device("cpu")).spec
    return LatentVideoModel(replace(spec, config=replace(spec.config, image_size=SIDE))).eval()


def write_run(root: Path, model: LatentVideoModel, num_decisions: int, num_samples: int) -> None:
    rng, channels = np.random.default_rng(0), model.spec.config.latent
    pictures = {name: rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8) for name in model.cameras}
    goal = GoalRecord(pictures, np.zeros(channels, np.float32), None, None)
    writer = RunWriter(root, {"task": "push", "seed": 0, "goal": "made up"}, goal, max_wait=60.0)
    for number in range(num_decisions):
        futures = rng.standard_normal((num_samples, HORIZON, channels), np.float32)
        totals = rng.random(num_samples, np.float32)
        best = int(totals.argmin())
        candidates = np.float32(0.02) * rng.standard_normal((num_samples, BLOCK * HORIZON, 5), np.float32)
        scores = (num_samples, HORIZON)
        writer.on_decision(
            Decision(
                step=BLOCK * number, time=0.1 * BLOCK * number, planner="policy_guided", seed=number,
                status="UNSURE" if number % 97 == 50 else "OK", actions=candidates[best], latents=futures[best],
                belief=rng.standard_normal(channels, np.float32), goal=goal.latent, candidates=candidates, candidate_latents=futures,
                terms={name: rng.random(scores, np.float32) for name in ("pose.object_pos", "pose.tool_pos", "disagreement")},
                totals=totals, origins=np.arange(num_samples) % 3, origin_names=("noise", "policy", "previous"),
                best_by_iteration=rng.random(3, np.float32), disagreement=rng.random(scores, np.float32),
                seconds={"imagine": 0.03, "total": 0.1},
            )
        )  # fmt: skip
        for step in range(BLOCK * number, BLOCK * (number + 1)):
            frames = {name: Frame(0.1 * step, np.roll(image, step, 1), step) for name, image in pictures.items()}
            zeros = np.zeros(6)
            arm = ArmState(0.1 * step, zeros, zeros, zeros[:3], np.array([0.0, 1, 0, 0]), 0.0, 0.0, zeros[:3], 0.0, 0.0, None)
            action = candidates[best, step % BLOCK]
            writer.on_step(Observation(0.1 * step, frames, arm), action, action)
    writer.finish(Observation(0.1 * BLOCK * num_decisions, frames, arm), {"moderate": False, "reasons": []})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=500)
    parser.add_argument("--candidates", type=int, default=128)
    parser.add_argument("--moves", type=int, default=40, help="to a neighbour, and as many to anywhere")
    parser.add_argument("--run", type=Path, help="where the made-up run lies, or is written to; without it, a folder that is deleted")
    args = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise MissingExtraError("playwright is not installed: pip install 'robo-dream[page-tests]'") from None
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    model = made_up_model()
    with tempfile.TemporaryDirectory() as scratch:
        root = args.run or Path(scratch) / "run"
        if not (root / "run.json").exists():
            write_run(root, model, args.decisions, args.candidates)
        dreamer: Future[Dreamer] = Future()
        dreamer.set_result(ModelDreams(model))
        print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {torch.get_num_threads()} threads of torch")
        with PageServer(Routes(RunWatch(root), dreamer)) as server, sync_playwright() as started:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1366, "height": 768})
            measure(page, server, args.moves)
            browser.close()
        start = time.perf_counter()
        size = len(html_page(Routes(RunWatch(root), dreamer, "WEBP")))
        print(f"exported as one file: {size / 1e6:.1f} MB in {time.perf_counter() - start:.0f} s")


def measure(page: Any, server: PageServer, num_moves: int) -> None:
    start = time.perf_counter()
    page.goto(server.url)
    page.wait_for_selector("body[data-settled='0']")
    print(f"interactive (first decision drawn): {time.perf_counter() - start:.2f} s")
    while page.evaluate("!state.run.finished"):
        page.wait_for_timeout(20)
    count = page.evaluate("state.run.decisions.length")
    print(f"whole time line of {count} decisions: {time.perf_counter() - start:.2f} s")
    report("to the next decision, drawn beforehand", [moved(page, "ArrowRight", 300) for _ in range(num_moves)])
    report("to the next decision, keys held down", [moved(page, "ArrowRight", 0) for _ in range(num_moves)])
    rng = np.random.default_rng(0)
    report("to any decision, nothing drawn yet", [moved(page, int(rng.integers(count)), 300) for _ in range(num_moves)])
    page.keyboard.press("2")
    start = time.perf_counter()
    eight = "[...document.querySelectorAll('.candidate .strip')].slice(0, 8).map((one) => one.style.backgroundImage)"
    while page.evaluate(f"{eight}.includes('')"):
        page.wait_for_timeout(5)
    page.evaluate(f"Promise.all({eight}.map((image) => loaded(image.slice(5, -2))))")
    print(f"the first 8 candidates of a decision drawn: {1e3 * (time.perf_counter() - start):.0f} ms")
    page.keyboard.press("6")
    page.locator("#walked", has_text="now").wait_for()
    page.keyboard.down("w")
    page.wait_for_timeout(4000)
    page.keyboard.up("w")
    steps = page.evaluate("walk.steps")
    print(f"walking: {steps / 4:.1f} pictures of each camera a second")


def moved(page: Any, to: str | int, rest_ms: int) -> float:
    """Milliseconds from the key to the pictures; `rest_ms` of looking at them follow, in which neighbours may be drawn."""
    before = page.evaluate("document.body.dataset.settled")
    if isinstance(to, int):
        if str(to) == before:
            to += 1
        page.evaluate(f"void select({to})")
    else:
        page.keyboard.press(to)
    while page.evaluate("document.body.dataset.settled") == before:
        page.wait_for_timeout(1)
    page.wait_for_timeout(rest_ms)
    return page.evaluate("state.moved")


def report(what: str, milliseconds: list[float]) -> None:
    p50, p95 = np.percentile(milliseconds, [50, 95])
    print(f"{what}: p50 {p50:.0f} ms, p95 {p95:.0f} ms, {len(milliseconds)} moves")


if __name__ == "__main__":
    main()
