"""`robo-dream plan`: watch the arm imagine, choose and act, from its cameras alone."""

import argparse
import time
from datetime import datetime

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.models import checkpoint
from robo_dream.runtime.environment import build_environment, name_of, require_same_world
from robo_dream.runtime.model import load_checkpoint_model
from robo_dream.runtime.plan import PlanConfig, completed, plan_episode, planning_of
from robo_dream.runtime.run import TextGoal

_DESCRIPTION = """\
Takes a start and a goal for each task, shows the arm a picture of the goal, and lets it plan: it imagines many short futures, does the
first moves of the best one, and looks again. Nothing but the cameras and the arm's own joints is used. World and planning settings are
those of the checkpoint, unless told otherwise. Starts and goals are held-out pairs, as in `robo-dream evaluate`, or drawn freely
(goals=drawn)."""

_EPILOG = """\
example:
  robo-dream plan --config configs/plan/demo.yaml
  robo-dream plan task=push seed=3
  robo-dream plan checkpoint=configs/checkpoints/ogbench_cube_single_recorded_s.safetensors task=cube
  robo-dream plan task=push planning.planner.num_samples=512
  robo-dream plan checkpoint=runs/train/ogbench_words/model.safetensors task=five_tasks goal.text="put the red cube left of the blue one"

Each run leaves a new folder in `out`, with video.mp4 (goal, reality and imagination side by side), decisions.png, and record/, from
which every decision can be looked at again (see docs)."""

CONFIG = PlanConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "plan")


def run(args: argparse.Namespace) -> int:
    config, start = load_config(PlanConfig, args), time.monotonic()
    info = checkpoint.read_info(config.checkpoint)
    config = completed(config, info)
    assert config.world is not None
    folder = config.out / datetime.now().strftime("%Y%m%d-%H%M%S-%f")[:-3]
    num_done = 0
    with build_environment(config.world) as environment:
        planning = planning_of(config, info, environment)
        model = load_checkpoint_model(config.checkpoint, config.device, config.compiled, config.precision)
        require_same_world(model, environment, config.checkpoint)
        print(f"{config.checkpoint}: size {model.spec.config.size}, {name_of(config.world)}, cameras {' and '.join(model.cameras)}")
        for task in config.tasks:
            planned = plan_episode(environment, model, task, planning[task], config, folder / f"{task}-{config.seed}")
            num_done += planned.moderate
            print(f"\n{planned.sentence}")
    reached = "" if isinstance(config.goal, TextGoal) else f"{num_done} of {len(planning)} reached their goal, "
    print(f"\n{reached}in {time.monotonic() - start:.0f} s. Videos, pictures, records: {folder}")
    return 0
