"""A sound track on its way into the MP4: copied, or decoded and encoded again.

AAC, MP3 and Opus are copied packet for packet as long as their description stays. Where it changes,
the rest is encoded in the form that the track began with: a few milliseconds blur at the change,
and channels that the beginning lacks are mixed down. AAC as transport streams have it (ADTS)
describes itself anew in each packet and does change between programmes, so it is always encoded:
that costs a little of its quality and about a hundredth of real time on one processor core.
Everything else becomes AAC too, which every browser plays.
"""

from fractions import Fraction
from math import ceil
from typing import cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import OutputContainer

from tubedet.notes import Note
from tubedet.video.container import AnyPacket
from tubedet.video.source_clock import WRAPPING_FORMATS, is_guessed
from tubedet.writers.mp4_sound_encoder import AudioPacket, SoundEncoder
from tubedet.writers.mp4_sound_format import Heard, aac_layout, aac_rate, channels_of

ENCODER_OF = {"aac": "aac", "mp3": "libmp3lame", "opus": "libopus"}  # the codecs that are copied
MIN_MP3_RATE = 16_000  # MPEG-2.5 below that has no place in MP4
MP3_RATE_AND_MODE = 0x000C00C0  # bits of an MP3 frame's header
MP3_MONO = 0xC0
BITS_PER_CHANNEL = 80_000  # a second
PRE_ROLL_S = Fraction(8, 100)  # decoders need packets before a cut to be right after it
WARM_UP_S = 1  # of sound before a cut that decoder and encoder get, to be settled at the cut
MAX_TICKS = 2**31 - 2  # between two packets of any track; MP4 has 32 bits for it
LOSS_S = Fraction(1, 10)  # that is told
MONO = {"FC"}  # all layouts take it


