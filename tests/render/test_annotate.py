"""Boxes and tags on frames of every size, at every edge."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tubedet.detections import Detection
from tubedet.render.annotate import FAINT_OPACITY, annotate
from tubedet.render.palette import class_color

LABEL = "CricketBowling"
SIZES = [(320, 240), (1920, 1080), (3840, 2160)]


def grey(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 90, np.uint8)


def box(*xyxy: float, label: str = LABEL, score: float = 0.87) -> Detection:
    x1, y1, x2, y2 = xyxy
    return Detection(label, 0, score, (x1, y1, x2, y2))


def painted(picture: NDArray[np.uint8], label: str = LABEL) -> NDArray[np.bool_]:
    """Where the picture has exactly the class's colour: lines and the filling of the tag."""
    mask: NDArray[np.bool_] = (picture == class_color(label)).all(axis=-1)
    return mask


def tag_area(picture: NDArray[np.uint8]) -> int:
    """Pixels of the rows that are painted far more than two lines of a box explain."""
    per_row = painted(picture).sum(axis=1)
    return int(per_row[per_row > 20].sum())


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_line_and_tag_grow_with_the_frame(size: tuple[int, int]) -> None:
    width, height = size
    picture = annotate(grey(width, height), [box(width / 4, height / 4, width / 2, height * 0.75)])

    row = painted(picture)[height // 2]
    line = np.flatnonzero(row)[: row.sum() // 2]
    above = painted(picture)[: height // 4 - 10, :]
    assert line[0] <= width / 4 <= line[-1] + 1
    assert len(line) == {240: 2, 1080: 5, 2160: 9}[height]
    assert above.any(axis=1).sum() >= height / 40


@pytest.mark.parametrize("size", [(320, 240), (1920, 1080), (240, 320), (96, 64)], ids=str)
@pytest.mark.parametrize("y", [0.0, 0.02, 0.5, 0.9], ids="y={}".format)
@pytest.mark.parametrize("x", [-0.1, 0.0, 0.5, 0.95], ids="x={}".format)
def test_the_whole_tag_is_inside_the_frame_wherever_the_box_is(
    size: tuple[int, int], x: float, y: float
) -> None:
    width, height = size
    middle = annotate(grey(width, height), [box(20, 40, 30, 50)])
    at_edge = annotate(
        grey(width, height),
        [box(x * width, y * height, (x + 0.05) * width, (y + 0.1) * height)],
    )

    assert tag_area(at_edge) > 0.8 * tag_area(middle) > 0


def test_without_detections_the_picture_is_an_equal_copy_and_the_input_is_never_touched() -> None:
    frame = grey(64, 48)
    copy = annotate(frame, [])
    annotate(frame, [box(5, 5, 20, 20)])

    assert copy is not frame
    np.testing.assert_array_equal(copy, grey(64, 48))
    np.testing.assert_array_equal(frame, grey(64, 48))


def test_a_faint_box_is_the_mixture_of_the_frame_and_the_full_one() -> None:
    frame = grey(320, 240)
    full = annotate(frame, [box(50, 60, 200, 200)])
    faint = annotate(frame, [box(50, 60, 200, 200)], faint=True)

    mixture = FAINT_OPACITY * full + (1 - FAINT_OPACITY) * frame
    np.testing.assert_allclose(faint, mixture, atol=0.51)


def test_the_tags_of_two_boxes_that_start_at_one_place_do_not_cover_each_other() -> None:
    both = annotate(grey(320, 240), [box(60, 60, 200, 220), box(62, 58, 210, 225, label="Surfing")])
    alone = annotate(grey(320, 240), [box(60, 60, 200, 220)])

    assert painted(both).sum() >= painted(alone).sum()
    assert tag_area(both) > 0
    assert painted(both, "Surfing").sum() > 600


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (17, 9), (400, 8)], ids=str)
def test_a_frame_too_small_for_any_tag_is_drawn_on_all_the_same(size: tuple[int, int]) -> None:
    width, height = size
    picture = annotate(grey(width, height), [box(0, 0, width, height), box(0, 0, 0.2, 0.2)])

    assert picture.shape == (height, width, 3)
    assert (picture != 90).any()


def test_a_box_of_a_pixel_keeps_its_inside_visible() -> None:
    picture = annotate(grey(320, 240), [box(150, 120, 151, 121)])

    assert not painted(picture)[120, 150]
    assert painted(picture)[120, 149]
