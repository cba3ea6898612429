"""Live video to frames, as `VideoReader` gives those of a file: on one clock, through outages."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from types import TracebackType
from typing import Self

from tubedet.notes import Note
from tubedet.video.frame import VideoFrame, VideoInfo
from tubedet.video.live_address import LiveSource
from tubedet.video.live_feed import FedPicture, LiveFeed, Outage
from tubedet.video.live_packets import monotonic_us
from tubedet.video.reader import converted, never, notes_on_losses
from tubedet.video.time_range import Moment, Seconds, TimeRange, has_reached

POLL_S = 0.1  # how often the wait for a frame is looked at: shall it go on?
LATE_US = 1_000_000  # a frame may come so long after its time


def _nobody(outage: Outage) -> None:
    """Nobody is told."""


class LiveReader:
    """Reads a live source; a `FrameSource`.

    `VideoFrame.frame` counts the frames that are given, without holes for those left out, and
    `VideoFrame.time_s` goes by this machine's clock (`live_clock`); the first frame behind an
    outage is `after_gap`. A source that is lost is opened again until it is there, or the run
    ends; only the first opening fails at once. The run begins with `frames`: a pipe and a file on
    a server wait for it, of any other source nothing before it belongs to the run.

    Args:
        told: is called by the reading thread when the source is lost, and when it is back.

    Attributes:
        path: the source's name, without a password.
        info: what is known once the first picture is decoded; its size is that picture's.

    Raises:
        VideoError: if the source cannot be opened, has no video stream of the number
            `video_stream`, or shows no picture that can be decoded.
    """

    path: str
    info: VideoInfo

    def __init__(
        self,
        source: LiveSource,
        *,
        video_stream: int | None = None,
        told: Callable[[Outage], None] = _nobody,
    ) -> None:
        self.path = source.name
        self._given = 0
        self._monotonic_zero = datetime.now(UTC) - timedelta(microseconds=monotonic_us())
        self._opened_us = monotonic_us()
        self._feed = LiveFeed(source, video_stream, told)
        try:
            while not self._feed.opened.wait(POLL_S):  # so that Ctrl-C is heard
                pass
        except BaseException:
            self._feed.stop()
            raise
        if self._feed.failure:
            raise self._feed.failure
        self.info = self._feed.info

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the source; may be called from any thread, and ends an iterator that runs.

        A call into the network that hangs may outlast it: see `live_feed.is_reading`.
        """
        self._feed.close()

    @property
    def started_at(self) -> datetime:
        """When the frame whose `time_s` is 0 was shown, in UTC; before it, when this was opened.

        The network's delay, as far as it is always the same, is not known and is part of it.
        """
        zero_us = self._feed.clock.zero_us
        since_us = self._opened_us if zero_us is None else zero_us
        return self._monotonic_zero + timedelta(microseconds=since_us)

    @property
    def decoded_frames(self) -> int:
        """Pictures of the run so far: frames that were given, and those that were dropped."""
        return self._given + self._feed.dropped

    @property
    def dropped_frames(self) -> int:
        """Pictures so far that were left out, since those before them had not been taken."""
        return self._feed.dropped

    @property
    def outages(self) -> list[Outage]:
        """The times without a connection so far; of one that lasts, `seconds` is None."""
        return list(self._feed.outages)

    @property
    def skipped_frames(self) -> int:
        """Packets so far that could not be decoded, usually one frame each."""
        return self._feed.counts.skipped

    @property
    def repaired_timestamps(self) -> int:
        """Frames so far whose time was missing or did not increase."""
        return self._feed.counts.repaired

    def frames(
        self,
        start: Moment | None = None,
        end: Moment | None = None,
        stop: Callable[[], bool] = never,
    ) -> Iterator[VideoFrame]:
        """Iterate over the frames from `start` up to, not including, `end`; only once.

        While it waits for a frame, `stop` is asked ten times a second. When it is True, the frames
        that are decoded still come, then the iterator ends: every picture so far has been given or
        counted as dropped. A picture of another size than the first is resized to it.

        Raises:
            UsageError: if the range has no room for a frame.
            VideoError: while iterating, if a picture cannot be converted.
        """
        wanted = TimeRange(start, end)
        self._feed.begin(wanted.end)
        return self._read(wanted, stop)

    def notes(self) -> list[Note]:
        """What is odd about the source so far, besides outages and dropped frames."""
        counts, notes = self._feed.counts, list(self._feed.converter.notes)
        if not self._feed.has_times or counts.untimed == counts.decoded:
            notes.append(Note("the source has no timestamps: its frames have the times they came"))
        elif counts.repaired:
            notes.append(
                Note(f"timestamps missing or not increasing, made up: {counts.repaired}", loss=True)
            )
        if counts.clock_resets:
            notes.append(Note(f"the source's clock starts anew {counts.clock_resets} times"))
        return [*notes_on_losses(counts, is_of_any_rate=False), *notes]

    def _read(self, wanted: TimeRange, stop: Callable[[], bool]) -> Iterator[VideoFrame]:
        try:
            while fed := self._next(wanted.end, stop):
                self._given += 1
                if wanted.start is None or has_reached(wanted.start, fed.frame, fed.time_s):
                    rgb = converted(self._feed.converter, fed.picture, self.path)
                    pts = fed.picture.pts
                    yield VideoFrame(fed.frame, pts, fed.time_s, rgb, fed.after_gap)
        finally:
            self._feed.stop()
        if self._feed.failure:
            raise self._feed.failure

    def _next(self, end: Moment | None, stop: Callable[[], bool]) -> FedPicture | None:
        """The picture that waits longest, or else the next one; None if there is none to come."""
        feed = self._feed
        while True:
            if stop() or self._is_past(end):
                feed.stop()
            is_ended = feed.queue.is_ended
            if (fed := feed.queue.take(POLL_S)) or is_ended:
                return fed

    def _is_past(self, end: Moment | None) -> bool:
        """Whether no frame before `end` can come any more: the source may be away at that time."""
        zero_us = self._feed.clock.zero_us
        if zero_us is None or not isinstance(end, Seconds):
            return False
        return Fraction(monotonic_us() - zero_us - LATE_US, 1_000_000) >= end.value
