"""The packets of a live source, and when each of them came."""

from collections import defaultdict, deque
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from time import monotonic_ns
from typing import ClassVar

import av
from av.container import InputContainer

from tubedet.video.container import AnyPacket, PacketReader, codec_name

QUIET_US = 300_000  # without a packet that is less late than those before: the burst is over
LESS_LATE_US = 5_000
MOST_HELD, LONGEST_HELD_US = 256, 3_000_000
MEASURED_US, LEAST_MEASURED_US = 1_500_000, 300_000
# FFmpeg gives a picture's packet when so many later ones have begun to come: only where the next
# one begins does it know that the picture is complete, in the container and once more in its codec.
PACKETS_HELD = {"rtsp": 1, "mpegts": 2, "h264": 1, "hevc": 1, "mpegvideo": 1, "m4v": 1}
SPLIT_CODECS = {"h264", "hevc", "mpeg2video", "mpeg4"}  # by FFmpeg, where one picture ends
NO_PICTURE_US = 30_000_000  # longer than between any camera's key frames


class NothingToSeeError(Exception):
    """Packets come, but no picture."""


class LivePackets(PacketReader):
    """Packets as they come, past damage, until the source ends or the connection fails.

    What comes in a burst when a connection begins, since it has waited at the server or in FFmpeg's
    search for streams, is held until the burst is over: from then on it is known when each of its
    packets would have come without it.

    Of a stream without times, the rate is measured first; it is taken to be even. If the connection
    does not last long enough, the nominal rate has to do.

    Attributes:
        failure: why the connection failed, once all packets before it are given; else None.
        arrived_us: when the packet that was given last began to come, in microseconds by
            `monotonic_us`.
        measured_fps: the rate of a stream without times, in frames a second; None if it is unknown.
    """

    passed_over: ClassVar[type[av.FFmpegError]] = av.error.InvalidDataError
    failure: av.FFmpegError | None
    arrived_us: int
    measured_fps: Fraction | None

    def __init__(
        self, container: InputContainer, *, has_bursts: bool, has_times: bool = True
    ) -> None:
        super().__init__(container)
        self._container_format = container.format.name
        self._has_bursts, self._has_times = has_bursts, has_times
        self.failure = self.measured_fps = None
        self.arrived_us = self._shown_us = monotonic_us()

    def shown(self) -> None:
        """A picture has come out of the packets so far: without one, the iterator gives up."""
        self._shown_us = monotonic_us()

    def __iter__(self) -> Iterator[AnyPacket]:
        packets = _with_arrivals(self._until_failure(), self._container_format)
        held: list[tuple[AnyPacket, int]] = []
        if not self._has_times:
            held, self.measured_fps = _measured(packets)
        elif self._has_bursts:
            held = _out_of_burst(packets)
        for packet, self.arrived_us in held:
            yield packet
        self.shown()
        for packet, self.arrived_us in packets:
            yield packet
            if self.arrived_us - self._shown_us > NO_PICTURE_US:
                raise NothingToSeeError

    def _until_failure(self) -> Iterator[AnyPacket]:
        """The packets up to a failure, which is kept: raised, it would take held packets along."""
        try:
            yield from super().__iter__()
        except av.FFmpegError as error:
            self.failure = error.with_traceback(None)  # which would keep this and its codec alive


def monotonic_us() -> int:
    """This machine's clock, in microseconds from some moment on."""
    return monotonic_ns() // 1000


def _with_arrivals(
    packets: Iterator[AnyPacket], container_format: str
) -> Iterator[tuple[AnyPacket, int]]:
    """The packets, each with when it began to come: when FFmpeg gave the one before those held."""
    given: dict[int, deque[int]] = defaultdict(deque)
    for packet in packets:
        is_split = codec_name(packet.stream) in SPLIT_CODECS
        held = PACKETS_HELD.get(container_format, 0) if is_split else 0
        of_stream = given[packet.stream_index]
        of_stream.append(monotonic_us())
        if len(of_stream) > held + 1:
            of_stream.popleft()
        yield packet, of_stream[0]


def _out_of_burst(packets: Iterator[tuple[AnyPacket, int]]) -> list[tuple[AnyPacket, int]]:
    """The packets up to the end of the burst, each with when it would have come without it."""
    held: list[tuple[AnyPacket, int]] = []
    least_us = since_us = None
    for packet, came_us in packets:
        own_us = _own_us(packet)
        held.append((packet, came_us))
        if own_us is not None and (least_us is None or came_us - own_us < least_us - LESS_LATE_US):
            least_us, since_us = came_us - own_us, came_us
        is_quiet = since_us is not None and came_us - since_us > QUIET_US
        if is_quiet or len(held) >= MOST_HELD or came_us - held[0][1] > LONGEST_HELD_US:
            break
    _time_first([packet for packet, _ in held])
    return [(packet, _undelayed_us(packet, came_us, least_us)) for packet, came_us in held]


def _measured(
    packets: Iterator[tuple[AnyPacket, int]],
) -> tuple[list[tuple[AnyPacket, int]], Fraction | None]:
    """Packets up to some time, each with when it came without a burst, and their rate."""
    held: list[AnyPacket] = []
    came_us: list[int] = []
    for packet, packet_us in packets:
        held.append(packet)
        came_us.append(packet_us)
        if len(held) >= MOST_HELD or came_us[-1] - came_us[0] > MEASURED_US:
            break
    if not held:
        return [], None
    steps = enumerate(pairwise(came_us), start=1)
    burst = next((place for place, (a, b) in steps if b - a > LESS_LATE_US), len(held) - 1)
    after_us = came_us[burst:]
    lasts_us = after_us[-1] - after_us[0]
    is_known = lasts_us >= LEAST_MEASURED_US
    step_us = lasts_us / (len(after_us) - 1) if is_known else _nominal_step_us(held[-1])
    came_us[:burst] = [round(after_us[0] - step_us * ahead) for ahead in range(burst, 0, -1)]
    fps = Fraction(max(1, round(1_000_000 / step_us))) if is_known else None
    return list(zip(held, came_us, strict=True)), fps


def _time_first(packets: list[AnyPacket]) -> None:
    """Give the first packet its time, which RTSP servers do not tell, by that of the second."""
    match packets:
        case [first, second, *_] if (
            first.stream_index == second.stream_index and first.dts is None and first.duration
        ):
            if second.dts is not None:
                first.pts = first.dts = second.dts - first.duration


def _undelayed_us(packet: AnyPacket, came_us: int, least_us: int | None) -> int:
    own_us = _own_us(packet)
    return came_us if own_us is None or least_us is None else min(came_us, own_us + least_us)


def _own_us(packet: AnyPacket) -> int | None:
    if packet.dts is None or packet.time_base is None:
        return None
    return int(packet.dts * packet.time_base * 1_000_000)


def _nominal_step_us(packet: AnyPacket) -> int:
    return int((packet.duration or 0) * (packet.time_base or 0) * 1_000_000)
