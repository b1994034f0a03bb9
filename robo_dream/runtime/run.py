"""What a run on an arm, or on its twin, is told: which arm and cameras, towards what, with which model, and how carefully."""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from robo_dream.calibration.file import CalibrationLimits
from robo_dream.config import Changes
from robo_dream.control.episode import LoopConfig
from robo_dream.errors import ConfigError
from robo_dream.models.config import PrecisionChoice
from robo_dream.runtime.arms import ArmKind, LineKind
from robo_dream.runtime.cameras import CameraKind
from robo_dream.runtime.twin import RenderedKind, TwinCameraKind
from robo_dream.schema import Device, Fraction, Later, Seed, Unit, Words, configuration
from robo_dream.viewer.video import VideoConfig
from sim.tabletop.scene import SceneConfig


def _planning_changes() -> Any:
    from robo_dream.runtime.planner import PlanningChanges

    return PlanningChanges


PlanningChanges = Annotated[Changes, Later(_planning_changes)]
"""As in `runtime.planner`, without torch: a robot's computer whose planner is elsewhere has none."""


@configuration
class LocalPlanner:
    """Decisions are made on this computer, with `checkpoint`."""

    kind: Literal["local"] = "local"


@configuration
class RemotePlanner:
    """Decisions are made where `robo-dream serve` runs, with its checkpoint and its settings; this computer needs no torch."""

    kind: Literal["remote"] = "remote"
    url: Annotated[str, Field(pattern=r"^wss?://[^\s/]+(/\S*)?$"), Words("an address such as ws://127.0.0.1:8765")] = "ws://127.0.0.1:8765"
    token_file: Path | None = None  # whose text the server wants to see
    certificate: Path | None = None  # PEM, of a server whose certificate nobody signed but itself


@configuration
class PairGoal:
    """The goal, and the start, of a held-out pair: only a twin can be put there."""

    kind: Literal["pair"] = "pair"
    task: str = "push"
    pair: Annotated[int, Field(ge=0, le=1_000_000)] = 3
    manifests: Path = Path("configs/manifests")


@configuration
class DrawnGoal:
    """A start and a goal of a task, drawn freely for this arm: only a twin can be put there."""

    kind: Literal["drawn"] = "drawn"
    task: str = "reach"
    seed: Seed = 3


@configuration
class SnapshotGoal:
    """What `robo-dream goal capture` kept: how it should look, and where the arm was."""

    kind: Literal["snapshot"] = "snapshot"
    file: Path = Path("goal.npz")
    task: str | None = None  # whose settings of the checkpoint decide; None: those that it has for any goal


@configuration
class PicturesGoal:
    """A picture file for each camera. Where the arm is in the pictures may be said, else a model of `picture_goals` sees for itself.

    Any other takes it to be as at the start, which `evaluate goal=picture_arm_at_start` measures.
    """

    kind: Literal["pictures"] = "pictures"
    files: Mapping[str, Path] = field(default_factory=dict)  # by camera
    tool_pos: tuple[float, float, float] | None = None  # m; of the arm in the pictures
    tool_yaw: Annotated[float, Field(ge=-7, le=7), Unit("rad")] = 0.0
    gripper: Fraction = 0.0  # closure
    task: str | None = None  # as of a snapshot


@configuration
class PoseGoal:
    """Where the tool, the (first) object or both should be (m, world frame), without a picture; for costs on poses."""

    kind: Literal["pose"] = "pose"
    tool_pos: tuple[float, float, float] | None = None
    object_pos: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.tool_pos is None and self.object_pos is None:
            raise ConfigError("goal.kind is pose, but neither goal.tool_pos nor goal.object_pos is given; give one or both")


@configuration
class TextGoal:
    """What is asked for in words, such as "put the red cube left of the blue one", of a checkpoint with `stage=words`."""

    kind: Literal["text"] = "text"
    text: Annotated[str, Field(min_length=1, max_length=400)] = "put the red cube left of the blue one"
    task: str | None = None  # as of a snapshot; `plan` has its own


