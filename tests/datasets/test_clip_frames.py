"""Decoded frames at random access."""

import os
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.synthetic_video import square_xyxy, write_video
from tubedet.datasets.annotated_clips import AnnotatedClip, LabelledBox
from tubedet.datasets.clip_frames import ClipFrames, decode_clip
from tubedet.errors import DatasetError, OutputError
from tubedet.video.reader import VideoReader

ROOT = Path(__file__).parents[2]
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


def test_the_rate_is_that_of_the_file(clip: AnnotatedClip, tmp_path: Path) -> None:
    path = write_video(tmp_path / "fast.mkv", frames=FRAMES, fps=Fraction(50))
    frames = ClipFrames()
    assert (frames.rate(clip), frames.rate(replace(clip, path=path))) == (24.0, 50.0)
    with pytest.raises(DatasetError, match=r"gone\.avi: a clip of the data set is bad"):
        frames.rate(replace(clip, path=tmp_path / "gone.avi"))


def test_frames_kept_in_a_folder_equal_the_decoded_ones(
    clip: AnnotatedClip, tmp_path: Path
) -> None:
    in_memory = decode_clip(clip)
    for _ in range(2):  # decoded at first, then mapped
        np.testing.assert_array_equal(ClipFrames(tmp_path / "cache").of(clip), in_memory)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_kept_clip_is_not_decoded_again(clip: AnnotatedClip, tmp_path: Path) -> None:
    first = ClipFrames(tmp_path / "cache").of(clip)
    status = clip.path.stat()
    clip.path.write_bytes(b"x" * status.st_size)  # same size, and below the same time: not noticed
    os.utime(clip.path, ns=(status.st_atime_ns, status.st_mtime_ns))

    np.testing.assert_array_equal(ClipFrames(tmp_path / "cache").of(clip), first)


def test_a_window_is_a_part_of_the_clip(clip: AnnotatedClip) -> None:
    frames = ClipFrames()

    np.testing.assert_array_equal(frames.window(clip, range(2, 5)), decode_clip(clip)[2:5])


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


def test_a_clip_much_longer_or_of_another_size_than_annotated_is_refused(
    clip: AnnotatedClip,
) -> None:
    longer = replace(clip, boxes_by_frame=(*clip.boxes_by_frame, (), (), ()))
    with pytest.raises(DatasetError, match=r"clip\.avi: expected the 9 frames .*, found 6;"):
        ClipFrames().of(longer)
    with pytest.raises(DatasetError, match=r"clip\.avi: expected the 9 frames .*, found 6;"):
        decode_clip(longer)

    with pytest.raises(DatasetError, match=r"annotated are frames of 80x48, found 64x48"):
        ClipFrames().of(replace(clip, width=80))
    frames = ClipFrames()
    frames.of(clip)  # decoded already, for another annotation
    with pytest.raises(DatasetError, match=r"annotated are frames of 80x48, found 64x48"):
        pickle.loads(pickle.dumps(frames)).of(replace(clip, width=80))


@pytest.mark.parametrize(("annotated", "counted"), [(FRAMES - 1, FRAMES - 1), (FRAMES + 2, FRAMES)])
def test_a_clip_a_little_longer_or_shorter_than_annotated_is_cut_and_noted_once(
    clip: AnnotatedClip, annotated: int, counted: int
) -> None:
    other = replace(clip, boxes_by_frame=(*clip.boxes_by_frame, (), ())[:annotated])
    frames = ClipFrames()

    assert [len(frames.of(other)) for _ in range(2)] == [counted] * 2
    assert len(decode_clip(other)) == counted
    (note,) = frames.notes
    assert note.text.startswith(f"walk/clip: annotated are {annotated} frames, found {FRAMES}")


def test_a_temporary_folder_is_shared_with_copies_and_goes_with_the_object(
    clip: AnnotatedClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    frames = ClipFrames()
    copy = pickle.loads(pickle.dumps(frames))
    np.testing.assert_array_equal(copy.of(clip), frames.of(clip))
    (folder,) = (tmp_path / "temporary").iterdir()
    assert len(list(folder.iterdir())) == 1

    del copy
    assert folder.is_dir()
    del frames

    assert not list((tmp_path / "temporary").iterdir())


def test_the_temporary_folder_goes_when_a_run_fails(clip: AnnotatedClip, tmp_path: Path) -> None:
    code = "from tubedet.datasets.clip_frames import ClipFrames; frames = ClipFrames(); 1 / 0"

    run = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert "ZeroDivisionError" in run.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]


@pytest.fixture
def extracted(clip: AnnotatedClip, tmp_path: Path) -> AnnotatedClip:
    """The clip as a folder of JPEGs."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, rgb in enumerate(decode_clip(clip), start=1):
        assert cv2.imwrite(str(folder / f"{number:05d}.jpg"), rgb[..., ::-1])
    return replace(clip, path=folder)


def test_of_extracted_frames_only_those_asked_for_are_read_and_none_is_kept(
    extracted: AnnotatedClip, tmp_path: Path
) -> None:
    with VideoReader(extracted.path) as reader:
        expected = [frame.rgb for frame in reader.frames()]
    frames = ClipFrames(tmp_path / "cache")
    np.testing.assert_array_equal(frames.of(extracted), expected)
    for number in (1, 2, 5, 6):
        (extracted.path / f"{number:05d}.jpg").write_bytes(b"this is no image")

    np.testing.assert_array_equal(frames.window(extracted, range(2, 4)), expected[2:4])
    with pytest.raises(DatasetError, match=r"00005\.jpg: a clip of the data set is bad"):
        frames.window(extracted, range(3, 5))
    assert not (tmp_path / "cache").exists()


def test_extracted_frames_of_another_size_are_named(extracted: AnnotatedClip) -> None:
    assert cv2.imwrite(str(extracted.path / "00003.jpg"), np.zeros((8, 8, 3), np.uint8))

    with pytest.raises(DatasetError, match=r"00003\.jpg: annotated are frames of 64x48, found 8x8"):
        ClipFrames().window(extracted, range(2, 4))


def test_a_folder_that_cannot_be_made_is_named(clip: AnnotatedClip, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="cannot keep the decoded frames"):
        ClipFrames(tmp_path / "file").of(clip)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array"], ids=repr)
def test_kept_frames_that_are_damaged_are_decoded_anew(
    clip: AnnotatedClip, tmp_path: Path, content: bytes
) -> None:
    expected = ClipFrames(tmp_path).of(clip).copy()
    (kept,) = tmp_path.glob("*.npy")
    kept.write_bytes(content)

    assert np.array_equal(ClipFrames(tmp_path).of(clip), expected)
