"""What names tell of files: which are videos, and which images are the frames of one."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

# What is taken from a folder, the likelier first; a file of any other name is read when it is named
# itself. Each is one that FFmpeg reads: broadcast, cameras and recorders have names of their own
# for MP4 (.lrv .lrf .insv .osv .360 .mqv), MPEG-PS (.mod .tod .vro .evo) and MPEG-TS (.trp .m2t).
VIDEO_SUFFIXES = tuple(
    """.mp4 .mkv .avi .mov .webm .m4v .mpg .mpeg .wmv .ts .mts .m2ts .3gp .flv .gif .vob .ogv .mxf
    .264 .265 .266 .360 .3g2 .3gp2 .3gpp .amv .asf .avc .cine .dav .dif .divx .dv .dvr-ms .evo .f4v
    .flc .fli .gxf .h261 .h263 .h264 .h265 .h266 .hevc .insv .ismv .ivf .lrf .lrv .m1v .m2p .m2t
    .m2v .mj2 .mjpeg .mjpg .mk3d .mod .mp2v .mp4v .mpe .mpg4 .mpv .mqv .nsv .nut .nuv .obu .ogm
    .ogx .osv .pva .qt .rm .rmvb .roq .tod .tp .trp .vc1 .vro .vvc .wm .wtv .xvid .y4m""".split()
)
IMAGE_SUFFIXES = frozenset(
    """.bmp .dpx .exr .j2k .jp2 .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .sgi .tga .tif .tiff
    .webp""".split()
)
PATTERN = re.compile(r"%(\d{0,3})d")  # as FFmpeg's image2 counts files: %d, %05d, %5d


def is_video_name(name: str) -> bool:
    """Whether a file of this name is likely a video."""
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def is_image_name(name: str) -> bool:
    """Whether a file of this name is likely a still image."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def is_image_pattern(path: Path) -> bool:
    """Whether a path stands for many images, as folder/%05d.jpg does."""
    return bool(PATTERN.search(path.name)) and is_image_name(path.name)


def are_frames(names: Iterable[str]) -> bool:
    """Whether at least two of a folder's names are images that differ in their numbers alone."""
    kinds = Counter(re.sub(r"\d+", "#", name) for name in names if is_image_name(name))
    return max(kinds.values(), default=0) > 1
