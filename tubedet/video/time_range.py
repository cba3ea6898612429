"""Moments of a video as a user writes them, and the stretch between two of them.

Seconds are on the source's own clock (`VideoFrame.time_s`), which need not start at 0; frames count
decoded frames from 0. Nothing here rounds: seconds are exact fractions.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Self, TypeAlias

from tubedet.errors import UsageError

TimePoint: TypeAlias = Fraction | int
"""A moment: seconds as a `Fraction`, or the number of a frame as an `int`."""

_SECONDS = re.compile(r"\d+(\.\d+)?", re.ASCII)
_FRAME = re.compile(r"(\d+)f", re.ASCII)
_TIMECODE = re.compile(r"(?:(\d+):)?([0-5]?\d):([0-5]?\d(?:\.\d+)?)", re.ASCII)


def parse_time_point(text: str) -> TimePoint:
    """Read `12` or `12.5` (seconds), `300f` (frame), `HH:MM:SS.mmm` or `MM:SS` (timecode).

    Raises:
        UsageError: if the text is none of these.
    """
    if _SECONDS.fullmatch(text):
        return Fraction(text)
    if match := _FRAME.fullmatch(text):
        return int(match[1])
    if match := _TIMECODE.fullmatch(text):
        hours, minutes, seconds = match.groups(default="0")
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    raise UsageError(
        f"expected seconds (12.5), a frame (300f) or a timecode (00:01:02.500), found {text!r}"
    )


def has_reached(point: TimePoint | None, frame: int, time_s: float | None) -> bool:
    """Whether a frame stands at a moment or after it; never, if there is no moment.

    A frame without a time reaches no moment given in seconds: it goes with the frame before it.
    """
    if point is None:
        return False
    if isinstance(point, int):
        return frame >= point
    # Both floats are roundings of exact values, so equal moments compare equal.
    return time_s is not None and time_s >= float(point)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """The stretch from `start` up to, not including, `end`; None is the video's own limit.

    Raises:
        UsageError: if both are in the same unit and leave no room for a frame.
    """

    start: TimePoint | None = None
    end: TimePoint | None = None

    def __post_init__(self) -> None:
        if self.start is None or self.end is None:
            return
        if isinstance(self.start, int) == isinstance(self.end, int) and self.start >= self.end:
            raise UsageError(f"expected an end after the start, found {self}; the end is exclusive")

    def __str__(self) -> str:
        limits = [("from", self.start), ("up to", self.end)]
        said = [f"{word} {_describe(point)}" for word, point in limits if point is not None]
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
        first = None if start is None else parse_time_point(start)
        last = None if end is None else parse_time_point(end)
        if duration is None:
            return cls(first, last)
        if last is not None:
            raise UsageError("expected --end or --duration, found both: leave one out")
        length = parse_time_point(duration)
        if first is None:
            first = 0 if isinstance(length, int) else Fraction(0)
        if isinstance(first, int) != isinstance(length, int):
            raise UsageError(
                "expected --start and --duration both in seconds or both in frames, "
                f"found {start} and {duration}"
            )
        return cls(first, first + length)


def _describe(point: TimePoint) -> str:
    return f"frame {point}" if isinstance(point, int) else f"{float(point):.10g} s"
