"""`robo-dream plan`: watch the arm imagine, choose and act, from its cameras alone."""

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.control.episode import LoopConfig
from robo_dream.errors import ConfigError
from robo_dream.models.compiled import Precision
from robo_dream.runtime.compose import PlanningConfig
from robo_dream.viewer.video import VideoConfig
from sim.tabletop.scene import SceneConfig

_DESCRIPTION = """\
Takes a start and a goal for each task, shows the arm a picture of the goal, and lets it plan: it imagines many short futures, does the
first moves of the best one, and looks again. Nothing but the cameras and the arm's own joints is used. Starts and goals are held-out
pairs, as in `robo-dream evaluate`, or drawn freely (goals=drawn)."""

_EPILOG = """\
example:
  robo-dream plan --config configs/plan/demo.yaml
  robo-dream plan --config configs/plan/demo.yaml task=push seed=3
  robo-dream plan --config configs/plan/demo.yaml task=push planning.planner.num_samples=512

Each run leaves a new folder in `out`, with video.mp4 (goal, reality and imagination side by side), decisions.png, and record/, from
which every decision can be looked at again (see docs)."""


@dataclass(frozen=True)
class PlanConfig:
    """What is tried, with which model, and how decisions are made."""

    checkpoint: Path = Path("configs/checkpoints/jaco_s.safetensors")
    out: Path = Path("runs/plan")
    task: str | tuple[str, ...] = ("reach", "push", "lift")  # one name or several
    goals: Literal["manifest", "drawn"] = "manifest"  # held-out pairs of start and goal as in evaluate, or drawn freely
    manifests: Path = Path("configs/manifests")
    seed: int = 3  # which pair, or what is drawn; and of every search
    device: str = "cpu"
    compiled: bool = False  # imagine with code made for this machine: minutes at the first start ever, seconds later, faster decisions
    precision: Precision = "float32"  # of matrix products while imagining; bfloat16 is faster where the processor has it
    planning: PlanningConfig = field(default_factory=PlanningConfig)
    by_task: Mapping[str, PlanningConfig] = field(default_factory=dict)  # instead of `planning`, for tasks that are judged otherwise
    loop: LoopConfig = field(default_factory=LoopConfig)  # a pair of a manifest brings its own max_steps
    video: VideoConfig = field(default_factory=VideoConfig)
    scene: SceneConfig = field(default_factory=SceneConfig)

    def __post_init__(self) -> None:
        if not self.task:
            raise ConfigError("task is empty; name one, such as task=push")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; it must be 0 or more")

    @property
    def tasks(self) -> tuple[str, ...]:
        return (self.task,) if isinstance(self.task, str) else self.task


CONFIG = PlanConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "plan")


def run(args: argparse.Namespace) -> int:
    config = load_config(PlanConfig, args)
    from robo_dream.runtime import compose, plan_episode
    from sim.tabletop.tasks.catalogue import task_named

    start = time.monotonic()
    tasks = [task_named(name) for name in config.tasks]
    model = compose.load_checkpoint_model(config.checkpoint, config.device, config.compiled, config.precision)
    print(f"{config.checkpoint}: size {model.spec.config.size}, cameras {' and '.join(model.cameras)}")
    folder = config.out / datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    num_done = 0
    with compose.build_world(config.scene) as world:
        plan_episode.require_same_world(model, world, config.checkpoint)
        for task in tasks:
            outcome = plan_episode.plan_episode(world, model, task, config, folder / f"{task.name}-{config.seed}")
            num_done += outcome.moderate
            print(f"\n{outcome.sentence}")
    print(f"\n{num_done} of {len(tasks)} reached their goal, in {time.monotonic() - start:.0f} s. Videos, pictures and records: {folder}")
    return 0
