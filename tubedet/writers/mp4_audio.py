"""The sound of the annotated MP4: every audio track of the source, beside the video as it grows.

AAC, MP3 and Opus are copied packet for packet. Anything else is encoded again as AAC, which every
browser plays. Packets are read just ahead of the video's clock, so memory stays flat.
"""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from math import ceil
from typing import TypeAlias, cast

import av
import av.container
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.stream import Stream

AudioPacket: TypeAlias = "av.Packet[AudioStream]"
AnyPacket: TypeAlias = "av.Packet[Stream]"

COPIED_CODECS = {"aac", "mp3", "opus"}
MIN_MP3_RATE = 16_000  # MPEG-2.5 below that has no place in MP4
AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000}
AAC_LAYOUTS = {"mono", "stereo", "5.1"}  # what is not among them becomes stereo
AAC_SAMPLES = 1024  # a packet
AAC_BITS_PER_CHANNEL = 80_000  # a second
PRE_ROLL_S = Fraction(8, 100)  # decoders need packets before a cut to be right after it
WARM_UP_S = 1  # of sound before a cut that decoder and encoder get, to be settled at the cut
PROBED_PACKETS = 2000  # of all streams: some 30 s; a track that starts later is taken on trust
TRIED_PACKETS = 50  # of one track


class AudioTracks:
    """The audio tracks of a source on their way into an MP4."""

    def __init__(
        self,
        source: av.container.InputContainer,
        output: av.container.OutputContainer,
        origin_s: Fraction,
        cut_start: bool,
        warnings: list[str],
    ) -> None:
        """Add a stream to `output` for every track that can be decoded.

        Args:
            source: read from the beginning; nobody else may read it.
            output: before its first packet.
            origin_s: time in the source that is 0 in the MP4.
            cut_start: leave out what is before 0.
            warnings: gets a line for each track that is left out.
        """
        self._output = output
        self._tracks: dict[int, _Track] = {}
        silent = _undecodable(source.name)
        for number, stream in enumerate(source.streams.audio, start=1):
            if stream.index in silent:
                name = stream.codec_context.name if stream.codec_context else "unknown codec"
                warnings.append(f"audio track {number} ({name}) cannot be decoded: left out")
            else:
                self._tracks[stream.index] = _Track(stream, output, origin_s, cut_start)
        self._warnings = warnings
        self._packets = self._read(source)
        self._next = next(self._packets, None)

    def copy_until(self, time_s: Fraction) -> None:
        """Write the packets that start before `time_s` of the MP4."""
        self._write_until(time_s, None)

    def complete(self, end_s: Fraction | None) -> None:
        """Write the rest, up to `end_s` of the MP4 or to the source's end."""
        self._write_until(end_s, end_s)
        for track in self._tracks.values():
            self._output.mux(track.flush(end_s))

    def _write_until(self, time_s: Fraction | None, end_s: Fraction | None) -> None:
        while self._next is not None:
            track = self._tracks[self._next.stream.index]
            if time_s is not None and track.starts_at(self._next) >= time_s:
                return
            self._output.mux(track.convert(self._next, end_s))
            self._next = next(self._packets, None)

    def _read(self, source: av.container.InputContainer) -> Iterator[AudioPacket]:
        """Packets of the tracks in file order, to the end or to where the file is damaged."""
        if not self._tracks:
            return
        try:
            for packet in source.demux([track.source for track in self._tracks.values()]):
                if packet.size:
                    yield cast(AudioPacket, packet)
        except av.FFmpegError as error:
            self._warnings.append(f"the audio ends early: {error.strerror}")


