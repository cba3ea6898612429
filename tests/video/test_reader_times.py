"""Times of frames, whatever a container tells of them: pictures are 1/25 s apart as written."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from tests.synthetic_video import corrupt, write_video
from tubedet.video.reader import VideoReader
from tubedet.video.source_clock import WRAP_S

FPS = Fraction(25)
H264 = {"bf": "3", "b-adapt": "0", "preset": "veryfast"}
BF2 = {"bf": "2"}


def evenly(frames: int) -> list[Fraction]:
    return [number / FPS for number in range(frames)]


def where_the_square_is(path: Path) -> list[tuple[int, Fraction]]:
    """Which picture each frame shows, by its white square, and when."""
    with VideoReader(path) as reader:
        shown = []
        for frame in reader.frames():
            white = np.flatnonzero(frame.rgb[120].min(axis=-1) > 190)
            shown.append((round((float(white.mean()) - 29.5) / 2), frame.time_s))
    return shown


@pytest.mark.parametrize(
    ("name", "codec", "options", "start_s"),
    [
        # Decoding times only: their first is the first picture's, and sound begins there too.
        ("a.avi", "libx264", H264, 0),
        ("a.avi", "mpeg4", BF2, 0),
        ("a.asf", "libx264", H264, 0),
        ("a.asf", "mpeg4", BF2, 0),
        ("a.mxf", "libx264", H264, 0),
        ("a.mxf", "mpeg2video", BF2, 0),
        ("a.mp4", "libx264", H264, 0),
        ("a.mkv", "libx264", H264, 0),
        ("a.nut", "libx264", H264, None),
        ("a.flv", "libx264", H264, None),
        ("a.ts", "libx264", H264, None),
        ("a.mpg", "mpeg2video", BF2, None),
        ("a.vob", "mpeg2video", {"bf": "0"}, None),
        ("a.m2v", "mpeg2video", BF2, None),
        ("a.mpg", "libx264", H264, None),  # only the first picture has a time
        ("a.h264", "libx264", H264, 0),  # none has
    ],
)
def test_pictures_are_shown_in_their_order_and_at_their_distance(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], start_s: int | None
) -> None:
    path = write_video(tmp_path / name, frames=40, codec=codec, fps=FPS, options=options)
    shown = where_the_square_is(path)
    assert [picture for picture, _ in shown] == list(range(40))
    assert [time_s for _, time_s in shown] == pytest.approx(evenly(40), abs=0.001)
    with VideoReader(path) as reader:
        if start_s is not None:
            assert reader.info.start_s == start_s


def test_the_times_of_mp4_and_avi_are_exact(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.avi"):
        path = write_video(tmp_path / name, frames=30, fps=Fraction(30000, 1001), options=H264)
        with VideoReader(path) as reader:
            times_s = [frame.time_s for frame in reader.frames()]
            assert reader.repaired_timestamps == 0
        assert times_s == [Fraction(1001 * number, 30000) for number in range(30)]


def test_the_source_keeps_its_own_numbers(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", timestamps=[5000, 5040], time_base=Fraction(1, 1000))
    with VideoReader(path) as reader:
        frames = list(reader.frames())
    assert [(frame.pts, frame.time_s) for frame in frames] == [(5000, 0), (5040, Fraction(1, 25))]
    assert reader.info.start_s == 5


@pytest.mark.parametrize("start_s", [1, 36_000, WRAP_S - Fraction(1, 2)])
def test_a_clock_that_begins_late_or_below_zero_gives_times_from_zero(
    tmp_path: Path, start_s: Fraction
) -> None:
    first = round(start_s * FPS)
    stamps = range(first, first + 40)
    path = write_video(tmp_path / "a.ts", timestamps=stamps, fps=FPS, options=H264)
    with VideoReader(path) as reader:
        assert [frame.time_s for frame in reader.frames()] == evenly(40)
        # FFmpeg counts below zero in the last minute before the clock runs over.
        own_s = first / FPS if start_s < 40_000 else first / FPS - WRAP_S
        assert float(reader.info.start_s) == pytest.approx(float(own_s), abs=0.13)


def test_times_that_stand_still_are_made_up_and_counted(tmp_path: Path) -> None:
    # Matroska keeps milliseconds.
    stamps, tenths_of_ms = [0, 2, 4, 800, 1200], Fraction(1, 10_000)
    path = write_video(
        tmp_path / "a.mkv", timestamps=stamps, time_base=tenths_of_ms, fps=FPS, options={"bf": "0"}
    )
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert reader.repaired_timestamps == 2
        assert [note.loss for note in reader.notes() if "made up: 2" in note.text] == [True]
    assert [frame.pts for frame in frames] == [0, 0, 0, 80, 120]
    assert all(before.time_s < after.time_s for before, after in pairwise(frames))


def test_a_raw_stream_has_the_nominal_rate_and_says_so(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.mp4", container="h264", frames=10)
    with VideoReader(path) as reader:
        assert (reader.info.frames, reader.info.duration_s) == (None, None)
        frames = list(reader.frames())
        assert reader.repaired_timestamps == 10
        notes = reader.notes()
    assert [(frame.pts, frame.time_s) for frame in frames] == [(None, t) for t in evenly(10)]
    assert [("no timestamps" in note.text, note.loss) for note in notes] == [(True, False)]


def test_empty_chunks_of_an_avi_are_time_in_which_the_picture_stays(tmp_path: Path) -> None:
    stamps = [0, 1, 2, 6, 7, 12]
    path = write_video(tmp_path / "a.avi", timestamps=stamps, fps=FPS, options={"bf": "0"})
    with VideoReader(path) as reader:
        frames = list(reader.frames())
    assert [frame.time_s for frame in frames] == [stamp / FPS for stamp in stamps]
    assert not any(frame.after_gap for frame in frames)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_damaged_packet_of_an_avi_takes_its_time_with_it(tmp_path: Path, codec: str) -> None:
    options = {"bf": "2", "g": "10", "b_strategy": "0", "sc_threshold": "0"}
    path = write_video(tmp_path / "a.avi", frames=40, codec=codec, fps=FPS, options=options)
    with av.open(str(path)) as container:
        keys = [p.is_keyframe for p in container.demux(container.streams.video[0]) if p.size]
    second_key = [number for number, is_key in enumerate(keys) if is_key][2]
    corrupt(path, packets=[second_key - 4])
    shown = where_the_square_is(path)
    # From the next key frame on every picture is at its own time again.
    later = [(picture, time_s) for picture, time_s in shown if picture >= second_key + 1]
    assert len(later) >= 15
    assert all(time_s == picture / FPS for picture, time_s in later)
    assert all(later_s > time_s for (_, time_s), (_, later_s) in pairwise(shown))


def with_other_packets(source: Path, path: Path, payloads: list[bytes]) -> Path:
    """The AVI of a source's stream whose packets hold these bytes instead, one a frame."""
    with av.open(str(source)) as container, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(container.streams.video[0])
        for number, payload in enumerate(payloads):
            packet = av.Packet(payload)
            packet.stream, packet.time_base = stream, 1 / FPS
            packet.pts = packet.dts = number
            packet.is_keyframe = number == 0
            output.mux(packet)
    return path


