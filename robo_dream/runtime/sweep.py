"""Trainings or evaluations that differ in some settings: each is a cell, with a folder, a configuration and figures of its own.

On this machine cells are done one after another; on a Ray cluster by as many workers as are asked for, with the same figures. A cell
that is finished is never done again, and one that was interrupted goes on as its verb does.
"""

import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from robo_dream.config import dump, load
from robo_dream.errors import ConfigError
from robo_dream.files import packaged, replace_file
from robo_dream.models import checkpoint
from robo_dream.runtime.evaluate import EvaluateConfig, Evaluation, attempts, results_file
from robo_dream.runtime.ray_cluster import LocalRunner, RayRunner, Runner, spread
from robo_dream.runtime.train import TrainConfig, train
from robo_dream.schema import configuration

Figures = Mapping[str, float | int]
_KINDS = ("moderate", "strict")  # of success
_MOST_CELLS = 10_000
_LONGEST = 100  # letters of a folder's name
_OWN = ("out", "runner", "release")  # of every cell, given by the sweep; two cells would write one release


@configuration
class SweepConfig:
    """What is tried: every combination of `grid`, and each of `cells`. Settings are named as on the verb's command line, by dotted keys."""

    verb: Literal["train", "evaluate"] = "evaluate"
    config: Path = Path("configs/evaluate/jaco.yaml")  # of that verb; a cell changes it
    same: Mapping[str, Any] = field(default_factory=dict)  # settings of every cell
    grid: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)  # values of each setting
    cells: tuple[Mapping[str, Any], ...] = ()  # further cells, by their settings
    out: Path = Path("runs/sweep")
    workers: Annotated[int, Field(ge=1, le=1_024)] = 2  # of a cluster; on this machine a cell is done after the other
    runner: Runner = field(default_factory=LocalRunner)

    def __post_init__(self) -> None:
        if not self.grid and not self.cells:
            raise ConfigError("grid and cells are empty; name what is tried, such as grid='{planning.planner.num_samples: [32, 128]}'")
        for key, values in self.grid.items():
            if not values:
                raise ConfigError(f"grid.{key} is empty; give at least one value, or leave it out")
        for key in (*self.same, *self.grid, *(key for cell in self.cells for key in cell)):
            if key.split(".")[0] in _OWN:
                raise ConfigError(
                    f"{key} is set by the sweep itself; set the sweep's own {key.split('.')[0]}, and leave it out of its cells"
                )
        if self.num_cells > _MOST_CELLS:
            raise ConfigError(f"grid and cells make {self.num_cells:,} cells; at most {_MOST_CELLS:,} are allowed: try fewer values")

    @property
    def num_cells(self) -> int:
        sizes = 1 if self.grid else 0
        for values in self.grid.values():
            sizes *= len(values)
        return sizes + len(self.cells)


@dataclass(frozen=True)
class Cell:
    """One training or evaluation: what it changes, and all that follows."""

    name: str
    settings: Mapping[str, Any]  # by dotted key
    config: TrainConfig | EvaluateConfig

    @property
    def folder(self) -> Path:
        return self.config.out


def cells_of(config: SweepConfig) -> tuple[Cell, ...]:
    """Every cell, checked. Raises `ConfigError` for a setting that the verb lacks or refuses, and for two cells that are one."""
    cls = TrainConfig if config.verb == "train" else EvaluateConfig
    made: dict[str, Cell] = {}
    for settings in _settings_of(config):
        name = _named(settings)
        overrides = [f"{key}={json.dumps(value)}" for key, value in (*config.same.items(), *settings.items())]
        own = [f"out={json.dumps(str(config.out / name))}", *(["release=null"] if config.verb == "train" else [])]
        found = load(cls, config.config, [*overrides, *own])
        said = json.dumps(dump(replace(found, out=Path(), workers=1)), sort_keys=True)
        if said in made:
            raise ConfigError(f"the cells {made[said].name} and {name} have the same settings; leave one of them out")
        made[said] = Cell(name, settings, found)
    for cell in made.values():
        _require_own(cell)
        if isinstance(cell.config, EvaluateConfig):
            evaluation = Evaluation.of(cell.config)
            evaluation.require()
            list(evaluation.jobs())  # are there as many pairs?
        else:
            _require_there(cell, cell.config)
    return tuple(made.values())


def _settings_of(config: SweepConfig) -> Iterator[Mapping[str, Any]]:
    if config.grid:
        for values in itertools.product(*config.grid.values()):
            yield dict(zip(config.grid, values, strict=True))
    yield from config.cells


def _named(settings: Mapping[str, Any]) -> str:
    """A folder's name that says the settings; other settings have another."""
    text = ",".join(f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()) or "as it is"
    name = re.sub(r"[^\w.=,+-]", "_", text)
    if name == text and len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _require_own(cell: Cell) -> None:
    """Raises `ConfigError` where the folder has a cell of another sweep, with which this one would be mixed up."""
    path = cell.folder / "cell.json"
    if path.exists() and json.loads(path.read_text()) != json.loads(_said(cell)):
        raise ConfigError(
            f"{cell.folder} has a cell of another sweep: {path} says how it differs from what is asked for now. Give another folder with "
            f"out=..., or remove that one"
        )


