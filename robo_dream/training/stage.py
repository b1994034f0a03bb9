"""Training metrics as JSON lines, and as tensorboard events when asked."""

import contextlib
import importlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from robo_dream.errors import CheckpointError, DataError, MissingExtraError, RoboDreamError
from robo_dream.files import replacing
from robo_dream.foreign import BUDGET, parse_object, require_budget
from robo_dream.training.config import RepresentationConfig, Schedule, TrainingConfig
from robo_dream.training.optimiser import optimisers
from robo_dream.training.processes import ALONE, Processes


class MetricsLog:
    """Appends one JSON object a line; use it as a context manager. Where it is not `kept`, by all but one process, it goes nowhere."""

    def __init__(self, run_dir: Path, tensorboard: bool = False, kept: bool = True) -> None:
        self.run_dir, self.kept = run_dir, kept
        self.tensorboard = tensorboard and kept

    def __enter__(self) -> "MetricsLog":
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._writer = _tensorboard(self.run_dir) if self.tensorboard else None
        self._file = open(self.run_dir / "metrics.jsonl" if self.kept else os.devnull, "a", encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        if self._writer is not None:
            self._writer.close()

    def write(self, stage: str, step: int, values: Mapping[str, Any]) -> None:
        self._file.write(json.dumps({"stage": stage, "step": step, "time": round(time.time(), 3), **values}) + "\n")
        self._file.flush()
        if self._writer is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._writer.add_scalar(f"{stage}/{name}", value, step)


def _tensorboard(run_dir: Path) -> Any:
    try:
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(run_dir / "tensorboard"))
    except ImportError as error:
        raise MissingExtraError("tensorboard is not installed; `pip install 'robo-dream[tensorboard]'` or leave it off") from error


def save_state(path: Path, module: nn.Module, optimisers: Sequence[torch.optim.Optimizer], about: Mapping[str, Any]) -> None:
    """Whole or not at all: a killed training leaves the previous state."""
    tensors = {f"module.{name}": _stored(value) for name, value in module.state_dict().items()}
    for number, optimiser in enumerate(optimisers):
        for index, moments in optimiser.state_dict()["state"].items():
            for key, value in moments.items():
                tensors[f"optimiser.{number}.{index}.{key}"] = _stored(value)
    with replacing(path, in_folder=True) as beside:
        save_file(tensors, beside, metadata={"state": json.dumps(dict(about))})


