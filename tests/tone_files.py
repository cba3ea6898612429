"""Videos with sound of known tones, and what is heard where in a finished one."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tests.synthetic_video import ENCODER_OF_AUDIO
from tubedet.video.frame import VideoFrame

FPS = 25
RATE = 48_000  # in which what is heard is measured
MS = Fraction(1, 1000)
Cue = tuple[int, int, str]  # begin and end in ms, text


def write_tones(
    path: Path, codec: str, tones_hz: Sequence[int], *, layout: str = "stereo", rate: int = RATE,
    seconds: float = 2, start_s: float = 0, sound_starts_s: float | None = None,
) -> Path:  # fmt: skip
    """A grey video whose sound has one tone a channel; both begin at `start_s`, unless told."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", FPS, options={"bf": "0", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        track = output.add_stream(ENCODER_OF_AUDIO.get(codec, codec), rate, layout=layout)
        assert isinstance(track, av.AudioStream)
        sound_starts_s = start_s if sound_starts_s is None else sound_starts_s
        parts = iter(_sound_parts(track, tones_hz, seconds, sound_starts_s))
        for number in range(round(seconds * FPS)):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8))
            picture.pts, picture.time_base = round(start_s * FPS) + number, Fraction(1, FPS)
            output.mux(video.encode(picture))
            while (part := next(parts, None)) is not None:
                output.mux(track.encode(part))
                if (part.pts or 0) / rate > sound_starts_s + number / FPS:
                    break
        for part in (*parts, None):
            output.mux(track.encode(part))
        output.mux(video.encode(None))
    return path


def _sound_parts(
    track: av.AudioStream, tones_hz: Sequence[int], seconds: float, start_s: float
) -> Iterator[av.AudioFrame]:
    rate, layout = track.rate, track.layout.name
    at = np.arange(round(seconds * rate)) / rate
    waves = np.stack([0.3 * np.sin(2 * np.pi * hz * at) for hz in tones_hz], axis=1)
    sound = av.AudioFrame.from_ndarray(waves.astype(np.float32).reshape(1, -1), "flt", layout)
    sound.sample_rate, sound.time_base = rate, Fraction(1, rate)
    sound.pts = round(start_s * rate)
    samples = track.codec_context.frame_size or 1024
    form = av.AudioResampler(track.format.name, layout, rate, samples)
    yield from (*form.resample(sound), *form.resample(None))


def with_chapters_and_subtitles(
    path: Path,
    plain: Path,
    *,
    limits_ms: Sequence[int] = (0, 1000, 2000),
    cues: Sequence[Cue] = ((500, 900, "Hello"),),
    codec: str = "subrip",
    tags: Mapping[str, str] | None = None,
) -> Path:
    """The Matroska file `plain` with tags, named tracks, chapters "Part 0" … and subtitles."""
    with av.open(str(plain)) as given, av.open(str(path), "w") as output:
        output.metadata.update(tags or {})
        pairs = pairwise(limits_ms)
        output.set_chapters([
            {"id": n, "start": begin, "end": end, "time_base": MS,
             "metadata": {"title": f"Part {n}"}}
            for n, (begin, end) in enumerate(pairs)
        ])  # fmt: skip
        streams = {stream: output.add_stream_from_template(stream) for stream in given.streams}
        for stream in streams.values():
            if stream.type == "audio":
                stream.metadata.update(title="Commentary", language="deu")
        subtitles = output.add_mux_stream(codec, time_base=MS) if cues else None
        if subtitles:
            subtitles.metadata.update(title="For the deaf", language="fre")
        for packet in given.demux():
            if packet.size:
                packet.stream = streams[packet.stream]
                output.mux(packet)
        for number, (begin, end, text) in enumerate(cues):
            line = rf"{number},0,Default,,0,0,0,,{{\i1}}{text}{{\i0}}" if codec == "ass" else text
            cue = av.Packet(line.encode())
            assert subtitles
            cue.stream, cue.time_base = subtitles, MS
            cue.pts, cue.dts, cue.duration = begin, begin, end - begin
            output.mux(cue)
    return path


def frames_at(times_s: Sequence[Fraction]) -> Iterator[VideoFrame]:
    """Grey frames at these times, as a reader would give them."""
    for number, time_s in enumerate(times_s):
        yield VideoFrame(number, None, time_s, np.full((48, 64, 3), 90, np.uint8))


class Sound:
    """A track, decoded and resampled: which channel sounds how loud, and when.

    Attributes:
        seconds: how long all of what decodes is, gaps not counted.
        undecodable: packets that fail.
        begin_s, end_s: of the first and last sample, on the file's clock.
        layout: its channels.
        forms: rates and layouts that its frames have.
    """

    def __init__(self, path: Path, track: int = 0) -> None:
        self.undecodable = 0
        self.forms: set[tuple[int, str]] = set()
        self._parts: list[tuple[float, NDArray[np.float32]]] = []
        with av.open(str(path)) as file:
            stream = file.streams.audio[track]
            self.layout = stream.layout
            for packet in file.demux(stream):
                try:
                    sounds = packet.decode()
                except av.FFmpegError:
                    self.undecodable += 1
                    continue
                for sound in sounds:
                    self._add(sound)
        self.seconds = sum(len(samples) for _, samples in self._parts) / RATE
        self.begin_s = self._parts[0][0]
        self.end_s = self._parts[-1][0] + len(self._parts[-1][1]) / RATE

    def _add(self, sound: av.AudioFrame) -> None:
        assert sound.time is not None
        self.forms.add((sound.sample_rate, sound.layout.name))
        packed = av.AudioResampler("flt", rate=RATE)
        for part in (*packed.resample(sound), *packed.resample(None)):
            samples = np.asarray(part.to_ndarray(), np.float32).reshape(
                -1, sound.layout.nb_channels
            )
            self._parts.append((sound.time, samples))

    def level(
        self, tone_hz: int, begin_s: float, end_s: float, channel: str | None = None
    ) -> float:
        """Amplitude of a tone between two times, of one channel or of the loudest."""
        inside = [samples for at, samples in self._parts if begin_s <= at < end_s]
        if not inside:
            return 0.0
        samples = np.concatenate(inside)
        wave = np.exp(-2j * np.pi * tone_hz * np.arange(len(samples)) / RATE)
        levels = 2 * np.abs(wave @ samples) / len(samples)
        names = [each.name for each in self.layout.channels]
        return float(levels.max() if channel is None else levels[names.index(channel)])