class _Track:
    """One audio track: its packets in, packets of the MP4 out, timed in samples."""

    def __init__(
        self,
        source: AudioStream,
        output: av.container.OutputContainer,
        origin_s: Fraction,
        cut_start: bool,
    ) -> None:
        self.source = source
        self._origin_s = origin_s
        self._cut_start = cut_start
        self._encoder = None if _can_be_copied(source) else _AacEncoder(source, output)
        self._stream = (
            self._encoder.stream if self._encoder else output.add_stream_from_template(source)
        )
        if source.language:
            self._stream.metadata["language"] = source.language
        self._tick = Fraction(1, self._stream.codec_context.sample_rate)
        self._last: int | None = None
        self._next = 0

    def starts_at(self, packet: AudioPacket) -> Fraction:
        """Start of a packet in seconds of the MP4; where the last one ended, if it has no time."""
        if packet.pts is None:
            return self._next * self._tick
        return packet.pts * Fraction(packet.time_base) - self._origin_s

    def convert(self, packet: AudioPacket, end_s: Fraction | None) -> list[AudioPacket]:
        """What the MP4 gets for a packet of the source: nothing, outside the range."""
        stop = self.starts_at(packet) + (packet.duration or 0) * Fraction(packet.time_base)
        if self._cut_start and stop < -WARM_UP_S:
            return []
        packets = self._encoder.convert(packet) if self._encoder else [packet]
        return self._cut(packets, end_s)

    def flush(self, end_s: Fraction | None) -> list[AudioPacket]:
        """What the encoder has kept."""
        return self._cut(self._encoder.flush(), end_s) if self._encoder else []

    def _cut(self, packets: list[AudioPacket], end_s: Fraction | None) -> list[AudioPacket]:
        """Those packets that are in the range, on the MP4's clock; the last is made to fit."""
        first = -ceil(PRE_ROLL_S / self._tick)
        end = None if end_s is None else round(end_s / self._tick)
        kept = []
        for packet in packets:
            start, duration = self._set_time(packet)
            if (self._cut_start and start + duration <= first) or (
                end is not None and start >= end
            ):
                continue
            if end is not None:
                packet.duration = min(duration, end - start)
            packet.stream = self._stream
            kept.append(packet)
        return kept

    def _set_time(self, packet: AudioPacket) -> tuple[int, int]:
        """Count start and duration in samples from the MP4's 0, and return both.

        Containers with a coarse clock (Matroska: 1 ms) round them. Where no more than that parts a
        packet from the end of the one before, or where time goes back, it follows that one.
        """
        source_tick = Fraction(packet.time_base)
        slack = ceil(source_tick / self._tick) - 1
        start = round(self.starts_at(packet) / self._tick)
        duration = round((packet.duration or 0) * source_tick / self._tick)
        samples = self._stream.codec_context.frame_size
        if abs(samples - duration) <= slack:
            duration = samples
        last = self._last
        if last is not None and (start <= last or abs(start - self._next) <= slack):
            start = max(self._next, last + 1)
        packet.time_base = self._tick
        packet.pts = packet.dts = start
        packet.duration = duration
        self._last, self._next = start, start + duration
        return start, duration


class _AacEncoder:
    """Decodes packets of a track and encodes them as AAC, at the same times."""

    def __init__(self, source: AudioStream, output: av.container.OutputContainer) -> None:
        known = source.layout.name in AAC_LAYOUTS
        self._layout = (
            source.layout.name if known else ("mono" if source.channels == 1 else "stereo")
        )
        self._rate = source.rate if source.rate in AAC_RATES else 48_000
        self.stream = output.add_stream("aac", self._rate, layout=self._layout, format="fltp")
        self.stream.bit_rate = AAC_BITS_PER_CHANNEL * self.stream.channels
        self._resampler = self._new_resampler()
        self._format: tuple[str, str, int] | None = None

    def convert(self, packet: AudioPacket) -> list[AudioPacket]:
        """Encode what a packet decodes to; a damaged one leaves a gap, which becomes silence."""
        try:
            sound = packet.decode()
        except av.FFmpegError:
            return []
        return [encoded for frame in sound for encoded in self._encode(frame)]

    def flush(self) -> list[AudioPacket]:
        """Encode what resampler and encoder have kept."""
        rest = self._resampler.resample(None)
        return [encoded for part in (*rest, None) for encoded in self.stream.encode(part)]

    def _encode(self, frame: av.AudioFrame) -> list[AudioPacket]:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        parts = []
        if self._format not in (None, form):  # broadcasts go from stereo to 5.1 and back
            parts += self._resampler.resample(None)
            self._resampler = self._new_resampler()
        self._format = form
        parts += self._resampler.resample(frame)
        return [encoded for part in parts for encoded in self.stream.encode(part)]

    def _new_resampler(self) -> AudioResampler:
        """To the encoder's format; gaps between timestamps are filled, overlaps trimmed."""
        # Without a frame size PyAV would hand sound of the right format through, gaps and all.
        return AudioResampler("fltp", self._layout, self._rate, AAC_SAMPLES, {"async": "1"})


def _can_be_copied(source: AudioStream) -> bool:
    codec = source.codec_context.codec.canonical_name
    return codec in COPIED_CODECS and (codec != "mp3" or source.rate >= MIN_MP3_RATE)


def _undecodable(path: str) -> set[int]:
    """Indices of the audio streams from which nothing can be decoded near the file's beginning."""
    with av.open(path, metadata_errors="ignore") as source:
        tries = {stream.index: 0 for stream in source.streams.audio}
        silent = {stream.index for stream in source.streams.audio if not stream.codec_context}
        heard: set[int] = set()
        for packet in islice(_undamaged(source), PROBED_PACKETS):
            index = packet.stream.index
            if heard == tries.keys():
                break
            if (
                index in tries
                and index not in heard
                and packet.size
                and tries[index] < TRIED_PACKETS
            ):
                tries[index] += 1
                (heard if _decodes(packet) else silent).add(index)
        return silent - heard


def _undamaged(source: av.container.InputContainer) -> Iterator[AnyPacket]:
    """All packets, up to where the file cannot be read."""
    with suppress(av.FFmpegError):
        yield from source.demux()


def _decodes(packet: AnyPacket) -> bool:
    try:
        return bool(packet.decode())
    except av.FFmpegError:
        return False
