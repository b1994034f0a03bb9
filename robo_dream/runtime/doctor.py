"""What `robo-dream doctor` looks at on this machine. Importing it loads no torch; what may crash runs in a process of its own."""

import importlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from ctypes.util import find_library
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robo_dream.errors import RoboDreamError

if TYPE_CHECKING:
    import torch

MIN_PYTHON = (3, 11)
MIN_MEMORY_GIB = 3.0  # the demo peaks below 2
_INSTALL = "pip install --constraint configs/constraints.txt"


class Status(StrEnum):
    OK = "ok"
    ABSENT = "absent"  # optional
    FAULTY = "faulty"  # optional, and half there
    BROKEN = "broken"  # planning needs it


@dataclass(frozen=True)
class Check:
    """What was looked at, whether it works, what was found, and what to do about it."""

    name: str
    status: Status
    finding: str
    fix: str = ""


def all_checks(checkpoint: Path | None) -> Iterator[Check]:
    """Every check of this machine, one after the other; some take seconds."""
    yield python()
    yield memory()
    yield from speed()
    yield from simulation()
    yield from rendering()
    yield from extras()
    yield realsense()
    yield video()
    yield from checkpoints(checkpoint)


def python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info < MIN_PYTHON:
        return Check("Python", Status.BROKEN, found, f"install Python {MIN_PYTHON[0]}.{MIN_PYTHON[1]} or newer")
    return Check("Python", Status.OK, found)


def memory() -> Check:
    sizes = {line.split(":")[0]: int(line.split()[1]) / 2**20 for line in _read(Path("/proc/meminfo")).splitlines() if line.endswith("kB")}
    if "MemAvailable" not in sizes:
        return Check("memory", Status.OK, "not known on this system")
    limit = _read(Path("/sys/fs/cgroup/memory.max"))
    inside = f", container limit {int(limit) / 2**30:.1f} GiB" if limit.isdecimal() else ""
    found = f"{sizes['MemAvailable']:.1f} GiB free of {sizes['MemTotal']:.1f} GiB{inside}"
    if sizes["MemAvailable"] < MIN_MEMORY_GIB:
        return Check("memory", Status.BROKEN, found, f"close programs until {MIN_MEMORY_GIB:.0f} GiB are free")
    return Check("memory", Status.OK, found)


def processor() -> str:
    """How many cores this process may use, of which processor, and what that has for matrices."""
    number = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    info = _read(Path("/proc/cpuinfo"))
    model = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), platform.processor())
    flags = next((line.split(":")[1].split() for line in info.splitlines() if line.startswith("flags")), [])
    has = [word for flag, word in _INSTRUCTIONS.items() if flag in flags]
    without = ", no AVX-512" if "avx2" in flags and "avx512f" not in flags else ""
    return f"{number} usable, {model or platform.machine()}{' with ' if has else ''}{', '.join(has)}{without}"


_INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 bf16", "amx_bf16": "AMX bf16"}
_SIZE = 384  # of a product that takes a fifth of a second even where bf16 is emulated


def speed() -> Iterator[Check]:
    """The processor and torch on it, and GPUs: how fast they multiply matrices, and whether bf16 is worth it."""
    try:
        import torch
    except Exception as error:  # a missing shared library is an OSError, a broken build anything
        yield Check("processor", Status.OK, processor())
        yield Check("torch", Status.BROKEN, f"{type(error).__name__}: {error}", f"{_INSTALL} torch")
        return
    device = torch.device("cpu")
    single, half = (matmul_rate(device, kind, _SIZE) for kind in (torch.float32, torch.bfloat16))
    yield Check("processor", Status.OK, f"{processor()}: {single / 1e9:.0f} GFLOP/s of fp32 with {torch.get_num_threads()} threads")
    yield Check("bf16", Status.OK, bf16_or_not(single, half))
    yield Check("torch", Status.OK, torch.__version__)
    yield from _gpus(torch)


