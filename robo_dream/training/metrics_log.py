"""Training metrics as JSON lines, and as tensorboard events when asked."""

import importlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from robo_dream.errors import MissingExtraError


class MetricsLog:
    """Appends one JSON object a line; use it as a context manager."""

    def __init__(self, run_dir: Path, tensorboard: bool = False) -> None:
        self.run_dir = run_dir
        self.tensorboard = tensorboard

    def __enter__(self) -> "MetricsLog":
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._writer = _tensorboard(self.run_dir) if self.tensorboard else None
        self._file = open(self.run_dir / "metrics.jsonl", "a", encoding="utf-8")
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
