"""One small picture out of a video, without decoding all that precedes it."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from tubedet.errors import VideoError
from tubedet.video.container import open_container, video_stream_of
from tubedet.video.picture import PictureConverter

MOST_DECODED = 300  # frames behind a key frame: what is shown is then somewhat earlier
JPEG_QUALITY = 75


def small_jpeg(path: Path, video_stream: int, time_s: Fraction, width: int) -> bytes | None:
    """The picture at a time on the source's own clock as a JPEG; None where there is none to get.

    Args:
        path: the video.
        video_stream: number of the stream among the file's video streams, from 1.
        time_s: of the picture.
        width: of the JPEG, px; pictures that are not as wide keep their own.
    """
    try:
        rgb = _picture(path, video_stream, time_s)
    except (VideoError, av.FFmpegError, OSError):
        return None
    return None if rgb is None else jpeg_of(rgb, width)


def jpeg_of(rgb: NDArray[np.uint8], width: int) -> bytes:
    """A picture (H, W, 3) as a JPEG, of at most this width in px."""
    height = max(1, round(rgb.shape[0] * width / rgb.shape[1]))
    if width < rgb.shape[1]:
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _picture(path: Path, video_stream: int, time_s: Fraction) -> NDArray[np.uint8] | None:
    with open_container(path) as container:
        stream = video_stream_of(container, path, video_stream)
        container.seek(max(0, int(time_s * av.time_base)))
        latest = None
        for number, picture in enumerate(container.decode(stream)):
            latest = picture
            at_s = (picture.pts or 0) * Fraction(picture.time_base or 0)
            if at_s >= time_s or number == MOST_DECODED:
                break
        return None if latest is None else PictureConverter(latest).to_rgb(latest)
