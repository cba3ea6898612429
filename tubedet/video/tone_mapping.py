"""HDR code values (PQ or HLG, BT.2100) to pictures for a BT.709 display, without a tone curve.

Whatever is darker than reference white keeps its light, whatever is brighter becomes white: what
networks saw in training are SDR pictures, in which a white sheet of paper is white.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from av.video.reformatter import ColorTrc
from numpy.typing import NDArray

HDR_NAMES = {int(ColorTrc.SMPTE2084): "PQ", int(ColorTrc.ARIB_STD_B67): "HLG"}
REFERENCE_WHITE = 203.0  # cd/m², ITU-R BT.2408
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2  # cd/m² of the nominal display and its system gamma, BT.2100
DISPLAY_GAMMA = 2.4  # BT.1886
BT2020_LUMINANCE = (0.2627, 0.6780, 0.0593)
BT2020_TO_BT709 = (  # in linear light, ITU-R BT.2407
    (1.660491, -0.587641, -0.072850),
    (-0.124550, 1.132900, -0.008349),
    (-0.018151, -0.100579, 1.118730),
)
LEVELS = 65535
STRIP_ROWS = 8  # what fits into the processor's cache takes half the time of a whole picture


def tone_map(
    rgb: NDArray[Any], transfer: int, *, white: int, bt2020_primaries: bool
) -> NDArray[np.uint8]:
    """Convert an HDR picture to SDR, both (H, W, 3).

    Linear light in units of reference white, for HLG as its nominal display shows it, is brought
    to BT.709 primaries, clipped to [0, 1] and encoded for a display with gamma 2.4.

    Args:
        rgb: uint8 or uint16 code values.
        transfer: a key of HDR_NAMES.
        white: the value that counts as 1.
        bt2020_primaries: those of the source; else BT.709's.

    Source: ITU-R BT.2100, BT.2408.
    """
    to_linear, encode = _linear_light(transfer, white), _display_code()
    to_bt709 = np.array(BT2020_TO_BT709 if bt2020_primaries else np.eye(3), dtype=np.float32)
    mapped = np.empty(rgb.shape, dtype=np.uint8)
    for top in range(0, len(rgb), STRIP_ROWS):
        strip = slice(top, top + STRIP_ROWS)
        light = to_linear.take(rgb[strip]).reshape(-1, 3).T
        if transfer == ColorTrc.ARIB_STD_B67:
            light *= _hlg_system_gain(light)
        shown = (to_bt709 @ light).clip(0, 1) * LEVELS + 0.5
        mapped[strip] = encode.take(shown.astype(np.uint16)).T.reshape(mapped[strip].shape)
    return mapped


@lru_cache
def _linear_light(transfer: int, white: int) -> NDArray[np.float32]:
    """What each of the 65536 code values means: PQ in units of reference white, HLG 0..1 of the
    scene's light."""
    code = np.minimum(np.arange(LEVELS + 1) / white, 1)
    linear = _hlg_inverse_oetf(code) if transfer == ColorTrc.ARIB_STD_B67 else _pq_eotf(code)
    return linear.astype(np.float32)


def _pq_eotf(code: NDArray[np.float64]) -> NDArray[np.float64]:
    m1, m2 = 2610 / 16384, 2523 / 32
    c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
    root = code ** (1 / m2)
    light: NDArray[np.float64] = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return light * 10_000 / REFERENCE_WHITE


def _hlg_inverse_oetf(code: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)


def _hlg_system_gain(scene_light: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) by which the OOTF multiplies the light (3, N) of each pixel, by its luminance."""
    luminance = np.array(BT2020_LUMINANCE, dtype=np.float32) @ scene_light
    gain: NDArray[np.float32] = luminance ** np.float32(HLG_GAMMA - 1)
    return gain * np.float32(HLG_PEAK / REFERENCE_WHITE)


@lru_cache
def _display_code() -> NDArray[np.uint8]:
    """The 8-bit code of each of 65536 steps of light in 0..1."""
    light = np.arange(LEVELS + 1) / LEVELS
    return np.asarray(np.rint(255 * light ** (1 / DISPLAY_GAMMA)), dtype=np.uint8)