def _require_there(cell: Cell, config: TrainConfig) -> None:
    """Raises `ConfigError` for a dataset or a checkpoint that a training would look for in vain."""
    for path in (*config.datasets, *config.demonstrations, *config.redrawn, *([] if config.init is None else [config.init])):
        if not packaged(path).exists():
            raise ConfigError(f"the cell {cell.name} needs {path}, which is not there; make it first, or name another")


def _said(cell: Cell) -> bytes:
    verb = "train" if isinstance(cell.config, TrainConfig) else "evaluate"
    config = dump(cell.config)
    config.pop("workers")  # changes no result
    return (json.dumps({"verb": verb, "config": config}, indent=1, sort_keys=True) + "\n").encode()


def finished(cell: Cell) -> Figures | None:
    """What a cell came to; None where it is not done."""
    path = cell.folder / "figures.json"
    return json.loads(path.read_text()) if path.exists() else None


def done(cell: Cell) -> Figures:
    """Does the cell, or what is left of it, and gives its figures, which are also written to its folder."""
    if (known := finished(cell)) is not None:
        return known
    replace_file(cell.folder / "cell.json", _said(cell))
    figures = _trained(cell.config) if isinstance(cell.config, TrainConfig) else _evaluated(cell.config)
    replace_file(cell.folder / "figures.json", (json.dumps(figures, indent=1) + "\n").encode())
    return figures


def _trained(config: TrainConfig) -> Figures:
    """The held-out metrics, of lists the last."""
    path = train(config, lambda text: None, lambda name, names, unit: nullcontext(lambda done, total: None))
    return dict(_flat(checkpoint.read_info(path).metrics))


def _flat(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | int]]:
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
            continue
        last = value[-1] if isinstance(value, Sequence) and not isinstance(value, str) and value else value
        if isinstance(last, int | float):
            yield f"{prefix}{name}", last


def _evaluated(config: EvaluateConfig) -> Figures:
    """Success in percent, by task and method."""
    evaluation = Evaluation.of(config)
    file, left = results_file(evaluation)
    for result in attempts(evaluation.config, left):
        file.add(result)
    figures: dict[str, float | int] = {}
    for task, method in dict.fromkeys((job.task, job.method) for job in evaluation.jobs()):
        some = [result for result in file.results.values() if (result.task, result.method) == (task, method)]
        figures[f"{task}/{method}/pairs"] = len(some)
        figures |= {f"{task}/{method}/{kind}": round(100 * sum(getattr(one, kind) for one in some) / len(some), 2) for kind in _KINDS}
    return figures


def swept(config: SweepConfig, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Figures]]:
    """Each cell and what it came to, as they come: first those that were done before. The table of all that is done is kept in `out`."""
    found: dict[str, Figures] = {cell.name: figures for cell in cells if (figures := finished(cell)) is not None}
    _write_tables(config, cells, found)
    yield from ((cell, found[cell.name]) for cell in cells if cell.name in found)
    left = [cell for cell in cells if cell.name not in found]
    if isinstance(config.runner, RayRunner):
        results = spread(config.runner, _start, left, config.workers)
    else:
        results = ((cell, done(cell)) for cell in left)
    for cell, figures in results:
        found[cell.name] = figures
        _write_tables(config, cells, found)
        yield cell, figures


def _start() -> Callable[[Cell], tuple[Cell, Figures]]:
    """What a worker of a cluster does cells with, one process each."""
    torch.set_num_threads(1)
    os.environ.setdefault("MUJOCO_GL", "egl")
    return lambda cell: (cell, done(Cell(cell.name, cell.settings, replace(cell.config, workers=1))))


def _write_tables(config: SweepConfig, cells: Sequence[Cell], found: Mapping[str, Figures]) -> None:
    rows = {cell.name: {"settings": dict(cell.settings), "figures": dict(found[cell.name])} for cell in cells if cell.name in found}
    replace_file(config.out / "results.json", (json.dumps(rows, indent=1) + "\n").encode())
    replace_file(config.out / "table.md", (table(cells, found) + "\n").encode())


def table(cells: Sequence[Cell], found: Mapping[str, Figures]) -> str:
    """Markdown: a row for each cell, its settings and its figures; what is not done yet has none."""
    keys = list(dict.fromkeys(key for cell in cells for key in cell.settings))
    names = list(dict.fromkeys(name for figures in found.values() for name in figures))
    rows = [[*keys, *names], ["---"] * (len(keys) + len(names))]
    for cell in cells:
        figures = found.get(cell.name, {})
        settings = ("" if key not in cell.settings else str(cell.settings[key]) for key in keys)
        rows.append([*settings, *(f"{figures[name]:.4g}" if name in figures else "" for name in names)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
