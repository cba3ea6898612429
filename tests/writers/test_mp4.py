"""The MP4's pictures and times, decoded again with PyAV."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from tests.output_targets import (
    any_info,
    frames_of,
    open_writer,
    result,
    target_for,
    video_info,
    write_mp4,
)
from tests.synthetic_video import draw_picture, write_video
from tubedet.errors import OutputError
from tubedet.video.frame import VideoFrame

SHARED_VIDEOS = Path(__file__).parents[3] / "shared" / "data"
IRREGULAR = [0, 33, 67, 100, 267, 268, 301, 1301, 1334]  # milliseconds


def times_of(path: Path) -> list[Fraction]:
    with av.open(str(path)) as movie:
        return [frame.pts * Fraction(frame.time_base or 0) for frame in movie.decode(video=0)
                if frame.pts is not None]  # fmt: skip


def length_of(path: Path) -> Fraction:
    with av.open(str(path)) as movie:
        video = movie.streams.video[0]
        return (video.duration or 0) * Fraction(video.time_base or 0)


def small_frames(
    timestamps: Sequence[int],
    size: tuple[int, int] = (64, 48),
    time_base: Fraction = Fraction(1, 25),
) -> Iterator[VideoFrame]:
    for number, pts in enumerate(timestamps):
        time_s = (pts - timestamps[0]) * time_base
        yield VideoFrame(number, pts, time_s, draw_picture(number, *size))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """24 frames at 24 frames a second."""
    return write_video(tmp_path / "clip.mp4", width=64, height=48)


def test_every_frame_keeps_its_picture_and_a_variable_rate_its_timestamps(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "clip.mkv", timestamps=IRREGULAR, time_base=Fraction(1, 1000)
    )  # fmt: skip
    movie, writer = write_mp4(target_for(tmp_path, source), frames_of(source))

    assert movie == tmp_path / "clip.tubedet.mp4"
    assert times_of(movie) == [Fraction(pts, 1000) for pts in IRREGULAR]
    assert writer.offset_s == 0
    for before, after in zip(frames_of(source), frames_of(movie), strict=True):
        assert np.abs(before.rgb.astype(int) - after.rgb).mean() < 3


@pytest.mark.parametrize(
    ("time_base", "step"),
    [("1/25", 1), ("1/90000", 3003), ("1/10000000", 333667), ("1001/30000", 1), ("2/1", 1),
     ("1/1200000", 48000), ("1/44100", 1470)],
)  # fmt: skip
def test_timestamps_are_exact_in_any_time_base_that_mp4_can_hold(
    tmp_path: Path, clip: Path, time_base: str, step: int
) -> None:
    info = any_info(time_base=Fraction(time_base))
    target = target_for(tmp_path, clip, info=info, cut_end=True)
    timestamps = [7 * step + step * n for n in range(5)]
    movie, _ = write_mp4(target, small_frames(timestamps, time_base=info.time_base))

    assert times_of(movie) == [n * step * info.time_base for n in range(5)]


def test_a_time_base_that_mp4_cannot_hold_is_rounded_to_a_90000th_of_a_second(
    tmp_path: Path, clip: Path
) -> None:
    info = any_info(time_base=Fraction(1, 1_000_000_000))
    movie, _ = write_mp4(
        target_for(tmp_path, clip, info=info),
        small_frames([0, 33_366_667, 66_733_333], time_base=info.time_base),
    )

    assert times_of(movie) == [0, Fraction(3003, 90000), Fraction(6006, 90000)]


def test_times_that_fall_into_one_tick_of_the_movie_stay_apart_by_a_tick(
    tmp_path: Path, clip: Path
) -> None:
    info = any_info(time_base=Fraction(1, 1000))
    nanoseconds = [0, 100, 200, 40_000_000]
    frames = small_frames(nanoseconds, time_base=Fraction(1, 1_000_000_000))
    movie, _ = write_mp4(target_for(tmp_path, clip, info=info), frames)

    assert times_of(movie) == [Fraction(ms, 1000) for ms in (0, 1, 2, 40)]


@pytest.mark.parametrize(
    ("duration_s", "pictures"), [(30 * 3600.0, [0, 1, 2]), (None, [0, 1, 1, 1, 1, 1, 2])]
)
def test_a_pause_of_30_hours_keeps_its_length_whether_the_container_told_of_it_or_not(
    tmp_path: Path, clip: Path, duration_s: float | None, pictures: list[int]
) -> None:
    info = replace(any_info(time_base=Fraction(1, 90_000)), duration_s=duration_s)
    timestamps = [0, 3600, 30 * 3600 * 90_000]
    frames = small_frames(timestamps, time_base=info.time_base)
    target = target_for(tmp_path, clip, info=info, cut_end=True)
    movie, _ = write_mp4(target, frames)

    times = times_of(movie)
    assert [times[0], times[1], times[-1]] == [0, Fraction(1, 25), 30 * 3600]
    drawn = [frame.rgb.astype(int) for frame in small_frames(timestamps)]
    shown = [int(np.argmin([np.abs(frame.rgb - rgb).mean() for rgb in drawn]))
             for frame in frames_of(movie)]  # fmt: skip
    assert shown == pictures


@pytest.mark.parametrize(
    ("cut_end", "frames"), [(False, 24), (True, 10)], ids=["to the end", "cut"]
)
def test_the_last_frame_lasts_to_the_end_of_the_source_or_of_the_range(
    tmp_path: Path, clip: Path, cut_end: bool, frames: int
) -> None:
    info = replace(video_info(clip), frames=10)  # the tenth is a long one
    target = target_for(tmp_path, clip, info=info, cut_end=cut_end)
    movie, _ = write_mp4(target, islice(frames_of(clip), 10))

    assert len(times_of(movie)) == 10
    assert length_of(movie) == Fraction(frames, 24)


def test_the_last_frame_does_not_stand_still_for_frames_that_are_missing(
    tmp_path: Path, clip: Path
) -> None:
    movie, _ = write_mp4(target_for(tmp_path, clip), islice(frames_of(clip), 10))

    assert video_info(clip).frames == 24
    assert length_of(movie) == Fraction(10, 24)


def test_a_cut_range_starts_at_zero(tmp_path: Path, clip: Path) -> None:
    target = target_for(tmp_path, clip, cut_start=True)
    movie, writer = write_mp4(target, islice(frames_of(clip), 8, None))

    assert times_of(movie) == [Fraction(number, 24) for number in range(16)]
    assert writer.offset_s == Fraction(-8, 24)


@pytest.mark.parametrize("start_ms", [33, 5_000_000])
def test_the_first_frame_is_zero_whenever_the_source_begins(tmp_path: Path, start_ms: int) -> None:
    source = write_video(
        tmp_path / "late.mkv",
        timestamps=[start_ms, start_ms + 45, start_ms + 90],
        time_base=Fraction(1, 1000),
    )
    movie, writer = write_mp4(target_for(tmp_path, source), frames_of(source))

    assert times_of(movie) == [Fraction(step, 1000) for step in (0, 45, 90)]
    assert writer.offset_s == 0


def test_frames_before_zero_are_shown_too(tmp_path: Path, clip: Path) -> None:
    movie, _ = write_mp4(target_for(tmp_path, clip, info=any_info()), small_frames([-2, -1, 0, 1]))

    assert times_of(movie) == [Fraction(number, 25) for number in range(4)]


def test_a_picture_that_h264_cannot_hold_is_scaled_down_with_a_note(
    tmp_path: Path, clip: Path
) -> None:
    info = replace(any_info(), width=18_000, height=64)
    target = target_for(tmp_path, clip, info=info)
    movie, writer = write_mp4(target, small_frames([0, 1], (18_000, 64)))

    # 64 * 16384 / 18000 is 58.25, and an edge is even
    assert [frame.rgb.shape for frame in frames_of(movie)] == [(58, 16_384, 3)] * 2
    (note,) = (note.text for note in writer.notes if "scaled" in note.text)
    assert "18000x64" in note
    assert "16384x58" in note


def test_a_picture_of_16384_pixels_is_written(tmp_path: Path, clip: Path) -> None:
    info = replace(any_info(), width=16_384, height=16)
    target = target_for(tmp_path, clip, info=info)
    movie, _ = write_mp4(target, small_frames([0, 1], (16_384, 16)))

    assert [frame.rgb.shape for frame in frames_of(movie)] == [(16, 16_384, 3)] * 2


@pytest.mark.parametrize("size", [(65, 49), (65, 48), (64, 49), (19, 17)], ids=str)
def test_an_odd_edge_is_repeated_once(tmp_path: Path, clip: Path, size: tuple[int, int]) -> None:
    width, height = size
    target = target_for(tmp_path, clip, info=any_info())
    movie, _ = write_mp4(target, small_frames([0, 1, 2], size))

    for before, after in zip(small_frames([0, 1, 2], size), frames_of(movie), strict=True):
        assert after.rgb.shape == (height + height % 2, width + width % 2, 3)
        expected = before.rgb.astype(int)
        assert np.abs(after.rgb[:height, :width] - expected).mean() < 6
        assert np.abs(after.rgb[-1, :width] - expected[-1]).mean() < 12


def test_a_frame_of_another_size_is_stretched_to_the_first_ones(tmp_path: Path, clip: Path) -> None:
    frames = [*small_frames([0]), replace(*small_frames([1], (128, 96)), frame=1)]
    movie, _ = write_mp4(target_for(tmp_path, clip, info=any_info()), iter(frames))

    assert [frame.rgb.shape for frame in frames_of(movie)] == [(48, 64, 3)] * 2


def test_the_stream_is_what_browsers_play_and_says_its_colours(tmp_path: Path, clip: Path) -> None:
    movie, _ = write_mp4(target_for(tmp_path, clip), frames_of(clip))

    data = movie.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat"), "the index comes first"
    with av.open(str(movie)) as container:
        video = container.streams.video[0]
        context = video.codec_context
        assert (context.name, context.pix_fmt, context.has_b_frames) == ("h264", "yuv420p", 0)
        colours = context.color_range, context.colorspace, context.color_primaries
        assert (*colours, context.color_trc) == (1, 1, 1, 1), "limited range, BT.709"
        packets = [packet for packet in container.demux(video) if packet.size]
        assert all(packet.pts == packet.dts for packet in packets)


@pytest.mark.parametrize(("rotation", "aspect"), [(0, "64/51"), (90, "51/64")])
def test_pixels_that_are_not_square_stay_so(tmp_path: Path, rotation: int, aspect: str) -> None:
    source = SHARED_VIDEOS / "robust" / "mmaction_demo.mp4"
    if not source.exists():
        pytest.skip("no ../shared/data/robust beside the project")
    info = replace(video_info(source), rotation=rotation)
    movie, _ = write_mp4(target_for(tmp_path, source, info=info), islice(frames_of(source), 3))

    with av.open(str(movie)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(aspect)


def test_an_interrupted_run_leaves_a_whole_movie_of_what_was_done(
    tmp_path: Path, clip: Path
) -> None:
    writer = open_writer("mp4", target_for(tmp_path / "out", clip))
    for frame in islice(frames_of(clip), 7):
        writer.write(result(frame))
    writer.close(complete=False)

    assert times_of(writer.path) == [Fraction(number, 24) for number in range(7)]
    assert length_of(writer.path) == Fraction(7, 24)


def test_abandoning_in_the_middle_leaves_nothing(tmp_path: Path, clip: Path) -> None:
    writer = open_writer("mp4", target_for(tmp_path / "out", clip))
    for frame in islice(frames_of(clip), 7):
        writer.write(result(frame))
    for _ in range(2):
        writer.abandon()
        writer.remove()

    assert list((tmp_path / "out").iterdir()) == []


def test_a_movie_without_a_frame_is_an_output_error(tmp_path: Path) -> None:
    writer = open_writer("mp4", target_for(tmp_path / "out", tmp_path / "clip.mp4"))

    with pytest.raises(OutputError, match=r"no frame for .*clip\.tubedet\.mp4"):
        writer.close(complete=True)


@pytest.mark.parametrize("told_s", [-0.5, 1e12])
def test_a_duration_that_cannot_be_leaves_the_times_of_the_frames_alone(
    tmp_path: Path, clip: Path, told_s: float
) -> None:
    info = replace(any_info(), duration_s=told_s)
    movie, _ = write_mp4(target_for(tmp_path, clip, info=info), small_frames([0, 1, 2]))

    assert times_of(movie) == [Fraction(number, 25) for number in range(3)]
