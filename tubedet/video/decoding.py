"""From packets to pictures with times: damage is passed over and counted, times are repaired."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from tubedet.video.container import AnyPacket, PacketReader
from tubedet.video.frame_times import FrameTimes
from tubedet.video.packet_frames import KeyFrame, from_key_frame
from tubedet.video.picture_times import PLACEHOLDER_BYTES, PictureTimes, SentPacket
from tubedet.video.source_clock import SourceClock

FORMATS_FROM_ZERO = {"matroska,webm", "flv"}  # their durations count from there
FORMATS_IN_FILE_ORDER = {"matroska,webm", "mpegts", "mpeg", "flv", "nut"}


class TimedPicture(NamedTuple):
    """A decoded picture, its seconds after the first one, and whether one is lost before it."""

    picture: av.VideoFrame
    time_s: Fraction
    after_gap: bool


@dataclass(slots=True)
class _Loss:
    """A place where something could not be decoded: after so many packets, or at this time."""

    packets: int
    shown_s: Fraction | None


class Decoding:
    """One pass over a stream.

    Attributes:
        skipped: packets so far that could not be decoded.

    Args:
        container: from its beginning, unless `begin` is given.
        stream: of it.
        fps: the nominal rate.
        begin: the key frame to begin with, as if all before it had been decoded; the container is
            to be where `PacketFrames.seek` takes it.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        fps: Fraction,
        begin: KeyFrame | None = None,
    ) -> None:
        self._container, self._stream, self._begin = container, stream, begin
        self._packets = PacketReader(container)
        self._clock = SourceClock(container)
        self._own_times = PictureTimes(container.format.name)
        self._times = replace(begin.times) if begin else FrameTimes(container.format.name, 1 / fps)
        from_zero = container.format.name in FORMATS_FROM_ZERO
        self._begin_s = Fraction(0 if from_zero else container.start_time or 0, av.time_base)
        self._losses: list[_Loss] = []
        self._sent = self.skipped = 0

    @property
    def start_s(self) -> Fraction:
        """The source clock's time of the first picture."""
        return self._times.start_s

    @property
    def decoded(self) -> int:
        """Pictures so far, those before `begin` included."""
        return self._times.frames

    @property
    def repaired(self) -> int:
        """Pictures so far whose time was missing or not later than the one before."""
        return self._times.repaired

    @property
    def untimed(self) -> int:
        """Those among them that have no time at all."""
        return self._times.untimed

    @property
    def missing(self) -> int:
        """Pictures that are absent from an even rate without an error."""
        return self._times.missing

    @property
    def is_of_any_rate(self) -> bool:
        """Whether such pictures may never have been there."""
        return self._times.is_of_any_rate

    @property
    def container_errors(self) -> int:
        """Places so far where the container could not be read."""
        return self._packets.errors

    @property
    def clock_resets(self) -> int:
        """How often the source's clock started anew so far."""
        return self._clock.resets

    @property
    def knows_duration(self) -> bool:
        """Whether the container can know its duration, which some measure by their clock."""
        return not (self._clock.resets and self._clock.wraps)

    @property
    def unread_share(self) -> float:
        """How much of the file lies behind the furthest packet so far; 0 if that tells nothing."""
        size = self._container.size
        if self._container.format.name not in FORMATS_IN_FILE_ORDER or size <= 0:
            return 0.0
        return max(0.0, 1 - self._packets.end / size)

    @property
    def lead_s(self) -> Fraction:
        """Seconds of the container's duration before the first picture: sound may begin earlier."""
        return max(Fraction(0), self.start_s - self._begin_s)

    @property
    def end_s(self) -> Fraction:
        """Seconds from the first picture to the end of the latest packet of any stream so far."""
        return self._clock.end_s - self.start_s

    def pictures(self) -> Iterator[TimedPicture]:
        """Decoded pictures in presentation order; their times increase.

        A picture whose damage the decoder could conceal is kept, as players do; the decoder's
        "corrupt" flag marks only some of them and says nothing of their looks.
        """
        # One decoding thread: with more, errors come up some packets late, those in the last
        # packets make PyAV drop good pictures, and concealed pixels depend on the machine.
        context = self._stream.codec_context
        if not context.is_open:
            context.thread_count, context.copy_opaque = 1, True
        errors = 0
        packets = iter(self._packets)
        for packet in from_key_frame(packets, self._begin) if self._begin else packets:
            shift_s = self._clock.shift_s(packet)
            if self._packets.errors > errors:
                errors = self._packets.errors
                self._losses.append(_Loss(self._sent, None))
            if packet.stream_index == self._stream.index:
                for picture in self._decode(packet, shift_s):
                    yield self._timed(picture)
        for picture in self._drain():
            yield self._timed(picture)

    def _decode(self, packet: AnyPacket, shift_s: Fraction) -> list[av.VideoFrame]:
        sent = SentPacket.of(packet, self._sent, shift_s)
        self._sent += 1
        self._own_times.sent(sent)
        try:
            return self._stream.codec_context.decode(packet)
        except av.FFmpegError:
            if packet.size > PLACEHOLDER_BYTES:
                self.skipped += 1
                self._own_times.lost(sent)
                self._losses.append(_Loss(self._sent, sent.shown_s))
            return []

    def _drain(self) -> list[av.VideoFrame]:
        """The pictures that the decoder still holds."""
        try:
            return self._stream.codec_context.decode(None)
        except av.FFmpegError:
            self.skipped += 1
            return []

    def _timed(self, picture: av.VideoFrame) -> TimedPicture:
        sent = picture.opaque if isinstance(picture.opaque, SentPacket) else None
        own_s = self._own_times.of(picture, reordered=self._stream.codec_context.has_b_frames)
        shift_s = sent.shift_s if sent else None
        time_s, hole = self._times.take(own_s, shift_s, self._first_s())
        after_gap = self._is_after_loss(sent) or hole
        return TimedPicture(picture, time_s, after_gap)

    def _first_s(self) -> Fraction:
        start = self._stream.start_time
        return Fraction(0) if start is None else start * Fraction(self._stream.time_base or 0)

    def _is_after_loss(self, sent: SentPacket | None) -> bool:
        """Whether something was lost before this picture, since the one before it.

        B-frames come out later than packets go in: only the time, or else the packet, says on which
        side of a loss a picture lies.
        """
        before = [loss for loss in self._losses if _lies_before(loss, sent)]
        self._losses = [loss for loss in self._losses if loss not in before]
        return bool(before)


def _lies_before(loss: _Loss, sent: SentPacket | None) -> bool:
    if sent is None:
        return True
    if loss.shown_s is None or sent.shown_s is None:
        return sent.number >= loss.packets
    return loss.shown_s < sent.shown_s
