"""LeRobot's own, unmodified `lerobot-record` drives our emulated SO-101 by our policy: success beside `robo-dream run` on the same seeds.

    /tmp/lerobot_env/bin/python benchmarks/lerobot_policy.py --out runs/lerobot_policy.jsonl --figures docs/results/lerobot_policy.json

It runs in an environment of lerobot 0.4.4's own, which docs/guides/so101-lerobot.md makes. Each trial is one process of `lerobot-record`:
its SO101Follower opens the emulator's servo bus, its ZMQ cameras show the physics, its plugin finder finds our policy, and its loop sends
at 30 frames a second what that says. Starts and goals are those of benchmarks/twins.py, seed by seed, and so is who judges: the physics.
With --ways async the same by LeRobot's policy server and robot client. A row for each trial is appended to --out; started again, it goes
on where it was. LeRobot asks its bus once and ends at the first reply that is late, as on a machine that others use the emulator's can be:
such a trial is begun again, twice at most, and counted. Run it as root: it then goes before others' work.
"""

import argparse
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import cv2
import numpy as np
import zmq
from lerobot_so101 import calibration
from results_file import write_figures

from robo_dream import config
from robo_dream.evaluation.intervals import paired_difference
from robo_dream.recording.events import append_line
from robo_dream.recording.record import read_run
from robo_dream.runtime.goals import write_snapshot
from robo_dream.runtime.run import RunConfig
from robo_dream.runtime.twin import Twin, TwinView
from sim.attempt import Attempt
from sim.pairs import drawn_pair
from sim.tabletop.environment import Tabletop

ROOT = Path(__file__).parents[1]
TWIN = ROOT / "configs/hardware/so101_twin.yaml"
SECONDS = 10  # of an episode in LeRobot; `run` has 80 control steps of 0.1 s, and thinks beside that
CAMERA_FPS = 20
TRIES = 3  # of a trial that lost a reply of the bus
WAYS = ("record", "record_pictures", "async", "run")
"""`lerobot-record` told where the arm is at the goal, too, and by pictures alone; policy server and robot client; `robo-dream run`."""
Row = dict[str, Any]


