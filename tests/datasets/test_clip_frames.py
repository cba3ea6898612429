"""Decoded frames at random access."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic_video import square_xyxy, write_video
from tubedet.datasets.annotated_clips import AnnotatedClip, LabelledBox
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.errors import DatasetError, OutputError

FRAMES, WIDTH, HEIGHT = 6, 64, 48


@pytest.fixture
def clip(tmp_path: Path) -> AnnotatedClip:
    path = write_video(tmp_path / "clip.avi", frames=FRAMES, width=WIDTH, height=HEIGHT)
    boxes = tuple((LabelledBox(0, square_xyxy(t, WIDTH, HEIGHT)),) for t in range(FRAMES))
    return AnnotatedClip("walk/clip", path, 0, "g", WIDTH, HEIGHT, boxes)


def test_frames_are_those_of_the_video_and_the_boxes_lie_on_them(clip: AnnotatedClip) -> None:
    frames = ClipFrames().of(clip)

    assert frames.shape == (FRAMES, HEIGHT, WIDTH, 3)
    for t, ((box,),) in enumerate(zip(clip.boxes_by_frame, strict=True)):
        x1, y1, x2, y2 = map(int, box.box_xyxy)
        assert frames[t, y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].min() > 200  # the white square


def test_frames_kept_in_a_folder_equal_those_kept_in_memory(
    clip: AnnotatedClip, tmp_path: Path
) -> None:
    in_memory = ClipFrames().of(clip)
    for _ in range(2):  # decoded at first, then mapped
        np.testing.assert_array_equal(ClipFrames(tmp_path / "cache").of(clip), in_memory)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_kept_clip_is_not_decoded_again(clip: AnnotatedClip, tmp_path: Path) -> None:
    first = ClipFrames(tmp_path / "cache").of(clip)
    status = clip.path.stat()
    clip.path.write_bytes(b"x" * status.st_size)  # same size, and below the same time: not noticed
    os.utime(clip.path, ns=(status.st_atime_ns, status.st_mtime_ns))

    np.testing.assert_array_equal(ClipFrames(tmp_path / "cache").of(clip), first)


def test_a_replaced_clip_is_decoded_anew(clip: AnnotatedClip, tmp_path: Path) -> None:
    ClipFrames(tmp_path / "cache").of(clip)
    write_video(clip.path, frames=FRAMES - 2, width=WIDTH, height=HEIGHT)
    shorter = replace(clip, boxes_by_frame=clip.boxes_by_frame[:-2])

    assert len(ClipFrames(tmp_path / "cache").of(shorter)) == FRAMES - 2


def test_an_unreadable_clip_is_named(clip: AnnotatedClip) -> None:
    clip.path.write_bytes(b"this is no video")

    with pytest.raises(DatasetError, match=r"clip\.avi: a clip of the data set is bad: "):
        ClipFrames().of(clip)


@pytest.mark.parametrize("folder", [None, "cache"])
def test_a_clip_that_is_gone_is_named(
    clip: AnnotatedClip, tmp_path: Path, folder: str | None
) -> None:
    clip.path.unlink()

    with pytest.raises(DatasetError, match=r"clip\.avi: a clip of the data set is"):
        ClipFrames(None if folder is None else tmp_path / folder).of(clip)


def test_a_clip_of_another_length_than_annotated_is_refused(clip: AnnotatedClip) -> None:
    longer = replace(clip, boxes_by_frame=(*clip.boxes_by_frame, ()))

    with pytest.raises(
        DatasetError, match=r"annotated are 7 frames of 64x48, found 6 frames of 64x48"
    ):
        ClipFrames().of(longer)


def test_a_folder_that_cannot_be_made_is_named(clip: AnnotatedClip, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="cannot keep the decoded frames"):
        ClipFrames(tmp_path / "file").of(clip)
