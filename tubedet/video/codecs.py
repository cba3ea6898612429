"""What the FFmpeg inside PyAV can read and write, for people who ask why a video fails."""

from typing import Literal

import av
from av.codec import Codec
from av.codec.codec import UnknownCodecError

READ = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video", "prores", "mjpeg", "gif")
WRITTEN = ("libx264", "aac")  # what an annotated MP4 is made of


def ffmpeg_version() -> str:
    """The version of the libraries that PyAV brought along, such as "8.1.2"."""
    return str(av.ffmpeg_version_info)


def codecs() -> dict[str, str]:
    """Which of the codecs that matter here it "reads" and "writes", and which it cannot."""
    return {"reads": _sorted_out(READ, "r"), "writes": _sorted_out(WRITTEN, "w")}


def _sorted_out(names: tuple[str, ...], mode: Literal["r", "w"]) -> str:
    missing = [name for name in names if not _exists(name, mode)]
    present = ", ".join(name for name in names if name not in missing)
    return f"{present}; not {', '.join(missing)}" if missing else present


def _exists(name: str, mode: Literal["r", "w"]) -> bool:
    try:
        Codec(name, mode)
    except UnknownCodecError:
        return False
    return True
