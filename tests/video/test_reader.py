import gc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tests.synthetic_video import draw_picture, write_video
from tubedet.video.reader import VideoReader


def frame_numbers(path: Path) -> list[int]:
    with VideoReader(path) as reader:
        return [frame.frame for frame in reader.frames()]


def test_a_lossless_video_comes_back_pixel_by_pixel_even_at_an_odd_size(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mkv", frames=6, width=33, height=17, codec="ffv1", pixel_format="bgr0"
    )
    with VideoReader(path) as reader:
        assert (reader.info.width, reader.info.height, reader.info.rotation) == (33, 17, 0)
        frames = list(reader.frames())
        assert (reader.decoded_frames, reader.skipped_frames) == (6, 0)
    assert [frame.frame for frame in frames] == [0, 1, 2, 3, 4, 5]
    for frame in frames:
        np.testing.assert_array_equal(frame.rgb, draw_picture(frame.frame, 33, 17))
        assert frame.rgb.flags.c_contiguous
        assert not frame.after_gap


def test_frames_are_counted_by_decoding_them(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=7, width=64, height=48)
    cut = tmp_path / "cut.avi"
    whole = write_video(tmp_path / "whole.avi", frames=90, width=320, height=240, codec="mpeg4")
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    with VideoReader(path) as reader:
        assert reader.count_frames() == 7 == len(list(reader.frames()))
    with VideoReader(cut) as reader:
        assert reader.info.frames == 90
        assert 0 < reader.count_frames() == len(list(reader.frames())) < 90


def test_no_picture_waits_in_a_cycle_for_the_garbage_collector(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=40, width=64, height=48)
    with VideoReader(path) as reader:
        frames = reader.frames()
        next(frames)
        gc.collect()
        gc.disable()
        try:
            for _ in range(30):
                next(frames)
            assert gc.collect() < 30
        finally:
            gc.enable()


def test_what_the_container_says_is_reported(tmp_path: Path) -> None:
    fps = Fraction(30000, 1001)
    path = write_video(tmp_path / "a.mp4", frames=30, fps=fps, audio=["aac", "mp3", "opus"])
    with VideoReader(path) as reader:
        info = reader.info
    assert (info.fps, info.time_base, info.frames) == (fps, Fraction(1, 30000), 30)
    assert info.duration_s == pytest.approx(1.001)
    assert info.video_codec == "h264"
    assert info.audio_codecs == ("aac", "mp3", "opus")


def test_a_variable_frame_rate_keeps_every_timestamp(tmp_path: Path) -> None:
    stamps = [0, 40, 120, 125, 300, 1300]
    path = write_video(tmp_path / "a.mkv", timestamps=stamps, time_base=Fraction(1, 1000))
    with VideoReader(path) as reader:
        frames = list(reader.frames())
    assert [frame.pts for frame in frames] == stamps
    assert [frame.time_s for frame in frames] == [Fraction(stamp, 1000) for stamp in stamps]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_the_rotation_flag_turns_the_picture_clockwise(tmp_path: Path, rotation: int) -> None:
    path = write_video(tmp_path / "a.mp4", frames=2, width=64, height=48, rotation=rotation)
    with VideoReader(path) as reader:
        frame = list(reader.frames())[1]
    upright = draw_picture(1, 64, 48)
    for _ in range(rotation // 90):
        upright = upright[::-1].transpose(1, 0, 2)  # clockwise: the left column becomes the top row
    assert frame.rgb.shape == upright.shape
    assert (reader.info.height, reader.info.width, 3) == upright.shape
    assert reader.info.rotation == rotation
    assert np.abs(frame.rgb.astype(int) - upright).mean() < 4


@pytest.mark.parametrize(
    ("name", "pixel_format", "full_range", "tolerance"),
    [
        ("ffv1.mkv", "yuv444p", False, 1.5),
        ("ffv1.mkv", "yuv444p", True, 1.5),
        ("ffv1.mkv", "yuv444p10le", False, 1.5),
        ("ffv1.mkv", "yuva420p", False, 3),
        ("libx264.mp4", "yuv420p10le", False, 3),
        ("libx264.mp4", "yuv420p", True, 3),
        ("libvpx.webm", "yuv420p", False, 3),
        ("mpeg4.avi", "yuv420p", False, 3),
        ("gif.gif", "rgb8", False, 25),
    ],
)
def test_any_codec_and_pixel_format_becomes_8_bit_rgb(
    tmp_path: Path, name: str, pixel_format: str, full_range: bool, tolerance: float
) -> None:
    path = write_video(
        tmp_path / name,
        frames=4,
        width=160,
        height=120,
        codec=Path(name).stem,
        pixel_format=pixel_format,
        full_range=full_range,
    )
    with VideoReader(path) as reader:
        frames = list(reader.frames())
    assert len(frames) == 4
    for frame in frames:
        assert frame.rgb.dtype == np.uint8
        difference = frame.rgb.astype(int) - draw_picture(frame.frame, 160, 120)
        assert np.abs(difference).mean() < tolerance


def test_pictures_that_change_size_midway_come_in_the_size_of_the_first(tmp_path: Path) -> None:
    large = write_video(tmp_path / "large.h264", frames=3, width=160, height=120)
    small = write_video(tmp_path / "small.h264", frames=3, width=80, height=60)
    both = tmp_path / "both.h264"
    both.write_bytes(large.read_bytes() + small.read_bytes())
    with VideoReader(both) as reader:
        shapes = [frame.rgb.shape for frame in reader.frames()]
    assert shapes == [(120, 160, 3)] * 6


def test_metadata_that_is_not_utf8_does_no_harm(tmp_path: Path) -> None:
    tags = {"title": "Pippi på vägen"}
    path = write_video(tmp_path / "a.avi", metadata=tags, metadata_encoding="latin-1", frames=3)
    with pytest.raises(UnicodeDecodeError), av.open(str(path)):
        pass
    assert frame_numbers(path) == [0, 1, 2]


@pytest.mark.parametrize("name", ["12:30 %03d ü.mp4", "file:a.mp4", "-i.mp4"])
def test_a_name_is_a_name_and_never_an_address_or_a_pattern(tmp_path: Path, name: str) -> None:
    made = write_video(tmp_path / "made.mp4", frames=2)
    assert frame_numbers(made.rename(tmp_path / name)) == [0, 1]


@pytest.mark.parametrize("name", ["http:a.mp4", "concat:a.mp4", "pipe:0", "a%03d.mp4"])
def test_a_relative_name_is_no_address_either(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "made.mp4", frames=2).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert frame_numbers(Path(name)) == [0, 1]
