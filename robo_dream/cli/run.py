"""`robo-dream run`: the loop on a real arm, or on its twin."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from robo_dream.calibration.file import CalibrationLimits
from robo_dream.cli.config_arguments import add_config_arguments, load_config
from robo_dream.control.episode import LoopConfig
from robo_dream.errors import ConfigError
from robo_dream.models.compiled import Precision
from robo_dream.runtime.arms import ArmKind, LineKind
from robo_dream.runtime.cameras import CameraKind
from robo_dream.runtime.compose import PlanningConfig
from robo_dream.runtime.twin_cameras import RenderedKind, TwinCameraKind
from robo_dream.viewer.video import VideoConfig
from sim.tabletop.scene import SceneConfig

_DESCRIPTION = """\
Connects to arm and cameras, checks that they are those that the checkpoint was trained for, goes to (or verifies) the start pose, and
plans from the live cameras until the steps are used (of a twin's pair: until the goal is held) or something is not safe. A guard in a
process of its own sees to it that a fault anywhere ends in a still arm; space, e or escape on this terminal is an emergency stop, Ctrl-C
and SIGTERM decelerate and hold. None of this replaces a hardware emergency stop: keep one in reach.

A twin of an arm for which there is no checkpoint yet is moved by an oracle (policy=oracle): a script that is told the true poses. It says
so, and so does run.json; everything else, cameras, guard, wire and record, is as in any run."""

_EPILOG = """\
example:
  robo-dream run --config configs/hardware/jaco_twin.yaml
  robo-dream run --config configs/hardware/jaco_twin.yaml goal.task=lift goal.pair=7 loop.asynchronous=true
  robo-dream run --config configs/hardware/jaco_twin.yaml --dry-run
  robo-dream run --twin so101
  robo-dream run --twin ur5e goal.task=push goal.seed=7

--dry-run does everything but move. --twin puts a MuJoCo arm in real time behind the wire of the arm that the file names; with a name,
configs/hardware/NAME_twin.yaml is that file. Each run leaves a new folder in `out`: record/ with every decision and every clip and stop,
video.mp4 and decisions.png."""


@dataclass(frozen=True)
class PairGoal:
    """The goal, and the start, of a held-out pair: only a twin can be put there."""

    kind: Literal["pair"] = "pair"
    task: str = "push"
    pair: int = 3
    manifests: Path = Path("configs/manifests")


@dataclass(frozen=True)
class DrawnGoal:
    """A start and a goal of a task, drawn freely for this arm: only a twin can be put there."""

    kind: Literal["drawn"] = "drawn"
    task: str = "reach"
    seed: int = 3

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"goal.seed is {self.seed}; it must be 0 or more")


@dataclass(frozen=True)
class SnapshotGoal:
    """What `robo-dream goal capture` kept: how it should look, and where the arm was."""

    kind: Literal["snapshot"] = "snapshot"
    file: Path = Path("goal.npz")


@dataclass(frozen=True)
class PicturesGoal:
    """A picture file for each camera. The model also knows where the arm is in the pictures, or it is taken to be as at the start."""

    kind: Literal["pictures"] = "pictures"
    files: Mapping[str, Path] = field(default_factory=dict)  # by camera
    tool_pos: tuple[float, float, float] | None = None  # m
    tool_yaw: float = 0.0  # rad
    gripper: float = 0.0  # closure


@dataclass(frozen=True)
class PoseGoal:
    """Where the tool, the (first) object or both should be (m, world frame), without a picture; for costs on poses."""

    kind: Literal["pose"] = "pose"
    tool_pos: tuple[float, float, float] | None = None
    object_pos: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.tool_pos is None and self.object_pos is None:
            raise ConfigError("goal.kind is pose, but neither goal.tool_pos nor goal.object_pos is given; give one or both")


AnyGoal = PairGoal | DrawnGoal | SnapshotGoal | PicturesGoal | PoseGoal
Policy = Literal["imagination", "oracle"]
"""Who chooses the moves: a checkpoint that imagines from the pictures, or a script that is told a twin's true poses."""


@dataclass(frozen=True)
class StartPose:
    """The pose to begin from. `verify` refuses to begin elsewhere, `home` goes there slowly, `as_is` begins where the arm stands."""

    kind: Literal["verify", "home", "as_is"] = "verify"
    joints: tuple[float, ...] | None = None  # rad; None: the model's home pose
    tolerance: float = 0.05  # rad
    speed: float = 0.2  # rad/s on the way home

    def __post_init__(self) -> None:
        for name, most in (("tolerance", 0.5), ("speed", 1.0)):
            if not 0 < getattr(self, name) <= most:
                raise ConfigError(f"start.{name} is {getattr(self, name)}; allowed is above 0, at most {most}")


@dataclass(frozen=True)
class RunConfig:
    """Which arm and cameras, towards what, with which model, and how carefully."""

    checkpoint: Path | None = Path("configs/checkpoints/jaco_s.safetensors")
    policy: Policy = "imagination"
    out: Path = Path("runs/run")
    arm: ArmKind = field(default_factory=LineKind)
    twin: bool = False
    cameras: tuple[CameraKind, ...] = ()  # on a bench; a twin has those of its scene, as the next line says
    twin_cameras: TwinCameraKind = field(default_factory=RenderedKind)
    scene: SceneConfig = field(default_factory=SceneConfig)  # the arm's model (and all of a twin's world)
    goal: AnyGoal = field(default_factory=PairGoal)
    start: StartPose = field(default_factory=StartPose)
    calibration: Path | None = None  # the file of `robo-dream calibrate`, checked for age and for being of this arm and these cameras
    calibration_limits: CalibrationLimits = field(default_factory=CalibrationLimits)
    rest_pose: tuple[float, ...] | None = None  # rad; torque may go off here and nowhere else
    seed: int = 3
    device: str = "cpu"
    compiled: bool = False
    precision: Precision = "float32"  # of matrix products while imagining; bfloat16 is faster where the processor has it
    planning: PlanningConfig = field(default_factory=PlanningConfig)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(max_steps=100, asynchronous=False))
    video: VideoConfig = field(default_factory=VideoConfig)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; it must be 0 or more")


