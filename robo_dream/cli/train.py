"""`robo-dream train`: from datasets to a checkpoint that plans, in two stages, resumable at any moment."""

import argparse
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.config import dump, to_yaml
from robo_dream.errors import CheckpointError, ConfigError
from robo_dream.runtime.progress import Bars
from robo_dream.training.config import TrainingConfig

_DESCRIPTION = """\
Trains the world model on collected episodes: first the representation (what the cameras show, as a latent), then the dream (how the
latent moves on, how far goals are, what to do next, which is imitated from `demonstrations` where they are given). Kill it whenever
you like: the same command goes on where it was, to the same result. At the end it is measured on held-out episodes and writes one
checkpoint file with everything needed to use it."""

_EPILOG = """\
example:
  robo-dream train --config configs/train/jaco_s.yaml
  robo-dream train --config configs/train/jaco_s.yaml training.device=cuda out=runs/train/gpu
  robo-dream train --config configs/train/jaco_s.yaml stage=dream init=runs/train/jaco_s/representation.safetensors out=runs/train/again
  robo-dream train --config configs/train/ogbench_scene.yaml init=configs/checkpoints/ogbench_cube_single_s.safetensors

Results go to the folder `out`: model.safetensors, metrics.jsonl, config.yaml and strips/ (what happened above what was imagined)."""


@dataclass(frozen=True)
class TrainConfig:
    """What is learned from, where results go, and how it is trained."""

    out: Path = Path("runs/train/jaco_s")
    datasets: tuple[Path, ...] = (Path("datasets/jaco"),)
    demonstrations: tuple[Path, ...] = ()  # datasets, also without pictures, that the policy imitates; none: `datasets`
    cache: Path = Path("datasets/cache")  # decoded frames; rebuilt when the data has changed
    stage: Literal["all", "representation", "dream"] = "all"
    init: Path | None = None  # checkpoint to begin from, where weights fit; stage=dream keeps its encoder (without it: the one in `out`)
    release: Path | None = None  # where a copy of the finished checkpoint goes
    strips: int = 10  # held-out windows that are drawn
    workers: int = 2  # threads that decode pictures
    resume: bool = True
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if not self.datasets:
            raise ConfigError("datasets is empty; name at least one folder that `robo-dream collect` wrote")
        if self.demonstrations and self.training.model.policy_input != "poses":
            raise ConfigError(
                f"demonstrations are given, of which the policy sees poses, but training.model.policy_input is "
                f"{self.training.model.policy_input}; set it to poses, or name them in datasets"
            )
        if self.training.policy.perception_noise > 0 and not self.demonstrations:
            raise ConfigError(
                f"training.policy.perception_noise is {self.training.policy.perception_noise}, and no demonstrations are given: "
                f"what is imitated in datasets is seen as pictures show it anyway; set it to 0, or name demonstrations"
            )
        if self.strips < 0 or self.workers < 1:
            raise ConfigError(f"strips is {self.strips} (at least 0) and workers {self.workers} (at least 1)")


CONFIG = TrainConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "train")


def run(args: argparse.Namespace) -> int:
    config = load_config(TrainConfig, args)
    from robo_dream.models import checkpoint
    from robo_dream.runtime import train_results as results
    from robo_dream.runtime.train_data import open_training_data
    from robo_dream.training import dream, representation

    device_is_there(config.training.device)
    if config.init is not None:
        checkpoint.read_info(config.init)  # a checkpoint at all?
    data = open_training_data(config.datasets, config.demonstrations, config.cache, config.training, config.workers)
    config.out.mkdir(parents=True, exist_ok=True)
    (config.out / "config.yaml").write_text(to_yaml(config))

    training, steps = config.training, config.training.dream
    if config.stage != "dream":
        with Bars({}, "representation", unit="step") as bars:
            representation.train_representation(data.play, training, config.out, init=config.init, progress=bars, resume=config.resume)
        if config.stage == "representation":
            print(f"{config.out / representation.MODEL_FILE}: go on with stage=dream init={config.out / representation.MODEL_FILE}")
            return 0
    begin_dream(config, config.out / representation.MODEL_FILE, config.out / f"{dream.STAGE}.state.safetensors")
    names = {steps.steps: "dream", training.policy.steps: "policy", steps.decoder_steps: "decoder"}
    with Bars(names, "frames into latents", unit="step") as bars:
        model = dream.train_dream(data.play, training, config.out, demonstrations=data.demonstrations, progress=bars, resume=config.resume)

    written = config.out / dream.MODEL_FILE
    seconds = results.training_seconds(config.out / "metrics.jsonl")
    metrics = results.release(model, written, config.release or written, recipe(config, data.recipes, seconds))
    sheet = results.draw_strips(model, data.play, config.out / "strips", config.strips, training.seed)
    for line in results.figures(metrics):
        print(line)
    print(f"Trained in {seconds / 60:.1f} minutes. Checkpoint: {config.release or written}")
    if sheet is not None:
        print(f"Imagined against real: {sheet}")
    return 0


def device_is_there(device: str) -> None:
    """Raises `ConfigError` for a device that this machine does not have."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"training.device is {device}, but this PyTorch sees no CUDA device; set it to cpu, or see `robo-dream doctor`")


def begin_dream(config: TrainConfig, representation: Path, state: Path) -> None:
    """Puts a dream's `init` where it begins; raises `CheckpointError` when a dream of another one is under way there."""
    from robo_dream.models import checkpoint

    if config.init is not None and config.stage == "dream":
        if representation.exists() and checkpoint.sha256(representation) == checkpoint.sha256(config.init):
            return
        if state.exists():
            raise CheckpointError(
                f"{config.out} holds a dream begun from another representation than {config.init}; give another folder with out=..."
            )
        beside = representation.with_name(f"{representation.name}.tmp{os.getpid()}")
        shutil.copyfile(config.init, beside)
        os.replace(beside, representation)
    elif not representation.exists():
        raise CheckpointError(f"no representation at {representation}; run stage=representation first, or name one with init=...")


def recipe(config: TrainConfig, data: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """How to make this checkpoint again: commands, configuration, data, and what it took."""
    from robo_dream.models import checkpoint

    return {
        "commands": [*["robo-dream collect"] * len(data), "robo-dream train"],
        **data,
        **({} if config.init is None else {"init_sha256": checkpoint.sha256(config.init)}),
        "train": dump(config),
        "training_minutes": round(seconds / 60, 1),
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "device": config.training.device},
        "versions": {name: metadata.version(name) for name in ("robo-dream", "torch", "numpy")},
        "date": datetime.now(UTC).date().isoformat(),
    }
