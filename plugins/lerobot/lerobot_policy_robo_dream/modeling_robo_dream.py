"""The policy `robo_dream`: hands what LeRobot's loop sees to robo_dream's loop, and gives back what that tells the arm."""

import atexit
import logging
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.datasets.lerobot_dataset import LeRobotDatasetMetadata
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE
from torch import Tensor

from lerobot_policy_robo_dream.configuration_robo_dream import DEFAULTS, RoboDreamConfig
from robo_dream.errors import CheckpointError, ConfigError
from robo_dream.models import checkpoint
from robo_dream.runtime.driven import ARM, JOINTS, DrivenEpisode, Picture, chunk, require_drivable
from robo_dream.runtime.session import mover_of

_CHECKPOINT = "model.safetensors"  # in a policy's folder

_log = logging.getLogger(__name__)


class RoboDreamPolicy(PreTrainedPolicy):
    """Plans by imagination. LeRobot's units go in and out: absolute joint targets in degrees, the gripper's from 0 to 100.

    Each `reset` ends an episode; the goal's files are read again when the next one begins.
    """

    config_class = RoboDreamConfig
    name = "robo_dream"

    def __init__(
        self,
        config: RoboDreamConfig,
        dataset_stats: dict[str, dict[str, Tensor]] | None = None,
        dataset_meta: LeRobotDatasetMetadata | None = None,
    ) -> None:
        """Raises robo_dream's errors, each one sentence that says what to do: before the robot is connected."""
        super().__init__(config)
        self.config: RoboDreamConfig = config
        self._run, self._fps = config.run(), float(config.fps if dataset_meta is None else dataset_meta.fps)
        self._state_names, self._action_names = _names(dataset_meta, OBS_STATE), _names(dataset_meta, ACTION)
        self._held = ExitStack()
        self._mover = self._held.enter_context(mover_of(self._run, _log.info))
        require_drivable(self._run, self._mover, self._fps)
        if config.planner_url is None:
            _require_arm(Path(str(self._run.checkpoint)))
        if dataset_meta is not None:
            self._require_cameras()
        self._episode: DrivenEpisode | None = None
        atexit.register(self.reset)  # nobody says that the last episode has ended

    @classmethod
    def from_pretrained(
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: PreTrainedConfig | None = None,
        dataset_stats: dict[str, dict[str, Tensor]] | None = None,
        dataset_meta: LeRobotDatasetMetadata | None = None,
    ) -> "RoboDreamPolicy":
        """The policy in a folder that `save_pretrained`, or `python -m lerobot_policy_robo_dream.export`, wrote."""
        folder = Path(pretrained_name_or_path)
        if not folder.is_dir():
            raise ConfigError(f"{folder} is no folder; make one with `python -m lerobot_policy_robo_dream.export`")
        found = config or PreTrainedConfig.from_pretrained(folder)
        if not isinstance(found, RoboDreamConfig):
            raise ConfigError(f"{folder} is a policy of another type, {found.type}")
        policy = cls(found.within(folder), dataset_stats, dataset_meta)
        policy.eval()
        return policy

    def _save_pretrained(self, save_directory: Path) -> None:
        write_folder(self.config, save_directory)

    def get_optim_params(self) -> dict[str, Any]:
        raise ConfigError("the policy robo_dream is not trained by LeRobot; use `robo-dream train datasets=[YOUR DATASET]`")

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Any] | None]:
        raise ConfigError("the policy robo_dream has no loss for LeRobot; use `robo-dream train datasets=[YOUR DATASET]`")

    def reset(self) -> None:
        """Ends the episode, and its record."""
        episode, self._episode = self._episode, None
        if episode is not None:
            episode.close()

    @torch.no_grad()
    def select_action(self, batch: dict[str, Tensor]) -> Tensor:
        """(1, joints): the next target of each joint. Every few control steps it waits for a decision, unless loop.asynchronous is set."""
        if self._episode is None:
            record = None if self.config.record is None else Path(self.config.record)
            self._episode = DrivenEpisode(self._run, self._mover, self._fps, record)
        return self._told([self._episode.command(*self._seen(batch))])[0]

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Tensor]) -> Tensor:
        """(1, frames, joints): the targets of one decision, for LeRobot's policy server. Nothing is remembered from chunk to chunk."""
        joints, images = self._seen(batch)
        commands = list(chunk(self._run, self._mover, self._fps, joints, images, self.config.chunk_frames))
        return self._told(commands).transpose(0, 1)

    def _seen(self, batch: dict[str, Tensor]) -> tuple[dict[str, float], dict[str, Picture]]:
        state = batch[OBS_STATE]
        if state.shape != (1, len(self._state_names)):
            raise ConfigError(f"{OBS_STATE} has shape {tuple(state.shape)}; expected one robot with {', '.join(self._state_names)}")
        joints = dict(zip(self._state_names, state[0].tolist(), strict=True))
        images = {key.removeprefix(f"{OBS_IMAGES}."): _picture(value) for key, value in batch.items() if key.startswith(f"{OBS_IMAGES}.")}
        return joints, images

    def _told(self, commands: list[dict[str, float]]) -> Tensor:
        """(frames, 1, joints)."""
        return torch.tensor([[[command[name] for name in self._action_names]] for command in commands], dtype=torch.float32)

    def _require_cameras(self) -> None:
        there = [key.removeprefix(f"{OBS_IMAGES}.") for key in self.config.image_features]
        missing = [name for name in self._mover.setup.cameras if name not in there]
        if missing:
            raise CheckpointError(
                f"the checkpoint looks through {', '.join(self._mover.setup.cameras)}; LeRobot records {', '.join(there) or 'none'}: name "
                f"{', '.join(missing)} so in --robot.cameras (with --dataset.video=false, LeRobot 0.4.4 leaves all cameras out)"
            )