def bf16_or_not(single: float, half: float) -> str:
    """Whether to compute in bf16 where products run at these FLOP/s."""
    measured = f"{half / 1e9:.3g} GFLOP/s, where fp32 has {single / 1e9:.3g}"
    if half < single / 1.1:
        return f"do not use it here: {single / half:.1f} times slower than fp32 ({measured}); leave precision=float32"
    return (
        f"{half / single:.1f} times as fast as fp32 ({measured}): precision=bfloat16 imagines faster, and rounds"
        if half > 1.1 * single
        else (f"as fast as fp32 ({measured}): there is nothing to gain by it")
    )


def matmul_rate(device: "torch.device", dtype: "torch.dtype", size: int, seconds: float = 0.2) -> float:
    """The best rate seen of a size³ product, in FLOP/s; tries for about `seconds`."""
    import torch

    a = torch.ones(size, size, device=device, dtype=dtype)
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        _ = a @ a
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        now = time.perf_counter()
        best = min(best, now - start)
        if now > end:
            return 2 * size**3 / best


def _gpus(torch: Any) -> Iterator[Check]:
    if not torch.cuda.is_available():
        driver = shutil.which("nvidia-smi")
        if driver and torch.version.cuda is None:
            release = torch.__version__.split("+")[0]
            fix = f"there is an NVIDIA driver, but this torch is a CPU build: install {release} for CUDA (pytorch.org)"
        else:
            fix = "check the driver with nvidia-smi" if driver else ""
        yield Check("GPU", Status.ABSENT, "none that torch can use; everything runs on the CPU", fix)
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Check(
            f"GPU {index}",
            Status.OK,
            f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, "
            f"compute {properties.major}.{properties.minor}",
        )
        device = torch.device("cuda", index)
        single, half = (matmul_rate(device, kind, 8192) for kind in (torch.float32, torch.bfloat16))
        yield Check(f"bf16 on GPU {index}", Status.OK, bf16_or_not(single, half))


TESTED = ("3.8.1", "1.0.41")
KNOWN_PAIRS = {"1.0.28": "3.3.0", "1.0.41": "3.8.1", "1.0.50": "3.17.0"}  # dm_control: MuJoCo; seen to work together
_PAIR = f"pip install --constraint configs/constraints.txt mujoco=={TESTED[0]} dm-control=={TESTED[1]}"
_SIMULATE = "import mujoco\nfrom dm_control import composer, mjcf\nmjcf.Physics.from_xml_string('<mujoco><worldbody/></mujoco>').step()"


def simulation() -> Iterator[Check]:
    """MuJoCo and dm_control, which only work in certain pairs."""
    versions = {name: _version(name) for name in ("mujoco", "dm-control")}
    absent = [name for name, version in versions.items() if version is None]
    if absent:
        yield Check("MuJoCo", Status.BROKEN, f"not installed: {', '.join(absent)}", _PAIR)
        return
    mujoco, control = str(versions["mujoco"]), str(versions["dm-control"])
    found = f"mujoco {mujoco} with dm-control {control}"
    outcome = run_program(_SIMULATE, {"MUJOCO_GL": "disable"}, timeout=60)
    if not outcome.ok:
        yield Check("MuJoCo", Status.BROKEN, f"{found}: {outcome.problem}", _PAIR)
    elif (mujoco, control) == TESTED:
        yield Check("MuJoCo", Status.OK, f"{found}, the tested pair")
    elif KNOWN_PAIRS.get(control) == mujoco:
        yield Check("MuJoCo", Status.OK, f"{found}, a pair known to work")
    else:
        yield Check("MuJoCo", Status.OK, f"{found}, a pair that was not tested", f"if anything is odd: {_PAIR}")


PACKAGES = {"egl": "libegl1 libgl1", "osmesa": "libosmesa6"}  # Debian
_LIBRARIES = {"egl": "EGL", "osmesa": "OSMesa"}
_SCENE = """
<mujoco>
  <visual><quality offsamples="0" shadowsize="0"/></visual>
  <worldbody>
    <light pos="0 0 2"/>
    <geom type="plane" size="1 1 .1" rgba=".2 .3 .4 1"/>
    <body pos="0 0 .2"><geom type="box" size=".1 .1 .1" rgba="1 .2 .1 1"/></body>
    <camera name="view" pos="0 -.8 .8" xyaxes="1 0 0 0 1 1"/>
  </worldbody>
</mujoco>"""


