"""A decoded frame, and what is known of the video it comes from."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

AT_MOST_MISSING = 0.05  # of a whole file; its frames and its duration are rarely told exactly


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

    @property
    def promised_frames(self) -> int | None:
        """The container's count, or else its duration at the nominal rate; None without both."""
        return self.frames or round((self.duration_s or 0) * self.fps) or None

    def seems_cut_off(self, frames: int, last_s: float | None) -> bool:
        """Whether much is missing where the file ends after `frames`, the last one at `last_s`.

        Frames and, if known, time must both fall short: the count is 1 too high in AVI and includes
        frames that an edit list hides, and with a variable rate the duration tells no count. Where
        there is no count, `last_s` is needed.
        """
        if self.promised_frames is None or (self.frames is None and last_s is None):
            return False
        missing = self.promised_frames - frames
        if missing <= max(1, AT_MOST_MISSING * self.promised_frames):
            return False
        if self.duration_s is None or last_s is None:
            return True
        missing_s = self.duration_s - last_s - float(1 / self.fps)
        return missing_s > max(float(1 / self.fps), AT_MOST_MISSING * self.duration_s)
