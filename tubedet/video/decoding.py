"""From packets to pictures with times: damage is passed over and counted, times are repaired."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import NamedTuple

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from tubedet.video.container import AnyPacket, PacketReader
from tubedet.video.picture_times import PLACEHOLDER_BYTES, PictureTimes, SentPacket
from tubedet.video.source_clock import SourceClock

# Where pictures are missing from an even rate without an error, as damaged ASF and Matroska files
# skip them. Elsewhere a hole is part of the video: AVI's empty chunks, MP4's durations.
FORMATS_WITH_HOLES = {"asf", "matroska,webm", "mpegts", "mpeg", "mxf", "flv", "nut"}
FORMATS_FROM_ZERO = {"matroska,webm", "flv"}  # their durations count from there
FORMATS_IN_FILE_ORDER = {"matroska,webm", "mpegts", "mpeg", "flv", "nut"}
HOLE_FRAMES = Fraction(7, 4)  # from one picture to the next
LONGEST_HOLE_S = 10  # what is longer is a pause
EVEN_SHARE = 0.8
# Recorders write these at whatever rate they can hold, so a hole may be none.
FORMATS_OF_ANY_RATE = {"matroska,webm", "flv"}
LEAST_EVEN, LEAST_EVEN_OF_ANY_RATE = 3, 24  # steps, before a rate is called even


class TimedPicture(NamedTuple):
    """A decoded picture, its seconds after the first one, and whether one is lost before it.

    `own_s` is its time on the source's clock, as the source has it; None where it has none.
    """

    picture: av.VideoFrame
    time_s: Fraction
    after_gap: bool
    own_s: Fraction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingCounts:
    """What one pass over a stream, or several together, met so far; see `Decoding`."""

    decoded: int = 0
    skipped: int = 0
    container_errors: int = 0
    missing: int = 0
    untimed: int = 0
    repaired: int = 0
    clock_resets: int = 0

    def __add__(self, other: "DecodingCounts") -> "DecodingCounts":
        sums = {name: count + getattr(other, name) for name, count in asdict(self).items()}
        return DecodingCounts(**sums)


@dataclass(slots=True)
class _Loss:
    """A place where something could not be decoded: after so many packets, or at this time."""

    packets: int
    shown_s: Fraction | None


class Decoding:
    """One pass over a stream.

    Attributes:
        start_s: the source clock's time of the first picture.
        decoded: pictures so far; `skipped` packets could not be decoded.
        repaired: pictures so far whose time was missing or not later than the one before.
        untimed: those among them that have no time at all.
        missing: pictures that are absent from an even rate without an error.
        is_of_any_rate: such pictures may never have been there.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        fps: Fraction,
        packets: PacketReader | None = None,
    ) -> None:
        self._container, self._stream, self._frame_s = container, stream, 1 / fps
        self._packets = PacketReader(container) if packets is None else packets
        self._clock = SourceClock(container)
        self._times = PictureTimes(container.format.name)
        self._has_holes = container.format.name in FORMATS_WITH_HOLES
        self.is_of_any_rate = container.format.name in FORMATS_OF_ANY_RATE
        self._least_even = LEAST_EVEN_OF_ANY_RATE if self.is_of_any_rate else LEAST_EVEN
        begin = 0 if container.format.name in FORMATS_FROM_ZERO else container.start_time
        self._begin_s = Fraction(begin or 0, av.time_base)
        self._losses: list[_Loss] = []
        self._latest_s: Fraction | None = None
        self._shift_s = Fraction(0)
        self._sent = self._even = 0
        self.start_s = Fraction(0)
        self.decoded = self.skipped = self.repaired = self.untimed = self.missing = 0

    @property
    def container_errors(self) -> int:
        """Places so far where the container could not be read."""
        return self._packets.errors

    @property
    def clock_resets(self) -> int:
        """How often the source's clock started anew so far."""
        return self._clock.resets

    @property
    def counts(self) -> DecodingCounts:
        """What this pass met so far."""
        return DecodingCounts(
            decoded=self.decoded,
            skipped=self.skipped,
            container_errors=self.container_errors,
            missing=self.missing,
            untimed=self.untimed,
            repaired=self.repaired,
            clock_resets=self.clock_resets,
        )

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
        context.thread_count, context.copy_opaque = 1, True
        errors = 0
        for packet in self._packets:
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
        self._times.sent(sent)
        try:
            return self._stream.codec_context.decode(packet)
        except av.FFmpegError:
            if packet.size > PLACEHOLDER_BYTES:
                self.skipped += 1
                self._times.lost(sent)
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
        self.decoded += 1
        sent = picture.opaque if isinstance(picture.opaque, SentPacket) else None
        own_s = self._times.of(picture, reordered=self._stream.codec_context.has_b_frames)
        if self._latest_s is None:
            self.start_s = self._first_s() if own_s is None else own_s
        time_s, step_s = self._increasing(own_s)
        shift_s = sent.shift_s if sent else self._shift_s
        hole = shift_s == self._shift_s and self._is_hole(step_s)
        after_gap = self._is_after_loss(sent) or hole
        self._latest_s, self._shift_s = time_s, shift_s
        return TimedPicture(picture, time_s, after_gap, own_s)

    def _first_s(self) -> Fraction:
        start = self._stream.start_time
        return Fraction(0) if start is None else start * Fraction(self._stream.time_base or 0)

    def _increasing(self, own_s: Fraction | None) -> tuple[Fraction, Fraction]:
        """Seconds after the first picture, and after the latest: as the source says, or made up."""
        self.untimed += own_s is None
        if self._latest_s is None:
            self.repaired += own_s is None
            return Fraction(0), Fraction(0)
        if own_s is None:
            self.repaired += 1
            return self._latest_s + self._frame_s, Fraction(0)
        time_s = own_s - self.start_s
        if time_s <= self._latest_s:
            self.repaired += 1
            # Half a frame, so that the source's times catch up.
            return self._latest_s + self._frame_s / 2, Fraction(0)
        return time_s, time_s - self._latest_s

    def _is_hole(self, step_s: Fraction) -> bool:
        frames = step_s / self._frame_s
        self._even += Fraction(3, 4) < frames < Fraction(5, 4)
        is_even = self._even >= max(self._least_even, EVEN_SHARE * (self.decoded - 2))
        if not (self._has_holes and is_even and frames >= HOLE_FRAMES and step_s <= LONGEST_HOLE_S):
            return False
        self.missing += round(frames) - 1
        return True

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
