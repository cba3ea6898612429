"""Decoded pictures of known code values, and what the reader makes of them.

Source of the code values: ITU-T H.273, ITU-R BT.601, BT.709, BT.2020.
"""

from collections.abc import Sequence

import av
import numpy as np
from numpy.typing import NDArray

from tubedet.video.picture import PictureConverter

LIMITED, FULL = 1, 2
BT709, BT601, BT2020, UNTAGGED = 1, 6, 9, 2
KR_KB = {
    BT709: (0.2126, 0.0722),
    5: (0.299, 0.114),
    BT601: (0.299, 0.114),
    BT2020: (0.2627, 0.0593),
}
PQ, HLG = 16, 18

Planes = Sequence[NDArray[np.float64] | float]


def drawn(
    pixel_format: str,
    planes: Planes,
    size: tuple[int, int] = (32, 16),
    *,
    matrix: int = UNTAGGED,
    colour_range: int = LIMITED,
    transfer: int = 2,
    primaries: int = 2,
) -> av.VideoFrame:
    """A picture whose planes hold these code values, rounded."""
    picture = av.VideoFrame(*size, pixel_format)
    picture.colorspace, picture.color_range = matrix, colour_range
    picture.color_trc, picture.color_primaries = transfer, primaries
    dtype = np.uint8 if picture.format.components[0].bits <= 8 else np.uint16
    for plane, codes in zip(picture.planes, planes, strict=False):
        lines = np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)
        wanted = np.rint(codes).astype(dtype)
        lines[:, : wanted.shape[1] if wanted.ndim else None] = wanted
    return picture


def ycbcr(
    rgb: Sequence[float] | NDArray[np.float64], matrix: int, bits: int, colour_range: int
) -> list[NDArray[np.float64]]:
    """R'G'B' (..., 3) in 0..1 as code values of Y, Cb and Cr. Source: ITU-T H.273."""
    red, green, blue = np.moveaxis(np.asarray(rgb, dtype=np.float64), -1, 0)
    kr, kb = KR_KB[matrix]
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    if colour_range == FULL:
        peak = 2**bits - 1
        return [luma * peak, *(np.minimum(c * peak + 2 ** (bits - 1), peak) for c in chroma)]
    step = 2 ** (bits - 8)
    return [(16 + 219 * luma) * step, *((128 + 224 * c) * step for c in chroma)]


def converted(picture: av.VideoFrame) -> NDArray[np.uint8]:
    return PictureConverter(picture).to_rgb(picture)


def pixel(picture: av.VideoFrame) -> NDArray[np.uint8]:
    """The colour of a picture that has only one."""
    rgb = converted(picture)
    assert (rgb == rgb[0, 0]).all()
    return np.array(rgb[0, 0])
