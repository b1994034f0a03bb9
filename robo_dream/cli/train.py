"""`robo-dream train`: from datasets to a checkpoint that plans, in two stages, resumable at any moment."""

import argparse
from contextlib import nullcontext

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.runtime.progress import Bars
from robo_dream.runtime.train import TrainConfig, train
from robo_dream.training.processes import joined

_DESCRIPTION = """\
Trains the world model on collected episodes: first the representation (what the cameras show, as a latent), then the dream (how the
latent moves on, how far goals are, what to do next, which is imitated from `demonstrations` where they are given). Kill it whenever
you like: the same command goes on where it was, to the same result. At the end it is measured on held-out episodes and writes one
checkpoint file with everything needed to use it."""

_EPILOG = """\
example:
  robo-dream train --config configs/train/jaco_recorded.yaml
  robo-dream train --config configs/train/jaco_recorded.yaml training.device=cuda out=runs/train/gpu
  robo-dream train --config configs/train/jaco_recorded.yaml stage=dream init=runs/first/representation.safetensors out=runs/again
  robo-dream train --config configs/train/ogbench_scene.yaml init=configs/checkpoints/ogbench_cube_single_s.safetensors
  robo-dream train stage=local_goals init=configs/checkpoints/jaco_recorded_s.safetensors training.local_goals={} out=runs/train/local_goals
  robo-dream train stage=labeller init=configs/checkpoints/jaco_recorded_s.safetensors training.labeller={} out=runs/train/labeller
  robo-dream train stage=video init=configs/checkpoints/jaco_recorded_s.safetensors training.video={} out=runs/train/video

Results go to the folder `out`: model.safetensors, metrics.jsonl, config.yaml and strips/ (what happened above what was imagined)."""


CONFIG = TrainConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "train")


def run(args: argparse.Namespace) -> int:
    config = load_config(TrainConfig, args)
    with joined(config.training.device) as processes:
        if not processes.is_first:  # it would say the same
            train(config, lambda text: None, lambda name, names, unit: nullcontext(lambda done, total: None), processes)
            return 0
        left = train(config, lambda text: print(text, flush=True), lambda name, names, unit: Bars(names, name, unit), processes)
    go_on = f": go on with stage=dream init={left}" if config.stage == "representation" else ""
    print(f"Checkpoint: {left}{go_on}")
    return 0
