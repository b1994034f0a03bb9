"""LeRobot's own factories find the policy and run it: for an environment that has lerobot 0.4.4 (`make test-lerobot`)."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lerobot.async_inference.constants import SUPPORTED_POLICIES
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_policy, make_pre_post_processors
from lerobot.utils.control_utils import predict_action
from lerobot.utils.import_utils import register_third_party_plugins
from PIL import Image

from robo_dream.errors import CheckpointError, ConfigError, DataError
from robo_dream.recording.record import read_run
from robo_dream.runtime.driven import JOINTS

PATIENT = [  # a busy machine is not an unsafe arm, and these pictures are of nothing
    "refuse_unfit=false", "loop.limits.max_tool_error=null", "loop.limits.max_state_age=5", "loop.limits.max_frame_age=10",
    "loop.limits.max_plan_age=5", "loop.limits.beyond=[max_state_age, max_frame_age]",
]  # fmt: skip
CHECKPOINT = "configs/checkpoints/so101_recorded_s.safetensors"
OTHER_ARM = "configs/checkpoints/jaco_recorded_s.safetensors"
STATE = np.array([0.0, -10.0, 20.0, 60.0, 0.0, 80.0], np.float32)

register_third_party_plugins()


def meta(cameras: tuple[str, ...] = ("front", "side"), names: tuple[str, ...] = JOINTS, fps: int = 30) -> SimpleNamespace:
    """What LeRobot says of a dataset that is being recorded."""
    numbers = {"dtype": "float32", "shape": (len(names),), "names": list(names)}
    picture = {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]}
    features = {"action": numbers, "observation.state": numbers, **{f"observation.images.{name}": picture for name in cameras}}
    return SimpleNamespace(features=features, fps=fps, stats={})


@pytest.fixture
def goal(tmp_path: Path) -> dict[str, str]:
    rng, files = np.random.default_rng(0), {}
    for name in ("front", "side"):
        files[name] = str(tmp_path / f"{name}.png")
        Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8)).save(files[name])
    return files


def configured(**keys: object) -> PreTrainedConfig:
    found = PreTrainedConfig.get_choice_class("robo_dream")
    return found(device="cpu", **{"checkpoint": CHECKPOINT, "changes": PATIENT, **keys})


def frame(names: tuple[str, ...] = JOINTS) -> dict[str, np.ndarray]:
    state = np.array([STATE[JOINTS.index(name)] for name in names], np.float32)
    pictures = {f"observation.images.{name}": np.full((48, 64, 3), 90, np.uint8) for name in ("front", "side")}
    return {"observation.state": state, **pictures}


def asked(policy: torch.nn.Module, times: int, names: tuple[str, ...] = JOINTS) -> np.ndarray:
    """As LeRobot's record loop asks."""
    before, after = make_pre_post_processors(policy.config)
    device = torch.device("cpu")
    return np.stack([
        predict_action(frame(names), policy, device, before, after, False, "reach", "so_follower")[0].numpy() for _ in range(times)
    ])  # fmt: skip


def test_lerobot_finds_the_policy_by_its_name() -> None:
    assert get_policy_class("robo_dream").__name__ == "RoboDreamPolicy"


def test_a_record_loop_is_told_to_stay_and_then_to_move_within_the_limits(goal: dict[str, str], tmp_path: Path) -> None:
    policy = make_policy(configured(goal=goal, record=str(tmp_path / "runs")), ds_meta=meta())
    told = asked(policy, 3)
    np.testing.assert_allclose(told[0], STATE, atol=1e-4)
    assert np.isfinite(told).all() and np.abs(told - STATE)[:, :5].max() < 12
    policy.reset()
    run = read_run(next((tmp_path / "runs").glob("*/record")))
    assert run.decisions and run.steps[0].observation.arm.joint_pos[3] == pytest.approx(np.deg2rad(60), abs=1e-4)
    expected = (255 * (np.float32(90) / 255)).round()
    assert run.steps[0].observation.images(("front",))[0].mean() == expected


def test_joints_are_in_the_order_of_the_dataset(goal: dict[str, str]) -> None:
    names = tuple(reversed(JOINTS))
    policy = make_policy(configured(goal=goal), ds_meta=meta(names=names))
    np.testing.assert_allclose(asked(policy, 1, names)[0], STATE[::-1], atol=1e-4)
    policy.reset()


def test_a_folder_is_a_policy_of_its_own_and_gives_chunks(goal: dict[str, str], tmp_path: Path) -> None:
    from lerobot_policy_robo_dream.export import export

    folder = tmp_path / "policy"
    export(configured(goal=goal), folder, 48, 64)
    for path in goal.values():
        Path(path).unlink()
    told = json.loads((folder / "config.json").read_text())
    assert told["type"] == "robo_dream" and told["checkpoint"] == "model.safetensors" and told["goal"]["side"] == "goal-side.png"
    policy = get_policy_class("robo_dream").from_pretrained(str(folder))  # as the policy server does
    device = {"device_processor": {"device": "cpu"}}
    before, _ = make_pre_post_processors(policy.config, pretrained_path=str(folder), preprocessor_overrides=device)
    pictures = {f"observation.images.{name}": torch.full((1, 3, 48, 64), 0.35) for name in ("front", "side")}
    made = policy.predict_action_chunk(before({"observation.state": torch.from_numpy(STATE)[None], **pictures}))
    assert made.shape == (1, 15, 6) and torch.isfinite(made).all()
    assert (made[0, 1:] - made[0, :-1])[:, :5].abs().max() < 8, "it goes in small steps"


def test_the_policy_server_learns_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # LeRobot's server makes a folder of logs where it is imported
    from lerobot_policy_robo_dream import policy_server

    served: list[bool] = []
    monkeypatch.setattr(policy_server, "serve", lambda: served.append("robo_dream" in SUPPORTED_POLICIES))
    policy_server.main()
    assert served == [True]


def test_what_cannot_be_run_is_one_sentence_before_the_robot_is_connected(goal: dict[str, str], tmp_path: Path) -> None:
    for keys, cameras, error, said in (
        ({}, ("front", "side"), ConfigError, "give one of them: --policy.goal"),
        ({"goal": goal, "goal_snapshot": "goal.npz"}, ("front", "side"), ConfigError, "give one of them"),
        ({"goal": goal, "checkpoint": None}, ("front", "side"), ConfigError, "give --policy.checkpoint=FILE"),
        ({"goal": goal}, ("front", "top"), CheckpointError, "LeRobot records front, top: name side so"),
        ({"goal": goal, "task": "reach", "changes": ["loop.speed=1"]}, ("front", "side"), ConfigError, "speed"),
    ):
        with pytest.raises(error, match=said):
            make_policy(configured(**keys), ds_meta=meta(cameras))
    with pytest.raises(CheckpointError, match="robo_dream drives an SO-100 or SO-101"):
        make_policy(configured(goal=goal), ds_meta=meta(names=("a.pos", "b.pos")))


def test_what_the_first_frame_shows_to_be_wrong_is_one_sentence(goal: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="trained with the arm 'jaco'"):
        make_policy(configured(goal=goal, checkpoint=OTHER_ARM), ds_meta=meta())
    Path(goal["side"]).write_bytes(b"no picture")
    with pytest.raises(DataError, match="the goal picture of camera 'side' cannot be read"):
        asked(make_policy(configured(goal=goal), ds_meta=meta()), 1)
