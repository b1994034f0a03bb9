"""The loop that every training stage runs: schedule, step, log, save, resume."""

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robo_dream.errors import RoboDreamError
from robo_dream.training.config import TrainingConfig
from robo_dream.training.metrics_log import MetricsLog
from robo_dream.training.optimiser import optimisers
from robo_dream.training.state import load_state, save_state

Progress = Callable[[int, int], None]
MAX_GRADIENT = 5.0
LAST_RATE = 0.02  # of the learning rate, at the end of the cosine
BEFORE_INVERSE = ("representation", "dream")  # stages to which it is nothing how the inverse model learns


@dataclass(frozen=True)
class Stage:
    """One stage: what it is called, how long, how fast, and what its numbers depend on."""

    name: str
    steps: int
    learning_rate: float
    matrix_rate: float  # of Muon, for matrices; 0: AdamW for all
    warmup: float
    weight_decay: float


def run_stage(
    stage: Stage,
    config: TrainingConfig,
    module: nn.Module,
    trained: list[nn.Module],
    losses: Callable[[int], Mapping[str, Tensor]],
    after_step: Callable[[], None],
    run_dir: Path,
    dataset_id: str,
    log: MetricsLog,
    progress: Progress | None,
    resume: bool,
    init: str | None = None,
) -> None:
    """Runs the stage to its end: `losses(step)` gives weighted losses (names beginning with `_` are logged, not learned from).

    `module` is saved and restored as a whole; only `trained` parts learn. Batches must depend on the step alone, so that a
    resumed stage continues exactly. `init` names the weights that `module` has now: a stage begun from others is not continued.
    Raises `RoboDreamError` at the first loss that is not finite.
    """
    parameters = [p for part in trained for p in part.parameters()]
    rates = optimisers(parameters, stage.learning_rate, stage.matrix_rate, stage.weight_decay)
    about = {"stage": stage.name, "config": _relevant(config, stage.name), "dataset": dataset_id, "init": init}
    path = run_dir / f"{stage.name}.state.safetensors"
    first = (load_state(path, module, list(rates), about) if resume else None) or 0
    saved_at, logged_at, logged_step = time.monotonic(), time.monotonic(), first
    kind = torch.device(config.device).type
    for step in range(first, stage.steps):
        for optimiser, highest in rates.items():
            for group in optimiser.param_groups:
                group["lr"] = highest * _rate(step, stage)
        with torch.autocast(kind, torch.bfloat16) if config.autocast else contextlib.nullcontext():
            parts = losses(step)
            total = torch.stack([value for name, value in parts.items() if not name.startswith("_")]).sum()
        for parameter in parameters:
            parameter.grad = None
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT)
        if step % 10 == 0 and not math.isfinite(norm.item()):
            values = {name: value.item() for name, value in parts.items()}
            raise RoboDreamError(
                f"training diverged at step {step} of {stage.name}: {values}, gradient {norm.item()}; the last good state is {path}: "
                f"lower the learning rate or check the data for numbers that are not finite"
            )
        for optimiser in rates:
            optimiser.step()
        after_step()
        done, now = step + 1, time.monotonic()
        if done % config.log_steps == 0 or done == stage.steps:
            values = {name.lstrip("_"): round(value.item(), 6) for name, value in parts.items()}
            rate = (done - logged_step) / max(now - logged_at, 1e-9)
            log.write(stage.name, done, {**values, "gradient": round(norm.item(), 4), "steps_per_second": round(rate, 3)})
            logged_at, logged_step = now, done
        if now - saved_at > config.save_seconds or done == stage.steps:
            save_state(path, module, list(rates), {**about, "step": done})
            saved_at = time.monotonic()
        if progress is not None:
            progress(done, stage.steps)


def _rate(step: int, stage: Stage) -> float:
    """Linear warm-up, then half a cosine."""
    warmup = max(1, round(stage.warmup * stage.steps))
    if step < warmup:
        return (step + 1) / warmup
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, stage.steps - warmup)))


def _relevant(config: TrainingConfig, stage: str) -> dict[str, object]:
    """The configuration without what changes no result of the stage."""
    data = asdict(config)
    later = ("inverse",) if stage in BEFORE_INVERSE else ()
    for name in ("device", "save_seconds", "log_steps", "tensorboard", "evaluation_windows", *later):
        del data[name]
    return data
