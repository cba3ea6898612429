"""A decoded frame, and what is known of the video it comes from."""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

NO_PIXELS = np.empty((0, 0, 3), np.uint8)  # of a frame that nobody looks at
AT_MOST_MISSING = 0.05  # of a whole file; its frames and its duration are rarely told exactly
AT_MOST_MISSING_S = 0.15  # where only the duration tells; ASF's ends later than its last packet


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One decoded picture.

    Attributes:
        frame: position in decoder order, from 0.
        pts: presentation timestamp in time-base units, as the source has it; None if missing.
        time_s: seconds since the video's first frame, exactly; greater with every frame.
        rgb: (H, W, 3) uint8, upright.
        after_gap: at least one frame between this one and the last could not be decoded.
    """

    frame: int
    pts: int | None
    time_s: Fraction
    rgb: NDArray[np.uint8]
    after_gap: bool = False


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video once its first picture is decoded.

    `width` and `height` are in pixels after rotation; `rotation` is the clockwise turn in degrees
    (0, 90, 180, 270) that was applied. `fps` is the nominal rate; `frames` and `duration_s` are the
    container's word, None where it has none, and may be wrong. `start_s` is the source's time of
    the first frame, whose `VideoFrame.time_s` is 0; `video_stream` is the number of the stream
    among the file's video streams, from 1.
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
    start_s: Fraction = Fraction(0)
    video_stream: int = 1

    @property
    def promised_frames(self) -> int | None:
        """The container's count, or else its duration at the nominal rate; None without both."""
        return self.frames or round((self.duration_s or 0) * self.fps) or None

    def seems_cut_off(self, frames: int, last_s: Fraction) -> bool:
        """Whether much is missing where the file ends after `frames`, the last one at `last_s`.

        Frames and time must both fall short: the count is 1 too high in AVI and includes frames
        that an edit list hides, and with a variable rate the duration tells no count.
        """
        if self.promised_frames is None:
            return False
        missing = self.promised_frames - frames
        if missing <= max(1, AT_MOST_MISSING * self.promised_frames):
            return False
        if self.duration_s is None:
            return True
        # The nominal rate of a damaged file may be absurd; its count and its duration agree.
        frame_s = self.duration_s / self.promised_frames
        missing_s = self.duration_s - float(last_s) - frame_s
        least_s = frame_s if self.frames else AT_MOST_MISSING_S
        return missing_s > max(least_s, AT_MOST_MISSING * self.duration_s)
