"""Videos that decode to exactly the pixels they were made of."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray


def write_lossless(path: Path, pictures: Iterable[NDArray[np.uint8]]) -> Path:
    """Write pictures (H, W, 3) RGB of one size as FFV1 without chroma conversion (.mkv)."""
    with av.open(str(path), "w") as output:
        video = cast(VideoStream, output.add_stream("ffv1", rate=Fraction(25)))
        video.pix_fmt = "bgr0"
        for picture in pictures:
            video.height, video.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="bgr0")
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path
