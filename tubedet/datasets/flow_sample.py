"""A pair of frames with its optical flow: what flow training and flow measuring share.

Flow here is always (2, H, W) float32 in pixels of the pair, u right and v down, from the first
frame to the second: `second[y + v, x + u]` shows what `first[y, x]` shows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FlowArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class FlowSample:
    """Two frames and the motion between them.

    Attributes:
        pair_rgb: (2, H, W, 3) uint8.
        flow_uv: (2, H, W) float32, px.
        known: (H, W) bool, where `flow_uv` may be trusted; exact flow is known everywhere, also
            where the pixel is hidden in, or has left, the second frame.
    """

    pair_rgb: NDArray[np.uint8]
    flow_uv: FlowArray
    known: NDArray[np.bool_]


def pixel_grid(width: int, height: int) -> tuple[FlowArray, FlowArray]:
    """x and y of every pixel centre, each (height, width) float32, from 0."""
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))


def affine_flow(motion: NDArray[np.float64], width: int, height: int) -> FlowArray:
    """The flow (2, height, width) of an affine motion.

    Args:
        motion: (3, 3), takes homogeneous (x, y, 1) of the first frame to the second.
        width: of the frame in px.
        height: of the frame in px.
    """
    x, y = pixel_grid(width, height)
    (a, b, c), (d, e, f), _ = (motion - np.eye(3)).astype(np.float32)
    return np.stack([a * x + b * y + c, d * x + e * y + f])


def similarity(
    angle: float, zoom: float, source_xy: NDArray[np.float64], target_xy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The (3, 3) matrix that turns by `angle` (radians), zooms, and takes source to target."""
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = np.asarray(target_xy) - linear @ np.asarray(source_xy)
    return matrix
