"""Everything but the pictures on its way from a source into an MP4, beside the video as it grows.

The source is demuxed a second time, all of its streams, since only so its clock is known, but no
picture is decoded. Packets are read just ahead of the video's clock, so memory stays flat.
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import cast

from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream

from tubedet.notes import Note
from tubedet.video.container import AnyPacket, PacketReader, codec_name
from tubedet.video.source_clock import SourceClock
from tubedet.writers.mp4_audio import SoundTrack
from tubedet.writers.mp4_metadata import carry_names
from tubedet.writers.mp4_sound_encoder import AudioPacket
from tubedet.writers.mp4_sound_format import SoundSurvey
from tubedet.writers.mp4_subtitles import SubtitleTrack


class CarriedTracks:
    """The sound and the text subtitles of a source."""

    def __init__(
        self,
        source: InputContainer,
        output: OutputContainer,
        survey: SoundSurvey,
        *,
        zero_s: Fraction,
        cut_start: bool,
        notes: list[Note],
    ) -> None:
        """Add a stream to `output` for every track that it can hold.

        Args:
            source: read from the beginning; nobody else may read it.
            output: before its first packet.
            survey: of the source.
            zero_s: time on the source's clock that is 0 in the MP4.
            cut_start: leave out what is before 0.
            notes: gets a line for each track of which something is left out.
        """
        self._output, self._notes, self._zero_s = output, notes, zero_s
        self._sound: dict[int, SoundTrack] = {}
        self._subtitles: dict[int, SubtitleTrack] = {}
        self._left_out: dict[int, str] = {}
        self._left_out_packets: Counter[int] = Counter()
        for number, stream in enumerate(source.streams.audio, start=1):
            self._add_sound(
                stream, f"audio track {number} ({codec_name(stream)})", survey, cut_start
            )
        for number, subtitles in enumerate(source.streams.subtitles, start=1):
            self._add_subtitles(subtitles, f"subtitle track {number} ({codec_name(subtitles)})")
        self._packets = self._read(source)
        self._next = next(self._packets, None)

    def copy_until(self, time_s: Fraction) -> None:
        """Write the packets that start before `time_s` of the MP4."""
        self._write_until(time_s, None)

    def complete(self, end_s: Fraction | None, video_end_s: Fraction) -> None:
        """Write the rest, up to `end_s` of the MP4 or to the source's end."""
        self._write_until(end_s, end_s)
        for sound in self._sound.values():
            self._output.mux(sound.flush(end_s))
            self._notes += sound.notes
        for subtitles in self._subtitles.values():
            self._output.mux(subtitles.flush(video_end_s))
        for index, name in self._left_out.items():
            if self._left_out_packets[index]:
                text = f"{name} is left out: MP4 holds subtitles only as text"
                self._notes.append(Note(text, loss=True))

    def _add_sound(
        self, stream: AudioStream, name: str, survey: SoundSurvey, cut_start: bool
    ) -> None:
        if heard := survey.heard.get(stream.index):
            track = SoundTrack(stream, self._output, heard, name, cut_start)
            carry_names(stream, track.stream)
            self._sound[stream.index] = track
        elif stream.index in survey.undecodable:
            self._notes.append(Note(f"{name} cannot be decoded: left out", loss=True))
        else:
            self._notes.append(Note(f"{name} is declared, but holds no sound: left out"))

    def _add_subtitles(self, stream: SubtitleStream, name: str) -> None:
        if stream.codec_context and stream.codec_context.codec.text_sub:
            self._subtitles[stream.index] = SubtitleTrack(stream, self._output)
            carry_names(stream, self._subtitles[stream.index].stream)
        else:
            self._left_out[stream.index] = name

    def _write_until(self, time_s: Fraction | None, end_s: Fraction | None) -> None:
        while self._next is not None:
            packet, start_s = self._next
            if time_s is not None and start_s is not None and start_s >= time_s:
                return
            index = packet.stream_index
            if index in self._sound:
                sound = cast(AudioPacket, packet)
                self._output.mux(self._sound[index].convert(sound, start_s, end_s))
            elif index in self._subtitles:
                self._output.mux(self._subtitles[index].convert(packet, start_s))
            else:
                self._left_out_packets[index] += 1
            self._next = next(self._packets, None)

    def _read(self, source: InputContainer) -> Iterator[tuple[AnyPacket, Fraction | None]]:
        """Packets that are wanted, with their times in the MP4, to the end or to damage."""
        wanted = self._sound.keys() | self._subtitles.keys() | self._left_out.keys()
        if not wanted:
            return
        clock, packets = SourceClock(source), PacketReader(source)
        for packet in packets:
            shift_s = clock.shift_s(packet)
            if packet.stream_index in wanted:
                start_s = None
                if packet.pts is not None:
                    start_s = packet.pts * Fraction(packet.time_base) + shift_s - self._zero_s
                yield packet, start_s
        if packets.errors:
            text = "what lies in damaged places of the file is missing from its sound"
            self._notes.append(Note(text, loss=True))


def cover_and_files(source: InputContainer) -> list[Note]:
    """What else a source holds that the MP4 does not get, in one note."""
    kinds = Counter(
        "cover picture" if stream.disposition & Disposition.attached_pic else f"{stream.type} track"
        for stream in source.streams
        if stream.type in {"data", "attachment"} or stream.disposition & Disposition.attached_pic
    )
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return [Note(f"not carried into the MP4: {what}")] if what else []
