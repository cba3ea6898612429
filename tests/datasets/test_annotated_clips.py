"""The records that every data set is turned into."""

from dataclasses import replace
from pathlib import Path

import pytest

from tubedet.datasets.annotated_clips import (
    AnnotatedClip,
    AnnotatedDataset,
    BoxXyxy,
    LabelledBox,
    agreed_length,
    length_note,
)
from tubedet.errors import DatasetError
from tubedet.notes import Note


def clip_with(box: BoxXyxy, video: str = "golf/a") -> AnnotatedClip:
    return AnnotatedClip(video, Path("a.avi"), 0, "a", 8, 6, ((), (LabelledBox(0, box),)))


def test_a_box_may_touch_the_far_edges() -> None:
    assert clip_with((0, 0, 8, 6)).frames == 2


@pytest.mark.parametrize("box", [(-1, 0, 4, 4), (0, 0, 9, 4), (0, 0, 4, 7), (4, 0, 4, 4)])
def test_a_box_outside_the_frame_or_empty_is_named(box: BoxXyxy) -> None:
    with pytest.raises(DatasetError, match="golf/a: frame 1: expected a box inside 8x6"):
        clip_with(box)


def test_a_class_without_clip_is_named() -> None:
    data = AnnotatedDataset("d", 1, "train", ("golf", "walk", "run"), (clip_with((0, 0, 2, 2)),))

    with pytest.raises(DatasetError, match="d, split 1, part train: no clip of walk, run"):
        data.require_every_class()


def test_the_hash_depends_on_the_boxes_and_neither_on_order_nor_place() -> None:
    one, two = clip_with((0, 0, 2, 2), "a"), clip_with((0, 0, 3, 3), "b")
    data = AnnotatedDataset("d", 1, "train", ("golf",), (one, two))
    moved = AnnotatedDataset("d", 1, "train", ("golf",), (replace(two, path=Path("/b")), one))
    changed = AnnotatedDataset("d", 1, "train", ("golf",), (one, clip_with((0, 0, 3, 4), "b")))

    assert data.sha256 == moved.sha256
    assert data.sha256 != changed.sha256


@pytest.mark.parametrize(
    ("annotated", "found", "counted"),
    [(10, 10, 10), (10, 8, 8), (10, 12, 10), (100, 95, 95), (100, 105, 100)],
)
def test_of_a_clip_a_little_longer_or_shorter_than_annotated_both_have_the_frames_that_count(
    annotated: int, found: int, counted: int
) -> None:
    clip = replace(clip_with((0, 0, 2, 2)), boxes_by_frame=((),) * annotated)

    assert agreed_length(clip, found) == counted


@pytest.mark.parametrize(("annotated", "found"), [(10, 7), (10, 13), (100, 94), (100, 106)])
def test_a_clip_of_another_length_is_named(annotated: int, found: int) -> None:
    clip = replace(clip_with((0, 0, 2, 2)), boxes_by_frame=((),) * annotated)

    with pytest.raises(DatasetError, match=rf"a\.avi: expected the {annotated} .*, found {found};"):
        agreed_length(clip, found)


def test_a_difference_in_length_is_noted() -> None:
    clip = clip_with((0, 0, 2, 2))

    assert length_note(clip, 2) is None
    expected = "golf/a: annotated are 2 frames, found 1: the first 1 count"
    assert length_note(clip, 1) == Note(expected, loss=True)
