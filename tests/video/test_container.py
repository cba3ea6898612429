"""What is a video, and which stream of it: files that are made here, of known pictures."""

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from av.video.stream import VideoStream

from tests.synthetic_video import write_video
from tubedet.errors import VideoError
from tubedet.video.container import open_container
from tubedet.video.reader import VideoReader


def write_image(path: Path, grey: int, size: tuple[int, int] = (64, 48)) -> None:
    ok, encoded = cv2.imencode(path.suffix, np.full((*size[::-1], 3), grey, np.uint8))
    assert ok
    path.write_bytes(encoded.tobytes())


def greys_of(path: Path) -> list[int]:
    with VideoReader(path) as reader:
        frames = list(reader.frames())
    assert [frame.time_s for frame in frames] == [Fraction(n, 25) for n in range(len(frames))]
    return [round(float(frame.rgb.mean()) / 10) * 10 for frame in frames]


@pytest.mark.parametrize(
    "names",
    [
        ["00001.jpg", "00002.jpg", "00003.jpg"],
        ["frame_0000.png", "frame_0001.png", "frame_0010.png"],
        ["img9.png", "img10.png", "img100.png"],
        ["a %03d 2.bmp", "a b'1.bmp", "ü[x]3.bmp"],
        ["IMG_1.JPG", "IMG_2.JPG", "IMG_3.JPG"],
        ["shot 1 of 3.webp", "shot 2 of 3.webp", "shot 3 of 3.webp"],
        ["7.tif", "8.tif", "9.tif"],
    ],
    ids=lambda names: names[0],
)
def test_a_folder_of_images_is_a_video_in_the_order_of_their_numbers(
    tmp_path: Path, names: list[str]
) -> None:
    for number in (2, 0, 1):
        write_image(tmp_path / names[number], grey=60 + 50 * number)
    (tmp_path / "notes.txt").write_text("no image")
    assert greys_of(tmp_path) == [60, 110, 160]


def test_a_pattern_names_the_images_of_a_folder_that_fit_it(tmp_path: Path) -> None:
    for number, grey in ((1, 50), (2, 100), (4, 150), (100_000, 200)):
        write_image(tmp_path / f"a_{number:05d}.png", grey)
    write_image(tmp_path / "b_00003.png", grey=0)
    write_image(tmp_path / "a_3.png", grey=0)
    assert greys_of(tmp_path / "a_%05d.png") == [50, 100, 150, 200]
    assert greys_of(tmp_path / "a_%5d.png") == [50, 100, 150, 200]  # FFmpeg fills up with zeros
    with pytest.raises(VideoError, match="nothing there"):
        VideoReader(tmp_path / "c_%05d.png")


def test_images_that_are_left_out_or_damaged_are_counted(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / f"{number}.png", grey=50 * number)
    write_image(tmp_path / "cover.jpg", grey=0)
    (tmp_path / "2.png").write_bytes(b"no picture, but something")
    (tmp_path / "9.png").touch()
    with VideoReader(tmp_path) as reader:
        assert [round(float(frame.rgb.mean())) for frame in reader.frames()] == [0, 50, 150]
        assert reader.skipped_frames == 1
        losses = [note.text for note in reader.notes() if note.loss]
    assert any("images left out" in text and text.endswith(": 2") for text in losses)


