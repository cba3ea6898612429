"""A decoded frame, and what is known of the video it comes from."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One decoded picture.

    Attributes:
        frame: position in decoder order, from 0.
        pts: presentation timestamp in time-base units, as the source has it; None if missing.
        time_s: pts × time base in seconds; None if pts is.
        rgb: (H, W, 3) uint8, display rotation applied.
        after_gap: at least one frame between this one and the last could not be decoded.
    """

    frame: int
    pts: int | None
    time_s: float | None
    rgb: NDArray[np.uint8]
    after_gap: bool = False


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What the container says before anything is decoded.

    `width` and `height` are in pixels after rotation; `rotation` is the clockwise turn in degrees
    (0, 90, 180, 270) that was applied. `fps` is the nominal rate; `frames` and `duration_s` are the
    container's word, None where it has none, and may be wrong.
    """

    width: int
    height: int
    rotation: int
    time_base: Fraction
    fps: Fraction
    frames: int | None
    duration_s: float | None
    video_codec: str
    audio_codecs: tuple[str, ...]
