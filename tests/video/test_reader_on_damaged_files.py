import os
import random
import re
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.synthetic_video import corrupt, draw_picture, write_sound, write_video
from tubedet.errors import VideoError
from tubedet.video.frame import VideoFrame
from tubedet.video.reader import VideoReader


def write_lossless(path: Path) -> Path:
    return write_video(path, width=64, height=48, codec="ffv1", pixel_format="bgr0")


def packet_timestamps(path: Path) -> list[int]:
    """The timestamps of the video's packets in file order, which B-frames make non-monotonic."""
    with av.open(str(path)) as container:
        return [p.pts for p in container.demux(container.streams.video[0]) if p.pts is not None]


def test_frames_that_cannot_be_decoded_are_skipped_counted_and_leave_a_gap(tmp_path: Path) -> None:
    path = corrupt(write_lossless(tmp_path / "a.mkv"), packets=[0, 10, 11, 20])
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert reader.skipped_frames == 4
    assert [frame.frame for frame in frames] == list(range(20))
    kept = [number for number in range(24) if number not in (0, 10, 11, 20)]
    for frame, number in zip(frames, kept, strict=True):
        np.testing.assert_array_equal(frame.rgb, draw_picture(number, 64, 48))
    assert [frame.frame for frame in frames if frame.after_gap] == [0, 9, 17]


def test_a_gap_lies_where_the_picture_is_missing_though_b_frames_come_out_late(
    tmp_path: Path,
) -> None:
    options = {"preset": "veryfast", "bf": "2", "b_strategy": "0", "sc_threshold": "0"}
    path = write_video(tmp_path / "a.mp4", options=options)
    stamps = packet_timestamps(path)
    packet = next(number for number in range(10, 24) if stamps[number] < stamps[number - 1])
    corrupt(path, packets=[packet])
    with VideoReader(path) as reader:
        frames = list(reader.frames())
    expected = sorted(set(stamps) - {stamps[packet]})
    assert [frame.pts for frame in frames] == expected
    after = min(stamp for stamp in expected if stamp > stamps[packet])
    assert [frame.pts for frame in frames if frame.after_gap] == [after]


def test_damage_in_the_last_packets_costs_no_good_frame(tmp_path: Path) -> None:
    path = corrupt(write_video(tmp_path / "a.mp4"), packets=[21, 23])
    with VideoReader(path) as reader:
        assert sum(1 for _ in reader.frames()) == 22
        assert reader.skipped_frames == 2


def test_a_truncated_file_gives_the_frames_it_still_has(tmp_path: Path) -> None:
    path = corrupt(write_lossless(tmp_path / "a.mkv"), keep=0.5)
    with VideoReader(path) as reader:
        assert 10 <= sum(1 for _ in reader.frames()) <= 13


def test_a_truncated_file_that_lost_its_index_is_an_error_that_says_so(tmp_path: Path) -> None:
    path = corrupt(write_video(tmp_path / "a.mp4"), keep=0.5)
    with pytest.raises(VideoError, match=r"a\.mp4: .*cannot be read .* check that it is complete"):
        VideoReader(path)


def test_a_stream_without_a_frame_that_decodes_is_an_error(tmp_path: Path) -> None:
    path = corrupt(write_lossless(tmp_path / "a.mkv"), packets=range(24))
    with pytest.raises(VideoError, match=r"a\.mkv: .*ffv1 stream .*24 failed"):
        VideoReader(path)


def test_a_path_without_a_video_behind_it_is_an_error_of_one_line(tmp_path: Path) -> None:
    contents = {
        "empty.mp4": b"",
        "text.txt": b"hello world\n" * 50,
        "text.mp4": b"hello world\n" * 50,
        "noise.mp4": np.random.default_rng(0).bytes(5000),
        "list.m3u8": b"#EXTM3U\n#EXTINF:9,\nhttp://localhost:9/a.ts\n",
        "subtitles.srt": b"1\n00:00:01,000 --> 00:00:02,000\nhi\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    write_sound(tmp_path / "sound.m4a")
    problems = {
        "absent.mp4": "nothing there",
        "folder.mp4": "a folder",
        "pipe.mp4": "a pipe or device",
        "empty.mp4": "an empty file",
        "text.txt": "data that cannot be read",
        "text.mp4": "data that cannot be read",
        "noise.mp4": "data that cannot be read",
        "list.m3u8": "data that cannot be read",
        "subtitles.srt": "found subtitle",
        "sound.m4a": r"found audio \(aac\); give a video that shows a picture",
    }
    for name, problem in problems.items():
        with pytest.raises(VideoError, match=f"expected a video .*{problem}") as caught:
            VideoReader(tmp_path / name)
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / name}: ")
        assert "\n" not in message
        assert caught.value.exit_code == 3


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as output:
        sound = output.add_stream("libmp3lame", 48_000)
        cover = output.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(draw_picture(0, 64, 48)).reformat(format="yuvj420p")
        picture.pts = 0
        output.mux([*cover.encode(picture), *cover.encode(None)])
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 4800), np.int16), "s16p", "stereo")
        silence.sample_rate, silence.pts = 48_000, 0
        output.mux([*sound.encode(silence), *sound.encode(None)])
    with pytest.raises(VideoError, match=r"song\.mp3: expected a video stream .*audio \(mp3\)"):
        VideoReader(path)


