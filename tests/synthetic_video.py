"""Real video files, made with PyAV: every odd property a test needs, and damage on demand.

Each picture is a grey texture with a white square that walks right and a red one that walks down.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream
from numpy.typing import NDArray

SAMPLE_RATE = 48_000
CODEC_OF_SUFFIX = {".webm": "libvpx", ".avi": "mpeg4", ".gif": "gif"}  # elsewhere libx264
ENCODER_OF_AUDIO = {"mp3": "libmp3lame", "opus": "libopus"}
ENCODER_OPTIONS = {  # fast ones; every ffv1 frame decodes by itself
    "libx264": {"preset": "veryfast"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    "ffv1": {"g": "1"},
}


def square_xyxy(frame: int, width: int, height: int) -> tuple[int, int, int, int]:
    """Where the white square is, in pixels, half-open; 2 px a frame to the right, then around."""
    side = max(2, min(width, height) // 4)
    x = (2 * frame) % (width - side + 1)
    y = (height - side) // 2
    return x, y, x + side, y + side


def draw_picture(frame: int, width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    """The picture (H, W, 3) RGB that `write_video` encodes as this frame."""
    rgb = _texture(width, height).copy()
    side = max(2, min(width, height) // 5)
    y = (3 * frame) % (height - side + 1)
    rgb[y : y + side, width // 8 : width // 8 + side] = (200, 30, 30)
    x1, y1, x2, y2 = square_xyxy(frame, width, height)
    rgb[y1:y2, x1:x2] = 255
    return rgb


def write_video(
    path: Path,
    *,
    frames: int = 24,
    width: int = 320,
    height: int = 240,
    fps: Fraction = Fraction(24),
    codec: str | None = None,
    pixel_format: str | None = None,
    container: str | None = None,
    timestamps: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    audio: Sequence[str] = (),
    rotation: int = 0,
    full_range: bool = False,
    metadata: Mapping[str, str] | None = None,
    metadata_encoding: str = "utf-8",
    options: Mapping[str, str] | None = None,
) -> Path:
    """Write a video and return `path`.

    Args:
        path: its suffix picks the container, unless `container` names one ("m4v" and "h264" are
            raw streams), and the codec, unless `codec` does.
        timestamps: one a frame, in units of `time_base` (default 1/fps, counted from 0).
        audio: one track each: "aac", "mp3", "opus", "pcm_s16le", …; a sine as long as the video.
        rotation: clockwise turn in degrees a player has to apply; only mp4 and mov carry it.
        metadata_encoding: "latin-1" gives tags that are not UTF-8.
        options: of the video encoder.
    """
    codec = codec or CODEC_OF_SUFFIX.get(path.suffix, "libx264")
    time_base = time_base or 1 / fps
    with av.open(str(path), "w", format=container, metadata_encoding=metadata_encoding) as output:
        output.metadata.update(metadata or {})
        video = cast(VideoStream, output.add_stream(codec, rate=fps))
        video.width, video.height = width, height
        video.pix_fmt = pixel_format or _usual_pixel_format(codec, width, height)
        video.codec_context.time_base = time_base
        video.options = dict(options or ENCODER_OPTIONS.get(codec, {}))
        if full_range:
            video.color_range = ColorRange.JPEG
        if rotation:
            video.set_display_rotation(-rotation)
        tracks = [_add_track(output, name) for name in audio]
        for number, pts in enumerate(timestamps or range(frames)):
            output.mux(video.encode(_picture(video, number, pts, time_base)))
            _add_sound(output, tracks, float(number / fps), float((number + 1) / fps))
        output.mux(video.encode(None))
        for track in tracks:
            output.mux(track.encode(None))
    return path


def repeat_video(clip: Path, path: Path, turns: int) -> Path:
    """Write a video of a clip's packets over and over, without sound, and return `path`."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        packets = [packet for packet in source.demux(video=0) if packet.size]
        template = source.streams.video[0]
        stream = output.add_stream_from_template(template)
        tick = Fraction(template.time_base or 0)
        length = round(len(packets) / Fraction(template.average_rate or 0) / tick)
        starts = [((packet.pts or 0), (packet.dts or 0)) for packet in packets]
        for turn in range(turns):
            for packet, (pts, dts) in zip(packets, starts, strict=True):
                packet.pts, packet.dts = pts + turn * length, dts + turn * length
                packet.time_base, packet.stream = tick, stream
                output.mux(packet)
    return path


def write_sound(path: Path, codec: str = "aac", seconds: float = 1.0) -> Path:
    """Write a file that has sound and no video."""
    with av.open(str(path), "w") as output:
        track = _add_track(output, codec)
        _add_sound(output, [track], 0.0, seconds)
        output.mux(track.encode(None))
    return path


def corrupt(path: Path, *, packets: Iterable[int] = (), keep: float = 1.0) -> Path:
    """Damage a file in place and return it; not for transport streams, which split packets.

    Args:
        packets: video packets, counted from 0 in file order, whose bytes become noise.
        keep: the part of the file that stays, from its beginning; the rest is cut off.
    """
    damaged, noise = set(packets), random.Random(0)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as source:
        payloads = [bytes(packet) for packet in source.demux(source.streams.video[0])]
    end = 0
    for number, payload in enumerate(payloads):
        start = data.index(payload, end)
        end = start + len(payload)
        if number in damaged:
            data[start:end] = noise.randbytes(len(payload))
    path.write_bytes(data[: int(len(data) * keep)])
    return path


@lru_cache(maxsize=4)
def _texture(width: int, height: int) -> NDArray[np.uint8]:
    """Grey blocks of 8x8 px, the same at every call; dark enough to leave the square brightest."""
    blocks = np.random.default_rng(0).integers(40, 140, (height // 8 + 1, width // 8 + 1, 1))
    texture = blocks.repeat(8, axis=0).repeat(8, axis=1).repeat(3, axis=2)
    return texture[:height, :width].astype(np.uint8)


def _usual_pixel_format(codec: str, width: int, height: int) -> str:
    if codec == "gif":
        return "rgb8"
    odd = width % 2 or height % 2
    return "yuv444p" if odd and codec == "libx264" else "yuv420p"


def _picture(video: VideoStream, number: int, pts: int, time_base: Fraction) -> av.VideoFrame:
    drawn = av.VideoFrame.from_ndarray(draw_picture(number, video.width, video.height), "rgb24")
    picture = drawn.reformat(format=video.pix_fmt, dst_color_range=video.color_range)
    picture.pts, picture.time_base = pts, time_base
    return picture


def _add_track(output: OutputContainer, codec: str) -> AudioStream:
    encoder = ENCODER_OF_AUDIO.get(codec, codec)
    return cast(AudioStream, output.add_stream(encoder, SAMPLE_RATE))


def _add_sound(
    output: OutputContainer, tracks: list[AudioStream], begin_s: float, end_s: float
) -> None:
    """Sound the stretch on every track: a tone, 440 Hz higher on each further one."""
    samples = np.arange(round(begin_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE))
    for number, track in enumerate(tracks, start=1):
        wave = 8000 * np.sin(2 * np.pi * 440 * number * samples / SAMPLE_RATE)
        both_sides = np.stack([wave, wave]).astype(np.int16)
        sound = av.AudioFrame.from_ndarray(both_sides, "s16p", "stereo")
        sound.sample_rate, sound.time_base = SAMPLE_RATE, Fraction(1, SAMPLE_RATE)
        sound.pts = int(samples[0])
        output.mux(track.encode(sound))
