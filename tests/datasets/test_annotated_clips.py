"""The records that every data set is turned into."""

from dataclasses import replace
from pathlib import Path

import pytest

from tubedet.datasets.annotated_clips import (
    AnnotatedClip,
    AnnotatedDataset,
    BoxXyxy,
    LabelledBox,
)
from tubedet.errors import DatasetError


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
