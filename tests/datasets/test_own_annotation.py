"""What is put right in a user's annotation, and what is left as wrong as it is."""

from pathlib import Path

import pytest

from tubedet.datasets.annotated_clips import BoxXyxy
from tubedet.datasets.own_annotation import (
    LeftOut,
    OwnBox,
    OwnVideo,
    known_frames,
    mended,
    notes_of,
    upright_box,
    without_copies,
)

SIZE = (200, 100)


def video_of(*boxes: OwnBox, left_out: tuple[LeftOut, ...] = ()) -> OwnVideo:
    place = (Path("a.mp4"), Path("a.xml"))
    return OwnVideo("a", *place, SIZE, 4, boxes, frozenset(range(4)), left_out=left_out)


def box_of(*box_xyxy: float, frame: int = 0) -> OwnBox:
    x1, y1, x2, y2 = box_xyxy
    return OwnBox(frame, "walk", (x1, y1, x2, y2), 0)


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (90, (90, 0, 110, 100)),  # 100x20 about (100, 50) becomes 20x100
        (270, (90, 0, 110, 100)),
        (180, (50, 40, 150, 60)),
        # 100 cos 30° + 20 sin 30° = 96.603 wide, 100 sin 30° + 20 cos 30° = 67.321 high
        (30, (51.699, 16.340, 148.301, 83.660)),
        (-30, (51.699, 16.340, 148.301, 83.660)),
    ],
)
def test_a_turned_box_becomes_the_upright_one_around_it(degrees: float, expected: BoxXyxy) -> None:
    assert upright_box((50, 40, 150, 60), degrees, SIZE) == pytest.approx(expected, abs=1e-3)


def test_a_turned_box_is_cut_to_the_frame_unless_it_lies_elsewhere() -> None:
    assert upright_box((0, 0, 20, 100), 90, SIZE) == pytest.approx((0, 40, 60, 60))
    assert upright_box((300, 0, 320, 100), 90, SIZE) == pytest.approx((260, 40, 360, 60))
    assert upright_box((100, 0, 290, 100), 180, SIZE) == (100, 0, 290, 100)


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        ((-4, -2, 10, 10), (0, 0, 10, 10)),  # 2 % of 200 and of 100
        ((190, 90, 204, 102), (190, 90, 200, 100)),
    ],
)
def test_a_box_that_sticks_out_by_a_hair_is_clipped_and_counted(
    drawn: BoxXyxy, expected: BoxXyxy
) -> None:
    video = mended(video_of(box_of(*drawn), box_of(1, 1, 5, 5, frame=1)))

    assert [box.box_xyxy for box in video.boxes] == [expected, (1, 1, 5, 5)]
    (note,) = notes_of(video)
    assert note.text == "a: boxes that stick out of the frame by a hair, clipped (1)"


@pytest.mark.parametrize(
    "drawn",
    [
        (-4.1, 0, 10, 10),
        (0, -2.1, 10, 10),
        (0, 0, 204.1, 10),
        (0, 0, 10, 102.1),
        (20, 0, 10, 10),
        (0, 20, 10, 10),
        (300, 0, 320, 20),
    ],
)
def test_a_box_far_outside_or_upside_down_is_left_as_it_is(drawn: BoxXyxy) -> None:
    assert mended(video_of(box_of(*drawn))) == video_of(box_of(*drawn))


def test_one_pixel_is_a_hair_however_small_the_frame() -> None:
    tiny = OwnVideo("a", Path("a"), Path("a"), (8, 8), 1, (box_of(-1, 0, 8, 9),), frozenset())

    assert mended(tiny).boxes[0].box_xyxy == (0, 0, 8, 8)


def test_the_rounding_of_a_sum_is_not_worth_a_word() -> None:
    video = mended(video_of(box_of(0, 0, 200.00000000000003, 50)))

    assert video.boxes[0].box_xyxy == (0, 0, 200, 50)
    assert list(notes_of(video)) == []


def test_a_frame_with_only_a_box_without_area_is_unknown_and_not_background() -> None:
    line, beside = box_of(5, 5, 5, 9, frame=1), box_of(200, 5, 203, 9, frame=2)
    both = (box_of(1, 1, 5, 5, frame=3), box_of(7, 7, 7, 7, frame=3))

    video = mended(video_of(line, beside, *both))

    assert [box.frame for box in video.boxes] == [3]
    assert known_frames(video, ["walk"]) == frozenset({0, 3})
    (note,) = notes_of(video)
    assert (note.text, note.loss) == (
        "a: annotated otherwise than by boxes, left out: box without an area (3)",
        True,
    )


def test_a_shape_of_no_class_leaves_its_frame_known() -> None:
    shapes = (LeftOut(0, "pitch", "polygon"), LeftOut(1, "walk", "polygon"))

    assert known_frames(video_of(left_out=shapes), ["walk"]) == frozenset({0, 2, 3})


def test_a_row_twice_is_one_box() -> None:
    video = mended(video_of(box_of(1, 1, 5, 5), box_of(1, 1, 5, 5), box_of(1, 1, 5, 6)))

    assert len(video.boxes) == 2
    assert [note.text for note in notes_of(video)] == ["a: boxes that repeat another, left out (1)"]


def test_labels_and_names_have_one_unicode_form() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    video = video_of(OwnBox(0, composed, (1, 1, 5, 5), 0), OwnBox(1, decomposed, (1, 1, 5, 5), 0))

    assert {box.label for box in mended(video).boxes} == {composed}


def test_only_alike_annotation_counts_as_a_copy() -> None:
    one, other = video_of(box_of(1, 1, 5, 5)), video_of(box_of(1, 1, 5, 6))

    assert [video.boxes for video in without_copies([one, one, other])] == [one.boxes, other.boxes]
