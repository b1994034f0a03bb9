"""What is said of the policy `robo_dream`: on LeRobot's command line (`--policy.KEY=...`), or in the config.json of a policy's folder."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from lerobot.configs.policies import PreTrainedConfig
from lerobot.optim.optimizers import AdamConfig

from robo_dream import config as configuration
from robo_dream.errors import ConfigError
from robo_dream.runtime.run import RunConfig, require_policy

DEFAULTS = "configs/hardware/so101.yaml"  # limits of a real SO-101, as `robo-dream run` has them
# LeRobot's loop has no guard process beside it that reads the arm while the interpreter is busy; a state is as old as its turn takes.
IN_ITS_LOOP = ("loop.limits.max_state_age=0.25", "loop.limits.max_frame_age=0.25")


@PreTrainedConfig.register_subclass("robo_dream")
@dataclass
class RoboDreamConfig(PreTrainedConfig):
    """Which checkpoint plans, and towards what. Paths are of this computer, or of the policy's own folder."""

    checkpoint: str | None = None  # of `robo-dream train`, for an SO-100 or SO-101; not read where a planner_url is given
    goal: dict[str, str] = field(default_factory=dict)  # a picture file for each camera of the checkpoint
    goal_snapshot: str | None = None  # or the file of `robo-dream goal capture`, which also says where the arm is
    task: str | None = None  # whose planning settings of the checkpoint are used, such as reach; None: those for any goal
    planner_url: str | None = None  # of a `robo-dream serve`, such as ws://127.0.0.1:8765
    run_config: str = DEFAULTS  # a file of `robo-dream run`, for limits, the arm's model and the loop; its arm and cameras are LeRobot's
    changes: list[str] = field(default_factory=list)  # key=value, as `robo-dream run` takes them
    record: str | None = None  # a folder for records that `robo-dream replay` opens
    fps: int = 30  # of the loop, where LeRobot does not say (its policy server)
    chunk_frames: int = 15  # of a chunk for LeRobot's client, at most: one decision
    push_to_hub: bool = False

    @property
    def observation_delta_indices(self) -> None:
        return None

    @property
    def action_delta_indices(self) -> None:
        return None

    @property
    def reward_delta_indices(self) -> None:
        return None

    def get_optimizer_preset(self) -> AdamConfig:
        raise ConfigError("the policy robo_dream is not trained by LeRobot; use `robo-dream train datasets=[YOUR DATASET]`")

    def get_scheduler_preset(self) -> None:
        return None

    def validate_features(self) -> None:
        """Cameras and joints are checked against the checkpoint when the policy is made."""

    def within(self, folder: Path) -> "RoboDreamConfig":
        """With the paths of files that lie in the policy's `folder`; those that exist where the command runs are left."""

        def found(path: str) -> str:
            inside = folder / path
            return path if Path(path).exists() or not inside.exists() else str(inside)

        return replace(
            self,
            checkpoint=None if self.checkpoint is None else found(self.checkpoint),
            goal={name: found(path) for name, path in self.goal.items()},
            goal_snapshot=None if self.goal_snapshot is None else found(self.goal_snapshot),
            run_config=found(self.run_config),
        )

    def run(self) -> RunConfig:
        """As `robo-dream run` would be told. Raises `ConfigError` where the checkpoint or the goal is missing."""
        if bool(self.goal) == (self.goal_snapshot is not None):
            raise ConfigError(
                f"policy.goal is {self.goal or 'empty'} and policy.goal_snapshot {self.goal_snapshot or 'empty'}; give one of them: "
                "--policy.goal='{front: front.png, side: side.png}', or --policy.goal_snapshot=goal.npz of `robo-dream goal capture`"
            )
        if self.checkpoint is None and self.planner_url is None:
            raise ConfigError(
                "policy.checkpoint is not given; give --policy.checkpoint=FILE of `robo-dream train`, or --policy.planner_url"
            )
        if self.goal:
            asked = ["goal.kind=pictures", *(f"goal.files.{name}={path}" for name, path in self.goal.items())]
        else:
            asked = ["goal.kind=snapshot", f"goal.file={self.goal_snapshot}"]
        asked += [] if self.task is None else [f"goal.task={self.task}"]
        if self.planner_url is not None:
            asked += ["planner.kind=remote", f"planner.url={self.planner_url}"]
        else:
            asked.append(f"checkpoint={self.checkpoint}")
        device = [f"device={self.device}"] if str(self.device).startswith("cuda") else []  # anything else it has plans on the processor
        config = configuration.load(RunConfig, Path(self.run_config), [*IN_ITS_LOOP, *asked, *device, *self.changes])
        require_policy(config)
        return config
