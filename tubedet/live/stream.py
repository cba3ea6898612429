"""What a live run needs of its stream beyond frames: what became of those that are not there."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import NamedTuple, Protocol, Self

from tubedet.video.frame_source import FrameSource


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


class StreamCounts(NamedTuple):
    """How many frames of a stream have come to what end so far."""

    decoded: int = 0
    skipped: int = 0
    repaired: int = 0
    dropped: int = 0

    @classmethod
    def of(cls, stream: LiveStream) -> Self:
        """Those at this moment."""
        return cls(
            stream.decoded_frames,
            stream.skipped_frames,
            stream.repaired_timestamps,
            stream.dropped_frames,
        )

    def since(self, earlier: "StreamCounts") -> "StreamCounts":
        """What came behind an earlier moment."""
        return StreamCounts(*(now - then for now, then in zip(self, earlier, strict=True)))


def utc_at(stream: LiveStream, time_s: float | Fraction) -> datetime:
    """When a frame of the stream was shown."""
    return stream.started_at + timedelta(seconds=float(time_s))


def iso_utc(moment: datetime) -> str:
    """As in 2026-11-30T05:22:33.120Z."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"
