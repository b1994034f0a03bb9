"""Pictures of a camera slower than control: each is kept once and shown at every frame until the next."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8


@dataclass(frozen=True)
class HeldPictures:
    """Read by frames, as an array (frame, height, width, 3) would be: `held[frames]`, `held[frames, rows, columns]`."""

    kept: UInt8[np.ndarray, "picture height width 3"]
    picture_of: Int64[np.ndarray, " frame"]  # in `kept`

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.picture_of), *self.kept.shape[1:])

    def __len__(self) -> int:
        return len(self.picture_of)

    def __getitem__(self, key: Any) -> UInt8[np.ndarray, "..."]:
        if isinstance(key, tuple):
            return self.kept[(self.picture_of[key[0]], *key[1:])]
        return self.kept[self.picture_of[key]]