class SoundTrack:
    """Packets of one track in, packets of the MP4 out, timed in samples."""

    def __init__(
        self, source: AudioStream, output: OutputContainer, heard: Heard, name: str, cut_start: bool
    ) -> None:
        """Add a stream to `output`.

        Args:
            source: the track; nothing else decodes it.
            output: before its first packet.
            heard: the track's first sound.
            name: what notes call it.
            cut_start: leave out what lies before the MP4's 0.
        """
        self.notes: list[Note] = []
        self._source, self._name, self._cut_start = source, name, cut_start
        self._follows_on = source.container.format.name in WRAPPING_FORMATS
        self._encoder: SoundEncoder | None = None
        self._description: object = None
        if _can_be_copied(source):
            self._stream = output.add_stream_from_template(source)
        else:
            self._stream = output.add_stream(
                "aac", aac_rate(heard.rate), layout=aac_layout(heard.layout), format="fltp"
            )
            self._stream.bit_rate = BITS_PER_CHANNEL * self._stream.channels
            self._encoder = SoundEncoder(self._stream.codec_context)
        self._layout = self._stream.layout
        self._tick = Fraction(1, self._stream.codec_context.sample_rate)
        self._last: AudioPacket | None = None
        self._next = 0
        self._lost_s = Fraction(0)
        self._mixed_down = False

    @property
    def stream(self) -> AudioStream:
        """The MP4's stream."""
        return self._stream

    def convert(
        self, packet: AudioPacket, start_s: Fraction | None, end_s: Fraction | None
    ) -> list[AudioPacket]:
        """What the MP4 gets for a packet that starts at `start_s`; nothing, outside the range."""
        if start_s is None:  # it follows on
            start_s = self._next * self._tick
        length_s = (packet.duration or 0) * Fraction(packet.time_base)
        if self._cut_start and start_s + length_s < -WARM_UP_S:
            return []
        if self._encoder is None and self._changes(packet):
            self._encoder = SoundEncoder(self._encoder_like_the_stream())
        if self._encoder is None:
            return self._fitted([(packet, start_s)], end_s)
        return self._timed(self._encoded(self._encoder, packet, start_s, length_s), end_s)

    def flush(self, end_s: Fraction | None) -> list[AudioPacket]:
        """What decoder and encoder have kept; `notes` are complete after it."""
        packets: list[AudioPacket] = []
        if self._encoder:
            try:
                kept = self._source.codec_context.decode(None) if self._source.codec_context else []
            except av.FFmpegError:
                kept = []
            packets = [p for frame in kept for p in self._encoder.encode(frame, None)]
            packets += self._encoder.flush()
        if self._lost_s > LOSS_S:
            self.notes.append(
                Note(f"{self._name}: {float(self._lost_s):.1f} s cannot be decoded", loss=True)
            )
        return self._timed(packets, end_s)

    def _encoded(
        self, encoder: SoundEncoder, packet: AudioPacket, start_s: Fraction, length_s: Fraction
    ) -> list[AudioPacket]:
        """A packet's sound, encoded; a damaged one leaves a gap."""
        shift_s = None if packet.pts is None else start_s - packet.pts * Fraction(packet.time_base)
        if self._follows_on and encoder.has_begun and is_guessed(cast(AnyPacket, packet)):
            shift_s = None
        packets = []
        try:
            for frame in packet.decode():
                self._note_mixing(frame)
                time_s = None
                if frame.pts is not None and frame.time_base and shift_s is not None:
                    time_s = frame.pts * Fraction(frame.time_base) + shift_s
                packets += encoder.encode(frame, time_s)
        except (av.FFmpegError, ValueError):
            self._lost_s += length_s
        return packets

    def _note_mixing(self, frame: av.AudioFrame) -> None:
        channels = channels_of(frame.layout)
        if not self._mixed_down and not channels <= channels_of(self._layout) | MONO:
            self._mixed_down = True
            text = f"{self._name}: {frame.layout.name} is mixed down to {self._layout.name}"
            self.notes.append(Note(text, loss=True))

    def _changes(self, packet: AudioPacket) -> bool:
        """Whether a packet to be copied is described otherwise than the track's first."""
        codec = self._source.codec_context.codec.canonical_name
        description: object = None
        if packet.has_sidedata("new_extradata"):
            description = bytes(packet.get_sidedata("new_extradata"))
        elif codec == "mp3":
            header = int.from_bytes(bytes(packet)[:4], "big") & MP3_RATE_AND_MODE
            mono = header & MP3_MONO == MP3_MONO
            description = (header & ~MP3_MONO, mono)
        if self._description is None:
            known = self._source.codec_context.extradata
            self._description = description if codec == "mp3" else known
        return description is not None and description != self._description

    def _encoder_like_the_stream(self) -> AudioCodecContext:
        """An encoder whose packets fit the description of those that were copied so far."""
        like = self._source.codec_context
        context = av.CodecContext.create(ENCODER_OF[like.codec.canonical_name], "w")
        assert isinstance(context, AudioCodecContext)
        context.sample_rate, context.layout = like.sample_rate, like.layout
        formats = context.codec.audio_formats
        assert formats
        context.format = formats[0]
        context.bit_rate = BITS_PER_CHANNEL * like.layout.nb_channels
        return context

    def _timed(self, packets: list[AudioPacket], end_s: Fraction | None) -> list[AudioPacket]:
        """Packets of the encoder, at the times that they bear."""
        timed = [(p, (p.pts or 0) * Fraction(p.time_base)) for p in packets]
        return self._fitted(timed, end_s)

    def _fitted(
        self, packets: list[tuple[AudioPacket, Fraction]], end_s: Fraction | None
    ) -> list[AudioPacket]:
        """Those packets that are in the range, on the MP4's clock; the last is made to fit."""
        first = -ceil(PRE_ROLL_S / self._tick)
        end = None if end_s is None else round(end_s / self._tick)
        kept = []
        for packet, start_s in packets:
            start, duration = self._set_time(packet, start_s)
            if (self._cut_start and start + duration <= first) or (
                end is not None and start >= end
            ):
                continue
            if end is not None:
                packet.duration = min(duration, end - start)
            packet.stream = self._stream
            kept += [*self._bridge_to(packet), packet]
            self._last = packet
        return kept

    def _set_time(self, packet: AudioPacket, start_s: Fraction) -> tuple[int, int]:
        """Count start and duration in samples from the MP4's 0, and return both.

        Containers with a coarse clock (Matroska: 1 ms) round them. Where no more than that parts a
        packet from the end of the one before, or where time goes back, it follows that one.
        """
        source_tick = Fraction(packet.time_base)
        slack = ceil(source_tick / self._tick) - 1
        start = round(start_s / self._tick)
        duration = round((packet.duration or 0) * source_tick / self._tick)
        samples = self._stream.codec_context.frame_size
        if abs(samples - duration) <= slack:
            duration = samples
        last = None if self._last is None else self._last.pts
        if last is not None and (start <= last or abs(start - self._next) <= slack):
            start = max(self._next, last + 1)
        packet.time_base = self._tick
        packet.pts = packet.dts = start
        packet.duration = duration
        self._next = start + duration
        return start, duration

    def _bridge_to(self, packet: AudioPacket) -> list[AudioPacket]:
        """The last packet again wherever a pause is longer than MP4 can tell, every 12 h or so."""
        bridge = []
        last, at = self._last, (self._last.pts if self._last else None) or 0
        while last is not None and (packet.pts or 0) - at > MAX_TICKS:
            at += MAX_TICKS
            again = cast(AudioPacket, av.Packet(bytes(last)))
            again.stream, again.time_base = self._stream, self._tick
            again.pts = again.dts = at
            again.duration = last.duration
            bridge.append(again)
        return bridge


def _can_be_copied(source: AudioStream) -> bool:
    context = source.codec_context
    codec = context.codec.canonical_name
    if codec not in ENCODER_OF or not source.rate or not source.channels:
        return False
    return source.rate >= MIN_MP3_RATE if codec == "mp3" else bool(context.extradata)
