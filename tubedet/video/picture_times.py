"""When each decoded picture is shown, on the source's clock.

Most containers store presentation times. AVI, ASF and some others store decoding times only, which
FFmpeg passes on as if they were presentation times. Decoding times increase and pictures leave the
decoder in the order they are shown in, so the k-th picture has the k-th packet's decoding time.
"""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction

import av

from tubedet.video.container import AnyPacket

DECODING_TIMES_ONLY = {"avi", "asf"}
# From a packet's decoding to its picture's showing: what is less or more is damage. A picture that
# waits for B-frames may wait through a pause.
LEAST_AHEAD_S, MOST_AHEAD_S = -1, 12 * 3600
HELD_PACKETS = 64  # more than any decoder keeps back
PLACEHOLDER_BYTES = 1  # XviD's, where its encoder has no picture ready: the next one's place


@dataclass(frozen=True, slots=True, eq=False)
class SentPacket:
    """A packet that went into the decoder: its number, times in seconds, and size in bytes.

    Its times are `shift_s` later than the source's own.
    """

    number: int
    shown_s: Fraction | None
    decoded_s: Fraction | None
    size: int
    shift_s: Fraction

    @classmethod
    def of(cls, packet: AnyPacket, number: int, shift_s: Fraction) -> "SentPacket":
        """A packet whose own times are moved by `shift_s`; the decoder hands it to its picture."""
        shown, decoded = (
            None if own is None else own * Fraction(packet.time_base) + shift_s
            for own in (packet.pts, packet.dts)
        )
        if shown is not None and decoded is not None:
            shown = shown if LEAST_AHEAD_S <= shown - decoded <= MOST_AHEAD_S else None
        sent = cls(number, shown, decoded, packet.size, shift_s)
        packet.opaque = sent
        return sent


class PictureTimes:
    """Times of pictures, from the times of the packets that were sent before them."""

    def __init__(self, format_name: str) -> None:
        self._decoding_only = format_name in DECODING_TIMES_ONLY
        # Packets whose picture has not come out, and those whose time no picture has taken.
        self._without_picture: deque[SentPacket] = deque(maxlen=HELD_PACKETS)
        self._without_time: deque[SentPacket] = deque(maxlen=HELD_PACKETS)
        self._offsets: set[Fraction | None] = set()
        self._latest: dict[str, Fraction] = {}
        self._wrong = {"own": 0, "in_turn": 0}

    def sent(self, packet: SentPacket) -> None:
        """A packet goes into the decoder."""
        self._without_picture.append(packet)
        self._without_time.append(packet)
        if len(self._offsets) < 2:
            shown_s, decoded_s = packet.shown_s, packet.decoded_s
            if shown_s is None or decoded_s is None:
                self._offsets.add(None)
            else:
                self._offsets.add(shown_s - decoded_s)

    def lost(self, packet: SentPacket) -> None:
        """A packet could not be decoded: no picture takes its time."""
        if packet in self._without_picture:
            self._without_picture.remove(packet)
        if packet in self._without_time:
            self._without_time.remove(packet)
        elif self._without_time:
            self._without_time.popleft()  # another picture took its time, and so on until here

    def of(self, picture: av.VideoFrame, *, reordered: bool) -> Fraction | None:
        """The time of the next picture in the order of presentation, None if nothing tells it.

        `reordered` says that the decoder's pictures may leave it in another order than they came.
        """
        sent = picture.opaque if isinstance(picture.opaque, SentPacket) else None
        if sent:
            self._forget_what_has_no_picture(sent, picture.key_frame)
        turn = self._without_time.popleft() if self._without_time else None
        in_turn_s = self._time_of_turn(turn)
        own_s = sent.shown_s if sent else in_turn_s
        self._compare("own", own_s)
        self._compare("in_turn", in_turn_s)
        own_is_wrong = self._wrong["own"] > self._wrong["in_turn"]
        unordered = self._decoding_only or len(self._offsets) < 2 or own_is_wrong
        return in_turn_s if reordered and unordered else own_s

    def _forget_what_has_no_picture(self, sent: SentPacket, is_key: bool) -> None:
        """What was sent before a key frame is shown before it, or never."""
        if sent in self._without_picture:
            self._without_picture.remove(sent)
        if is_key:
            for packet in [each for each in self._without_picture if each.number < sent.number]:
                if packet.size > PLACEHOLDER_BYTES:
                    self.lost(packet)

    def _time_of_turn(self, turn: SentPacket | None) -> Fraction | None:
        if turn is None:
            return None
        if self._decoding_only or turn.shown_s is None:
            return turn.shown_s if turn.decoded_s is None else turn.decoded_s
        return turn.shown_s

    def _compare(self, kind: str, time_s: Fraction | None) -> None:
        """Count how often a kind of time did not increase."""
        if time_s is not None:
            self._wrong[kind] += time_s <= self._latest.get(kind, time_s - 1)
            self._latest[kind] = time_s
