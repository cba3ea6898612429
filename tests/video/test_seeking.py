"""A range read from the key frame before it is what a range read from the first frame is."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kinds_of_files import B_FRAMES, GOP, MILLISECOND, NOT_SOUGHT, OPEN_GOP, SOUGHT, write
from tests.synthetic_video import corrupt
from tubedet.errors import VideoError
from tubedet.video.reader import VideoReader
from tubedet.video.seeking import Approach, Sought, decoding_along
from tubedet.video.time_range import FrameNumber, Moment, Seconds

REAL_FILES = Path(__file__).resolve().parents[3] / "shared" / "data" / "robust"
WITHOUT_SOME = [t for t in range(60) if t not in (11, 12, 40, 55)]
REFRESH = {"preset": "veryfast", "x264-params": f"intra-refresh=1:keyint={GOP}:bframes=0"}
# Kinds of which windows are not read.
MORE: dict[str, tuple[str, dict[str, Any]]] = {
    "Matroska that lacks frames": (
        "v.mkv",
        {"options": OPEN_GOP, "timestamps": [42 * t for t in WITHOUT_SOME]}
        | {"time_base": MILLISECOND},
    ),
    "MP4 with two sounds": ("v.mp4", {"options": B_FRAMES, "audio": ["aac", "mp3"]}),
    "MP4 that refreshes its pictures bit by bit": ("v.mp4", {"options": REFRESH}),
    "Matroska that refreshes its pictures bit by bit": ("v.mkv", {"options": REFRESH}),
}
ALL = SOUGHT | NOT_SOUGHT | MORE


class Read:
    """What a pass over a range gives, and what the reader says of it."""

    def __init__(self, path: Path, start: Moment, end: Moment | None = None) -> None:
        self.error = ""
        with VideoReader(path) as reader:
            try:
                self.frames = list(reader.frames(start, end))
            except VideoError as error:
                self.frames, self.error = [], str(error)
            self.counts = reader.decoded_frames, reader.skipped_frames, reader.repaired_timestamps
            self.notes = reader.notes()

    @property
    def told(self) -> list[tuple[int, int | None, Fraction, bool]]:
        """All but the pixels."""
        return [(each.frame, each.pts, each.time_s, each.after_gap) for each in self.frames]


def assert_equal(one: Read, other: Read) -> None:
    assert one.told == other.told
    assert (one.counts, one.notes, one.error) == (other.counts, other.notes, other.error)
    for frame, twin in zip(one.frames, other.frames, strict=True):
        np.testing.assert_array_equal(frame.rgb, twin.rgb, str(frame.frame))


def moments(path: Path, every: int) -> list[Moment]:
    """Frames, times of frames and times between, to behind the end."""
    with VideoReader(path) as reader:
        times = [frame.time_s for frame in reader.frames(with_pictures=False)]
    numbers = range(1, len(times) + 2, every)
    between = [Seconds(times[n] - Fraction(1, 10**6)) for n in range(1, len(times), every)]
    return [*map(FrameNumber, numbers), *map(Seconds, times[1::every]), *between]


def check(path: Path, monkeypatch: pytest.MonkeyPatch, every: int = 1) -> None:
    starts = moments(path, every)
    sought = [Read(path, start) for start in starts]
    with monkeypatch.context() as patched:
        patched.setattr("tubedet.video.reader.approach_to", lambda *_: None)
        for start, read in zip(starts, sought, strict=True):
            assert_equal(read, Read(path, start))


@pytest.fixture
def begun_at(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the key frames that decoding begins with; -1 for one that was given up."""
    numbers: list[int] = []

    def watched(approach: Approach, *others: Any) -> Sought | None:
        sought = decoding_along(approach, *others)
        numbers.append(approach.key.number if sought else -1)
        return sought

    monkeypatch.setattr("tubedet.video.reader.decoding_along", watched)
    return numbers


@pytest.mark.parametrize("kind", ALL)
def test_every_range_is_what_decoding_from_the_first_frame_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    check(write(tmp_path, *ALL[kind]), monkeypatch, every=3)


@pytest.mark.parametrize("kind", SOUGHT)
def test_decoding_begins_with_the_key_frame_before_a_range(
    tmp_path: Path, begun_at: list[int], kind: str
) -> None:
    path = write(tmp_path, *SOUGHT[kind])

    Read(path, FrameNumber(20))

    assert len(begun_at) == 1
    assert 20 - 2 * GOP < begun_at[0] <= 20


def test_what_lies_before_the_key_frame_of_a_range_is_not_decoded(
    tmp_path: Path, begun_at: list[int]
) -> None:
    path = write(tmp_path, *SOUGHT["MP4 with B-frames"])
    whole = Read(path, FrameNumber(GOP + 2))

    corrupt(path, packets=range(1, GOP))

    assert_equal(Read(path, FrameNumber(GOP + 2)), whole)
    assert begun_at == [GOP, GOP]


@pytest.mark.parametrize("kind", ["MP4 with B-frames", "Matroska of a variable rate"])
def test_damage_between_the_key_frame_and_a_range_is_counted_from_the_first_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_at: list[int], kind: str
) -> None:
    path = corrupt(write(tmp_path, *SOUGHT[kind]), packets=[GOP + 1])

    start = FrameNumber(2 * GOP - 2)
    read = Read(path, start)

    assert begun_at == [-1]
    monkeypatch.setattr("tubedet.video.reader.approach_to", lambda *_: None)
    assert_equal(read, Read(path, start))
    assert read.counts[1] == 1


def test_a_file_that_is_cut_off_is_noted_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun_at: list[int]
) -> None:
    name, settings = SOUGHT["Matroska of a variable rate"]
    path = corrupt(write(tmp_path, name, settings), keep=0.8)

    check(path, monkeypatch, every=4)

    assert max(begun_at) > 0


def test_frames_without_pictures_are_the_same_frames_with_the_same_notes(tmp_path: Path) -> None:
    path = write(tmp_path, "v.mkv", {"codec": "mpeg2video", "options": {"flags": "+ildct+ilme"}})
    with VideoReader(path) as reader:
        whole = [(each.frame, each.time_s) for each in reader.frames()]
        notes = reader.notes()
        told = [(each.frame, each.time_s) for each in reader.frames(with_pictures=False)]
        assert told == whole
        assert reader.notes() == notes
        assert any("deinterlaced" in note.text for note in notes)
        assert all(each.rgb.size == 0 for each in reader.frames(with_pictures=False))


@pytest.mark.parametrize(
    "path",
    sorted(REAL_FILES.iterdir()) if REAL_FILES.is_dir() else [],
    ids=lambda path: path.name,
)
def test_ranges_of_real_files_are_what_decoding_from_the_first_frame_gives(
    monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    try:
        VideoReader(path).close()
    except VideoError:
        pytest.skip("no video that can be decoded")
    check(path, monkeypatch, every=150)
