"""Moments of a video as a user writes them, and the stretch between two of them.

Seconds count from the video's first frame (`VideoFrame.time_s`), frames are decoded frames from 0.
Nothing here rounds: seconds are exact fractions.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Self, TypeAlias

from tubedet.errors import UsageError


@dataclass(frozen=True, slots=True, order=True)
class Seconds:
    """A moment so many seconds after the first frame, or a length of time."""

    value: Fraction

    def __str__(self) -> str:
        return f"{float(self.value):.10g} s"


@dataclass(frozen=True, slots=True, order=True)
class FrameNumber:
    """The moment at which a frame is shown, or a number of frames."""

    value: int

    def __str__(self) -> str:
        return f"frame {self.value}"


Moment: TypeAlias = Seconds | FrameNumber

_SECONDS = re.compile(r"\d+(\.\d+)?", re.ASCII)
_FRAME = re.compile(r"(\d+)f", re.ASCII)
_TIMECODE = re.compile(r"(?:(\d+):)?([0-5]?\d):([0-5]?\d(?:\.\d+)?)", re.ASCII)


def parse_moment(text: str) -> Moment:
    """Read `12` or `12.5` (seconds), `300f` (frame), `HH:MM:SS.mmm` or `MM:SS` (timecode).

    Raises:
        UsageError: if the text is none of these.
    """
    if _SECONDS.fullmatch(text):
        return Seconds(Fraction(text))
    if match := _FRAME.fullmatch(text):
        return FrameNumber(int(match[1]))
    if match := _TIMECODE.fullmatch(text):
        hours, minutes, seconds = match.groups(default="0")
        return Seconds(int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds))
    raise UsageError(
        f"expected seconds (12.5), a frame (300f) or a timecode (00:01:02.500), found {text!r}"
    )


def has_reached(moment: Moment | None, frame: int, time_s: Fraction) -> bool:
    """Whether a frame stands at a moment or after it; never, if there is no moment."""
    if moment is None:
        return False
    return (frame if isinstance(moment, FrameNumber) else time_s) >= moment.value


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The stretch from `start` up to, not including, `end`; None is the video's own limit.

    Raises:
        UsageError: if no frame has room in it, as far as that can be told without the video.
    """

    start: Moment | None = None
    end: Moment | None = None

    def __post_init__(self) -> None:
        if self.end is None:
            return
        same_unit = type(self.start) is type(self.end)
        start = self.start.value if self.start is not None and same_unit else 0
        if start >= self.end.value:
            raise UsageError(f"expected an end after the start, found {self}; the end is exclusive")

    def __str__(self) -> str:
        limits = [("from", self.start), ("up to", self.end)]
        said = [f"{word} {moment}" for word, moment in limits if moment is not None]
        return " ".join(said) or "the whole video"

    @classmethod
    def from_options(
        cls, start: str | None = None, end: str | None = None, duration: str | None = None
    ) -> Self:
        """Build a range from the texts of `--start` and either `--end` or `--duration`.

        A duration is in the unit of the start; without a start it counts from second 0 or frame 0.

        Raises:
            UsageError: for a text that cannot be read, end and duration together, a start and a
                duration of different units, or a range without room for a frame.
        """
        first = None if start is None else parse_moment(start)
        last = None if end is None else parse_moment(end)
        if duration is None:
            return cls(first, last)
        if last is not None:
            raise UsageError("expected --end or --duration, found both: leave one out")
        match first, parse_moment(duration):
            case ((Seconds() | None), Seconds(length_s)):
                from_s = Fraction(0) if first is None else first.value
                return cls(Seconds(Fraction(from_s)), Seconds(from_s + length_s))
            case ((FrameNumber() | None), FrameNumber(frames)):
                from_frame = 0 if first is None else int(first.value)
                return cls(FrameNumber(from_frame), FrameNumber(from_frame + frames))
        raise UsageError(
            "expected --start and --duration both in seconds or both in frames, "
            f"found {start} and {duration}"
        )
