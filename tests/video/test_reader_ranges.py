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
from tubedet.video.time_range import FrameNumber, Seconds, TimeRange


def frame_numbers(path: Path, start: str | None = None, end: str | None = None) -> list[int]:
    span = TimeRange.from_options(start, end)
    with VideoReader(path) as reader:
        return [frame.frame for frame in reader.frames(span.start, span.end)]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, None, range(24)),
        ("5f", None, range(5, 24)),
        (None, "5f", range(5)),
        ("5f", "8f", range(5, 8)),
        ("23f", "999f", range(23, 24)),
        ("0.25", "0.5", range(6, 12)),  # 6/24 s and 12/24 s exactly
        ("0.251", "0.501", range(7, 13)),
        ("20f", "0.999", range(20, 24)),
    ],
)
def test_a_range_begins_and_ends_on_the_exact_frame(
    tmp_path: Path, start: str | None, end: str | None, expected: range
) -> None:
    path = write_video(tmp_path / "a.mp4", width=64, height=48)
    assert frame_numbers(path, start, end) == list(expected)


@pytest.mark.parametrize("begin_s", [0, 1, 36_000])
def test_a_range_counts_from_the_first_frame_however_late_the_clock(
    tmp_path: Path, begin_s: int
) -> None:
    stamps = [25 * begin_s + number for number in range(25)]
    path = write_video(tmp_path / "a.ts", timestamps=stamps, fps=Fraction(25), width=64, height=48)
    assert frame_numbers(path, "0.4", "0.8") == list(range(10, 20))
    assert frame_numbers(path, None, "5") == list(range(25))


def test_frames_without_timestamps_have_a_range_at_the_nominal_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", frames=10, width=64, height=48)
    assert frame_numbers(path, "0.08", "0.2") == [2, 3, 4]  # 25 frames a second
    assert frame_numbers(path, "2f", "4f") == [2, 3]


def test_a_range_without_a_frame_is_an_error_that_says_where_the_video_is(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", width=64, height=48)
    with pytest.raises(VideoError, match=r"from 9 s, found 24 from 0 s to 0\.958 s"):
        frame_numbers(path, "9")


def test_a_range_is_skipped_to_until_somebody_says_stop(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", width=64, height=48)
    asked: list[int] = []
    with VideoReader(path) as reader:

        def stop() -> bool:
            asked.append(reader.decoded_frames)
            return reader.decoded_frames == 7

        assert list(reader.frames(FrameNumber(20), None, stop)) == []
        assert asked[-8:] == [0, 1, 2, 3, 4, 5, 6, 7]  # packets are looked at before
        assert reader.decoded_frames == 7


def test_a_range_that_ends_before_it_begins_is_refused_at_once(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=2)
    with VideoReader(path) as reader, pytest.raises(UsageError, match="end after the start"):
        reader.frames(Seconds(Fraction(5)), Seconds(Fraction(3)))


def test_reading_again_starts_over_and_ends_the_first_reading(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", width=64, height=48)
    with VideoReader(path) as reader:
        first = reader.frames()
        assert [next(first).frame, next(first).frame] == [0, 1]
        assert sum(1 for _ in reader.frames()) == 24
        assert reader.decoded_frames == 24
        assert next(first, None) is None


def test_the_first_pass_needs_no_second_look_at_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", width=64, height=48)
    with VideoReader(path) as reader:
        path.rename(tmp_path / "elsewhere.mp4")
        assert sum(1 for _ in reader.frames()) == 24
        with pytest.raises(VideoError, match="nothing there"):
            reader.frames()


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
        frames = reader.frames()
        next(frames)
        assert is_open()
    assert not is_open()
    with VideoReader(path) as reader:
        assert len(list(reader.frames())) == 24
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
