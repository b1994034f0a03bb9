"""`robo-dream collect` on an arm: the whole way through guard, driver and Feetech's client to an emulated bus, and on the twin."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from robo_dream.cli import main
from robo_dream.config import load
from robo_dream.data.cache import open_dataset
from robo_dream.data.episode import Episode
from robo_dream.recording.record import read_run
from robo_dream.runtime.collect import CollectConfig, dataset_spec
from robo_dream.runtime.collect_arm import LateError, _require_in_time
from sim.emulators.feetech_bus import FeetechBus
from sim.emulators.plant import Plant
from sim.emulators.so101 import so101_bus, so101_world

pytest.importorskip("scservo_sdk")
ROOT = Path(__file__).parents[2]
# A busy machine is not an unsafe arm.
PATIENT = "{max_state_age: 2.0, max_frame_spread: 0.5, max_frame_age: 1.0, joint_acceleration: 40.0, beyond: [max_state_age]}"
CAMERA_HZ = 20


@pytest.fixture
def bus() -> Iterator[FeetechBus]:
    with so101_world() as world, Plant(world) as plant, so101_bus(plant) as served:
        yield served


def hardware(folder: Path, bus: FeetechBus, seconds: float) -> str:
    """The file of an arm on `bus` with a camera that shows new pictures for so long."""
    from PIL import Image

    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    lens = {"width": 16, "height": 16, "fx": 16.0, "fy": 16.0, "cx": 8.0, "cy": 8.0}
    (pictures / "camera.json").write_text(json.dumps({"intrinsics": lens, "serial": ""}))
    for number in range(2):
        Image.fromarray(np.full((16, 16, 3), 100 + 50 * number, np.uint8)).save(pictures / f"{number}.png")
    entries = [{"number": i, "time": i / CAMERA_HZ, "file": f"{i % 2}.png"} for i in range(round(seconds * CAMERA_HZ))]
    (pictures / "frames.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    file = folder / "arm.yaml"
    file.write_text(
        f"arm: {{kind: so101, port: {bus.port}}}\nworld: {{arm: so101}}\n"
        f"cameras: [{{kind: folder, name: front, path: {pictures}, lost_after: 3600}}]\n"
        f"loop: {{limits: {PATIENT}}}\n"
    )
    return f"arm.hardware={file}"


def settings(folder: Path, bus: FeetechBus, seconds: float, *more: str) -> list[str]:
    short = ["arm.script.num_steps=8", "arm.rest_seconds=0", "arm.picture_size=16", "arm.most_late=1", "test_fraction=0.5"]
    return [hardware(folder, bus, seconds), f"out={folder / 'out'}", *short, *more]


@dataclass
class Collecting:
    """The real program in a process of its own, so that nothing but the bus needs this one. `heard` is told each line."""

    process: subprocess.Popen[str]
    lines: list[str]

    def ended(self) -> tuple[int, str]:
        """Exit code, and all that was said."""
        code = self.process.wait(300)
        return code, "\n".join(self.lines)


@contextmanager
def collecting(*arguments: str, heard: Callable[[str], None] = lambda line: None) -> Iterator[Collecting]:
    command = [sys.executable, "-u", "-m", "robo_dream.cli.main", "collect", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        running = Collecting(process, [])

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                running.lines.append(line.rstrip())
                heard(line)

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield running
        finally:
            process.kill()
            listener.join(10)


def seeds_in(out: Path) -> list[int]:
    data = open_dataset(out)
    return sorted(data.episode(i).seed for i in range(len(data)))


def test_a_camera_that_stands_still_ends_it_with_a_sentence_and_its_record(tmp_path: Path, bus: FeetechBus) -> None:
    with collecting(*settings(tmp_path, bus, 6.0, "num_episodes=50", "arm.changes={loop: {limits: {max_frame_age: 0.5}}}")) as running:
        code, told = running.ended()
    assert code == 1, told
    assert "the arm holds, and collecting has ended: 6 decisions in a row gave no plan to trust" in told
    assert "frame of camera 'front' is" in told and "give the same command to go on" in told
    (record,) = (tmp_path / "out/cut_short").glob("*/record")
    run = read_run(record)
    assert f"record   {record}" in told and "does not count" in told
    assert run.result is not None and "frame of camera 'front'" in run.result["reasons"][0]
    held = [step.sent for step in run.steps if step.sent is not None][-3:]
    assert not np.any(held), "held still while it could not see"
    assert seeds_in(tmp_path / "out") == list(range(int(record.parent.name[:6])))
    assert not list((tmp_path / "out/under_way").iterdir())


def test_a_hot_motor_ends_the_episode_and_is_waited_for(tmp_path: Path, bus: FeetechBus) -> None:
    said: list[str] = []
    began = threading.Event()

    def heat(reading: object) -> None:
        if began.is_set() and list((tmp_path / "out/under_way/000000/record/steps").glob("000003*")):
            bus.temperatures[2] = 61
            began.clear()

    def hear(text: str) -> None:
        said.append(text.strip())
        if "connected" in text:
            began.set()
        if "rests at its start pose" in text:
            bus.temperatures[2] = 44

    bus.plant.watch(heat)
    with collecting(*settings(tmp_path, bus, 120.0, "num_episodes=2", "arm.script.num_steps=25"), heard=hear) as running:
        code, told = running.ended()
    assert code == 0, told
    story = [text for text in said if "elbow_flex" in text or "cooled" in text or "Traceback" in text]
    assert story[0].startswith("episode 0 was cut short after") and "motor elbow_flex has 61 °C" in story[0]
    assert story[1].startswith("motor elbow_flex has 61 °C; allowed are 55 °C. The arm rests at its start pose until all have 45 °C")
    assert story[2].startswith("cooled down after") and len(story) == 3
    data = open_dataset(tmp_path / "out")
    assert [data.episode(i).seed for i in range(2)] == [0, 1] and all(data.length(i) == 26 for i in range(2))


def test_a_killed_collection_leaves_a_still_arm_and_goes_on_at_the_next_episode(tmp_path: Path, bus: FeetechBus) -> None:
    command = settings(tmp_path, bus, 600.0, "num_episodes=3")
    steps, end = tmp_path / "out/under_way/000001/record/steps", time.monotonic() + 120
    with collecting(*command) as first:
        while len(list(steps.glob("*.npz"))) < 3:
            assert first.process.poll() is None and time.monotonic() < end, first.lines
            time.sleep(0.01)
        os.kill(first.process.pid, signal.SIGKILL)
    time.sleep(1.5)
    before = bus.plant.joints().pos
    time.sleep(0.3)
    assert np.abs(bus.plant.joints().pos - before).max() < 0.01, "the guard, whose parent is gone, brings the arm to rest"
    assert seeds_in(tmp_path / "out") == [0]
    with collecting(*command) as second:
        code, told = second.ended()
    assert code == 0, told
    assert "has 1 episodes already; 2 to go" in told
    assert "episode 1 was cut short after" in told and "the program was killed" in told
    assert seeds_in(tmp_path / "out") == [0, 1, 2] and len(list((tmp_path / "out/cut_short").iterdir())) == 1


def test_the_twin_is_played_and_training_takes_what_it_gives(tmp_path: Path) -> None:
    changes = f"arm.changes={{twin_cameras: {{kind: rendered}}, loop: {{limits: {PATIENT}}}}}"
    short = ["num_episodes=1", "arm.script.num_steps=8", "arm.rest_seconds=0", "arm.most_late=1"]
    with collecting("--twin", "so101", f"out={tmp_path}", *short, changes) as running:
        code, told = running.ended()
    assert code == 0, told
    data = open_dataset(tmp_path)
    episode = data.episode(0)
    assert all(picture.std() > 5 for picture in episode.images.values()) and np.isfinite(episode.object_pose).all()
    assert np.ptp(episode.proprio[:, :3], axis=0).max() > 0.01 and episode.times[0] == 0.0
    simulated = dataset_spec(load(CollectConfig, ROOT / "configs/collect/so101.yaml"))
    assert not simulated.differences(replace(data.spec, skills=simulated.skills, sim_state_size=simulated.sim_state_size))
    assert data.spec.recipe["world"] == simulated.recipe["world"], "whose world a checkpoint trained on it will name"


def test_an_episode_whose_control_steps_took_too_long_is_refused_with_advice() -> None:
    times = np.array([0.0, 0.1, 0.2, 0.4, 0.6])
    zeros = np.zeros((5, 0))
    proprio, poses, actions = (np.zeros(shape, np.float32) for shape in ((5, 11), (5, 7), (4, 5)))
    episode = Episode({}, proprio, actions, poses, zeros, times, np.zeros(5, np.int64), "x")
    _require_in_time(episode, 0.1, 0.5)
    with pytest.raises(LateError, match=r"50 % of the control steps took longer than 0.15 s \(the median 0.15 s\), allowed are 40 %"):
        _require_in_time(episode, 0.1, 0.4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["arm.cooled=60"], "cooled must be the lower one"),
        (["arm.script.mix={push: 1.0}"], "played by play and random"),
        (["arm.hardware=nowhere.yaml"], "nowhere.yaml"),
        (["arm.changes={twin: false}"], "names no cameras"),
        (["redrawn={dataset: datasets/x}"], "give one of them"),
    ],
)
def test_what_cannot_be_played_is_one_sentence(change: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["collect", "--twin", "so101", f"out={tmp_path}", *change]) == 2
    assert said in capsys.readouterr().err