def rendering() -> Iterator[Check]:
    """One check for each way; only when none works is that broken."""
    if sys.platform != "linux":
        yield Check("rendering", Status.OK, f"not tried on {sys.platform}; MuJoCo uses the system's own GL here")
        return
    outcomes = {
        backend: run_program(
            "from robo_dream.runtime.doctor import draw_and_print; draw_and_print()",
            {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend, "LP_NUM_THREADS": "0"},
            timeout=60,
        )
        for backend in PACKAGES
    }
    any_works = any(outcome.ok for outcome in outcomes.values())
    for backend, outcome in outcomes.items():
        name, install = f"rendering, {backend}", f"as root: apt-get install {PACKAGES[backend]}"
        if outcome.ok:
            drawn = json.loads(outcome.output)
            found = f"{drawn['frames_per_second']:.0f} frames/s of a small 64 px scene with {drawn['renderer']}"
            yield Check(name, Status.OK, found, "" if backend == "egl" or outcomes["egl"].ok else "export MUJOCO_GL=osmesa")
        else:
            library = _LIBRARIES[backend]
            problem = outcome.problem if find_library(library) else f"lib{library} is not installed"
            yield Check(name, Status.ABSENT if any_works else Status.BROKEN, problem, install)
    chosen = os.environ.get("MUJOCO_GL", "egl")
    if chosen in outcomes and any_works and not outcomes[chosen].ok:
        working = next(backend for backend, outcome in outcomes.items() if outcome.ok)
        yield Check("MUJOCO_GL", Status.BROKEN, f"is {chosen}, which does not work here", f"export MUJOCO_GL={working}")


def draw_and_print() -> None:
    """Draws the scene for half a second and prints, as JSON, how fast and by whom; fails on a blank picture."""
    import mujoco
    from OpenGL import GL

    model = mujoco.MjModel.from_xml_string(_SCENE)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with mujoco.Renderer(model, 64, 64) as renderer:
        renderer.update_scene(data, "view")
        image = renderer.render()
        red = (image[..., 0] > 2.0 * image[..., 2]).mean()
        if not 0.01 < red < 0.9:
            raise RuntimeError(f"the picture is wrong: the red box covers {red:.0%} of it instead of about a tenth")
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < 0.5:
            renderer.update_scene(data, "view")
            renderer.render()
            count += 1
        rate = count / (time.perf_counter() - start)
        name = GL.glGetString(GL.GL_RENDERER)
    print(json.dumps({"frames_per_second": rate, "renderer": name.decode() if name else "an unnamed renderer"}))


@dataclass(frozen=True)
class Extra:
    """An extra of pyproject.toml: the distributions it brings and what one gets by it.

    `apart` are those that pip would refuse beside our versions, and that work all the same; they are installed with --no-deps.
    """

    name: str
    distributions: tuple[str, ...]
    purpose: str
    apart: tuple[str, ...] = ()


