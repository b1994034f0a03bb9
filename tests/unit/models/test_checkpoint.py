"""Checkpoints: complete, checked, and small."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small import observation, small_model

from robo_dream.errors import CheckpointError
from robo_dream.models import checkpoint
from robo_dream.models.world_model import LatentVideoModel


def test_a_saved_model_comes_back_whole(tmp_path: Path) -> None:
    model = small_model(5)
    path = checkpoint.save(model, tmp_path / "m.safetensors", {"steps": 3}, "data-1", {"error": 0.5}, half=False)
    again = checkpoint.load(path)
    belief = model.believe([[observation(0)]])
    assert torch.equal(again.believe([[observation(0)]]).latent, belief.latent)
    assert again.spec.to_json() == model.spec.to_json()
    info = checkpoint.read_info(path)
    assert (info.recipe, info.dataset_id, info.metrics) == ({"steps": 3}, "data-1", {"error": 0.5})
    assert info.num_parameters == sum(p.numel() for p in model.parameters())


def test_half_storage_of_size_s_fits_the_release_and_hardly_moves_latents(tmp_path: Path) -> None:
    model = small_model()
    path = checkpoint.save(model, tmp_path / "m.safetensors")
    assert path.stat().st_size <= 16e6
    again = checkpoint.load(path)
    assert all(v.dtype != torch.float16 for v in again.state_dict().values())
    belief, same = model.believe([[observation(0)]]).latent, again.believe([[observation(0)]]).latent
    torch.testing.assert_close(belief, same, atol=1e-2, rtol=1e-2)


def test_the_file_is_left_alone_when_saving_fails(tmp_path: Path) -> None:
    path = checkpoint.save(small_model(), tmp_path / "m.safetensors")
    before = checkpoint.sha256(path)
    with pytest.raises(TypeError):
        checkpoint.save(small_model(1), path, {"bad": object()})
    assert checkpoint.sha256(path) == before and [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


@pytest.mark.parametrize("keep", [0, 4, 1000, -1000])
def test_a_truncated_file_is_a_checkpoint_error(tmp_path: Path, keep: int) -> None:
    path = checkpoint.save(small_model(), tmp_path / "m.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"m\.safetensors"):
        checkpoint.load(path)


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path: Path) -> None:
    path = checkpoint.save(small_model(), tmp_path / "m.safetensors")
    data = bytearray(path.read_bytes())
    data[-5000] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="checksum"):
        checkpoint.load(path)


def test_another_version_and_another_kind_of_file_are_named(tmp_path: Path) -> None:
    path = checkpoint.save(small_model(), tmp_path / "m.safetensors")
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["robo_dream"])
    weights = load_file(path)
    for changes, wanted in (({"version": 99}, "version 99"), ({"format": "other"}, "other")):
        save_file(weights, path, metadata={"robo_dream": json.dumps({**header, **changes})})
        with pytest.raises(CheckpointError, match=wanted):
            checkpoint.load(path)
    save_file(weights, path)
    with pytest.raises(CheckpointError, match="no robo_dream header"):
        checkpoint.load(path)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoint.load(tmp_path / "missing.safetensors")


def with_header(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The checkpoint `path` with another description."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["robo_dream"])
    said = change(header)
    text = said if isinstance(said, str) else json.dumps(header if said is None else said)
    save_file(load_file(path), path, metadata={"robo_dream": text})
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.save(small_model(), tmp_path_factory.mktemp("small") / "m.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        lambda header: [],
        lambda header: "null",
        lambda header: "[" * 5000,
        lambda header: '{"a":' * 200 + "1" + "}" * 200,
        lambda header: header.update(spec=[]),
        lambda header: header.update(metrics=None),
        lambda header: header.update(num_parameters="many"),
        lambda header: header.update(weights_sha256=7),
        lambda header: header.pop("recipe"),
        lambda header: header["spec"].update(config=[]),
        lambda header: header["spec"].update(cameras=[["front"]]),
        lambda header: header["spec"].update(cameras=[]),
        lambda header: header["spec"].update(action_spec=None),
        lambda header: header["spec"]["action_spec"].update(control_dt=float("inf")),
        lambda header: header["spec"]["action_spec"].update(names=[1, 2, 3, 4, 5]),
        lambda header: header["spec"]["pose"].update(mean=[0.0]),
        lambda header: header["spec"]["proprio"].update(std=[float("nan")] * 11),
    ],
)
def test_a_description_that_is_none_is_a_checkpoint_error(small: Path, tmp_path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = with_header(Path(shutil.copy(small, tmp_path)), change)
    with pytest.raises(CheckpointError, match=r"m\.safetensors"):
        checkpoint.read_info(path)
    with pytest.raises(CheckpointError, match=r"m\.safetensors"):
        checkpoint.load(path)


def test_a_description_of_a_larger_model_than_the_file_takes_no_memory(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = with_header(
        Path(shutil.copy(small, tmp_path)), lambda header: header["spec"]["config"].update(size="L", latent_dim=8192, num_heads=64)
    )
    built: list[str] = []
    before = LatentVideoModel.__init__

    def counted(self: LatentVideoModel, *args: Any) -> None:
        before(self, *args)
        built.append(self.action_half.device.type if self.action_half.device.type == "meta" else "memory")
        assert all(value.device.type == "meta" for value in self.parameters())

    monkeypatch.setattr(LatentVideoModel, "__init__", counted)
    with pytest.raises(CheckpointError, match="do not fit the model it describes"):
        checkpoint.load(path)
    assert len(built) == 1


def test_weights_without_axes_and_of_another_kind_are_refused(small: Path, tmp_path: Path) -> None:
    weights = load_file(small)
    first = next(name for name, value in weights.items() if value.is_floating_point() and value.ndim)
    for odd in (torch.zeros(()), weights[first].bool()):
        path = tmp_path / "odd.safetensors"
        changed = weights | {first: odd}
        with safe_open(small, framework="pt") as file:
            header = json.loads(file.metadata()["robo_dream"])
        header["weights_sha256"] = checkpoint._digest(changed)
        save_file(changed, path, metadata={"robo_dream": json.dumps(header)})
        with pytest.raises(CheckpointError, match=r"do not fit|another kind"):
            checkpoint.load(path)


def test_a_description_beside_that_is_none_is_named(small: Path, tmp_path: Path) -> None:
    path = with_header(Path(shutil.copy(small, tmp_path)), lambda header: header.pop("planning", None) and None)
    for text in ("[]", "null", "[" * 5000, '{"sha256": ' + "[" * 100 + "]" * 100 + "}"):
        path.with_suffix(".json").write_text(text)
        with pytest.raises(CheckpointError, match=r"m\.json"):
            checkpoint.read_info(path)