AnyGoal = PairGoal | DrawnGoal | SnapshotGoal | PicturesGoal | PoseGoal | TextGoal
GOALS_WITHOUT_TASK = ("snapshot", "pictures", "pose", "text")  # named in `by_task` by their kind
Policy = Literal["imagination", "oracle"]
"""Who chooses the moves: a checkpoint that imagines from the pictures, or a script that is told a twin's true poses."""


@configuration
class StartPose:
    """The pose to begin from. `verify` refuses to begin elsewhere, `home` goes there slowly, `as_is` begins where the arm stands."""

    kind: Literal["verify", "home", "as_is"] = "verify"
    joints: tuple[float, ...] | None = None  # rad; None: the model's home pose
    tolerance: Annotated[float, Field(gt=0, le=0.5), Unit("rad")] = 0.05
    speed: Annotated[float, Field(gt=0, le=1), Unit("rad/s")] = 0.2  # rad/s on the way home


@configuration
class RunConfig:
    """Which arm and cameras, towards what, with which model, and how carefully."""

    checkpoint: Path | None = Path("configs/checkpoints/jaco_recorded_s.safetensors")
    policy: Policy = "imagination"
    refuse_unfit: bool = True  # by the verdict of `robo-dream inspect`, before the first motion; false only says it
    planner: LocalPlanner | RemotePlanner = field(default_factory=LocalPlanner)  # of a remote one, checkpoint and planning are the server's
    out: Path = Path("runs/run")
    arm: ArmKind = field(default_factory=LineKind)
    twin: bool = False
    cameras: tuple[CameraKind, ...] = ()  # on a bench; a twin has those of its scene, as the next line says
    twin_cameras: TwinCameraKind = field(default_factory=RenderedKind)
    world: SceneConfig = field(default_factory=SceneConfig)  # the arm's model (and all of a twin's world)
    goal: AnyGoal = field(default_factory=PairGoal)
    start: StartPose = field(default_factory=StartPose)
    calibration: Path | None = None  # the file of `robo-dream calibrate`, checked for age and for being of this arm and these cameras
    calibration_limits: CalibrationLimits = field(default_factory=CalibrationLimits)
    rest_pose: tuple[float, ...] | None = None  # rad; torque may go off here and nowhere else
    seed: Seed = 3
    device: Device = "cpu"
    compiled: bool = False
    precision: PrecisionChoice = "float32"  # of matrix products while imagining; bfloat16 rounds; auto: it where it is faster here
    planning: PlanningChanges = field(default_factory=Changes)  # what is changed of the checkpoint's settings
    by_task: Mapping[str, PlanningChanges] = field(default_factory=dict)  # and of those for a task, after that
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(max_steps=100, asynchronous=False))
    video: VideoConfig = field(default_factory=VideoConfig)

    @property
    def task(self) -> str:
        """By what the checkpoint's settings are looked up: the goal's task, or its kind where it names none."""
        return self.goal.kind if isinstance(self.goal, PoseGoal) else self.goal.task or self.goal.kind


def require_policy(config: RunConfig) -> None:
    """Raises `ConfigError` where nobody can choose the moves."""
    if isinstance(config.planner, RemotePlanner):
        if config.policy != "imagination":
            raise ConfigError(f"policy is {config.policy}, and planner is remote, which plans by imagination; set planner.kind=local")
        if config.planning.data or config.by_task:
            raise ConfigError(
                "planning or by_task is given, and planner is remote: it plans by its server's settings; give them to `robo-dream serve`"
            )
        if isinstance(config.goal, TextGoal):
            raise ConfigError(
                "goal.kind is text, and planner is remote, which is asked for no goal in words; set planner.kind=local, or another goal"
            )
        return
    if config.policy == "imagination" and config.checkpoint is None:
        raise ConfigError(
            f"checkpoint is not given, so nothing can be imagined: train one for {config.world.arm!r} (`robo-dream collect`, then "
            "`robo-dream train`); a twin may be moved by policy=oracle, which is told its true poses"
        )
    if config.policy != "oracle":
        return
    if not config.twin:
        raise ConfigError("policy is oracle, which is told true poses: only a twin knows those. Add --twin, or set policy=imagination")
    if not isinstance(config.goal, PairGoal | DrawnGoal):
        raise ConfigError(f"policy is oracle, but goal.kind is {config.goal.kind}, which names no task; allowed are drawn and pair")
