"""A folder of pictures with times: what `robo-dream calibrate capture` writes, and a camera that plays it."""

import importlib
import json
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from robo_dream.embodiment import Frame, Intrinsics
from robo_dream.errors import CameraError, ConfigError, ContractError, DataError
from robo_dream.schema import Name, Unit, configuration

_INDEX = "frames.jsonl"


@configuration
class FolderConfig:
    """A recorded folder, played at the speed of its times."""

    path: Path
    kind: Literal["folder"] = "folder"
    name: Name = "front"
    speed: Annotated[float, Field(gt=0, le=1000)] = 1.0
    lost_after: Annotated[float, Field(gt=0, le=3600), Unit("s")] = 1.0  # s without a new frame after which `read` raises


class FolderWriter:
    """Appends frames to a folder: PNG pictures, and one line for each in `frames.jsonl` once its picture is whole."""

    def __init__(self, path: Path, intrinsics: Intrinsics, serial: str = "") -> None:
        """Raises `ConfigError` when the folder already holds frames."""
        if (path / _INDEX).exists():
            raise ConfigError(f"{path} already holds recorded frames; name another folder")
        path.mkdir(parents=True, exist_ok=True)
        (path / "camera.json").write_text(json.dumps({"intrinsics": vars(intrinsics), "serial": serial}, indent=1))
        self._path = path

    def add(self, frame: Frame) -> str:
        """The name of the picture's file."""
        name = f"{frame.number:06d}.png"
        importlib.import_module("PIL.Image").fromarray(frame.image).save(self._path / name)
        with (self._path / _INDEX).open("a") as index:
            index.write(json.dumps({"number": frame.number, "time": frame.time, "file": name}) + "\n")
        return name


class FolderCamera:
    """Shows what the folder's camera had shown at the same time after its start. Without depth, and without a thread.

    Raises `DataError` for a folder that cannot be read; `read` raises `CameraError` some time after the last frame.
    """

    def __init__(
        self,
        config: FolderConfig,
        world_from_camera: Float[np.ndarray, "4 4"] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = config.name
        self._config, self._pose, self._clock = config, world_from_camera, clock
        self._intrinsics: Intrinsics | None = None
        self._times = np.empty(0)
        self._entries: list[dict] = []
        self._began: float | None = None

    def __enter__(self) -> "FolderCamera":
        self._intrinsics, self._entries = read_folder(self._config.path)
        self._times = np.array([entry["time"] for entry in self._entries])
        self._began = self._clock()
        return self

    def __exit__(self, *exc: object) -> None:
        self._began = None

    @property
    def intrinsics(self) -> Intrinsics:
        """Raises `DataError` for a folder that cannot be read."""
        if self._intrinsics is None:
            self._intrinsics = read_folder(self._config.path)[0]
        return self._intrinsics

    @property
    def world_from_camera(self) -> Float[np.ndarray, "4 4"]:
        """NaN when the camera was never calibrated."""
        return np.full((4, 4), np.nan) if self._pose is None else self._pose

    def read(self) -> Frame:
        if self._began is None:
            raise ContractError(f"camera {self.name!r} is not open; use it in a `with` block")
        elapsed = (self._clock() - self._began) * self._config.speed
        after_start = self._times - self._times[0]
        at = int(np.searchsorted(after_start, elapsed, side="right")) - 1
        age = (elapsed - after_start[at]) / self._config.speed
        if age > self._config.lost_after:
            what = "has ended" if at == len(self._times) - 1 else f"has a hole of {age:.2f} s"
            raise CameraError(f"camera {self.name!r} (folder {self._config.path}): the recording {what}; play another")
        entry, time = self._entries[at], self._began + float(after_start[at]) / self._config.speed
        return Frame(time, read_picture(self._config.path / entry["file"]), entry["number"])


def read_folder(path: Path) -> tuple[Intrinsics, list[dict]]:
    """Intrinsics and the entries (number, time, file) of a recorded folder, in the order of their times.

    A last line that was cut short is left out. Raises `DataError` that names the file.
    """
    intrinsics, _ = read_camera(path)
    try:
        lines = (path / _INDEX).read_text().splitlines()
    except OSError as error:
        raise DataError(f"{path} is not a recorded folder ({error}); it needs {_INDEX}") from None
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            entries.append({"number": int(entry["number"]), "time": float(entry["time"]), "file": Path(entry["file"]).name})
        except (ValueError, TypeError, KeyError):
            if number < len(lines):
                raise DataError(f"{path / _INDEX}:{number} is damaged: {line[:60]!r}; remove the line") from None
    if not entries or any(after["time"] <= before["time"] for before, after in pairwise(entries)):
        raise DataError(f"{path / _INDEX} must hold at least one frame, and times that go up; record it again")
    return intrinsics, entries


def read_camera(path: Path) -> tuple[Intrinsics, str]:
    """Intrinsics and serial number of the camera that a folder was recorded with; raises `DataError` that names the file."""
    try:
        about = json.loads((path / "camera.json").read_text())
        return Intrinsics(**about["intrinsics"]), str(about.get("serial", ""))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{path / 'camera.json'} does not describe a camera ({type(error).__name__}: {error}); it needs "
            '{"intrinsics": {"width", "height", "fx", "fy", "cx", "cy"}, "serial"}'
        ) from None


def read_picture(path: Path) -> np.ndarray:
    """The RGB picture in a file; raises `DataError` that names it."""
    pil = importlib.import_module("PIL.Image")
    try:
        with pil.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is not a readable picture ({error}); record it again") from None
