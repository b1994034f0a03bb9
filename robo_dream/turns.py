"""How far an object is turned about the vertical, as a camera can tell."""

import numpy as np
from jaxtyping import Float

BOX = 4  # equal looks of a box in one turn


def upright_turn(quats: Float[np.ndarray, "*batch 4"], symmetry: int) -> Float[np.ndarray, "*batch"]:
    """Heading (rad) of objects at orientations `quats` (wxyz), known up to a `symmetry`-th of a full turn.

    A box (4) may lie on any of its faces: then the heading is that of its most level edge, whichever edge that is. Anything
    else is taken to stand upright, and its heading is that of its x axis.
    """
    w, x, y, z = np.moveaxis(np.asarray(quats, np.float64), -1, 0)
    edges = np.stack(
        [  # the columns of the rotation matrix
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], -1),
            np.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], -1),
            np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], -1),
        ],
        -2,
    )
    chosen = np.abs(edges[..., 2]).argmin(-1) if symmetry == BOX else np.zeros(w.shape, np.int64)
    edge = np.take_along_axis(edges, chosen[..., None, None], -2)[..., 0, :]
    return np.asarray(np.arctan2(edge[..., 1], edge[..., 0]))
