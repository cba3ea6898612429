"""When each frame is shown, counted from the first one: as its source says, or made to increase."""

from dataclasses import dataclass
from fractions import Fraction

# Where pictures are missing from an even rate without an error, as damaged ASF and Matroska files
# skip them. Elsewhere a hole is part of the video: AVI's empty chunks, MP4's durations.
FORMATS_WITH_HOLES = {"asf", "matroska,webm", "mpegts", "mpeg", "mxf", "flv", "nut"}
HOLE_FRAMES = Fraction(7, 4)  # from one picture to the next
LONGEST_HOLE_S = 10  # what is longer is a pause
EVEN_SHARE = 0.8
# Recorders write these at whatever rate they can hold, so a hole may be none.
FORMATS_OF_ANY_RATE = {"matroska,webm", "flv"}
LEAST_EVEN, LEAST_EVEN_OF_ANY_RATE = 3, 24  # steps, before a rate is called even


@dataclass(slots=True)
class FrameTimes:
    """The times of a stream's frames, which are to be taken one after the other.

    Attributes:
        format_name: of the container.
        frame_s: seconds from one frame to the next at the nominal rate.
        start_s: the source clock's time of the first frame.
        latest_s: of the latest frame so far, counted from the first; None before that.
        frames: so far; `repaired` have a time that was missing or not later than the one before.
        untimed: those among them that have no time at all.
        missing: frames that are absent from an even rate without an error.
    """

    format_name: str
    frame_s: Fraction
    start_s: Fraction = Fraction(0)
    latest_s: Fraction | None = None
    frames: int = 0
    repaired: int = 0
    untimed: int = 0
    missing: int = 0
    _even: int = 0
    _shift_s: Fraction = Fraction(0)

    @property
    def is_of_any_rate(self) -> bool:
        """Whether frames that are missing may never have been there."""
        return self.format_name in FORMATS_OF_ANY_RATE

    def take(
        self, own_s: Fraction | None, shift_s: Fraction | None, first_s: Fraction
    ) -> tuple[Fraction, bool]:
        """Seconds from the first frame to this one, and whether some are missing before it.

        Args:
            own_s: the time that the source says; None if it says none.
            shift_s: how much of that was added to the source's clock; None if nothing tells it.
            first_s: in place of the first frame's time where that is missing.
        """
        self.frames += 1
        if self.latest_s is None:
            self.start_s = first_s if own_s is None else own_s
        time_s, step_s = self._increasing(own_s)
        shift_s = self._shift_s if shift_s is None else shift_s
        hole = shift_s == self._shift_s and self._is_hole(step_s)
        self.latest_s, self._shift_s = time_s, shift_s
        return time_s, hole

    def _increasing(self, own_s: Fraction | None) -> tuple[Fraction, Fraction]:
        """Seconds after the first frame, and after the latest: as the source says, or made up."""
        self.untimed += own_s is None
        if self.latest_s is None:
            self.repaired += own_s is None
            return Fraction(0), Fraction(0)
        if own_s is None:
            self.repaired += 1
            return self.latest_s + self.frame_s, Fraction(0)
        time_s = own_s - self.start_s
        if time_s <= self.latest_s:
            self.repaired += 1
            # Half a frame, so that the source's times catch up.
            return self.latest_s + self.frame_s / 2, Fraction(0)
        return time_s, time_s - self.latest_s

    def _is_hole(self, step_s: Fraction) -> bool:
        frames = step_s / self.frame_s
        self._even += Fraction(3, 4) < frames < Fraction(5, 4)
        least_even = LEAST_EVEN_OF_ANY_RATE if self.is_of_any_rate else LEAST_EVEN
        is_even = self._even >= max(least_even, EVEN_SHARE * (self.frames - 2))
        has_holes = self.format_name in FORMATS_WITH_HOLES
        if not (has_holes and is_even and frames >= HOLE_FRAMES and step_s <= LONGEST_HOLE_S):
            return False
        self.missing += round(frames) - 1
        return True
