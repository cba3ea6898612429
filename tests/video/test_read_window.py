"""Windows of videos: the frames of `VideoReader` bit for bit, without decoding all before them."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kinds_of_files import FRAMES, GOP, NOT_SOUGHT, SOUGHT, write
from tests.synthetic_video import corrupt
from tubedet.errors import VideoError
from tubedet.video.read_window import WindowReader, read_window
from tubedet.video.reader import VideoReader

REAL_FILES = Path(__file__).resolve().parents[3] / "shared" / "data" / "robust"


def all_frames(path: Path) -> NDArray[np.uint8]:
    with VideoReader(path) as reader:
        return np.stack([frame.rgb for frame in reader.frames()])


def assert_windows_are_exact(path: Path, lengths: tuple[int, ...] = (1, 2, 7)) -> None:
    frames = all_frames(path)
    with WindowReader(path) as reader:
        for length in lengths:
            for first in range(len(frames) - length + 1):
                window = reader.read(range(first, first + length))
                np.testing.assert_array_equal(window, frames[first : first + length], str(first))


@pytest.fixture
def never_from_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: WindowReader, frames: range) -> NDArray[np.uint8]:
        raise AssertionError(f"{frames} were decoded from the first frame on")

    monkeypatch.setattr(WindowReader, "_decoded_from_first", fail)


def copy_packets(target: Path, *sources: Path, first: int = 0) -> Path:
    """The packets of files one after another, of each from this one on."""
    with av.open(str(target), "w") as output:
        stream, end = None, 0
        for path in sources:
            with av.open(str(path)) as source:
                own = source.streams.video[0]
                stream = stream or output.add_stream_from_template(own)
                packets = [packet for packet in source.demux(own) if packet.size]
                for packet in packets[first:]:
                    assert packet.pts is not None
                    assert packet.dts is not None
                    packet.pts, packet.dts = packet.pts + end, packet.dts + end
                    packet.stream = stream
                    output.mux(packet)
                end += (own.duration or 0) + 1000
    return target


@pytest.mark.usefixtures("never_from_first")
@pytest.mark.parametrize("kind", SOUGHT)
def test_every_window_has_the_frames_that_the_reader_numbers_so(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, *SOUGHT[kind])

    assert_windows_are_exact(path)
    with WindowReader(path) as reader:
        assert reader.frames == len(all_frames(path))


@pytest.mark.parametrize("kind", NOT_SOUGHT)
def test_windows_of_other_files_are_exact_too(tmp_path: Path, kind: str) -> None:
    assert_windows_are_exact(write(tmp_path, *NOT_SOUGHT[kind]))


@pytest.mark.usefixtures("never_from_first")
def test_what_lies_before_the_key_frame_of_a_window_is_not_decoded(tmp_path: Path) -> None:
    path = write(tmp_path, *SOUGHT["MP4 with B-frames"])
    frames = all_frames(path)

    corrupt(path, packets=range(1, GOP))

    np.testing.assert_array_equal(read_window(path, range(GOP, GOP + 4)), frames[GOP : GOP + 4])


def test_a_window_with_a_damaged_picture_is_the_readers(tmp_path: Path) -> None:
    path = corrupt(write(tmp_path, *SOUGHT["MP4 with B-frames"]), packets=[GOP + 1])
    frames = all_frames(path)

    for first in range(GOP + 4, 2 * GOP - 2):
        window = read_window(path, range(first, first + 2))
        np.testing.assert_array_equal(window, frames[first : first + 2])


def test_a_picture_that_does_not_come_leaves_the_numbers_the_readers(tmp_path: Path) -> None:
    path = write(tmp_path, *SOUGHT["MP4 of HEVC with open groups"])
    with av.open(str(path)) as source:
        packets = [bytes(packet) for packet in source.demux(source.streams.video[0])]
    data = bytearray(path.read_bytes())
    header = data.index(packets[9]) + 4  # behind the length of its only unit, a P picture
    data[header] = 41 << 1  # a reserved kind, which decoders pass over (H.265, table 7-1)
    path.write_bytes(data)
    frames = all_frames(path)
    assert len(frames) < FRAMES

    for first in range(8, 15):
        window = read_window(path, range(first, first + 2))
        np.testing.assert_array_equal(window, frames[first : first + 2], str(first))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("first", [3, 5])
def test_a_file_cut_before_or_at_an_open_group_begins_with_its_key_frame(
    tmp_path: Path, suffix: str, first: int
) -> None:
    whole = write(tmp_path, "whole.mkv", SOUGHT["MP4 with open groups of pictures"][1])

    path = copy_packets(tmp_path / f"v.{suffix}", whole, first=first)

    assert len(all_frames(path)) == 18  # packet 5 is a key frame, 6 to 8 are shown before it
    assert_windows_are_exact(path)


def test_pictures_of_another_size_than_the_first_are_resized_to_it(tmp_path: Path) -> None:
    settings = {**SOUGHT["WebM of VP9"][1], "frames": 10}
    large = write(tmp_path, "large.webm", settings)
    small = write(tmp_path, "small.webm", {**settings, "width": 32, "height": 24})

    path = copy_packets(tmp_path / "v.webm", large, small)

    assert all_frames(path).shape == (20, 48, 64, 3)
    assert_windows_are_exact(path)


@pytest.mark.parametrize("kind", ["MP4 with B-frames", "AVI with B-frames"])
def test_a_window_beyond_the_end_is_named(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, *(SOUGHT | NOT_SOUGHT)[kind])

    for frames in (range(FRAMES - 1, FRAMES + 1), range(FRAMES, FRAMES + 2)):
        with pytest.raises(VideoError, match=rf"v\....: expected frames .*, found .*{FRAMES}"):
            read_window(path, frames)


@pytest.mark.parametrize("frames", [range(2, 2), range(0, 8, 2), range(-1, 2)])
def test_a_window_is_of_consecutive_frames(tmp_path: Path, frames: range) -> None:
    path = write(tmp_path, "v.mp4", {})

    with pytest.raises(ValueError, match="expected consecutive frames"):
        read_window(path, frames)


def test_a_file_that_is_no_video_is_named(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"this is no video")

    with pytest.raises(VideoError, match=r"v\.mp4: expected a video file"):
        read_window(tmp_path / "v.mp4", range(2))


@pytest.mark.parametrize("name", ["R6llTwEh07w.mp4", "decord_corrupted.mp4", "tmbo_video1.webm"])
def test_windows_of_real_files_are_exact(name: str) -> None:
    if not (REAL_FILES / name).is_file():
        pytest.skip(f"../shared/data/robust/{name} is not here")
    frames = all_frames(REAL_FILES / name)

    for first in range(0, len(frames) - 1, 17):
        window = read_window(REAL_FILES / name, range(first, first + 2))
        np.testing.assert_array_equal(window, frames[first : first + 2], str(first))
