"""Checkpoints: complete, checked, and small."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small import observation, small_model

from robo_dream.errors import CheckpointError
from robo_dream.models import checkpoint


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
