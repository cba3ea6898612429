"""A text subtitle track on its way into the MP4, where it becomes 3GPP timed text (`mov_text`).

The words are kept; fonts, colours and places are not. What the format cannot hold is two texts at a
time: where subtitles overlap, their lines are shown below each other.
"""

import re
from fractions import Fraction
from math import inf

import av
from av.container import OutputContainer
from av.stream import Stream
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle

TICK = Fraction(1, 1000)
MAX_TEXT_BYTES = 65_535
STYLE_CODES = re.compile(r"\{\\[^}]*\}")  # of ASS: {\i1}
DRAWING = re.compile(r"\{[^}]*\\p[1-9][^}]*\}.*?(\{[^}]*\\p0[^}]*\}|$)", re.DOTALL)

# What FFmpeg's encoder takes the track's description from: one plain style.
STYLE = b"""[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, \
Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


class SubtitleTrack:
    """Packets of one subtitle track in, packets of the MP4 out.

    A text is given out when the next one begins, since only then is it known what overlaps.
    """

    def __init__(self, source: SubtitleStream, output: OutputContainer) -> None:
        """Add a stream to `output`, which has no packet yet."""
        self.stream = output.add_stream("mov_text")
        self.stream.codec_context.subtitle_header = b"[Script Info]\n" + STYLE
        self.stream.time_base = self.stream.codec_context.time_base = TICK
        self._shown: list[tuple[float, str]] = []  # each with its end in ticks
        self._now = 0

    def convert(
        self, packet: "av.Packet[Stream]", start_s: Fraction | None
    ) -> list["av.Packet[Stream]"]:
        """What is complete when this packet begins, at `start_s` of the MP4."""
        text = _text_of(packet)
        if start_s is None or not text:
            return []
        start = round(start_s / TICK)
        length = round((packet.duration or 0) * Fraction(packet.time_base) / TICK)
        end = start + length if length else inf  # without a duration: until the next one
        if end <= 0:
            return []
        self._shown = [(min(e, start) if e == inf else e, t) for e, t in self._shown]
        packets = self._show_until(max(0, start))
        self._shown.append((end, text))
        return packets

    def flush(self, end_s: Fraction) -> list["av.Packet[Stream]"]:
        """The rest, up to `end_s`, where the MP4 ends."""
        return self._show_until(round(end_s / TICK))

    def _show_until(self, time: int) -> list["av.Packet[Stream]"]:
        packets = []
        while self._shown and self._now < time:
            until = int(min(time, *(end for end, _ in self._shown)))
            if until > self._now:
                lines = "\n".join(text for _, text in self._shown)
                packets.append(self._packet(lines, until))
            self._now = max(self._now, until)
            self._shown = [(end, text) for end, text in self._shown if end > until]
        self._now = max(self._now, time)
        return packets

    def _packet(self, text: str, until: int) -> "av.Packet[Stream]":
        data = text.encode()[:MAX_TEXT_BYTES].decode(errors="ignore").encode()
        packet = av.Packet(len(data).to_bytes(2, "big") + data)
        packet.stream, packet.time_base = self.stream, TICK
        packet.pts = packet.dts = self._now
        packet.duration = until - self._now
        return packet


def _text_of(packet: "av.Packet[Stream]") -> str:
    try:
        parts = packet.decode()
    except av.FFmpegError:
        return ""
    lines = (part.dialogue for part in parts if isinstance(part, AssSubtitle))
    text = "\n".join(line.decode("utf-8", "replace") for line in lines)
    return STYLE_CODES.sub("", DRAWING.sub("", text)).strip()
