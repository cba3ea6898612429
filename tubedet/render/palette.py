"""A colour for every class name, the same in every run, and text that reads on it.

Hues are spread in OKLCH (Björn Ottosson's perceptual space), where steps of equal size look
equally large; three tones of lightness keep neighbouring hues apart.
"""

import zlib
from functools import cache
from math import cos, pi, sin

import numpy as np

from tubedet.labels import JHMDB_21, UCF101_24, VOC_20

Rgb = tuple[int, int, int]

BLACK: Rgb = (0, 0, 0)
WHITE: Rgb = (255, 255, 255)

_HUES = 24
_TONES = ((0.70, 0.19), (0.83, 0.15), (0.56, 0.20))  # OKLCH lightness and chroma
_STRIDE = 7  # coprime to 24: classes that follow each other lie far apart on the wheel

_OKLAB_TO_LMS = np.array(
    [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728],
     [1.0, -0.0894841775, -1.2914855480]]
)  # fmt: skip
_LMS_TO_LINEAR_RGB = np.array(
    [[4.0767416621, -3.3077115913, 0.2309699292], [-1.2684380046, 2.6097574011, -0.3413193965],
     [-0.0041960863, -0.7034186147, 1.7076147010]]
)  # fmt: skip


@cache
def class_color(label: str) -> Rgb:
    """The (r, g, b) colour of a class, 0..255.

    The classes of a known data set all differ. Any other name is hashed, so two of a user's own
    classes may come out alike: a name alone cannot know its neighbours.
    """
    slot = _known_slot(label)
    if slot is None:
        slot = zlib.crc32(label.encode("utf-8", "surrogateescape"))
    lightness, chroma = _TONES[slot % len(_TONES)]
    hue = 2 * pi * (slot * _STRIDE % _HUES + slot % len(_TONES) / len(_TONES)) / _HUES
    return _oklch_to_rgb(lightness, chroma, hue)


def text_color(background: Rgb) -> Rgb:
    """Black or white, whichever has the higher WCAG contrast on `background`."""
    return max((BLACK, WHITE), key=lambda ink: contrast_ratio(ink, background))


def contrast_ratio(first: Rgb, second: Rgb) -> float:
    """WCAG 2 contrast of two colours, from 1 (equal) to 21 (black on white)."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def _known_slot(label: str) -> int | None:
    """Position of `label` in the first data set that has it."""
    for names in (UCF101_24, JHMDB_21, VOC_20):
        if label in names:
            return names.index(label)
    return None


def _oklch_to_rgb(lightness: float, chroma: float, hue: float) -> Rgb:
    """OKLCH to sRGB 0..255; what falls outside the gamut is clipped channel by channel."""
    lab = np.array([lightness, chroma * cos(hue), chroma * sin(hue)])
    linear = np.clip(_LMS_TO_LINEAR_RGB @ (_OKLAB_TO_LMS @ lab) ** 3, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(float(channel) * 255) for channel in encoded)
    return red, green, blue


def _luminance(color: Rgb) -> float:
    """Relative luminance of an sRGB colour, 0..1."""
    encoded = np.array(color) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