def payloads_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(container.streams.video[0]) if p.size]


def test_the_placeholder_of_an_encoder_that_lags_is_the_next_picture_s_place(
    tmp_path: Path,
) -> None:
    options = {"bf": "2", "g": "10"}
    made = write_video(tmp_path / "m.avi", frames=40, codec="mpeg4", fps=FPS, options=options)
    first, *others = payloads_of(made)
    path = with_other_packets(made, tmp_path / "a.avi", [first, b"\x7f", *others])
    shown = where_the_square_is(path)
    assert shown == [(number, number / FPS) for number in range(40)]


def test_pictures_of_an_avi_that_begins_between_key_frames_keep_their_times(tmp_path: Path) -> None:
    options = {"bf": "2", "g": "10", "sc_threshold": "0", "b-adapt": "0", "preset": "veryfast"}
    made = write_video(tmp_path / "m.avi", frames=40, codec="libx264", fps=FPS, options=options)
    path = with_other_packets(made, tmp_path / "a.avi", payloads_of(made)[3:])
    with VideoReader(path) as reader:
        assert reader.count_frames() == 30
        skipped = reader.skipped_frames
        assert reader.info.start_s == 7 / FPS  # packets before the key frame, decodable or not
    assert skipped < 7
    assert where_the_square_is(path) == [(10 + number, number / FPS) for number in range(30)]