@dataclass
class Stage:
    """The emulated arm at the start of an attempt, its cameras on a ZMQ socket, and what judges it."""

    twin: Twin
    view: TwinView
    attempt: Attempt
    port: int  # of the cameras
    publisher: Any

    def show(self) -> None:
        """Publishes a picture of each camera, as LeRobot's ZMQ camera reads them; nearly lossless."""
        with self.view:
            images = {camera.name: self.view.world.image(camera.name) for camera in self.view.world.scene.config.cameras}
        quality = [cv2.IMWRITE_JPEG_QUALITY, 100, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        told = {name: base64.b64encode(cv2.imencode(".jpg", image, quality)[1]).decode() for name, image in images.items()}
        self.publisher.send_string(json.dumps({"timestamps": {}, "images": told}))


@contextmanager
def staged(task: str, seed: int) -> Iterator[Stage]:
    settings = config.load(RunConfig, TWIN, [])
    with ExitStack() as stack:
        world = stack.enter_context(Tabletop(settings.world))
        attempt = Attempt(world, drawn_pair(world, task, np.random.default_rng(seed)))
        twin = stack.enter_context(Twin(settings.arm, settings.world, attempt.pair.start))
        publisher = stack.enter_context(zmq.Context()).socket(zmq.PUB)
        port = publisher.bind_to_random_port("tcp://127.0.0.1")
        stack.callback(publisher.close, 0)
        yield Stage(twin, TwinView(twin, world), attempt, port, publisher)


def lerobot_trial(way: str, task: str, seed: int, checkpoint: Path, out: Path) -> Row:
    rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "emulated.json").write_text(json.dumps(calibration()))
    with staged(task, seed) as stage:
        seen = stage.attempt.goal_observation()
        stage.attempt.environment.set_state(stage.attempt.pair.start)
        write_snapshot(out / "goal.npz", seen)
        cameras = {
            name: {
                "type": "zmq",
                "server_address": "127.0.0.1",
                "port": stage.port,
                "camera_name": name,
                "width": 96,
                "height": 96,
                "fps": 30,
            }
            for name in seen.frames
        }
        robot = [
            "--robot.type=so101_follower", f"--robot.port={stage.twin.address}", "--robot.id=emulated", f"--robot.calibration_dir={out}",
            f"--robot.cameras={json.dumps(cameras)}",
        ]  # fmt: skip
        goal = {"goal_snapshot": str(out / "goal.npz")}
        if way == "record_pictures":
            goal = {"goal": json.dumps({name: str(out / f"goal-{name}.png") for name in seen.frames})}
        policy = {"checkpoint": str(checkpoint), "task": task, "device": "cpu", **goal}
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(out / "hf"), "OMP_NUM_THREADS": "1"}
        with (out / "said.txt").open("w") as said, ExitStack() as stack:

            def begun(command: list[str]) -> subprocess.Popen[str]:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=said, stderr=said, text=True, env=environment, cwd=out, preexec_fn=_hurry
                )
                stack.callback(_ended, process)
                assert process.stdin is not None
                process.stdin.write("\n")  # "press ENTER to use provided calibration file"
                process.stdin.flush()
                return process

            if way == "async":
                folder, server = out / "policy", _free_port()
                keys = [f"--{key}={value}" for key, value in policy.items()]
                export = [sys.executable, "-m", "lerobot_policy_robo_dream.export", "--out", str(folder), "--size", "96", "96", *keys]
                subprocess.run(export, check=True, stdout=said, stderr=said, cwd=ROOT, env=environment)
                begun([sys.executable, "-m", "lerobot_policy_robo_dream.policy_server", f"--port={server}", "--fps=30"])
                _listens(server)
                main = begun([
                    sys.executable, "-m", "lerobot.async_inference.robot_client", *robot, f"--task={task}",
                    f"--server_address=127.0.0.1:{server}", "--policy_type=robo_dream", f"--pretrained_name_or_path={folder}",
                    "--policy_device=cpu", "--actions_per_chunk=15", "--chunk_size_threshold=0.4", "--aggregate_fn_name=latest_only",
                ])  # fmt: skip
            else:
                main = begun([
                    str(Path(sys.executable).with_name("lerobot-record")), *robot, "--policy.type=robo_dream",
                    *(f"--policy.{key}={value}" for key, value in policy.items()), f"--policy.record={out / 'runs'}",
                    f"--policy.run_config={ROOT / 'configs/hardware/so101.yaml'}", "--dataset.repo_id=me/eval_so101",
                    f"--dataset.root={out / 'dataset'}", f"--dataset.single_task={task}", "--dataset.fps=30", "--dataset.num_episodes=1",
                    f"--dataset.episode_time_s={SECONDS}", "--dataset.push_to_hub=false", "--dataset.vcodec=h264", "--play_sounds=false",
                ])  # fmt: skip
            row = judged(stage, main)
            if way == "async":
                main.send_signal(signal.SIGINT)
    row = {"way": way, "task": task, "seed": seed, **row}
    if found := list(out.glob("runs/*/record")):
        run = read_run(found[0])
        row |= {"control_steps": len(run.steps), "end": None if run.result is None else run.result["end"]}
        row |= {"reasons": None if run.result is None else run.result["reasons"]}
        row |= {"decision_ms": [] if run.result is None else [round(1e3 * one, 1) for one in run.result["decision_seconds"]]}
    said_text = (out / "said.txt").read_text()
    return row | {"slow_warnings": said_text.count("running slower"), "code": main.returncode}


def tried(way: str, task: str, seed: int, checkpoint: Path, out: Path) -> Row:
    """A trial whose bus was not late for LeRobot, the last one otherwise."""
    for lost in range(TRIES):
        row = lerobot_trial(way, task, seed, checkpoint, out) | {"lost_replies": lost}
        if "There is no status packet" not in (out / "said.txt").read_text():
            return row
    return row | {"lost_replies": TRIES}


def judged(stage: Stage, process: subprocess.Popen[str], moved: float = 0.004) -> Row:
    """Shows and judges until LeRobot's process ends, or for as long as an episode lasts from the first motion on."""
    attempt, beat, began, start = stage.attempt, time.monotonic(), None, None
    first = attempt.distance
    while process.poll() is None:
        shown = time.monotonic()
        stage.show()
        if time.monotonic() > beat:
            beat += 0.1
            with stage.view:
                tool = np.asarray(stage.view.world.arm_state().tool_pos)
                start = tool if start is None else start
                if began is None and np.linalg.norm(tool - start) > moved:
                    began, first = time.monotonic(), attempt.distance
                if began is not None:
                    attempt.record()
        if attempt.is_held or (began is not None and time.monotonic() > began + SECONDS):
            break
        time.sleep(max(0.005, shown + 1 / CAMERA_FPS - time.monotonic()))
    for _ in range(600):  # it saves the episode; a client of the policy server would go on for ever
        if process.poll() is not None or "async" in str(process.args):
            break
        stage.show()
        time.sleep(0.1)
    progress = attempt.progress
    return {
        "moderate": progress.moderate_step is not None, "strict": progress.strict_step is not None, "moderate_step": progress.moderate_step,
        "first_cm": round(100 * first, 2), "nearest_cm": round(100 * min(attempt.distances), 2), "counted": len(attempt.distances) - 1,
    }  # fmt: skip