def write_folder(config: RoboDreamConfig, folder: Path) -> None:
    """A policy's folder, from which `--policy.path` runs it: config.json, and the files that it names, copied beside it."""
    folder.mkdir(parents=True, exist_ok=True)

    def kept(path: str, name: str) -> str:
        if Path(path).resolve() != (folder / name).resolve():
            shutil.copyfile(path, folder / name)
        return name

    inside = replace(
        config,
        checkpoint=None if config.checkpoint is None else kept(config.checkpoint, _CHECKPOINT),
        goal={name: kept(path, f"goal-{name}{Path(path).suffix}") for name, path in config.goal.items()},
        goal_snapshot=None if config.goal_snapshot is None else kept(config.goal_snapshot, "goal.npz"),
        run_config=DEFAULTS if config.run_config == DEFAULTS else kept(config.run_config, "run.yaml"),
    )
    PreTrainedConfig._save_pretrained(inside, folder)


def _require_arm(path: Path) -> None:
    """Raises `CheckpointError` for a checkpoint that was trained with another arm; one of LeRobot's recordings names its joints itself."""
    arm = checkpoint.read_info(path).settings.world.get("arm", ARM)
    if arm != ARM:
        raise CheckpointError(f"{path} was trained with the arm {arm!r}; LeRobot's is an SO-100 or SO-101: give a checkpoint for {ARM!r}")


def _names(meta: LeRobotDatasetMetadata | None, key: str) -> tuple[str, ...]:
    """Of the numbers of `key`, in LeRobot's order; raises `CheckpointError` for another robot's."""
    names = JOINTS if meta is None else tuple(meta.features[key]["names"])
    if sorted(names) != sorted(JOINTS):
        raise CheckpointError(f"the robot has {key} of {', '.join(names)}; robo_dream drives an SO-100 or SO-101: {', '.join(JOINTS)}")
    return names


def _picture(image: Tensor) -> Picture:
    """A picture as LeRobot hands it on, (1, 3, height, width) in [0, 1], as the camera gave it."""
    return np.ascontiguousarray((image[0] * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy())
