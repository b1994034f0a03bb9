"""Success where pictures come late, are dropped or stay away for a second: a belief with memory beside the same checkpoint without.

    python benchmarks/delays.py configs/checkpoints/jaco_recorded_s.safetensors runs/train/jaco_memory/model.safetensors

Pushes between starts and goals of episodes that neither training nor the frozen pairs know. Both cameras share the fault. Without memory
pictures are believed as they come, late as they are; where none that is new comes for long, the arm holds still and the loop gives up.
Figures of other faults stay in the file.
"""

import argparse
import json
import os
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

os.environ.setdefault("MUJOCO_GL", "egl")  # read when MuJoCo is imported
os.environ.setdefault("LP_NUM_THREADS", "0")

import numpy as np
import torch
from results_file import write_figures
from tqdm import tqdm

from robo_dream.control.episode import LoopConfig
from robo_dream.embodiment import Camera, Frame, Intrinsics
from robo_dream.evaluation.manifest import Manifest, read_manifest, write_manifest
from robo_dream.models.checkpoint import read_info
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.runtime.attempt import carry_out, goal_of, prepare, simulated_devices
from robo_dream.runtime.environment import build_environment, world_of
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.planner import PlanningConfig, build_planner, planning_for
from robo_dream.safety.limits import SafetyLimits
from sim.environment import Environment
from sim.pairs import build_manifest

OUT = Path("docs/results/delays.json")
FIRST_SEED = 3_000_000  # frozen pairs begin at 1,000,000
TASK = "push"
LIMITS = SafetyLimits(max_frame_age=0.45, max_repeated_frames=4)  # two control steps late, and some dropped, are not a fault here


@dataclass(frozen=True)
class Fault:
    """`late` in control steps; `dropped` a fraction of the pictures; `gone` control steps between which none comes."""

    late: int = 0
    dropped: float = 0.0
    gone: tuple[int, int] = (0, 0)


FAULTS = {
    "none": Fault(), "late_100ms": Fault(late=1), "late_200ms": Fault(late=2), "dropped_20_percent": Fault(dropped=0.2),
    "late_200ms_dropped": Fault(late=2, dropped=0.2), "gone_1s": Fault(gone=(12, 22)),
}  # fmt: skip


class FaultyCamera:
    """`inner`, whose pictures come as `fault` says; the first one comes."""

    def __init__(self, inner: Camera, fault: Fault, control_dt: float, seed: int) -> None:
        self._inner, self._fault, self._dt, self._seed = inner, fault, control_dt, seed
        self._taken: deque[Frame] = deque(maxlen=fault.late + 1)
        self._last: Frame | None = None
        self._began: float | None = None
        self.name = inner.name

    def __enter__(self) -> "FaultyCamera":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None: ...

    @property
    def intrinsics(self) -> Intrinsics:
        return self._inner.intrinsics

    @property
    def world_from_camera(self) -> np.ndarray:
        return self._inner.world_from_camera

    def read(self) -> Frame:
        frame = self._inner.read()
        if not self._taken or frame.time > self._taken[-1].time:
            self._taken.append(frame)
        self._began = frame.time if self._began is None else self._began
        step, (begin, end) = round((frame.time - self._began) / self._dt), self._fault.gone
        is_lost = np.random.default_rng((self._seed, step)).random() < self._fault.dropped or begin <= step < end
        if self._last is None or not is_lost:
            self._last = self._taken[0]
        return self._last


def successes(
    environment: Environment,
    model: LatentVideoModel,
    planning: PlanningConfig,
    manifest: Manifest,
    num_pairs: int,
    fault: Fault,
    blind_steps: int,
) -> list[tuple[bool, bool, str]]:
    """Of every pair whether it was reached and held, and how the episode ended."""
    found = []
    for number in range(num_pairs):
        loop = LoopConfig(limits=LIMITS, blind_steps=blind_steps)
        prepared = prepare(environment, manifest.pair(number), loop)
        devices = simulated_devices(prepared, model)
        cameras = [FaultyCamera(camera, fault, model.action_spec.control_dt, number) for camera in devices.cameras]
        planner = build_planner(planning.planner, model, planning.cost, planning.proposals)
        goal = goal_of(prepared, model, "picture_and_arm")
        episode = carry_out(prepared, replace(devices, cameras=cameras), model, planner, goal, number, with_truth=False)
        found.append((prepared.attempt.is_reached, prepared.attempt.is_held, str(episode.end)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("without", type=Path, help="the checkpoint without memory")
    parser.add_argument("memory", type=Path, help="the same with memory")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=list(FAULTS))
    parser.add_argument("--only", choices=("without", "memory"), help="plan with this checkpoint alone; the other's figures stay")
    parser.add_argument("--manifest", type=Path, default=Path("runs/delays/push.safetensors"), help="where the pairs are kept")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    info, before = read_info(args.without), json.loads(args.out.read_text()) if args.out.is_file() else {}
    figures: dict[str, float] = {key: value for key, value in before.items() if key[0] != "_"}
    planning = planning_for(info, TASK)
    with build_environment(world_of(info, args.without)) as environment:
        if not args.manifest.is_file():
            args.manifest.parent.mkdir(parents=True, exist_ok=True)
            write_manifest(args.manifest, build_manifest(environment, TASK, args.pairs, first_seed=FIRST_SEED))
        manifest = read_manifest(args.manifest, len(environment.state))
        names = [name for name in ("without", "memory") if args.only in (None, name)]
        bar = tqdm([(fault, name) for fault in args.faults for name in names], unit="case")
        for fault, name in bar:
            bar.set_postfix_str(f"{fault} {name}")
            model = load_checkpoint_model(getattr(args, name))
            found = successes(environment, model, planning, manifest, args.pairs, FAULTS[fault], 10 if name == "memory" else 0)
            figures[f"{fault}/pairs"] = args.pairs
            figures[f"{fault}/{name}/moderate"] = round(100 * float(np.mean([one[0] for one in found])), 1)
            figures[f"{fault}/{name}/strict"] = round(100 * float(np.mean([one[1] for one in found])), 1)
            figures[f"{fault}/{name}/stopped"] = sum(one[2] == "SAFETY" for one in found)
            write_figures(args.out, figures)  # what was measured is kept, whatever comes
            print(fault, name, {key: value for key, value in figures.items() if key.startswith(f"{fault}/{name}/")}, flush=True)


if __name__ == "__main__":
    main()
