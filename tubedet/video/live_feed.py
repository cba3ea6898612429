"""The thread that reads a live source all the time, through outages, and what it leaves behind.

It opens, reads and decodes, so that neither the network nor the source has to wait. A picture for
which there is no room is left out and counted: the newest are the first to go, and those that wait
are soon taken, so what is shown stays close to what happens.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from threading import Event, Thread
from threading import enumerate as all_threads
from typing import NamedTuple

import av

from tubedet.errors import VideoError
from tubedet.video.decoding import DecodingCounts
from tubedet.video.frame import VideoInfo
from tubedet.video.live_address import LiveSource
from tubedet.video.live_clock import LiveClock
from tubedet.video.live_connection import LiveConnection, LivePicture, LostError
from tubedet.video.live_packets import monotonic_us
from tubedet.video.picture import PictureConverter
from tubedet.video.picture_queue import PictureQueue
from tubedet.video.reader import info_of
from tubedet.video.time_range import Moment, has_reached

HELD_PICTURES = 2
FIRST_WAIT_S, LONGEST_WAIT_S = 1, 30  # before a source is opened again; doubled each time
STEADY_US = 10_000_000  # a connection that held so long begins the waits anew
MOST_BEHIND_US = 10_000_000  # more is not made up for
CLOSING_S = 1  # how long a call into the network is waited for; the thread may end later
THREAD = "tubedet-live"


def is_reading() -> bool:
    """Whether a source is read, be it that it is closed, but a call into the network hangs.

    Then a process has to end with `os._exit`: PyAV asks for Python's lock ten times a second while
    it waits for a network, and crashes when Python is gone but the process is not.
    """
    return any(thread.name == THREAD for thread in all_threads())


@dataclass(frozen=True, slots=True)
class Outage:
    """A time without a connection.

    Attributes:
        time_s: of the last frame before it.
        seconds: from there to the first frame behind it; None while it lasts.
        reason: why the connection was lost, in a few words.
    """

    time_s: Fraction
    seconds: float | None
    reason: str


class FedPicture(NamedTuple):
    """A picture that is given on, as which frame and when, and whether one is lost before it."""

    picture: av.VideoFrame
    frame: int
    time_s: Fraction
    after_gap: bool


class LiveFeed:
    """A live source, read by a thread of its own.

    Attributes:
        queue: the pictures that wait to be taken; to end it ends the feed.
        clock: of the pictures.
        info, converter, has_times: known when it has `opened`.
        dropped: pictures that were decoded, but found no room in the queue.
        outages: in the order of time; of one that lasts, `seconds` is None.
        failure: what the thread ended with, if it was an error.
    """

    info: VideoInfo
    converter: PictureConverter
    has_times: bool

    def __init__(
        self, source: LiveSource, video_stream: int | None, told: Callable[[Outage], None]
    ) -> None:
        self._source, self._video_stream, self._told = source, video_stream, told
        self.queue: PictureQueue[FedPicture] = PictureQueue(HELD_PICTURES)
        self.clock = LiveClock()
        self.outages: list[Outage] = []
        self.failure: BaseException | None = None
        self.dropped = self._kept = 0
        self._is_after_gap = self._is_catching_up = False
        self._latest_s = Fraction(0)  # of the pictures that were given on
        self._end: Moment | None = None
        self._wait_s = FIRST_WAIT_S
        # What connections before this one met, and this one: one value, so that no sum is half.
        self._met: tuple[DecodingCounts, LiveConnection | None] = (DecodingCounts(), None)
        self.opened, self._begun, self._stopped = Event(), Event(), Event()
        self._thread = Thread(target=self._run, name=THREAD, daemon=True)
        self._thread.start()

    @property
    def counts(self) -> DecodingCounts:
        """What was met so far, by all connections."""
        before, connection = self._met
        return before + connection.decoding.counts if connection else before

    def begin(self, end: Moment | None) -> None:
        """Give pictures on from now on, up to a moment."""
        self._end = end
        self._begun.set()

    def stop(self) -> None:
        """Give nothing more on; what waits can still be taken."""
        self.queue.end()
        self._stopped.set()
        self._begun.set()

    def close(self) -> None:
        """End the thread. It is not waited for long: a call into a network may hang for seconds.

        See `is_reading` for the end of a process.
        """
        self.stop()
        self._thread.join(CLOSING_S)

    def _run(self) -> None:
        try:
            connection: LiveConnection | None = self._connected()
            while connection:
                reason = self._follow(connection)
                if not self.opened.is_set():
                    raise VideoError(
                        f"{self._source.name}: expected live video, found no picture that can be "
                        f"decoded ({reason or 'the stream ended'})"
                    )
                connection = self._reconnected(reason) if reason else None
        except BaseException as error:  # raised where pictures are awaited
            self.failure = error
        self.queue.end()
        self.opened.set()

    def _connected(self) -> LiveConnection:
        return LiveConnection(self._source, self._video_stream)

    def _reconnected(self, reason: str) -> LiveConnection | None:
        """A new connection, as soon as there is one; None if that is no longer wanted."""
        self._lost(reason)
        while not self._stopped.wait(self._wait_s):
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
            try:
                return self._connected()
            except VideoError:
                continue
        return None

    def _follow(self, connection: LiveConnection) -> str | None:
        """Give on what a connection shows; why it was lost, or None at the end of the run."""
        before, _ = self._met
        self._met = before, connection
        self._is_catching_up = True
        self.clock.restart()
        since_us = monotonic_us()
        reason: str | None = None
        with connection:
            try:
                if all(self._give_on(picture, connection) for picture in connection.pictures()):
                    reason = None if connection.has_end else "the source ended the stream"
            except LostError as error:
                reason = str(error)
                if connection.has_end:
                    raise VideoError(
                        f"{self._source.name}: expected the end of the stream, found that it "
                        f"cannot be read on ({reason}); what came before it is kept"
                    ) from None
        self._met = self.counts, None
        if monotonic_us() - since_us > STEADY_US:
            self._wait_s = FIRST_WAIT_S
        return reason

    def _give_on(self, shown: LivePicture, connection: LiveConnection) -> bool:
        """Leave a picture for whoever takes pictures, or leave it out; False at the run's end."""
        if shown.after_reset:
            self.clock.restart()
        if not self.opened.is_set():
            self._know(shown, connection)
        if connection.has_end:
            self._begun.wait()
        if shown.own_us is not None:
            self.clock.arrived(shown.own_us, shown.arrived_us)
        if not self._begun.is_set():
            return not self.queue.is_ended
        time_us = self.clock.time_us(shown.arrived_us)
        half_frame_us = int(500_000 / connection.fps)
        if self._is_lost and self._kept and time_us < self.clock.latest_us + half_frame_us:
            return True  # shown before: the connection begins with what the source has kept
        time_s = Fraction(self.clock.given(time_us), 1_000_000)
        if has_reached(self._end, self._kept, time_s):
            return False
        return self._queued(shown, time_s, self._patience_s(shown.arrived_us, connection))

    def _patience_s(self, arrived_us: int, connection: LiveConnection) -> float | None:
        """How long a picture may wait for room; None for ever.

        What a connection begins with came earlier, all at once. It is given on at up to twice the
        source's rate until that is made up for.
        """
        if connection.is_whole:
            return None
        frame_us = int(1_000_000 / connection.fps)
        behind_us = monotonic_us() - arrived_us
        self._is_catching_up &= 2 * frame_us < behind_us < MOST_BEHIND_US
        return frame_us / 2_000_000 if self._is_catching_up else 0

    def _queued(self, shown: LivePicture, time_s: Fraction, timeout_s: float | None) -> bool:
        self._is_after_gap |= shown.after_gap or self._is_lost
        fed = FedPicture(shown.picture, self._kept, time_s, self._is_after_gap)
        if self.queue.offer(fed, timeout_s):
            self._kept, self._is_after_gap = self._kept + 1, False
            self._back(time_s)
        elif self.queue.is_ended:
            return False
        else:
            self.dropped += 1
        return True

    def _know(self, shown: LivePicture, connection: LiveConnection) -> None:
        """Keep what the first picture tells of all of them."""
        self.converter = PictureConverter(shown.picture)
        container, stream = connection.container, connection.stream
        info = info_of(container, stream, self.converter, Fraction(0))
        self.info = replace(info, fps=connection.fps)
        self.has_times = connection.has_times or connection.is_whole
        self.opened.set()

    @property
    def _is_lost(self) -> bool:
        return bool(self.outages) and self.outages[-1].seconds is None

    def _lost(self, reason: str) -> None:
        if not self._is_lost:
            self.outages.append(Outage(self._latest_s, None, reason))
            self._told(self.outages[-1])

    def _back(self, time_s: Fraction) -> None:
        """A picture is given on: an outage that lasts is over."""
        self._latest_s = time_s
        if self._is_lost:
            outage = self.outages[-1]
            self.outages[-1] = replace(outage, seconds=float(time_s - outage.time_s))
            self._told(self.outages[-1])
