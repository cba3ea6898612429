"""Many pictures on one, and a picture as a file."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tubedet.errors import OutputError
from tubedet.whole_file import written_whole

GAP_PX = 4


def contact_sheet(pictures_rgb: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Lay pictures (H, W, 3) out row by row on black, in cells of the largest height and width.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: without a picture.
    """
    columns = min(columns, len(pictures_rgb))
    height = max(picture.shape[0] for picture in pictures_rgb) + GAP_PX
    width = max(picture.shape[1] for picture in pictures_rgb) + GAP_PX
    rows = -(-len(pictures_rgb) // columns)
    sheet = np.zeros((rows * height - GAP_PX, columns * width - GAP_PX, 3), dtype=np.uint8)
    for place, picture in enumerate(pictures_rgb):
        y, x = place // columns * height, place % columns * width
        sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return sheet


def write_picture(path: Path, picture_rgb: NDArray[np.uint8]) -> None:
    """Write a picture (H, W, 3) as its name says: .png, .jpg, .jpeg; whole or not at all.

    Raises:
        OutputError: if it can't be written.
    """
    try:
        _, encoded = cv2.imencode(path.suffix, cv2.cvtColor(picture_rgb, cv2.COLOR_RGB2BGR))
    except cv2.error as error:
        raise OutputError(f"{path}: cannot write such a picture: {error}") from error
    with written_whole(path) as pending:
        pending.write_bytes(encoded.tobytes())
