"""Whether a run may trust the calibration file that it names."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from robo_dream.calibration.file import load, problems
from robo_dream.cli.run import RunConfig
from robo_dream.errors import ConfigError
from robo_dream.runtime.arms import identity_of
from robo_dream.runtime.cameras import serial_of
from robo_dream.runtime.twin_cameras import twin_serial


def calibrated_poses(config: RunConfig, cameras: Sequence[str], at: datetime | None = None) -> Mapping[str, np.ndarray]:
    """world_from_camera of each camera that is fixed to the world; empty without a calibration file.

    Raises `ConfigError` with everything that speaks against the file: its age, another arm, other cameras, residuals, wrong joints.
    """
    if config.calibration is None:
        return {}
    known = load(config.calibration)
    arm = f"twin {config.scene.arm}" if config.twin else identity_of(config.arm)
    there = {camera.name: serial_of(camera) for camera in config.cameras}
    serials = {name: twin_serial(name) if config.twin else there.get(name, "") for name in cameras}
    if unnamed := [name for name, serial in serials.items() if not serial]:
        raise ConfigError(
            f"a calibration is of certain cameras, but `cameras` gives no serial for {', '.join(unnamed)}; `robo-dream doctor` shows them"
        )
    found = problems(known, arm, serials, at or datetime.now(UTC), config.calibration_limits)
    if found:
        raise ConfigError(f"the calibration {config.calibration} does not hold: {'; '.join(found)}")
    return {name: known.cameras[name].matrix for name in cameras if known.cameras[name].mount == "world"}
