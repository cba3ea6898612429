"""What a live run needs of its stream beyond frames: what became of those that are not there."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from tubedet.notes import Note
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.video.frame_source import FrameSource
from tubedet.video.time_range import Moment, Seconds

MORE_S = 2  # than a range: no box depends on frames that are later than this (run.reach)


class Outage(Protocol):
    """A time without a connection."""

    @property
    def time_s(self) -> Fraction:
        """Of the last frame before it."""

    @property
    def seconds(self) -> float | None:
        """Until the first frame after it; None while it lasts."""

    @property
    def reason(self) -> str:
        """Why the connection was lost, in a few words."""


class LiveStream(FrameSource, Protocol):
    """Frames as they come; see `LiveReader`."""

    @property
    def started_at(self) -> datetime:
        """When the frame whose `time_s` is 0 was shown, in UTC."""

    @property
    def dropped_frames(self) -> int:
        """Decoded, but left out so far, since the network was busy."""

    @property
    def outages(self) -> Sequence[Outage]:
        """Those so far."""


class StreamUntil:
    """A stream that ends soon after a moment, even if it is away by then; a `FrameSource`.

    A run ends with the first frame that it does not need, for which it would wait.

    Args:
        stream: where frames come from.
        end: of the run; None, or a number of frames, for no end.
    """

    def __init__(self, stream: LiveStream, end: Moment | None) -> None:
        self._stream = stream
        self._end = Seconds(end.value + MORE_S) if isinstance(end, Seconds) else None

    def frames(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[VideoFrame]:
        """Those of the stream up to `end`, or its own end."""
        return self._stream.frames(start, end or self._end, stop)

    @property
    def path(self) -> Path | str:
        """That of the stream, as all that follows."""
        return self._stream.path

    @property
    def info(self) -> VideoInfo:
        """See `FrameSource`."""
        return self._stream.info

    @property
    def decoded_frames(self) -> int:
        """See `FrameSource`."""
        return self._stream.decoded_frames

    @property
    def skipped_frames(self) -> int:
        """See `FrameSource`."""
        return self._stream.skipped_frames

    @property
    def repaired_timestamps(self) -> int:
        """See `FrameSource`."""
        return self._stream.repaired_timestamps

    def notes(self) -> list[Note]:
        """See `FrameSource`."""
        return self._stream.notes()


def utc_at(stream: LiveStream, time_s: float | Fraction) -> datetime:
    """When a frame of the stream was shown."""
    return stream.started_at + timedelta(seconds=float(time_s))


def iso_utc(moment: datetime) -> str:
    """As in 2026-11-30T05:22:33.120Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
