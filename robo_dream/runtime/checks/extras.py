"""Optional dependencies, what they are for and how to get them."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from robo_dream.runtime.checks.check import Check, Status


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
    Extra("rerun", ("rerun-sdk",), "recorded runs as Rerun recordings"),
    Extra("page-tests", ("playwright",), "tests of the replay page in a real browser"),
)
_LEROBOT = (
    "it pins an older torch, so give it an environment of its own: "
    "python3 -m venv lerobot-env && lerobot-env/bin/pip install lerobot==0.4.4"
)


def checks() -> Iterator[Check]:
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


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
