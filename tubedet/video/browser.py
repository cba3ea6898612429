"""Which files browsers play as they are, and by which clock."""

from fractions import Fraction
from pathlib import Path

import av

from tubedet.video.container import open_container, video_stream_of
from tubedet.video.frame import VideoInfo

SUFFIXES = {".mp4", ".m4v", ".webm"}
CODECS = {"h264", "vp9", "av1"}
PIXEL_FORMATS = {"yuv420p", "yuvj420p"}


def browser_offset_s(path: Path, info: VideoInfo) -> Fraction | None:
    """What turns a frame's `time_s` into a browser's time in this file.

    None if not every browser plays the file, or if it would show another of its videos. A browser's
    time is the file's own, but counts from the beginning where that is below 0 (HTML's media
    timeline).
    """
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return None
    with open_container(path) as container:
        stream = video_stream_of(container, path, info.video_stream)
        codec = stream.codec_context
        is_only = stream.index == video_stream_of(container, path).index
        if not (
            is_only and codec.codec.canonical_name in CODECS and codec.pix_fmt in PIXEL_FORMATS
        ):
            return None
        begin_s = Fraction(container.start_time or 0, av.time_base)
    return info.start_s - min(begin_s, Fraction(0))
