import os
import weakref
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.synthetic_video import write_video
from tubedet.errors import UsageError, VideoError
from tubedet.video.frame_pairs import pair_frames
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import TimePoint


def frame_numbers(
    path: Path, start: TimePoint | None = None, end: TimePoint | None = None
) -> list[int]:
    with VideoReader(path) as reader:
        return [frame.frame for frame in reader.frames(start, end)]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, range(24)),
        (5, None, range(5, 24)),
        (None, 5, range(5)),
        (5, 8, range(5, 8)),
        (23, 999, range(23, 24)),
        (Fraction("0.25"), Fraction("0.5"), range(6, 12)),  # 6/24 s and 12/24 s exactly
        (Fraction("0.251"), Fraction("0.501"), range(7, 13)),
        (20, Fraction("0.999"), range(20, 24)),
    ],
)
def test_a_range_begins_and_ends_on_the_exact_frame(
    tmp_path: Path, start: TimePoint | None, end: TimePoint | None, expected: range
) -> None:
    path = write_video(tmp_path / "a.mp4", width=64, height=48)
    assert frame_numbers(path, start, end) == list(expected)


def test_frames_without_timestamps_stay_in_a_range_by_their_order(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", frames=5, width=64, height=48)
    assert frame_numbers(path, None, Fraction(0)) == [0, 1, 2, 3, 4]
    assert frame_numbers(path, 2, 4) == [2, 3]


def test_a_range_without_a_frame_is_an_error_that_says_where_the_video_ends(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", width=64, height=48)
    with pytest.raises(
        VideoError, match=r"from 9 s, found none among the first 24, .* at 0\.958 s"
    ):
        frame_numbers(path, Fraction(9))


def test_a_range_that_ends_before_it_begins_is_refused_at_once(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=2)
    with VideoReader(path) as reader, pytest.raises(UsageError, match="end after the start"):
        reader.frames(5, 3)


def test_reading_again_starts_over_and_ends_the_first_reading(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", width=64, height=48)
    with VideoReader(path) as reader:
        first = reader.frames()
        assert [next(first).frame, next(first).frame] == [0, 1]
        assert sum(1 for _ in reader.frames()) == 24
        assert reader.decoded_frames == 24
        assert next(first, None) is None


def test_the_file_is_closed_however_the_reading_ends(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs /proc to list open files")
    path = write_video(tmp_path / "a.mp4")

    def is_open() -> bool:
        return str(path) in {os.path.realpath(entry) for entry in descriptors.iterdir()}

    def fail_midway() -> None:
        with VideoReader(path) as reader:
            for _ in reader.frames():
                assert is_open()
                raise ZeroDivisionError

    with VideoReader(path) as reader:
        assert not is_open()
        frames = reader.frames()
        next(frames)
        assert is_open()
    assert not is_open()
    with pytest.raises(ZeroDivisionError):
        fail_midway()
    assert not is_open()


def test_at_most_three_pictures_are_in_memory_while_a_video_is_paired(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", frames=200, width=64, height=48)
    alive: list[weakref.ref[np.ndarray]] = []
    with VideoReader(path) as reader:
        for pair in pair_frames(reader.frames()):
            alive.append(weakref.ref(pair.second.rgb))
            alive = [pixels for pixels in alive if pixels() is not None]
            assert len({id(pixels()) for pixels in alive}) <= 3
        assert reader.decoded_frames == 200