EXTRAS = (
    Extra("gym", ("gymnasium",), "the worlds as Gymnasium environments"),
    Extra("ogbench", ("ogbench", "fast-simplification"), "OGBench's worlds, and its UR5e with Robotiq gripper"),
    Extra("metaworld", ("gymnasium", "imageio", "packaging", "scipy", "fast-simplification"), "Meta-World's Sawyer worlds", ("metaworld",)),
    Extra("pusht", ("gym-pusht",), "Push-T"),
    Extra("vizdoom", ("vizdoom",), "Doom, to be learned in a dream"),
    Extra("car-racing", ("gymnasium", "box2d", "pygame"), "CarRacing, to be learned in a dream"),
    Extra("cma", ("cma",), "controllers learned in a dream"),
    Extra("menagerie", ("mujoco-menagerie",), "25 more arms; downloads a model at first use"),
    Extra("mjx", ("mujoco-mjx", "jax"), "true-physics planning on a GPU"),
    Extra("decimate", ("fast-simplification",), "fewer triangles, faster pictures of detailed arms"),
    Extra("tensorboard", ("tensorboard",), "training curves in a browser"),
    Extra("realsense", ("pyrealsense2",), "RealSense cameras"),
    Extra("opencv", ("opencv-python-headless",), "V4L2 cameras, video files and calibration"),
    Extra("so101", ("feetech-servo-sdk",), "SO-100 and SO-101 arms (Feetech bus)"),
    Extra("dynamixel", ("dynamixel-sdk",), "arms on a Dynamixel bus"),
    Extra("ur", ("ur-rtde",), "Universal Robots e-Series"),
    Extra("xarm", ("xarm-python-sdk",), "uFactory xArm"),
    Extra("franka", ("franky-control",), "Franka arms; experimental, never run with one"),
    Extra("ros2", ("cyclonedds",), "arms under ros2_control, by topics"),
    Extra("rerun", ("rerun-sdk",), "recorded runs as Rerun recordings"),
    Extra("serve", ("websockets", "msgpack"), "planning over a network, on either side"),
    Extra("s3", ("s3fs",), "datasets in a store that speaks S3"),
    Extra("s3-tests", ("moto[s3]", "flask", "flask-cors"), "a local store, for tests"),
    Extra("ray", ("ray",), "evaluation on a cluster"),
    Extra("words", ("wordllama", "tokenizers"), "goals in words"),
    Extra("page-tests", ("playwright",), "tests of the replay page in a real browser"),
)
_LEROBOT = (
    "it pins an older torch, so give it an environment of its own: "
    "python3 -m venv lerobot-env && lerobot-env/bin/pip install lerobot==0.4.4"
)


def extras() -> Iterator[Check]:
    """Optional dependencies, what they are for and how to get them."""
    for extra in EXTRAS:
        found = {name: _version(name) for name in (*extra.distributions, *extra.apart)}
        if all(found.values()):
            versions = ", ".join(f"{name} {version}" for name, version in found.items())
            yield Check(f"extra {extra.name}", Status.OK, f"{versions}: {extra.purpose}")
        else:
            fix = f"pip install --constraint configs/constraints.txt --editable '.[{extra.name}]'"
            fix += f" && pip install --constraint configs/constraints.txt --no-deps {' '.join(extra.apart)}" * bool(extra.apart)
            yield Check(f"extra {extra.name}", Status.ABSENT, f"not installed: {extra.purpose}", fix)
    lerobot = _version("lerobot")
    if lerobot:
        yield Check("lerobot", Status.OK, f"{lerobot}, beside this torch")
    else:
        yield Check("lerobot", Status.ABSENT, "not installed; datasets are read and written without it", _LEROBOT)


def realsense(sys_root: Path = Path("/sys")) -> Check:
    """RealSense cameras as librealsense sees them, or, without it, as the USB bus names them."""
    on_bus = [
        f"{_read(product)} (serial {_read(product.parent / 'serial') or 'unknown'})"
        for product in sorted((sys_root / "bus/usb/devices").glob("*/product"))
        if "realsense" in _read(product).lower()
    ]
    try:
        pyrealsense2: Any = importlib.import_module("pyrealsense2")
    except ImportError:
        if on_bus:
            fix = "pip install --constraint configs/constraints.txt --editable '.[realsense]'"
            return Check("RealSense", Status.FAULTY, f"{', '.join(on_bus)} plugged in, but pyrealsense2 is not installed", fix)
        return Check("RealSense", Status.ABSENT, "none plugged in")
    try:
        found = [
            f"{device.get_info(pyrealsense2.camera_info.name)} (serial {device.get_info(pyrealsense2.camera_info.serial_number)})"
            for device in pyrealsense2.context().query_devices()
        ]
    except RuntimeError as error:
        return Check("RealSense", Status.FAULTY, f"librealsense: {error}", "replug the camera; install librealsense's udev rules")
    if not found and on_bus:
        fix = "replug it into a USB 3 port; install librealsense's udev rules"
        return Check("RealSense", Status.FAULTY, f"{', '.join(on_bus)} on the bus, but librealsense cannot open it", fix)
    return Check("RealSense", Status.OK, ", ".join(found)) if found else Check("RealSense", Status.ABSENT, "none plugged in")


