"""What the FFmpeg inside PyAV can read and write, for people who ask why a video fails."""

import av
from av.codec import Codec

READ = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "prores", "mjpeg", "gif")
WRITTEN = ("libx264", "aac")  # what an annotated MP4 is made of


def ffmpeg_version() -> str:
    """Of the bundled libraries, such as "8.0"."""
    return str(av.ffmpeg_version_info)


def missing_codecs() -> dict[str, list[str]]:
    """Of the codecs that matter here, those that cannot be "read" or "written"."""
    modes = {"read": ("r", READ), "written": ("w", WRITTEN)}
    return {
        way: [name for name in names if not _exists(name, mode)]
        for way, (mode, names) in modes.items()
    }
