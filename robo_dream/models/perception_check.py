"""What of a moment a model cannot explain, as the share of usual moments that look at least as odd: a conformal p-value.

Disagreement is about the dynamics. This is about seeing, and needs no label: a moment is encoded, the latent drawn, and what was drawn
looked at once more. Where light, cameras or objects are not those of the data that the check was calibrated on, what comes back differs.
Which residuals are usual was measured on held-out moments, and how large they are together in which share of other held-out moments
(`training/perception_calibration.py`): split conformal prediction (Vovk et al. 2005).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from robo_dream.embodiment import Observation
from robo_dream.errors import CheckpointError
from robo_dream.models.encoder import to_float
from robo_dream.models.world_model import LatentVideoModel
from robo_dream.schema import shown

SQUARES = 8  # along the side of a picture: colours are compared as means of squares, since what is drawn is not sharp
KINDS = ("spot", "picture", "features")  # residuals of each camera, see `residuals`
GRIPPER = "gripper"
_MOST, _MOST_MOMENTS = 10_000, 10**12  # numbers in a calibration, and what they are from; more is nobody's


def residual_names(cameras: Sequence[str]) -> tuple[str, ...]:
    """`KIND/CAMERA` of each camera, then that of the gripper."""
    return (*(f"{kind}/{camera}" for camera in cameras for kind in KINDS), GRIPPER)


@torch.no_grad()
def residuals(
    model: LatentVideoModel, views: Sequence[UInt8[Tensor, "batch height width 3"]], proprio: Float[Tensor, "batch proprio"]
) -> Float[Tensor, "batch residual"]:
    """`residual_names` of moments, as `LatentVideoModel.encode` takes them; none is below 0.

    Of each camera how far colours are from those that the model draws, at the worst square and over the whole picture (of 1), and how far
    what the encoder takes from the picture is from what it takes from the drawn one (root mean square). Then how far the gripper is in
    the belief from where the joints have it (m).
    """
    pictures, encoder = [to_float(view) for view in views], model.encoder
    looked = encoder.look(pictures)
    latents = encoder.scaled(encoder.join(looked, proprio).float())
    drawn = model.decoder(latents)
    again = encoder.look([picture.clamp(0.0, 1.0) for picture in drawn])
    features = (again - looked).unflatten(-1, (len(pictures), -1)).square().mean(-1).sqrt()  # (B, V)
    found = []
    for view, (seen, guess) in enumerate(zip(pictures, drawn, strict=True)):
        squares = nn.functional.adaptive_avg_pool2d(seen - guess, SQUARES).flatten(1)
        found += [squares.abs().amax(1), squares.square().mean(1).sqrt(), features[:, view]]
    gripper = (model.poses(latents).tool_pos - proprio[:, :3]).norm(dim=-1)
    return torch.stack([*found, gripper], -1).float()


@dataclass(frozen=True)
class PerceptionCalibration:
    """What is usual, measured on held-out moments. `middle` and `high` are the median and the 95th percentile of each residual in one half
    of them. Of the other half, a moment that is odder than `oddness[i]` is as odd as a share `shares[i]` at most."""

    names: tuple[str, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]
    oddness: tuple[float, ...]  # rising
    shares: tuple[float, ...]  # falling
    num_moments: int  # in that other half
    num_episodes: int  # in both

    def in_usual_units(self, found: Float[np.ndarray, "*batch residual"]) -> Float[np.ndarray, "*batch residual"]:
        """0 at the median, 1 at the 95th percentile, and no less than 0; infinite for what is no number."""
        middle, high = np.asarray(self.middle), np.asarray(self.high)
        units = np.maximum((np.asarray(found, np.float64) - middle) / (high - middle), 0.0)
        return np.where(np.isnan(units), np.inf, units)

    def together(self, found: Float[np.ndarray, "*batch residual"]) -> Float[np.ndarray, "*batch"]:
        """How odd a moment is: the length of its residuals in usual units, so that several that are a little odd count, too."""
        return np.asarray(np.sqrt(np.square(self.in_usual_units(found)).sum(-1)))

    def usual(self, found: Float[np.ndarray, " residual"]) -> float:
        """The share of usual moments that are at least as odd, this one counted with them and rounded up: never below `least`."""
        num_passed = int(np.searchsorted(self.oddness, float(self.together(found)), side="left"))
        return self.shares[num_passed - 1] if num_passed else 1.0

    @property
    def least(self) -> float:
        """The least share that can be told."""
        return 1 / (self.num_moments + 1)

    def to_json(self) -> dict[str, Any]:
        return {
            "names": list(self.names), "middle": list(self.middle), "high": list(self.high), "oddness": list(self.oddness),
            "shares": list(self.shares), "num_moments": self.num_moments, "num_episodes": self.num_episodes,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any], source: str) -> "PerceptionCalibration":
        """Raises `CheckpointError`, naming `source`, for anything that `to_json` does not give."""
        hint = "calibrate it again with `robo-dream calibrate perception`"
        try:
            names, middle, high = tuple(str(name) for name in data["names"]), _numbers(data["middle"]), _numbers(data["high"])
            oddness, shares = _numbers(data["oddness"]), _numbers(data["shares"])
            found = cls(names, middle, high, oddness, shares, int(data["num_moments"]), int(data["num_episodes"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{source}: its perception check cannot be read ({error!r}: {shown(data)}); {hint}") from error
        fits = len(found.middle) == len(found.high) == len(names) and 1 <= len(found.oddness) == len(found.shares)
        fits = fits and bool(np.less(found.middle, found.high).all() and (np.diff(found.oddness) > 0).all())
        fits = fits and bool((np.diff(found.shares) < 0).all()) and 1 >= found.shares[0] >= found.shares[-1] > 0
        if not (fits and 1 <= found.num_moments < _MOST_MOMENTS):
            raise CheckpointError(f"{source}: the numbers of its perception check do not fit together; {hint}")
        return found


@dataclass(frozen=True)
class Perception:
    """What the check says of one moment."""

    usual: float  # share of usual moments that look at least as odd
    residuals: Float[np.ndarray, " residual"]  # `residual_names`
    cause: str  # the one that is largest in usual units, in words


@dataclass(frozen=True)
class PerceptionCheck:
    """Looks at moments for `model`. Raises `CheckpointError` where it was calibrated for other cameras."""

    model: LatentVideoModel
    calibration: PerceptionCalibration

    def __post_init__(self) -> None:
        if self.calibration.names != (names := residual_names(self.model.cameras)):
            raise CheckpointError(
                f"the perception check was calibrated for the residuals {', '.join(self.calibration.names)}; this model has "
                f"{', '.join(names)}: calibrate it again with `robo-dream calibrate perception`"
            )

    def of(self, observation: Observation) -> Perception:
        """The same observation gives the same numbers, to the bit, on one machine."""
        model = self.model
        views = [torch.from_numpy(image)[None].to(model.device) for image in observation.images(model.cameras)]
        proprio = torch.from_numpy(observation.arm.proprio_for(model.action_spec))[None].to(model.device)
        found = residuals(model, views, proprio)[0].cpu().numpy()
        worst = int(self.calibration.in_usual_units(found).argmax())
        return Perception(self.calibration.usual(found), found, _cause(self.calibration.names[worst]))


def _cause(name: str) -> str:
    kind, _, camera = name.partition("/")
    match kind:
        case "spot":
            return f"a spot of camera {camera!r} shows what the model cannot explain"
        case "picture":
            return f"camera {camera!r} shows what the model cannot explain"
        case "features":
            return f"what the model makes of camera {camera!r} is not what its belief would look like"
    return "the model sees the gripper elsewhere than the joints have it"


def _numbers(values: Any) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if len(found) > _MOST or not all(map(math.isfinite, found)):
        raise ValueError(f"expected at most {_MOST} finite numbers")
    return found
