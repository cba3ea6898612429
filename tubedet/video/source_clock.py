"""One continuous clock for all streams of a file, whatever its own clock does.

The clock of a transport or program stream may start anew: a camera restarts, files are joined. What
follows is then an epoch of its own, which is shifted to begin where the epoch before it ended.
FFmpeg takes a clock that went back for one whose 33 bits ran over, and adds 2^33 ticks (26.5 h).
Real pauses are kept, and so is the distance between sound and picture within an epoch.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer

from tubedet.video.container import AnyPacket

WRAPPING_FORMATS = {"mpegts", "mpeg"}
FORMATS_WITHOUT_DURATION = {"mov,mp4,m4a,3gp,3g2,mj2"}  # in fragments: that of the first of them
WRAP_S = Fraction(2**33, 90_000)
LONGEST_PAUSE_S = 12 * 3600  # of a clock that wraps: beyond it, the clock went back
LONGEST_PAUSE_OVER_THE_WRAP_S = 60
BEYOND_THE_END_S = 5  # of the duration: a pause that is longer than the whole file is none
STEP_BACK_S = Fraction(1, 10)  # of decoding times, which increase; what is less is jitter
PTS_STEP_BACK_S = 2  # of presentation times, which B-frames reorder
NEAR_S = 5  # between the beginnings of the streams of an epoch
GLITCH_PACKETS = 3
LONGEST_PACKET_S = 1


@dataclass(slots=True, eq=False)
class _Epoch:
    """A stretch of one clock, from `begin_s` to `end_s` of the source; moved by `shift_s`."""

    shift_s: Fraction
    begin_s: Fraction
    end_s: Fraction


@dataclass(slots=True)
class _Place:
    """Where a stream is: the source's time of its last packet, and how many it has had there."""

    epoch: _Epoch
    last_s: Fraction
    from_pts: bool = False
    packets: int = 0
    before: "_Place | None" = None


class SourceClock:
    """What has to be added to a packet's own times.

    `wraps` says that the source's clock starts anew by itself, after 26.5 hours. Two clocks that
    see the packets of the same file give the same answers.
    """

    def __init__(self, container: InputContainer) -> None:
        video = container.streams.video
        rate = next((stream.average_rate for stream in video if stream.average_rate), None)
        self._frame_s = 1 / Fraction(rate) if rate else Fraction(1, 25)
        self.wraps = container.format.name in WRAPPING_FORMATS
        self._longest_pause_s = _longest_pause_s(container)
        self._epochs: list[_Epoch] = []
        self._places: dict[int, _Place] = {}

    @property
    def resets(self) -> int:
        """How often the source's clock started anew so far."""
        return max(0, len(self._epochs) - 1)

    @property
    def end_s(self) -> Fraction:
        """Where the latest packet so far ends, on this clock."""
        return max((each.end_s + each.shift_s for each in self._epochs), default=Fraction(0))

    def shift_s(self, packet: AnyPacket) -> Fraction:
        """Seconds to add to this packet's times; to be asked for every packet, in file order."""
        place = self._places.get(packet.stream_index)
        times_s = _times_s(packet)
        if times_s is None or packet.stream.type not in ("video", "audio"):
            epochs = [place.epoch] if place else self._epochs
            return epochs[-1].shift_s if epochs else Fraction(0)
        own_s, shown_s = times_s
        place = self._place(packet, place, own_s, shown_s)
        self._places[packet.stream_index] = place
        if not (self.wraps and packet.stream.type == "audio" and is_guessed(packet)):
            place.last_s, place.from_pts = own_s, packet.dts is None
        place.packets += 1
        lasts_s = (packet.duration or 0) * Fraction(packet.time_base)
        if not 0 < lasts_s <= LONGEST_PACKET_S:
            lasts_s = self._frame_s
        place.epoch.begin_s = min(place.epoch.begin_s, own_s)
        place.epoch.end_s = max(place.epoch.end_s, shown_s + lasts_s)
        return place.epoch.shift_s

    def _place(
        self, packet: AnyPacket, place: _Place | None, own_s: Fraction, shown_s: Fraction
    ) -> _Place:
        if place is None:
            epoch = self._entered(own_s, self._epochs) or self._first_or_newest(own_s)
            return _Place(epoch, own_s)
        before, goes_on = place.before, -STEP_BACK_S <= own_s - place.last_s < 1
        is_odd = place.packets <= GLITCH_PACKETS and not goes_on
        if before and is_odd and 0 < own_s - before.last_s < NEAR_S:
            return before  # a few odd times, and the clock goes on as it did
        if not self._is_reset(place, own_s, from_pts=place.from_pts or packet.dts is None):
            return place
        later = self._epochs[self._epochs.index(place.epoch) + 1 :]
        epoch = self._entered(own_s, later) or self._new_epoch(own_s, shown_s)
        place.before = None
        return _Place(epoch, own_s, before=place)

    def _is_reset(self, place: _Place, own_s: Fraction, *, from_pts: bool) -> bool:
        leap_s = own_s - place.last_s
        if leap_s < 0:
            return -leap_s > (PTS_STEP_BACK_S if from_pts else STEP_BACK_S)
        if self.wraps and place.last_s < WRAP_S <= own_s:
            return leap_s > LONGEST_PAUSE_OVER_THE_WRAP_S
        return self._longest_pause_s is not None and leap_s > self._longest_pause_s

    def _entered(self, own_s: Fraction, epochs: list[_Epoch]) -> _Epoch | None:
        """The newest of the epochs that a packet may belong to: another stream is there already."""
        for epoch in reversed(epochs):
            if epoch.begin_s - NEAR_S <= own_s <= epoch.end_s + NEAR_S:
                return epoch
        return None

    def _first_or_newest(self, own_s: Fraction) -> _Epoch:
        if not self._epochs:
            self._epochs.append(_Epoch(Fraction(0), own_s, own_s))
        return self._epochs[-1]

    def _new_epoch(self, own_s: Fraction, shown_s: Fraction) -> _Epoch:
        self._epochs.append(_Epoch(self.end_s - shown_s, own_s, shown_s))
        return self._epochs[-1]


def is_guessed(packet: "av.Packet[Any]") -> bool:
    """Whether a packet of a transport or program stream has a time by FFmpeg's guess.

    Of the sound in one PES packet only the first part has the source's time, and a place in the
    file. The guess goes wrong where the sound changes its rate, until the next PES packet.
    """
    return packet.pos is None


def _times_s(packet: AnyPacket) -> tuple[Fraction, Fraction] | None:
    """By which the order of packets goes, and when this one is shown; None if it has no time."""
    own = packet.pts if packet.dts is None else packet.dts
    if own is None:
        return None
    own_s = own * Fraction(packet.time_base)
    shown_s = own_s if packet.pts is None else packet.pts * Fraction(packet.time_base)
    return own_s, shown_s if abs(shown_s - own_s) < NEAR_S else own_s


def _longest_pause_s(container: InputContainer) -> int | None:
    """The longest leap of a clock that can be a pause; None if any can."""
    if container.format.name in WRAPPING_FORMATS:
        return LONGEST_PAUSE_S
    if container.format.name in FORMATS_WITHOUT_DURATION or not container.duration:
        return None
    return container.duration // av.time_base + BEYOND_THE_END_S
