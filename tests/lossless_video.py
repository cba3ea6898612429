"""Videos that decode to exactly the pixels they were made of."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_lossless(path: Path, pictures: Sequence[NDArray[np.uint8]]) -> Path:
    """Write pictures (H, W, 3) RGB of one size as FFV1 without chroma conversion (.mkv)."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("ffv1", rate=Fraction(25))
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "bgr0"
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="bgr0")
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path