def load_state(path: Path, module: nn.Module, optimisers: Sequence[torch.optim.Optimizer], about: Mapping[str, Any]) -> int | None:
    """Puts a saved state back and gives its step; None when there is none.

    Raises `CheckpointError` when the file is damaged or was written with another configuration or dataset than `about`.
    """
    if not path.is_file():
        return None
    try:
        require_budget(path.stat().st_size, BUDGET.weights, f"{path}", "bytes")
        with safe_open(path, framework="pt") as file:
            saved = parse_object((file.metadata() or {}).get("state", "{}"), "its header")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, DataError, OSError) as error:
        raise CheckpointError(f"training state {path} is damaged ({error}); delete it to begin the stage again") from error
    desired = json.loads(json.dumps(dict(about)))
    saved_step = saved.pop("step", None)
    if odd := _differences(saved, desired):
        raise CheckpointError(
            f"training state {path} was written with another {'; '.join(odd)}. Continue with the same, delete it, or train elsewhere"
        )
    try:
        _put_back(tensors, module, optimisers)
        return int(saved_step or 0)
    except (RuntimeError, KeyError, IndexError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise CheckpointError(f"training state {path} does not fit this training ({reason}); delete it to begin the stage again") from error


def _put_back(tensors: Mapping[str, Tensor], module: nn.Module, optimisers: Sequence[torch.optim.Optimizer]) -> None:
    module.load_state_dict({name.removeprefix("module."): value for name, value in tensors.items() if name.startswith("module.")})
    for number, optimiser in enumerate(optimisers):
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in tensors.items():
            if name.startswith(f"optimiser.{number}."):
                index, key = name.split(".", 3)[2:]
                like = parameters[int(index)]
                # moments must lie in memory as their parameter does: the fused optimiser walks both side by side
                state.setdefault(int(index), {})[key] = torch.empty_like(like).copy_(value) if value.shape == like.shape else value
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


def _differences(saved: Any, desired: Any, key: str = "") -> list[str]:
    """What differs, by its key, with both values."""
    if isinstance(saved, Mapping) and isinstance(desired, Mapping):
        names = {**desired, **saved}
        return [one for name in names for one in _differences(saved.get(name), desired.get(name), f"{key}.{name}" if key else name)]
    return [] if saved == desired else [f"{key} ({json.dumps(saved)} there, {json.dumps(desired)} here)"]


def _stored(value: torch.Tensor) -> torch.Tensor:
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


OnProgress = Callable[[int, int], None]  # (done, all)
MAX_GRADIENT = 5.0
LAST_RATE = 0.02  # of the learning rate, at the end of the cosine
BEFORE_POLICY = ("representation", "dream")  # stages to which it is nothing how the policy learns
LOCAL_GOALS, MOVES = "local_goals", "moves"  # the last stages, and their configurations' names


@dataclass(frozen=True)
class TrainingRun:
    """What the stages of one training have in common: the numbers, the folder, who is told, and whether to go on where it stopped."""

    config: TrainingConfig
    folder: Path
    log: MetricsLog
    progress: OnProgress | None = None
    resume: bool = True
    processes: Processes = ALONE


@dataclass(frozen=True)
class Stage:
    """One stage: what it is called, how long, and how fast."""

    name: str
    steps: int
    learning_rate: float
    muon_lr: float  # of Muon, for matrices; 0: AdamW for all
    warmup: float
    weight_decay: float


def stage_of(name: str, config: RepresentationConfig | Schedule) -> Stage:
    """The stage `name`, as long and as fast as `config` says."""
    return Stage(name, config.steps, config.learning_rate, config.muon_lr, config.warmup, config.weight_decay)


def run_stage(
    run: TrainingRun,
    stage: Stage,
    module: nn.Module,
    trained: Sequence[nn.Module],
    losses: Callable[[int], Mapping[str, Tensor]],
    dataset_id: str,
    *,
    after_step: Callable[[], None] = lambda: None,
    init: str | None = None,
) -> None:
    """Runs the stage to its end: `losses(step)` gives weighted losses (names beginning with `_` are logged, not learned from).

    `module` is saved and restored as a whole; only `trained` parts learn. Batches must depend on the step alone, so that a
    resumed stage continues exactly. `init` names the weights that `module` has now: a stage begun from others is not continued.
    Where `run.processes` share batches, `losses` are of this one's rows, and the first one alone writes.
    Raises `RoboDreamError` at the first loss that is not finite.
    """
    config, processes = run.config, run.processes
    parameters = [p for part in trained for p in part.parameters()]
    rates = optimisers(parameters, stage.learning_rate, stage.muon_lr, stage.weight_decay, run.processes)
    about = {"stage": stage.name, "config": _relevant(config, stage.name), "dataset": dataset_id, "init": init}
    path = run.folder / f"{stage.name}.state.safetensors"
    first = (load_state(path, module, list(rates), about) if run.resume else None) or 0
    processes.require_same(first, f"the step that {path} has reached")
    saved_at, logged_at, logged_step = time.monotonic(), time.monotonic(), first
    kind = torch.device(config.device).type
    for step in range(first, stage.steps):
        for optimiser, highest in rates.items():
            for group in optimiser.param_groups:
                group["lr"] = highest * _rate(step, stage)
        with torch.autocast(kind, torch.bfloat16) if config.autocast else contextlib.nullcontext():
            parts = losses(step)
        norm = learn(parameters, list(rates), parts, processes)
        if step % 10 == 0 and not math.isfinite(norm.item()):
            values = {name: value.item() for name, value in parts.items()}
            raise RoboDreamError(
                f"training diverged at step {step} of {stage.name}: {values}, gradient {norm.item()}; the last good state is {path}: "
                f"lower the learning rate or check the data for numbers that are not finite"
            )
        after_step()
        done, now = step + 1, time.monotonic()
        if done % config.log_steps == 0 or done == stage.steps:
            values = {name.lstrip("_"): round(processes.mean(value.detach()).item(), 6) for name, value in parts.items()}
            rate = (done - logged_step) / max(now - logged_at, 1e-9)
            run.log.write(stage.name, done, {**values, "gradient": round(norm.item(), 4), "steps_per_second": round(rate, 3)})
            logged_at, logged_step = now, done
        if processes.is_first and (now - saved_at > config.save_seconds or done == stage.steps):
            save_state(path, module, list(rates), {**about, "step": done})
            saved_at = time.monotonic()
        if run.progress is not None:
            run.progress(done, stage.steps)


def learn(
    parameters: Sequence[Tensor], rates: Sequence[torch.optim.Optimizer], parts: Mapping[str, Tensor], processes: Processes = ALONE
) -> Float[Tensor, ""]:
    """One step down the sum of the losses `parts`; gives the norm of their gradient, not clipped. Nothing is read from the device.

    Where `processes` share a batch, it is a step down the mean of their losses.
    """
    for parameter in parameters:
        parameter.grad = None
    torch.stack([value for name, value in parts.items() if not name.startswith("_")]).sum().backward()
    processes.average_gradients(parameters)
    norm = torch.nn.utils.clip_grad_norm_(parameters, MAX_GRADIENT)
    for optimiser in rates:
        optimiser.step()
    return norm


def _rate(step: int, stage: Stage) -> float:
    """Linear warm-up, then half a cosine."""
    warmup = max(1, round(stage.warmup * stage.steps))
    if step < warmup:
        return (step + 1) / warmup
    return LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, stage.steps - warmup)))


def _relevant(config: TrainingConfig, stage: str) -> dict[str, object]:
    """The configuration without what changes no result of the stage."""
    data = config.to_json()
    later = ("policy",) if stage in BEFORE_POLICY else ()
    for last in {LOCAL_GOALS, MOVES} - {stage}:
        data.pop(last, None)
    for name in ("device", "save_seconds", "log_steps", "tensorboard", "evaluation_windows", *later):
        del data[name]
    return data