def run_trial(task: str, seed: int, checkpoint: Path, out: Path) -> Row:
    """`robo-dream run` on the twin, with the same pictures."""
    rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    command = [
        sys.executable, "-m", "robo_dream.cli.main", "run", "--twin", "so101", f"goal.task={task}", f"goal.seed={seed}", f"out={out}",
        f"checkpoint={checkpoint}", "twin_cameras.kind=rendered",
    ]  # fmt: skip
    with (out / "said.txt").open("w") as said:
        code = subprocess.run(command, stdout=said, stderr=said, cwd=ROOT, timeout=300, preexec_fn=_hurry).returncode
    run = read_run(next(out.glob("*/record")))
    row: Row = {"way": "run", "task": task, "seed": seed, "code": code}
    if run.result is None or "moderate" not in run.result:
        return row | {"moderate": False, "strict": False, "end": "no result"}
    row |= {key: run.result[key] for key in ("moderate", "strict", "moderate_step", "end", "reasons")}
    row |= {"first_cm": round(100 * run.result["distances"][0], 2), "nearest_cm": round(100 * min(run.result["distances"]), 2)}
    return row | {"control_steps": len(run.steps), "decision_ms": [round(1e3 * one, 1) for one in run.result["decision_seconds"]]}


def figures_of(rows: list[Row]) -> dict[str, float | int]:
    figures: dict[str, float | int] = {}
    for task in dict.fromkeys(row["task"] for row in rows):
        of_task = {way: {row["seed"]: row for row in rows if (row["task"], row["way"]) == (task, way)} for way in WAYS}
        for way, tried in of_task.items():
            if not tried:
                continue
            key, some = f"{task}/{way}", list(tried.values())
            figures[f"{key}/pairs"] = len(some)
            figures |= {f"{key}/{kind}": round(100 * float(np.mean([row[kind] for row in some])), 1) for kind in ("moderate", "strict")}
            figures[f"{key}/nearest_cm_p50"] = round(float(np.median([row["nearest_cm"] for row in some])), 2)
            figures[f"{key}/lost_replies"] = sum(row.get("lost_replies", 0) for row in some)
            figures[f"{key}/cut_short"] = sum(row.get("lost_replies", 0) == TRIES for row in some)  # counted as they ended
            figures[f"{key}/stopped"] = sum(row.get("end") == "SAFETY" for row in some)
            times = [one for row in some for one in row.get("decision_ms", ())]
            if times:
                figures |= {f"{key}/decision_p{p}_ms": round(float(np.percentile(times, p))) for p in (50, 95)}
            both = sorted(tried.keys() & of_task["run"].keys())
            if way != "run" and both:
                ours, theirs = (np.array([bool(which[seed]["moderate"]) for seed in both]) for which in (tried, of_task["run"]))
                figures[f"{key}/beside_run_pairs"] = len(both)
                for name, value in zip(("", "_low", "_high"), paired_difference(ours, theirs), strict=True):
                    figures[f"{key}/beside_run_moderate{name}"] = round(100 * value, 1)
    return figures


def _ended(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _listens(port: int, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.5)
    raise SystemExit(f"LeRobot's policy server did not listen on port {port} within {seconds:.0f} s")


def _hurry() -> None:
    """Before others' work, and behind the twin, which keeps real time."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -18)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--tasks", nargs="+", default=["reach"])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["record", "run"])
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "configs/checkpoints/so101_recorded_s.safetensors")
    parser.add_argument("--out", type=Path, default=Path("runs/lerobot_policy.jsonl"))
    parser.add_argument("--figures", type=Path, help="a file in docs/results")
    args = parser.parse_args()
    _hurry()
    rows: list[Row] = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {(row["way"], row["task"], row["seed"]) for row in rows}
    for seed in range(args.trials):
        for task in args.tasks:
            for way in args.ways:
                if (way, task, seed) in done:
                    continue
                out = (args.out.with_suffix("") / f"{way}-{task}-{seed}").resolve()
                if way == "run":
                    row = run_trial(task, seed, args.checkpoint.resolve(), out)
                else:
                    row = tried(way, task, seed, args.checkpoint.resolve(), out)
                append_line(args.out, json.dumps(row).encode() + b"\n")
                print(json.dumps(row), flush=True)
                rows.append(row)
    figures = figures_of(rows)
    print(json.dumps(figures, indent=1))
    if args.figures is not None:
        write_figures(args.figures, figures)


if __name__ == "__main__":
    os.environ.setdefault("MUJOCO_GL", "egl")
    main()
