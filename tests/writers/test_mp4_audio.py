"""The MP4's sound: copied or encoded again, in time with the pictures, cut with them."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from tests.output_targets import frames_of, target_for, video_info, write_mp4
from tests.synthetic_video import ENCODER_OF_AUDIO, write_video
from tubedet.notes import Note

SHARED_VIDEOS = Path(__file__).parents[3] / "shared" / "data"
FPS = 25


def write_beeps(
    path: Path, codec: str, *, rate: int = 48_000, layout: str = "stereo", sound_s: int = 4,
    sound_starts_s: float = 0.0,
) -> Path:  # fmt: skip
    """A 4 s video, and sound with a 50 ms beep at every full second of its own."""
    samples = rate // FPS
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", FPS)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        track = output.add_stream(ENCODER_OF_AUDIO.get(codec, codec), rate, layout=layout)
        assert isinstance(track, av.AudioStream)
        for number in range(FPS * max(4, sound_s)):
            if number < FPS * 4:
                picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8))
                picture.pts, picture.time_base = number, Fraction(1, FPS)
                output.mux(video.encode(picture))
            if number < FPS * sound_s:
                at = np.arange(number * samples, (number + 1) * samples)
                wave = 20_000 * np.sin(at * 2 * np.pi * 1000 / rate) * (at % rate < rate // 20)
                tile = np.tile(wave.astype(np.int16), (track.channels, 1))
                sound = av.AudioFrame.from_ndarray(tile, "s16p", layout)
                sound.pts = int(number * samples + sound_starts_s * rate)
                sound.sample_rate, sound.time_base = rate, Fraction(1, rate)
                output.mux(track.encode(sound))
        for stream in (video, track):
            output.mux(stream.encode(None))
    return path


def payloads(path: Path, track: int = 0) -> list[bytes]:
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[track])
        return [bytes(packet) for packet in packets if packet.size]


def audio_codecs(path: Path) -> list[str]:
    with av.open(str(path)) as container:
        return [stream.codec_context.codec.canonical_name for stream in container.streams.audio]


def beeps(path: Path, track: int = 0) -> list[float]:
    """When the beeps begin, in seconds on the container's clock."""
    loud: list[float] = []
    mono = av.AudioResampler("fltp", "mono")
    with av.open(str(path)) as container:
        sound = container.decode(container.streams.audio[track])
        for part in (part for frame in sound for part in mono.resample(frame)):
            assert part.pts is not None
            start = part.pts * float(part.time_base or 0)
            loud += list(start + np.flatnonzero(np.abs(part.to_ndarray()[0]) > 0.25) / part.rate)
    return [at for before, at in zip([-9.0, *loud], loud, strict=False) if at - before > 0.3]


def lengths_s(path: Path) -> dict[str, float]:
    with av.open(str(path)) as container:
        return {
            stream.type: float((stream.duration or 0) * Fraction(stream.time_base or 0))
            for stream in container.streams
        }


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "aac"), ("mkv", "aac"), ("mp4", "mp3"), ("avi", "mp3"), ("mkv", "opus")],
)
def test_aac_mp3_and_opus_are_copied_packet_for_packet_and_stay_in_time(
    tmp_path: Path, container: str, codec: str
) -> None:
    source = write_beeps(tmp_path / f"clip.{container}", codec)
    movie, writer = write_mp4(target_for(tmp_path, source), frames_of(source))

    assert audio_codecs(movie) == [codec]
    assert payloads(movie) == payloads(source)
    assert beeps(movie) == pytest.approx(beeps(source), abs=0.002)
    assert writer.notes == []


@pytest.mark.parametrize(
    ("container", "codec", "rate", "layout"),
    [("avi", "pcm_s16le", 44_100, "stereo"), ("mov", "pcm_s16le", 37_800, "mono"),
     ("mkv", "flac", 96_000, "5.1"), ("mkv", "ac3", 48_000, "5.1"), ("ts", "mp2", 48_000, "stereo"),
     ("avi", "mp3", 11_025, "mono")],
)  # fmt: skip
def test_other_codecs_become_aac_and_stay_in_time(
    tmp_path: Path, container: str, codec: str, rate: int, layout: str
) -> None:
    source = write_beeps(tmp_path / f"clip.{container}", codec, rate=rate, layout=layout)
    movie, writer = write_mp4(target_for(tmp_path, source), frames_of(source))

    moved = float(video_info(source).start_s)  # a transport stream's clock does not start at 0
    assert audio_codecs(movie) == ["aac"]
    assert beeps(movie) == pytest.approx([at - moved for at in beeps(source)], abs=0.002)
    assert len(beeps(movie)) == 4
    assert lengths_s(movie)["audio"] == pytest.approx(4, abs=0.15)
    assert writer.notes == []