def test_images_of_another_size_are_resized_to_the_first(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", grey=80)
    write_image(tmp_path / "2.png", grey=80, size=(128, 96))
    with VideoReader(tmp_path) as reader:
        assert [frame.rgb.shape for frame in reader.frames()] == [(48, 64, 3)] * 2


def add_stream(output: av.container.OutputContainer, codec: str, width: int) -> VideoStream:
    stream = cast(VideoStream, output.add_stream(codec, rate=25))
    stream.width, stream.height = width, width * 3 // 4
    stream.pix_fmt = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
    return stream


def write_streams(
    path: Path, streams: list[tuple[str, int, int]], default: int | None = None
) -> Path:
    """Video streams of a codec, a width and a number of frames each, 25 a second."""
    with av.open(str(path), "w") as output:
        added = [add_stream(output, codec, width) for codec, width, _ in streams]
        if default is not None:
            added[default].disposition = Disposition.default
        for number in range(max(frames for _, _, frames in streams)):
            for stream, (_, width, frames) in zip(added, streams, strict=True):
                if number < frames:
                    picture = av.VideoFrame(width, width * 3 // 4, stream.pix_fmt or "")
                    picture.pts, picture.time_base = number, Fraction(1, 25)
                    output.mux(stream.encode(picture))
        for stream in added:
            output.mux(stream.encode(None))
    return path


def read(path: Path, video_stream: int | None = None) -> tuple[int, int, int, list[str]]:
    """Width, number of frames and number of the stream, and what is said of it."""
    with VideoReader(path, video_stream=video_stream) as reader:
        frames = sum(1 for _ in reader.frames())
        notes = reader.notes()
    assert not any(note.loss for note in notes)
    return reader.info.width, frames, reader.info.video_stream, [note.text for note in notes]


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [
        (".mp4", "mjpeg"),
        (".mov", "png"),
        (".mkv", "mjpeg"),
        (".asf", "mjpeg"),
        (".mp4", "libx264"),  # whatever the codec, a single picture
    ],
)
def test_a_thumbnail_before_the_video_is_not_the_video(
    tmp_path: Path, suffix: str, codec: str
) -> None:
    path = write_streams(tmp_path / f"a{suffix}", [(codec, 96, 1), ("libx264", 160, 25)])
    assert read(path) == (160, 25, 2, [])
    assert read(path, video_stream=1)[:3] == (96, 1, 1)


def test_a_picture_alone_is_a_video_of_one_frame(tmp_path: Path) -> None:
    assert read(write_streams(tmp_path / "a.mp4", [("mjpeg", 96, 1)])) == (96, 1, 1, [])
    write_image(tmp_path / "a.jpg", grey=90)
    assert read(tmp_path / "a.jpg")[:2] == (64, 1)


def test_a_motion_jpeg_alone_is_a_video(tmp_path: Path) -> None:
    assert read(write_streams(tmp_path / "a.mkv", [("mjpeg", 96, 25)]))[:2] == (96, 25)


def test_of_several_videos_the_first_is_read_and_the_others_can_be_chosen(tmp_path: Path) -> None:
    path = write_streams(tmp_path / "a.mp4", [("libx264", 96, 20), ("libx264", 160, 25)])
    width, frames, number, notes = read(path)
    assert (width, frames, number) == (96, 20, 1)
    assert ["2 is h264 of 160x120" in note and "--video-stream" in note for note in notes] == [True]
    assert read(path, video_stream=2)[:3] == (160, 25, 2)
    with pytest.raises(VideoError, match=r"found 3: 1 is h264 of 96x72, 2 is h264 of 160x120"):
        VideoReader(path, video_stream=3)
    with pytest.raises(VideoError, match="found 0"):
        VideoReader(path, video_stream=0)


def test_the_stream_that_the_file_calls_its_default_is_read(tmp_path: Path) -> None:
    streams = [("libx264", 96, 20), ("libx264", 160, 25)]
    path = write_streams(tmp_path / "a.mkv", streams, default=1)
    assert read(path)[:3] == (160, 25, 2)


def test_a_name_that_is_too_long_is_an_error_of_the_video(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"a\.mp4: expected a video"):
        VideoReader(tmp_path / ("a" * 300) / "a.mp4")


def test_a_path_that_may_not_be_read_is_an_error_of_the_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", forbidden)
    with pytest.raises(VideoError, match=r"a\.mp4: .*\(Permission denied\)"):
        VideoReader(tmp_path / "a.mp4")


def test_errors_inside_the_block_are_left_to_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", frames=1)
    with pytest.raises(OSError, match="disk full"), open_container(path):
        raise OSError(28, "disk full")