def shown_and_losses(path: Path) -> tuple[list[VideoFrame], list[str]]:
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        return frames, [note.text for note in reader.notes() if note.loss]


def test_a_container_that_cannot_be_read_further_ends_the_video_and_not_the_run(
    tmp_path: Path,
) -> None:
    path = write_video(tmp_path / "a.y4m", codec="wrapped_avframe", width=64, height=48)
    data = path.read_bytes()
    tenth = data.index(b"FRAME") + 10 * (64 * 48 * 3 // 2 + len(b"FRAME\n"))
    path.write_bytes(data[:tenth] + b"BROKEN" + data[tenth + len(b"FRAME\n") :])
    frames, losses = shown_and_losses(path)
    assert [frame.frame for frame in frames] == list(range(10))
    assert any("places of the container that were passed over: 1" in text for text in losses)


def test_the_reading_goes_on_behind_a_damaged_place_of_a_container(tmp_path: Path) -> None:
    options = {"g": "1"}
    path = write_video(tmp_path / "a.mxf", codec="mpeg2video", fps=Fraction(25), options=options)
    data = path.read_bytes()
    key = bytes.fromhex("060e2b34010201010d01030115010500")  # of a picture (SMPTE 381M)
    places = [match.start() for match in re.finditer(re.escape(key), data)]
    assert len(places) == 24
    length = places[10] + len(key)  # BER: 0x83 and three bytes, or 0x87 and seven
    path.write_bytes(data[:length] + b"\xff" + data[length + 1 :])
    frames, losses = shown_and_losses(path)
    assert len(frames) >= 23
    assert losses


def test_pictures_that_a_container_drops_without_an_error_leave_a_gap(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.asf", frames=90, codec="mpeg4", fps=Fraction(25))
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        places = sorted({packet.pos for packet in packets if packet.pos is not None})
    lost = places[len(places) // 2]
    data = bytearray(path.read_bytes())
    data[lost : lost + 3200] = b"\xff" * 3200  # a data packet of FFmpeg's ASF
    path.write_bytes(data)
    frames, losses = shown_and_losses(path)
    gaps = [
        frame
        for before, frame in pairwise(frames)
        if frame.time_s - before.time_s > Fraction(3, 50)
    ]
    assert 1 <= len(gaps) <= 2
    assert [frame for frame in frames if frame.after_gap] == gaps
    missing = 90 - len(frames)
    assert missing >= 2
    assert [text.endswith(f"about {missing}") for text in losses if "missing between" in text] == [
        True
    ]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".mpg", ".asf", ".webm", ".nut"])
def test_no_damage_costs_more_frames_than_ffmpeg_itself_loses(tmp_path: Path, suffix: str) -> None:
    codec = {".mpg": "mpeg2video", ".asf": "mpeg4"}.get(suffix)
    whole = write_video(tmp_path / f"a{suffix}", frames=60, width=64, height=48, codec=codec)
    data = whole.read_bytes()
    for seed in range(20):
        noise = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(10):
            damaged[noise.randrange(len(data) // 4, len(data))] = noise.randrange(256)
        whole.write_bytes(damaged)
        least = plainly_decoded(whole)
        if not least:
            continue
        frames, _ = shown_and_losses(whole)
        assert len(frames) >= least, seed
        assert all(before.time_s < frame.time_s for before, frame in pairwise(frames))


def plainly_decoded(path: Path) -> int:
    """Frames of PyAV's own loop, which a damaged packet does not end, but a container's error."""
    frames = 0
    # IndexError: a stream that appears midway, which PyAV does not know.
    with (
        suppress(av.FFmpegError, IndexError),
        av.open(str(path), metadata_errors="replace") as container,
    ):
        video = container.streams.video[0]
        if video.codec_context:
            video.codec_context.thread_count = 1
            for packet in container.demux(video):
                with suppress(av.FFmpegError):
                    frames += len(packet.decode())
    return frames


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".flv"])
def test_a_file_whose_second_half_is_empty_loses_it_and_says_so(
    tmp_path: Path, suffix: str
) -> None:
    path = write_video(tmp_path / f"a{suffix}", frames=60, options={"bf": "0", "g": "10"})
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2] + bytes(size - size // 2))
    frames, losses = shown_and_losses(path)
    assert 15 <= len(frames) <= 45
    assert any(re.search(r"the last (4\d|5\d)% of the file could not be read", t) for t in losses)
