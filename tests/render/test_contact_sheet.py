from pathlib import Path

import cv2
import numpy as np
import pytest

from tubedet.errors import OutputError
from tubedet.render.contact_sheet import contact_sheet, write_picture


def grey(
    value: int, height: int = 2, width: int = 3
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height, width, 3), value, dtype=np.uint8)


def test_pictures_fill_rows_from_left_to_right_in_cells_of_the_largest() -> None:
    sheet = contact_sheet([grey(10), grey(20), grey(30, height=5, width=1)], columns=2)

    # Cells of 5 x 3 px, 4 px apart: rows from 0 and 9, columns from 0 and 7.
    assert sheet.shape == (5 + 4 + 5, 3 + 4 + 3, 3)
    expected = np.zeros_like(sheet)
    expected[0:2, 0:3], expected[0:2, 7:10], expected[9:14, 0:1] = 10, 20, 30
    assert (sheet == expected).all()


def test_fewer_pictures_than_columns_make_a_narrower_sheet() -> None:
    assert contact_sheet([grey(10)], columns=5).shape == (2, 3, 3)


def test_a_png_keeps_every_pixel_and_the_order_of_colours(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)

    write_picture(tmp_path / "p.png", picture)

    read = cv2.imread(str(tmp_path / "p.png"))
    assert read is not None
    assert (read[..., ::-1] == picture).all()


def test_a_picture_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"p\.png: could not be written"):
        write_picture(tmp_path / "none" / "p.png", grey(0))
