"""All sound of a source is in the MP4, channel for channel and second for second, or a note."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.output_targets import any_info, target_for, write_mp4
from tests.synthetic_video import write_video
from tests.tone_files import FPS, RATE, Sound, frames_at, write_tones
from tubedet.notes import Note
from tubedet.video.reader import VideoReader
from tubedet.writers.mp4 import Mp4Writer

TWO_SECONDS = [Fraction(n, FPS) for n in range(2 * FPS)]


def movie_of(
    folder: Path, source: Path, times_s: list[Fraction], **changes: Any
) -> tuple[Path, Mp4Writer]:
    """The MP4 of a source, which has grey frames at these times."""
    return write_mp4(target_for(folder / "out", source, **changes), frames_at(times_s))


def joined(path: Path, *parts: Path, without: int = 0) -> Path:
    """Files one behind the other, all but the first without so many bytes at their beginning."""
    first, *rest = [part.read_bytes() for part in parts]
    path.write_bytes(first + b"".join(data[without:] for data in rest))
    return path


def paused(path: Path, source: Path, pause_s: int) -> Path:
    """The source twice, one behind the other, with a pause between the beginnings."""
    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        streams = {stream: output.add_stream_from_template(stream) for stream in given.streams}
        packets = [packet for packet in given.demux() if packet.size]
        for moved_s in (0, pause_s):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.stream, again.time_base = streams[packet.stream], packet.time_base
                moved = round(moved_s / packet.time_base)
                again.pts, again.dts = (packet.pts or 0) + moved, (packet.dts or 0) + moved
                again.duration, again.is_keyframe = packet.duration, packet.is_keyframe
                output.mux(again)
    return path


def without_sound_packets(path: Path, source: Path) -> Path:
    """The same tracks, but packets of the video only."""
    with av.open(str(source)) as given, av.open(str(path), "w") as output:
        streams = {each.index: output.add_stream_from_template(each) for each in given.streams}
        for packet in given.demux():
            if packet.size and packet.stream.type == "video":
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    return path


@pytest.mark.parametrize(
    ("codec", "layout", "channels"),
    [
        ("flac", "mono", "FC"),
        ("ac3", "stereo", "FL FR"),
        ("flac", "3.0", "FL FR FC"),
        ("ac3", "4.0", "FL FR FC BC"),
        ("flac", "quad", "FL FR BL BR"),
        ("ac3", "quad(side)", "FL FR BL BR"),
        ("ac3", "5.0(side)", "FL FR FC BL BR"),
        ("flac", "5.1", "FL FR FC LFE BL BR"),
        ("ac3", "5.1(side)", "FL FR FC LFE BL BR"),
        ("flac", "7.1", "FL FR FC LFE BL BR SL SR"),
    ],
)
def test_every_channel_keeps_its_sound(
    tmp_path: Path, codec: str, layout: str, channels: str
) -> None:
    names = channels.split()
    tones = [60 if name == "LFE" else 300 + 100 * n for n, name in enumerate(names)]
    source = write_tones(tmp_path / "clip.mkv", codec, tones, layout=layout)
    movie, writer = movie_of(tmp_path, source, TWO_SECONDS)

    sound = Sound(movie)
    assert sound.seconds == pytest.approx(2, abs=0.1)
    for name, tone in zip(names, tones, strict=True):
        assert sound.level(tone, 0.5, 1.5, name) == pytest.approx(0.3, abs=0.05)
        others = {each.name for each in sound.layout.channels} - {name}
        assert all(sound.level(tone, 0.5, 1.5, other) < 0.02 for other in others)
    assert writer.notes == []


def test_channels_that_aac_has_no_place_for_are_mixed_down_with_a_note(tmp_path: Path) -> None:
    tones = [300, 400, 500, 60, 600, 700, 800]
    source = write_tones(tmp_path / "clip.mkv", "flac", tones, layout="6.1")
    movie, writer = movie_of(tmp_path, source, TWO_SECONDS)

    sound = Sound(movie)
    assert sound.level(600, 0.5, 1.5, "BL") > 0.1
    assert sound.level(600, 0.5, 1.5, "BR") > 0.1
    text = "audio track 1 (flac): 6.1 is mixed down to 7.1"
    assert writer.notes == [Note(text, loss=True)]


@pytest.mark.parametrize(
    ("codec", "before", "after"),
    [
        ("aac", (48_000, "stereo"), (24_000, "mono")),
        ("aac", (24_000, "mono"), (48_000, "stereo")),
        ("mp2", (48_000, "stereo"), (32_000, "mono")),
        ("ac3", (48_000, "5.1(side)"), (48_000, "stereo")),
        ("ac3", (44_100, "stereo"), (48_000, "5.1(side)")),
        ("mp3", (48_000, "stereo"), (32_000, "mono")),
    ],
    ids=str,
)
def test_a_track_that_changes_midway_sounds_on_in_the_same_pitch(
    tmp_path: Path, codec: str, before: tuple[int, str], after: tuple[int, str]
) -> None:
    parts = [
        write_tones(tmp_path / f"{n}.ts", codec, [tone] * av.AudioLayout(layout).nb_channels,
                    rate=rate, layout=layout, start_s=10 + 2 * n)
        for n, (tone, (rate, layout)) in enumerate([(500, before), (800, after)])
    ]  # fmt: skip
    source = joined(tmp_path / "joined.ts", *parts)
    movie, writer = movie_of(tmp_path, source, [Fraction(n, FPS) for n in range(4 * FPS)])

    sound = Sound(movie)
    assert sound.undecodable == 0
    assert len(sound.forms) == 1, "players believe the first description"
    assert sound.seconds == pytest.approx(4, abs=0.1)
    assert sound.level(500, 0.3, 1.8) > 0.15
    assert sound.level(800, 2.2, 3.8) > 0.15
    assert sound.level(800, 0.3, 1.8) < 0.02
    assert sound.level(500, 2.2, 3.8) < 0.02
    wider = av.AudioLayout(after[1]).nb_channels > av.AudioLayout(before[1]).nb_channels
    assert len(writer.notes) == wider, "what the beginning has no channel for is mixed down"


def test_a_copied_track_is_encoded_from_where_its_description_changes(tmp_path: Path) -> None:
    first = write_tones(tmp_path / "1.flv", "aac", [500, 500])
    second = write_tones(
        tmp_path / "2.flv", "aac", [800], rate=22_050, layout="mono", start_s=2
    )  # fmt: skip
    source = joined(tmp_path / "joined.flv", first, second, without=13)  # FLV's own header
    movie, writer = movie_of(tmp_path, source, [Fraction(n, FPS) for n in range(4 * FPS)])

    sound = Sound(movie)
    assert sound.undecodable == 0
    assert len(sound.forms) == 1, "players believe the first description"
    seconds = Sound(first).seconds + Sound(second).seconds  # FLV tells no encoder's delay
    assert sound.seconds == pytest.approx(seconds, abs=0.1)
    assert sound.level(500, 0.3, 1.8) == pytest.approx(0.3, abs=0.05)
    assert sound.level(800, 2.3, 3.8) > 0.15
    with av.open(str(first)) as flv, av.open(str(movie)) as file:
        given = [bytes(packet) for packet in flv.demux(audio=0) if packet.size]
        copied = [bytes(packet) for packet in file.demux(audio=0) if packet.size]
        assert copied[: len(given)] == given
    assert writer.notes == []


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_a_track_without_a_packet_is_left_out_with_a_note_that_tells_of_no_loss(
    tmp_path: Path, suffix: str
) -> None:
    whole = write_tones(tmp_path / f"whole.{suffix}", "aac", [500, 500])
    source = without_sound_packets(tmp_path / f"silent.{suffix}", whole)
    movie, writer = movie_of(tmp_path, source, TWO_SECONDS)

    with av.open(str(movie)) as file:
        assert [stream.type for stream in file.streams] == ["video"]
        assert len(list(file.decode(video=0))) == 50
    assert writer.notes == [Note("audio track 1 (aac) is declared, but holds no sound: left out")]


@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_a_track_that_begins_after_32_seconds_is_heard_from_there_on(
    tmp_path: Path, codec: str
) -> None:
    source = tmp_path / "late.ts"
    noise = np.random.default_rng(0)
    with av.open(str(source), "w") as output:
        video = output.add_stream("libx264", 5, options={"bf": "0", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 120, "yuv420p"
        track = output.add_stream(codec, RATE, layout="mono")
        assert isinstance(track, av.AudioStream)
        for number in range(170):
            noisy = noise.integers(0, 255, (120, 160, 3), np.uint8)
            picture = av.VideoFrame.from_ndarray(noisy)
            picture.pts, picture.time_base = number, Fraction(1, 5)
            output.mux(video.encode(picture))
            if number >= 160:
                at = np.arange(number * RATE // 5, (number + 1) * RATE // 5)
                wave = (9000 * np.sin(2 * np.pi * 500 * at / RATE)).astype(np.int16)
                part = av.AudioFrame.from_ndarray(wave[None], "s16", "mono")
                part.sample_rate, part.time_base, part.pts = RATE, Fraction(1, RATE), int(at[0])
                output.mux(track.encode(part))
        output.mux(video.encode(None))
        output.mux(track.encode(None))
    movie, writer = movie_of(tmp_path, source, [Fraction(n, 5) for n in range(170)])

    sound = Sound(movie)
    assert sound.begin_s == pytest.approx(32, abs=0.06), "an encoder's delay before it"
    assert sound.seconds == pytest.approx(2, abs=0.1)
    assert sound.level(500, 32.1, 33.9) > 0.2
    assert writer.notes == []


@pytest.mark.parametrize("codec", ["ac3", "aac"])
@pytest.mark.parametrize("pause_h", [2, 15])
def test_a_pause_of_hours_stays_a_gap_without_sound(
    tmp_path: Path, codec: str, pause_h: int
) -> None:
    once = write_tones(tmp_path / "once.mkv", codec, [500, 500])
    source = paused(tmp_path / "paused.mkv", once, pause_h * 3600)
    times = [Fraction(n, FPS) + moved for moved in (0, pause_h * 3600) for n in range(2 * FPS)]
    movie, writer = movie_of(tmp_path, source, times)

    sound = Sound(movie)
    assert sound.seconds == pytest.approx(4, abs=0.1)
    assert sound.end_s == pytest.approx(pause_h * 3600 + 2, abs=0.1)
    assert sound.level(500, 0.2, 1.8) == pytest.approx(0.3, abs=0.05)
    begin_s = pause_h * 3600
    assert sound.level(500, begin_s + 0.1, begin_s + 1.8) == pytest.approx(0.3, abs=0.05)
    assert movie.stat().st_size < 300_000
    assert writer.notes == []


@pytest.mark.parametrize("codec", ["aac", "mp2", "ac3"])
def test_after_a_clock_that_goes_back_the_sound_goes_on_with_the_pictures(
    tmp_path: Path, codec: str
) -> None:
    first = write_tones(tmp_path / "1.ts", codec, [500, 500], start_s=3610)
    second = write_tones(tmp_path / "2.ts", codec, [800, 800], start_s=10)
    source = joined(tmp_path / "joined.ts", first, second)
    movie, writer = movie_of(tmp_path, source, [Fraction(n, FPS) for n in range(4 * FPS)])

    sound = Sound(movie)
    assert sound.seconds == pytest.approx(4, abs=0.1)
    assert sound.end_s == pytest.approx(4, abs=0.15)
    assert sound.level(500, 0.2, 1.8) > 0.25
    assert sound.level(800, 2.2, 3.8) > 0.25
    with av.open(str(movie)) as file:
        video = file.streams.video[0]
        assert (video.duration or 0) * Fraction(video.time_base or 0) == 4
    assert writer.notes == []


def test_packets_that_do_not_decode_are_told_with_their_seconds(tmp_path: Path) -> None:
    source = write_tones(tmp_path / "clip.mkv", "flac", [500, 500], seconds=4)
    with av.open(str(source)) as file:
        packets = [packet for packet in file.demux(audio=0) if packet.size]
        damaged = packets[15:30]
        lost_s = sum(float((p.duration or 0) * p.time_base) for p in damaged)
        data = source.read_bytes()
        for packet in damaged:
            data = data.replace(bytes(packet), bytes(packet.size))
    source.write_bytes(data)
    _, writer = movie_of(tmp_path, source, [Fraction(n, FPS) for n in range(4 * FPS)])

    text = f"audio track 1 (flac): {lost_s:.1f} s cannot be decoded"
    assert writer.notes == [Note(text, loss=True)]


@pytest.mark.parametrize(("early_s", "offset_s"), [(0.5, 0.5), (0.04, 0)])
def test_sound_that_begins_before_the_pictures_is_the_beginning_if_it_is_long(
    tmp_path: Path, early_s: float, offset_s: float
) -> None:
    source = write_tones(
        tmp_path / "clip.mkv", "flac", [500, 500], start_s=1, sound_starts_s=1 - early_s
    )  # fmt: skip
    movie, writer = movie_of(tmp_path, source, TWO_SECONDS)

    assert writer.offset_s == Fraction(offset_s)
    with av.open(str(movie)) as file:
        assert next(file.decode(video=0)).time == offset_s
    end_s = 2 - early_s + offset_s
    assert Sound(movie).end_s == pytest.approx(end_s, abs=0.03), "in time with the pictures"


def test_in_a_cut_run_sound_before_the_first_frame_is_left_out(tmp_path: Path) -> None:
    source = write_tones(tmp_path / "clip.mkv", "flac", [500, 500], start_s=1, sound_starts_s=0.5)
    movie, writer = movie_of(tmp_path, source, TWO_SECONDS, cut_start=True)

    assert writer.offset_s == 0
    assert Sound(movie).end_s == pytest.approx(1.5, abs=0.03)


def test_a_folder_of_images_becomes_an_mp4_without_sound(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    target = replace(target_for(tmp_path / "out", write_video(tmp_path / "a.mkv")), source=folder)
    movie, writer = write_mp4(replace(target, info=any_info()), frames_at(TWO_SECONDS[:5]))

    with av.open(str(movie)) as file:
        assert [stream.type for stream in file.streams] == ["video"]
        assert len(list(file.decode(video=0))) == 5
    assert writer.notes == []


def test_sound_of_many_joined_parts_stays_with_their_pictures(tmp_path: Path) -> None:
    tones = [500, 800] * 4
    parts = [
        write_tones(tmp_path / f"{n}.ts", "ac3", [tone, tone], seconds=1, start_s=10)
        for n, tone in enumerate(tones)
    ]
    source = joined(tmp_path / "joined.ts", *parts)
    movie, _ = movie_of(tmp_path, source, [Fraction(n, FPS) for n in range(len(tones) * FPS)])

    sound = Sound(movie)
    with VideoReader(source) as reader:
        begins_s = [float(frame.time_s) for frame in reader.frames() if frame.frame % FPS == 0]
    for begin_s, tone, before in zip(begins_s[1:], tones[1:], tones, strict=False):
        assert sound.level(before, begin_s + 0.06, begin_s + 0.12) < 0.05
        assert sound.level(tone, begin_s + 0.06, begin_s + 0.12) > 0.1


def test_a_higher_rate_midway_is_no_clock_that_starts_anew(tmp_path: Path) -> None:
    forms = [(24_000, "mono", 500), (48_000, "5.1", 800), (24_000, "mono", 500)]
    parts = [
        write_tones(tmp_path / f"{n}.ts", "aac", [tone] * av.AudioLayout(layout).nb_channels,
                    rate=rate, layout=layout, start_s=10 + 2 * n)
        for n, (rate, layout, tone) in enumerate(forms)
    ]  # fmt: skip
    source = joined(tmp_path / "joined.ts", *parts)
    movie, _ = movie_of(tmp_path, source, [Fraction(n, FPS) for n in range(6 * FPS)])

    sound = Sound(movie)
    assert sound.seconds == pytest.approx(6, abs=0.15)
    assert sound.level(800, 2.2, 3.8) > 0.1
    assert sound.level(500, 4.2, 5.8) > 0.15


def test_channels_in_an_order_of_their_own_are_left_out_with_a_note(tmp_path: Path) -> None:
    source = write_tones(tmp_path / "clip.mov", "pcm_s16le", [300] * 6, layout="5.1")
    film_order = (123 << 16 | 6).to_bytes(4, "big")  # L C R Ls Rs LFE
    data = bytearray(source.read_bytes())
    tag = data.index(b"chan") + 8
    data[tag : tag + 4] = film_order
    source.write_bytes(data)
    movie, writer = movie_of(tmp_path, source, TWO_SECONDS)

    text = "audio track 1 (pcm_s16le) cannot be decoded: left out"
    assert writer.notes == [Note(text, loss=True)]
    with av.open(str(movie)) as file:
        assert not file.streams.audio


@pytest.mark.parametrize("first", [50, 53, 56, 59, 62])
def test_a_range_of_a_transport_stream_has_its_own_sound(tmp_path: Path, first: int) -> None:
    # Many packets of silence share a PES packet, and few ranges begin with one.
    source = write_tones(tmp_path / "clip.ts", "aac", [0, 0], seconds=4, start_s=10)
    times_s = [Fraction(n, FPS) for n in range(first, 4 * FPS)]
    movie, _ = movie_of(tmp_path, source, times_s, cut_start=True)

    assert Sound(movie).seconds == pytest.approx(4 - first / FPS, abs=0.2)
