"""LeWM of stable-worldmodel 0.1.1 as its training configuration makes it, and its file; for the other environment.

`Recipe`'s defaults are scripts/train/config/lewm.yaml at tag 0.1.1, which the package does not bring along. The parts are theirs.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torchvision_operators  # noqa: F401  (before their package imports torchvision)
from safetensors import safe_open
from safetensors.torch import save
from stable_worldmodel.wm.lewm import LeWM  # type: ignore
from stable_worldmodel.wm.lewm.module import MLP, Embedder, Predictor  # type: ignore
from torch import Tensor, nn

EMBED, HISTORY, ACTION_BLOCK = 192, 3, 5
_HIDDEN = 2048
_WEIGHTS = "model."  # what their names begin with in a file


@dataclass(frozen=True)
class Recipe:
    """How a model was trained; see lewm_train.py for what differs from the defaults, and why."""

    image_size: int = 224
    patch_size: int = 14
    batch_size: int = 128
    learning_rate: float = 5e-5
    weight_decay: float = 1e-3
    gradient_clip: float = 1.0
    sigreg_weight: float = 0.09
    sigreg_knots: int = 17
    sigreg_projections: int = 1024
    precision: str = "bf16"
    seed: int = 3072


def lewm(block_size: int, encoder: nn.Module, projector: nn.Module | None = None) -> LeWM:
    """`block_size` numbers are an action block. Without an encoder (an identity) there is nothing to project."""
    return LeWM(
        encoder=encoder,
        predictor=Predictor(
            num_frames=HISTORY, depth=6, heads=16, dim_head=64, mlp_dim=_HIDDEN, input_dim=EMBED, hidden_dim=EMBED, output_dim=EMBED,
            dropout=0.1, emb_dropout=0.0,
        ),
        action_encoder=Embedder(input_dim=block_size, emb_dim=EMBED),
        projector=projector,
        pred_proj=_projector(),
    )  # fmt: skip


def whole_lewm(recipe: Recipe, block_size: int) -> LeWM:
    """With their ViT-Tiny, random weights; `torch.manual_seed` decides which."""
    from stable_pretraining.backbone.utils import vit_hf  # type: ignore  # here: timing a solver needs none of it

    encoder = vit_hf(size="tiny", patch_size=recipe.patch_size, image_size=recipe.image_size, pretrained=False, use_mask_token=False)
    return lewm(block_size, encoder, _projector())


def write(path: Path, model: LeWM, about: Mapping[str, Any], more: Mapping[str, Tensor] | None = None) -> None:
    """Beside, then renamed. `about` is JSON, and `more` what training needs to go on."""
    tensors = {f"{_WEIGHTS}{name}": weight.detach().cpu().contiguous() for name, weight in model.state_dict().items()}
    data = save({**tensors, **(more or {})}, metadata={"lewm": json.dumps(about)})
    beside = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)


def read(path: Path) -> tuple[LeWM, dict[str, Any], dict[str, Tensor]]:
    """The model, what `write` was told about it, and the rest of the file."""
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["lewm"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a mapping)
    model = whole_lewm(Recipe(**about["recipe"]), ACTION_BLOCK * len(about["action_mean"]))
    model.load_state_dict({name.removeprefix(_WEIGHTS): tensor for name, tensor in tensors.items() if name.startswith(_WEIGHTS)})
    return model, about, {name: tensor for name, tensor in tensors.items() if not name.startswith(_WEIGHTS)}


def _projector() -> MLP:
    return MLP(input_dim=EMBED, output_dim=EMBED, hidden_dim=_HIDDEN, norm_fn=nn.BatchNorm1d)
