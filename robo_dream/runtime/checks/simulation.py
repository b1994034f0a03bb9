"""MuJoCo and dm_control, which only work in certain pairs."""

from collections.abc import Iterator
from importlib import metadata

from robo_dream.runtime.checks.check import Check, Status
from robo_dream.runtime.checks.program import run_program

TESTED = ("3.8.1", "1.0.41")
KNOWN_PAIRS = {"1.0.28": "3.3.0", "1.0.41": "3.8.1", "1.0.50": "3.17.0"}  # dm_control: MuJoCo; seen to work together
_INSTALL = f"pip install --constraint configs/constraints.txt mujoco=={TESTED[0]} dm-control=={TESTED[1]}"
_CODE = "import mujoco\nfrom dm_control import composer, mjcf\nmjcf.Physics.from_xml_string('<mujoco><worldbody/></mujoco>').step()"


def checks() -> Iterator[Check]:
    versions = {name: _version(name) for name in ("mujoco", "dm-control")}
    absent = [name for name, version in versions.items() if version is None]
    if absent:
        yield Check("MuJoCo", Status.BROKEN, f"not installed: {', '.join(absent)}", _INSTALL)
        return
    mujoco, control = str(versions["mujoco"]), str(versions["dm-control"])
    found = f"mujoco {mujoco} with dm-control {control}"
    outcome = run_program(_CODE, {"MUJOCO_GL": "disable"}, timeout=60)
    if not outcome.ok:
        yield Check("MuJoCo", Status.BROKEN, f"{found}: {outcome.problem}", _INSTALL)
    elif (mujoco, control) == TESTED:
        yield Check("MuJoCo", Status.OK, f"{found}, the tested pair")
    elif KNOWN_PAIRS.get(control) == mujoco:
        yield Check("MuJoCo", Status.OK, f"{found}, a pair known to work")
    else:
        yield Check("MuJoCo", Status.OK, f"{found}, a pair that was not tested", f"if anything is odd: {_INSTALL}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