@pytest.mark.parametrize("codec", ["aac", "opus", "flac"])
def test_the_sound_of_a_range_is_cut_with_its_frames(tmp_path: Path, codec: str) -> None:
    source = write_beeps(tmp_path / "clip.mkv", codec)
    target = target_for(tmp_path, source, cut_start=True, cut_end=True)
    movie, _ = write_mp4(target, islice(frames_of(source), 40, 90))  # 1.6 s to 3.6 s

    assert beeps(movie) == pytest.approx([0.4, 1.4], abs=0.002)
    assert lengths_s(movie) == pytest.approx({"video": 2, "audio": 2}, abs=0.001)


def test_an_interrupted_run_has_the_sound_of_its_frames_only(tmp_path: Path) -> None:
    source = write_beeps(tmp_path / "clip.mp4", "aac")
    target = target_for(tmp_path, source, cut_end=True)
    movie, _ = write_mp4(target, islice(frames_of(source), 55))

    assert beeps(movie) == pytest.approx([0, 1, 2], abs=0.002)
    assert lengths_s(movie) == pytest.approx({"video": 2.2, "audio": 2.2}, abs=0.001)


@pytest.mark.parametrize(("sound_s", "starts_s"), [(7, 0.0), (1, 0.0), (2, 1.5)])
def test_sound_that_is_longer_or_shorter_or_starts_later_than_the_video_stays_as_it_is(
    tmp_path: Path, sound_s: int, starts_s: float
) -> None:
    source = write_beeps(
        tmp_path / "clip.mkv", "aac", sound_s=sound_s, sound_starts_s=starts_s
    )  # fmt: skip
    movie, _ = write_mp4(target_for(tmp_path, source), frames_of(source))

    assert payloads(movie) == payloads(source)
    assert beeps(movie) == pytest.approx([starts_s + n for n in range(sound_s)], abs=0.002)
    assert lengths_s(movie)["video"] == 4


def test_every_track_is_kept_each_in_its_way(tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mkv", audio=["aac", "flac", "opus"], width=64, height=48)
    movie, _ = write_mp4(target_for(tmp_path, source), frames_of(source))

    assert audio_codecs(movie) == ["aac", "aac", "opus"]
    assert payloads(movie, 0) == payloads(source, 0)
    assert payloads(movie, 2) == payloads(source, 2)


def test_a_track_keeps_its_language(tmp_path: Path) -> None:
    source = SHARED_VIDEOS / "robust" / "flipping_a_pancake.mkv"
    if not source.exists():
        pytest.skip("no ../shared/data/robust beside the project")
    movie, _ = write_mp4(target_for(tmp_path, source), islice(frames_of(source), 5))

    with av.open(str(movie)) as container:
        assert container.streams.audio[0].language == "eng"


def test_sound_and_pictures_lie_beside_each_other_in_the_file(tmp_path: Path) -> None:
    source = write_video(
        tmp_path / "clip.mkv", frames=400, audio=["aac", "flac"], width=64, height=48
    )  # fmt: skip
    movie, _ = write_mp4(target_for(tmp_path, source), frames_of(source))

    with av.open(str(movie)) as container:
        packets = [packet for packet in container.demux() if packet.size]
    packets.sort(key=lambda packet: packet.pos or 0)
    reached = dict.fromkeys({packet.stream_index for packet in packets}, 0.0)
    for packet in packets:
        reached[packet.stream_index] = float((packet.dts or 0) * Fraction(packet.time_base))
        assert max(reached.values()) - min(reached.values()) < 3


@pytest.mark.parametrize("damage", ["no such codec", "noise"])
def test_a_track_that_cannot_be_decoded_is_left_out_with_a_warning(
    tmp_path: Path, damage: str
) -> None:
    source = write_video(tmp_path / "clip.mkv", audio=["flac", "aac"], width=64, height=48)
    expected = payloads(source, 1)
    data = source.read_bytes()
    if damage == "noise":
        for payload in payloads(source, 0):
            data = data.replace(payload, bytes(len(payload)))
    source.write_bytes(data if damage == "noise" else data.replace(b"A_FLAC", b"A_NONE"))

    movie, writer = write_mp4(target_for(tmp_path, source), frames_of(source))

    assert audio_codecs(movie) == ["aac"]
    assert payloads(movie) == expected
    codec = "flac" if damage == "noise" else "unknown codec"
    note = f"audio track 1 ({codec}) cannot be decoded: left out"
    assert writer.notes == [Note(note, loss=True)]


def test_a_gap_in_the_sound_becomes_silence_and_what_follows_stays_in_time(tmp_path: Path) -> None:
    source = write_beeps(tmp_path / "clip.mkv", "flac")
    data = source.read_bytes()
    for payload in payloads(source)[15:30]:  # FLAC: 96 ms a packet
        data = data.replace(payload, bytes(len(payload)))
    source.write_bytes(data)

    movie, _ = write_mp4(target_for(tmp_path, source), frames_of(source))

    assert beeps(movie) == pytest.approx([0, 1, 3], abs=0.002)


def test_a_file_that_breaks_off_gives_the_sound_up_to_there(tmp_path: Path) -> None:
    source = write_beeps(tmp_path / "clip.ts", "aac")
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])

    movie, _ = write_mp4(target_for(tmp_path, source), frames_of(source))

    assert 1 <= len(beeps(movie)) <= 3
