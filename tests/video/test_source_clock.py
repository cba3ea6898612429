"""The clock of a source that starts anew, runs over or pauses; every time is known as written."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from tubedet.video.reader import VideoReader
from tubedet.video.source_clock import WRAP_S, SourceClock

FPS = 25
FRAME_S = Fraction(1, FPS)


def recording(
    path: Path, begins_s: int | Fraction, *, seconds: int = 2, b_frames: int = 0, sound: bool = True
) -> bytes:
    """A recording whose pictures and MP2 sound begin at a moment; as bytes, to be joined."""
    first = round(begins_s * FPS)
    with av.open(str(path), "w") as output:
        codec = "mpeg2video" if path.suffix == ".mpg" else "libx264"
        video = cast(VideoStream, output.add_stream(codec, rate=FPS, options={"bf": str(b_frames)}))
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = output.add_stream("mp2", 48_000, layout="mono") if sound else None
        for number in range(seconds * FPS):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number % 256, np.uint8))
            picture = picture.reformat(format="yuv420p")
            picture.pts, picture.time_base = first + number, FRAME_S
            output.mux(video.encode(picture))
            if audio:
                tone = av.AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "mono")
                tone.sample_rate, tone.time_base = 48_000, Fraction(1, 48_000)
                tone.pts = (first + number) * 1920
                output.mux(audio.encode(tone))
        output.mux(video.encode(None))
        if audio:
            output.mux(audio.encode(None))
    return path.read_bytes()


def joined(path: Path, begins_s: list[int | Fraction], **how: Any) -> Path:
    parts = [recording(path, begin_s, **how) for begin_s in begins_s]
    path.write_bytes(b"".join(parts))
    return path


def times_of(path: Path) -> list[Fraction]:
    with VideoReader(path) as reader:
        times_s = [frame.time_s for frame in reader.frames()]
        assert reader.repaired_timestamps == 0
    return times_s


@pytest.mark.parametrize(
    ("suffix", "begins_s"),
    [
        (".ts", [3610, 10]),  # FFmpeg adds 26.5 hours to the second part
        (".ts", [72_000, 10]),
        (".ts", [10, 9]),
        (".ts", [10, 11]),  # the second part begins within the first
        (".ts", [3610, 10, 3610]),
        (".ts", [3610, 10, 3600, 20, 3605]),
        (".ts", [10, 60_000]),
        (".mpg", [3610, 10]),
        (".mpg", [10, 9]),
        (".mpg", [3610, 10, 3610]),
    ],
    ids=str,
)
@pytest.mark.parametrize("b_frames", [0, 2])
def test_each_part_follows_the_one_before_where_the_clock_starts_anew(
    tmp_path: Path, suffix: str, begins_s: list[int | Fraction], b_frames: int
) -> None:
    path = joined(tmp_path / f"a{suffix}", begins_s, b_frames=b_frames)
    with VideoReader(path) as reader:
        times_s = [frame.time_s for frame in reader.frames()]
        notes = [note.text for note in reader.notes()]
    assert len(times_s) == 50 * len(begins_s)
    for number, (earlier, later) in enumerate(pairwise(times_s), start=1):
        # Sound of the part before may end after its last picture.
        most_s = 2 * FRAME_S if number % 50 == 0 else Fraction(41, 1000)
        assert 0 < later - earlier <= most_s, number
    assert sum(f"starts anew {len(begins_s) - 1} times" in note for note in notes) == 1
    assert not any("missing between others" in note for note in notes)


def test_sound_and_picture_keep_their_distance_in_every_part(tmp_path: Path) -> None:
    path = joined(tmp_path / "a.ts", [3610, 10, 500])
    firsts: dict[str, list[Fraction]] = {"video": [], "audio": []}
    latest: dict[str, Fraction] = {}
    with av.open(str(path)) as container:
        clock = SourceClock(container)
        for packet in container.demux():
            if packet.pts is None or packet.dts is None:
                continue
            kind, own_s = packet.stream.type, packet.pts * packet.time_base
            time_s = own_s + clock.shift_s(packet)
            if kind not in latest or abs(own_s - latest[kind]) > 5:
                firsts[kind].append(time_s)
            latest[kind] = own_s
    assert [len(times_s) for times_s in firsts.values()] == [3, 3]
    for video_s, audio_s in zip(*firsts.values(), strict=True):
        assert audio_s - video_s == pytest.approx(firsts["audio"][0] - firsts["video"][0], abs=1e-4)


def test_a_clock_that_runs_over_goes_on_without_a_step(tmp_path: Path) -> None:
    over = Fraction(round((WRAP_S - 1) * FPS), FPS)
    assert times_of(joined(tmp_path / "a.ts", [over])) == [n * FRAME_S for n in range(50)]
    # From more than a minute before its end on, FFmpeg writes and reads it in another way.
    early = joined(tmp_path / "b.ts", [over - 100], seconds=103, sound=False)
    assert times_of(early) == [n * FRAME_S for n in range(103 * FPS)]


@pytest.mark.parametrize(("suffix", "pause_s"), [(".ts", 3600), (".mkv", 7200)])
def test_a_pause_is_kept(tmp_path: Path, suffix: str, pause_s: int) -> None:
    path = tmp_path / f"a{suffix}"
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=FPS, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(50):
            picture = av.VideoFrame(64, 48, "yuv420p")
            picture.pts = number + (pause_s * FPS if number >= 25 else 0)
            picture.time_base = FRAME_S
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
    times_s = times_of(path)
    assert [times_s[24], times_s[25]] == [24 * FRAME_S, pause_s + 25 * FRAME_S]


def clock_of(format_name: str = "mpegts") -> SourceClock:
    video = SimpleNamespace(average_rate=Fraction(FPS))
    container = SimpleNamespace(
        format=SimpleNamespace(name=format_name),
        streams=SimpleNamespace(video=[video]),
        duration=None,
    )
    return SourceClock(cast(av.container.InputContainer, container))


def packet(kind: str, dts_s: Fraction | float) -> Any:
    milliseconds = round(dts_s * 1000)
    return SimpleNamespace(
        stream_index=["video", "audio"].index(kind),
        stream=SimpleNamespace(type=kind),
        pts=milliseconds,
        dts=milliseconds,
        duration=40,
        pos=0,
        time_base=Fraction(1, 1000),
    )


def repaired(sent: list[tuple[str, float]]) -> list[float]:
    clock = clock_of()
    return [round(float(own_s + clock.shift_s(packet(kind, own_s))), 3) for kind, own_s in sent]


def test_late_packets_of_the_part_before_stay_in_it() -> None:
    sent = [("video", 100.0), ("audio", 100.0), ("video", 100.04)]
    sent += [("audio", 7.0), ("video", 100.08), ("video", 7.02), ("audio", 7.04)]
    assert repaired(sent) == [100.0, 100.0, 100.04, 100.08, 100.08, 100.1, 100.12]


def test_one_odd_time_moves_nothing_that_follows() -> None:
    sent = [("video", 100.0), ("video", 100.04), ("video", 3.0), ("video", 100.12)]
    assert repaired(sent) == [100.0, 100.04, 100.08, 100.12]


def test_a_step_back_of_a_hair_is_no_new_part() -> None:
    assert repaired([("video", 1.0), ("video", 0.95), ("video", 1.04)]) == [1.0, 0.95, 1.04]