def video(sys_root: Path = Path("/sys"), dev_root: Path = Path("/dev")) -> Check:
    """V4L2 devices and whether this user may read them."""
    found = {path.parent.name: _read(path) for path in sorted((sys_root / "class/video4linux").glob("*/name"))}
    if not found:
        return Check("V4L2 cameras", Status.ABSENT, "none plugged in")
    listed = ", ".join(f"/dev/{device} {name}" for device, name in found.items())
    locked = [device for device in found if not os.access(dev_root / device, os.R_OK | os.W_OK)]
    if locked:
        fix = "sudo usermod -aG video $USER, then log in again"
        return Check("V4L2 cameras", Status.FAULTY, f"{listed}; no access to {', '.join(locked)}", fix)
    return Check("V4L2 cameras", Status.OK, listed)


_ROOT = Path(__file__).resolve().parents[2]


def checkpoints(path: Path | None, root: Path = _ROOT) -> Iterator[Check]:
    """Tries `path`; without one, each checkpoint that comes with the project: there, undamaged, and readable by this version."""
    folders = (root / "configs" / "checkpoints", root / "robo_dream" / "configs" / "checkpoints")  # in a clone, and installed
    paths = [path] if path else [found for folder in folders for found in sorted(folder.glob("*.safetensors"))]
    paths = list({found.resolve(): found for found in reversed(paths)}.values())[::-1]
    if not paths:
        fix = "name one with --checkpoint FILE, or make one with robo-dream train"
        yield Check("checkpoint", Status.ABSENT, f"none in {' or '.join(map(str, folders))}", fix)
    for each in paths:
        yield _checkpoint(each)


def _checkpoint(path: Path) -> Check:
    try:
        from robo_dream.models import checkpoint
    except ImportError as error:
        return Check("checkpoint", Status.BROKEN, f"{path}: not read, because importing the models failed: {error}", "repair torch first")
    start = time.perf_counter()
    try:
        info = checkpoint.read_info(path)
        checkpoint.load(path)
    except (RoboDreamError, OSError) as error:
        return Check("checkpoint", Status.BROKEN, str(error), "fetch or train it again")
    seconds = time.perf_counter() - start
    size = path.stat().st_size / 2**20
    found = f"{path}: {info.num_parameters / 1e6:.1f} M parameters, {size:.1f} MiB, loads in {seconds:.1f} s"
    usual = info.settings.perception
    check = (
        "no perception check" if usual is None else f"perception check from {usual.num_moments} moments of {usual.num_episodes} episodes"
    )
    return Check("checkpoint", Status.OK, f"{found}; {info.settings.regime or 'unknown'} regime; {check}")


@dataclass(frozen=True)
class ProgramResult:
    """Whether the program ended well, what it printed, and in one line what went wrong."""

    ok: bool
    output: str
    problem: str


def run_program(code: str, environment: Mapping[str, str], timeout: float) -> ProgramResult:
    """Runs `code` for at most `timeout` seconds with `environment` added to this process's."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return ProgramResult(False, "", f"no answer within {timeout:.0f} s")
    if done.returncode == 0:
        return ProgramResult(True, done.stdout, "")
    if done.returncode < 0:
        return ProgramResult(False, done.stdout, f"crashed with {signal.Signals(-done.returncode).name}")
    lines = [line for line in done.stderr.strip().splitlines() if line and not line.startswith((" ", "Exception ignored"))]
    return ProgramResult(False, done.stdout, lines[-1] if lines else f"exit code {done.returncode}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
