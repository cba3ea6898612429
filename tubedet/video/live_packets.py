"""The packets of a live source, and when each of them came."""

from collections.abc import Iterator
from time import monotonic_ns
from typing import ClassVar

import av
from av.container import InputContainer

from tubedet.video.container import AnyPacket, PacketReader

QUIET_US = 300_000  # without a packet that is less late than those before: the burst is over
LESS_LATE_US = 5_000
MOST_HELD, LONGEST_HELD_US = 256, 3_000_000
NO_PICTURE_US = 30_000_000  # longer than between any camera's key frames


class NothingToSeeError(Exception):
    """Packets come, but no picture."""


class LivePackets(PacketReader):
    """Packets as they come, past damage, until the connection fails: then its error is raised.

    What comes in a burst when a connection begins, since it has waited at the server or in FFmpeg's
    search for streams, is held until the burst is over: from then on it is known when each of its
    packets would have come without it.

    Attributes:
        arrived_us: when the packet that was given last came, in microseconds by `monotonic_us`.
    """

    passed_over: ClassVar[type[av.FFmpegError]] = av.error.InvalidDataError
    arrived_us: int

    def __init__(self, container: InputContainer, *, has_bursts: bool) -> None:
        super().__init__(container)
        self._has_bursts = has_bursts
        self.arrived_us = self._shown_us = monotonic_us()

    def shown(self) -> None:
        """A picture has come out of the packets so far.

        Raises:
            NothingToSeeError: from the iterator, if that does not happen for a long time.
        """
        self._shown_us = monotonic_us()

    def __iter__(self) -> Iterator[AnyPacket]:
        packets = super().__iter__()
        if self._has_bursts:
            for packet, self.arrived_us in _out_of_burst(packets):
                yield packet
            self.shown()
        for packet in packets:
            self.arrived_us = monotonic_us()
            yield packet
            if self.arrived_us - self._shown_us > NO_PICTURE_US:
                raise NothingToSeeError


def monotonic_us() -> int:
    """This machine's clock, in microseconds from some moment on."""
    return monotonic_ns() // 1000


def _out_of_burst(packets: Iterator[AnyPacket]) -> list[tuple[AnyPacket, int]]:
    """The packets up to the end of the burst, each with when it would have come without it."""
    held: list[tuple[AnyPacket, int]] = []
    least_us = since_us = None
    for packet in packets:
        came_us, own_us = monotonic_us(), _own_us(packet)
        held.append((packet, came_us))
        if own_us is not None and (least_us is None or came_us - own_us < least_us - LESS_LATE_US):
            least_us, since_us = came_us - own_us, came_us
        is_quiet = since_us is not None and came_us - since_us > QUIET_US
        if is_quiet or len(held) >= MOST_HELD or came_us - held[0][1] > LONGEST_HELD_US:
            break
    _time_first([packet for packet, _ in held])
    return [(packet, _undelayed_us(packet, came_us, least_us)) for packet, came_us in held]


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
