"""A model as one file: safetensors weights, with everything needed to use them as JSON in the header. Nothing is unpickled.

Beside NAME.safetensors lies NAME.json with the same description for people. Files released before a header carried the settings
to plan with have these in the JSON alone: it is read where the header has no "planning"; where it has, the header wins.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from robo_dream.errors import CheckpointError, DataError, RoboDreamError, one_line
from robo_dream.files import packaged, replacing
from robo_dream.foreign import BUDGET, parse_json, parse_object, read_bytes, require_budget
from robo_dream.models.config import ModelSpec
from robo_dream.models.perception_check import PerceptionCalibration
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.renamed import new_weight
from robo_dream.schema import shown

FORMAT, VERSION = "robo_dream.latent_video_model", 1
_KINDS = (
    ("spec", dict, "a block"), ("recipe", dict, "a block"), ("dataset_id", str, "text"), ("metrics", dict, "a block"),
    ("num_parameters", int, "a whole number"), ("weights_sha256", str, "text"),
)  # fmt: skip
GoalSeen = Literal["picture", "picture_and_arm"]
Regime = Literal["recorded", "privileged"]


@dataclass(frozen=True)
class Settings:
    """How a checkpoint is best used, as plain JSON values: the defaults of `plan`, `evaluate` and `run`."""

    planning: Mapping[str, Any] = field(default_factory=dict)  # "default" and, for each of "tasks", a planning configuration
    world: Mapping[str, Any] = field(default_factory=dict)  # configuration of the world that it was trained in, with its kind
    goal: GoalSeen = "picture_and_arm"  # what the model is shown of a goal: the arm's own word too, or the picture alone
    regime: Regime | None = None  # what was read while learning; None: a checkpoint of before, which does not say
    perception: PerceptionCalibration | None = None  # what is usual to see; None: it was never calibrated
    source: str = "the checkpoint"  # where all this was read

    def to_json(self) -> dict[str, Any]:
        told = {"planning": dict(self.planning), "world": dict(self.world), "goal": self.goal, "regime": self.regime}
        return told if self.perception is None else {**told, "perception": self.perception.to_json()}


@dataclass(frozen=True)
class CheckpointInfo:
    """What a checkpoint says of itself."""

    spec: ModelSpec
    recipe: Mapping[str, Any] = field(default_factory=dict)
    dataset_id: str = ""
    metrics: Mapping[str, Any] = field(default_factory=dict)
    num_parameters: int = 0
    settings: Settings = field(default_factory=Settings)


def save(
    model: LatentVideoModel,
    path: Path,
    recipe: Mapping[str, Any] | None = None,
    dataset_id: str = "",
    metrics: Mapping[str, Any] | None = None,
    half: bool = True,
    settings: Settings | None = None,
) -> Path:
    """Writes the checkpoint atomically; `half` stores matrices as float16 (vectors and statistics stay float32)."""
    weights = {name: _stored(value, half) for name, value in model.state_dict().items()}
    header = {
        "format": FORMAT,
        "version": VERSION,
        "spec": model.spec.to_json(),
        "recipe": dict(recipe or {}),
        "dataset_id": dataset_id,
        "metrics": dict(metrics or {}),
        "num_parameters": sum(p.numel() for p in model.parameters()),
        "weights_sha256": _digest(weights),
        **({} if settings is None else settings.to_json()),
    }
    with replacing(path, in_folder=True) as beside:
        save_file(weights, beside, metadata={"robo_dream": json.dumps(header)})
        beside.chmod(0o644)  # safetensors writes for the owner alone
    return path


def load(path: Path | str, device: str | torch.device = "cpu") -> LatentVideoModel:
    """The model, in evaluation mode and float32; raises `CheckpointError` for a damaged file or another version."""
    header, weights = _read(Path(path), with_weights=True)
    if _digest(weights) != header["weights_sha256"]:
        raise CheckpointError(f"{path}: the weights do not match their checksum; the file is damaged, fetch or train it again")
    weights = {new_weight(name): value for name, value in weights.items()}
    spec = _info(Path(path), header).spec
    with torch.device("meta"):  # what it describes may be any size; the file is as large as it is
        desired = LatentVideoModel(spec).state_dict()
    if set(desired) != set(weights) or any(desired[name].shape != weights[name].shape for name in desired):
        odd = sorted(set(desired) ^ set(weights)) or [name for name in desired if desired[name].shape != weights[name].shape]
        raise CheckpointError(f"{path}: weights {odd[:4]} do not fit the model it describes; another version of robo_dream wrote it")
    if odd := [name for name, value in weights.items() if value.is_floating_point() != desired[name].is_floating_point()]:
        raise CheckpointError(f"{path}: weights {odd[:4]} are of another kind of numbers; another version of robo_dream wrote it")
    model = LatentVideoModel(spec)
    model.load_state_dict({name: value.to(desired[name].dtype) for name, value in weights.items()})
    return model.to(device).eval().requires_grad_(False)


def load_fitting(model: LatentVideoModel, path: Path | str) -> tuple[str, ...]:
    """Puts the checkpoint's weights into `model` where name and shape are the same; gives the names of those that stay as they are.

    For training on another world than the checkpoint's. Raises `CheckpointError` for one of another size, or for pictures of another.
    """
    size, other = model.spec.config, read_info(path).spec.config
    if (size.size, size.image_size) != (other.size, other.image_size):
        raise CheckpointError(
            f"{path} is a model of size {other.size} for pictures of {other.image_size} px, the one to be trained of size {size.size} for "
            f"{size.image_size} px; make them equal, or train without init"
        )
    desired, weights = model.state_dict(), load(path).state_dict()
    fitting = {name: value for name, value in weights.items() if name in desired and desired[name].shape == value.shape}
    model.load_state_dict({**desired, **fitting})
    return tuple(name for name in desired if name not in fitting)


def read_info(path: Path | str) -> CheckpointInfo:
    """What the checkpoint says of itself, without reading its weights."""
    return _info(Path(path), _read(Path(path), with_weights=False)[0])


def sha256(path: Path | str) -> str:
    """Hexadecimal SHA-256 of a file, as records name their checkpoint."""
    with open(packaged(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stored(value: Tensor, half: bool) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if half and value.is_floating_point() and value.ndim >= 2 else value.clone()


def _digest(weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)}".encode())
        digest.update(memoryview(weights[name].reshape(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return digest.hexdigest()


def _read(path: Path, with_weights: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    path = packaged(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; train one with `robo-dream train` or give the path of one")
    try:
        require_budget(path.stat().st_size, BUDGET.weights, f"{path}", "bytes")
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get("robo_dream")
            weights = {name: file.get_tensor(name) for name in file.keys()} if with_weights else {}  # noqa: SIM118
        header = parse_object(text, "its header") if text is not None else {}
    except (SafetensorError, DataError, OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file ({one_line(error)}); fetch or train it again") from error
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path} holds {shown(header.get('format', 'no robo_dream header'))}; expected {FORMAT!r}")
    if header.get("version") != VERSION:
        raise CheckpointError(
            f"{path} is version {shown(header.get('version'))}; this robo_dream reads {VERSION}: use the one that wrote it"
        )
    for name, kind, words in _KINDS:
        if not isinstance(header.get(name), kind) or isinstance(header[name], bool):
            raise CheckpointError(f"{path}: {name} in its header is {shown(header.get(name))}; expected {words}")
    return header, weights


def _info(path: Path, header: Mapping[str, Any]) -> CheckpointInfo:
    try:
        spec = ModelSpec.from_json(header["spec"])
        return CheckpointInfo(
            spec, header["recipe"], header["dataset_id"], header["metrics"], header["num_parameters"], _settings(path, header)
        )
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RoboDreamError) as error:
        raise CheckpointError(
            f"{path}: its description cannot be read ({one_line(error)}); another version of robo_dream wrote it"
        ) from error


def _settings(path: Path, header: Mapping[str, Any]) -> Settings:
    """Those of the header, or of the JSON file beside it; none where neither has any."""
    if "planning" in header:
        return _settings_in(header, str(path))
    beside = packaged(path).with_suffix(".json")
    if not beside.is_file():
        return Settings()
    hint = "make it again with the release that wrote it, or move it away: the checkpoint can be used without"
    try:
        about = parse_json(read_bytes(beside, BUDGET.text), f"{beside}")
    except (OSError, DataError) as error:
        raise CheckpointError(f"{beside}, which describes {path.name}, cannot be read ({one_line(error)}); {hint}") from error
    if not isinstance(about, dict) or "sha256" not in about:
        raise CheckpointError(f"{beside} is not a description of {path.name}: it has no sha256; {hint}")
    if "planning" not in about:
        return Settings()
    if about["sha256"] != (found := sha256(path)):
        raise CheckpointError(
            f"{beside} describes a checkpoint with SHA-256 {str(about['sha256'])[:12]}; {path.name} has {found[:12]}; {hint}"
        )
    return _settings_in(about, str(beside))


def _settings_in(about: Mapping[str, Any], source: str) -> Settings:
    planning, world = about["planning"], about.get("world", {})
    goal, regime = about.get("goal", "picture_and_arm"), about.get("regime")
    for name, value, allowed in (("goal", goal, get_args(GoalSeen)), ("regime", regime, (*get_args(Regime), None))):
        if value not in allowed:
            raise CheckpointError(f"{source}: {name} is {shown(value)}; allowed: {', '.join(str(one) for one in allowed)}")
    if not (isinstance(planning, dict) and set(planning) <= {"default", "tasks"} and isinstance(planning.get("tasks", {}), dict)):
        raise CheckpointError(f"{source}: planning is {str(planning)[:80]}; it must be a block with the keys default and tasks")
    if not isinstance(world, dict):
        raise CheckpointError(f"{source}: world is {str(world)[:80]}; it must be a block with its kind")
    usual = about.get("perception")
    if not isinstance(usual, dict | None):
        raise CheckpointError(f"{source}: perception is {shown(usual)}; it must be a block")
    perception = None if usual is None else PerceptionCalibration.from_json(usual, source)
    return Settings(planning, world, goal, regime, perception, source)
