"""Small video files of many kinds: such as packets tell the frames of, and others."""

from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.synthetic_video import write_video

FRAMES, GOP = 26, 8
B_FRAMES = {"preset": "medium", "g": str(GOP), "bf": "3", "x264-params": "b-adapt=0:scenecut=0"}
OPEN_GOP = {**B_FRAMES, "x264-params": "b-adapt=0:scenecut=0:open-gop=1"}
X265_OPEN = f"open-gop=1:keyint={GOP}:min-keyint={GOP}:bframes=3:log-level=none"
UNEVEN = [0, 3, 4, 9, 10, 11, 20, 26, 27, 28, 29, 40, 41, 44, 50, 51, 52, 53, 60, 61, 70, 71, 80]
MILLISECOND = Fraction(1, 1000)

# Name → file and how it is written. Of these a window costs no more than from its key frame:
SOUGHT: dict[str, tuple[str, dict[str, Any]]] = {
    "MP4 with B-frames": ("v.mp4", {"options": B_FRAMES, "audio": ["aac"]}),
    "MP4 with open groups of pictures": ("v.mp4", {"options": OPEN_GOP}),
    "MP4 of HEVC with open groups": (
        "v.mp4",
        {"codec": "libx265", "options": {"preset": "ultrafast", "x265-params": X265_OPEN}},
    ),
    "MP4 of AV1": (
        "v.mp4",
        {"codec": "libsvtav1", "options": {"preset": "12", "g": str(GOP), "svtav1-params": "lp=1"}},
    ),
    "rotated MOV": ("v.mov", {"options": B_FRAMES, "rotation": 90, "width": 64, "height": 48}),
    "MP4 that begins late": ("v.mp4", {"options": B_FRAMES, "timestamps": range(90, 90 + FRAMES)}),
    "MP4 whose edit list hides frames": (
        "v.mp4",
        {"options": B_FRAMES, "timestamps": range(-5, FRAMES - 5)},
    ),
    "MP4 of a variable rate": ("v.mp4", {"options": B_FRAMES, "timestamps": UNEVEN}),
    "Matroska of a variable rate": (
        "v.mkv",
        {"options": OPEN_GOP, "timestamps": [17 * t for t in UNEVEN], "time_base": MILLISECOND},
    ),
    "WebM of VP9": (
        "v.webm",
        {"codec": "libvpx-vp9", "options": {"g": str(GOP), "cpu-used": "8", "auto-alt-ref": "1"}},
    ),
}
# Of these decoding begins with the first frame:
NOT_SOUGHT: dict[str, tuple[str, dict[str, Any]]] = {
    "AVI with B-frames": ("v.avi", {"options": {"bf": "2", "g": str(GOP)}}),
    "AVI of H.264 with open groups": ("v.avi", {"codec": "libx264", "options": OPEN_GOP}),
    "WebM of VP8": ("v.webm", {"options": {"g": str(GOP), "cpu-used": "8"}}),
    "raw H.264": ("v.h264", {"options": B_FRAMES, "container": "h264"}),
    "transport stream": ("v.ts", {"options": B_FRAMES}),
    "AVI of single pictures": ("v.avi", {"codec": "mjpeg", "pixel_format": "yuvj420p"}),
    "Matroska of FFV1": ("v.mkv", {"codec": "ffv1"}),
}


def write(folder: Path, name: str, settings: dict[str, Any]) -> Path:
    return write_video(folder / name, **{"frames": FRAMES, "width": 64, "height": 48, **settings})
