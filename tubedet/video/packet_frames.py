"""Which packet is which frame, and when it is shown, told from packets without decoding them.

Reading packets costs a tenth of a millisecond for a second of video. Damage within a packet is not
noticed: a picture that cannot be decoded counts.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from heapq import heappop, heappush
from itertools import dropwhile
from typing import NamedTuple

from av.container import InputContainer
from av.video.stream import VideoStream

from tubedet.video.container import AnyPacket, PacketReader, codec_name
from tubedet.video.frame_times import FrameTimes
from tubedet.video.picture_times import SentPacket
from tubedet.video.source_clock import SourceClock

# Where each packet is one picture and says when it is shown, and a key frame can be sought.
FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
CODECS = {"h264", "hevc", "av1", "vp9"}
NO_TIME = -(2**63)  # as FFmpeg has it: earlier than all others


class UncertainFramesError(Exception):
    """Packets leave a doubt which picture has which number and time."""


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A frame that decoding can begin with.

    Attributes:
        number: as in `VideoFrame.frame`.
        pts, dts, pos: of its packet.
        times: of the frames before it.
    """

    number: int
    pts: int
    dts: int
    pos: int | None
    times: FrameTimes


class PacketFrame(NamedTuple):
    """A frame, as its packet tells of it.

    Attributes:
        number: as in `VideoFrame.frame`.
        pts: in units of the stream's time base.
        time_s: seconds from the first frame.
        key: the latest key frame, which may be this one.
    """

    number: int
    pts: int
    time_s: Fraction
    key: KeyFrame


class _Packet(NamedTuple):
    """A packet whose frame has not been told yet; the first one to be shown comes first."""

    pts: int
    shown_s: Fraction
    dts: int
    pos: int | None
    is_key: bool


def can_tell_frames(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the packets of a file of this kind tell of its frames."""
    return container.format.name in FORMATS and codec_name(stream) in CODECS


class PacketFrames:
    """The frames of a stream in the order in which they are shown, read from its packets once.

    Attributes:
        packets: of the stream so far, but for those whose pictures are decoded and not shown.

    Args:
        container: from its beginning.
        stream: of it, of a kind that `can_tell_frames`.
        fps: the nominal rate.
    """

    packets: int

    def __init__(self, container: InputContainer, stream: VideoStream, fps: Fraction) -> None:
        self.packets = 0
        self._stream = stream
        self._reader, self._clock = PacketReader(container), SourceClock(container)
        self._own = self._packets_of_stream()
        self._times = FrameTimes(container.format.name, 1 / fps)
        self._waiting: list[_Packet] = []
        self._latest: int | None = None  # pts of what was told, or is hidden
        self._key: KeyFrame | None = None

    def __iter__(self) -> Iterator[PacketFrame]:
        """The frames; each comes as soon as no packet that follows can be shown before it.

        Raises:
            UncertainFramesError: where a doubt arises.
        """
        for packet in self._own:
            read = self._read(packet)
            if packet.is_discard:
                self._hide(read)
            else:
                heappush(self._waiting, read)
            while self._waiting and self._waiting[0].pts <= read.dts:
                yield self._told(heappop(self._waiting))
        while self._waiting:
            yield self._told(heappop(self._waiting))

    def count(self) -> int:
        """`packets` of the whole stream, whatever is in doubt."""
        for _ in self._own:
            pass
        return self.packets

    def _packets_of_stream(self) -> Iterator[AnyPacket]:
        for packet in self._reader:
            self._clock.shift_s(packet)
            if packet.stream_index == self._stream.index:
                self.packets += not packet.is_discard
                yield packet

    def _read(self, packet: AnyPacket) -> _Packet:
        shown_s = SentPacket.of(packet, 0, Fraction(0)).shown_s
        if packet.pts is None or shown_s is None or self._clock.resets or self._reader.errors:
            raise UncertainFramesError
        # Without a decoding time, what follows may be shown before any frame.
        dts = NO_TIME if packet.dts is None else packet.dts
        return _Packet(packet.pts, shown_s, dts, packet.pos, packet.is_keyframe)

    def _hide(self, packet: _Packet) -> None:
        """An edit list hides a picture; only the beginning of a video is hidden without doubt."""
        if self._times.frames:
            raise UncertainFramesError
        self._latest = max(packet.pts, packet.pts if self._latest is None else self._latest)
        self._see_key(packet)

    def _told(self, packet: _Packet) -> PacketFrame:
        if self._latest is not None and packet.pts <= self._latest:
            raise UncertainFramesError
        self._latest, number = packet.pts, self._times.frames
        self._see_key(packet)
        if self._key is None:  # what is shown before the first key frame cannot be decoded
            raise UncertainFramesError
        time_s, _ = self._times.take(packet.shown_s, None, packet.shown_s)
        return PacketFrame(number, packet.pts, time_s, self._key)

    def _see_key(self, packet: _Packet) -> None:
        if packet.is_key:
            number, times = self._times.frames, replace(self._times)
            self._key = KeyFrame(number, packet.pts, packet.dts, packet.pos, times)


def seek(container: InputContainer, stream: VideoStream, key: KeyFrame) -> None:
    """Bring a container to a key frame or before it; `from_key_frame` goes on from there."""
    container.seek(key.pts if key.dts == NO_TIME else key.dts, stream=stream)


def from_key_frame(packets: Iterable[AnyPacket], key: KeyFrame) -> Iterator[AnyPacket]:
    """The packets of a container that was brought to a key frame, from that on."""

    def is_before(packet: AnyPacket) -> bool:
        return not (packet.is_keyframe and (packet.pts, packet.pos) == (key.pts, key.pos))

    return dropwhile(is_before, packets)