CONFIG = RunConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    add_config_arguments(parser, "hardware")
    parser.add_argument("--dry-run", action="store_true", help="do everything but move")
    parser.add_argument("--twin", nargs="?", const="", metavar="NAME", help="a MuJoCo arm in real time instead of the real one")


def run_config_of(args: argparse.Namespace) -> RunConfig:
    """The configuration that the arguments describe."""
    if args.twin and "=" in args.twin:  # an override that stood behind a bare --twin
        args.overrides, args.twin = [args.twin, *args.overrides], ""
    if args.twin and args.config is None:
        args.config = Path("configs/hardware") / f"{args.twin}_twin.yaml"
    loaded = load_config(RunConfig, args)
    return replace(loaded, twin=loaded.twin or args.twin is not None)


def require_policy(config: RunConfig) -> None:
    """Raises `ConfigError` where nobody can choose the moves."""
    if config.policy == "imagination" and config.checkpoint is None:
        raise ConfigError(
            f"checkpoint is not given, so nothing can be imagined: train one for {config.scene.arm!r} (`robo-dream collect`, then "
            "`robo-dream train`); a twin may be moved by policy=oracle, which is told its true poses"
        )
    if config.policy != "oracle":
        return
    if not config.twin:
        raise ConfigError("policy is oracle, which is told true poses: only a twin knows those. Add --twin, or set policy=imagination")
    if not isinstance(config.goal, PairGoal | DrawnGoal):
        raise ConfigError(f"policy is oracle, but goal.kind is {config.goal.kind}, which names no task; allowed are drawn and pair")


def run(args: argparse.Namespace) -> int:
    config = run_config_of(args)
    require_policy(config)
    from robo_dream.runtime.run_session import run_session

    return run_session(config, dry=args.dry_run)
