"""`tubedet detect` on every real clip there is, held against times that are worked out here."""

import csv
from fractions import Fraction
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from tests.scripted_detector import ScriptedBox, ScriptedDetector
from tubedet import pipeline
from tubedet.cli.app import app

DATA = Path(__file__).parents[3] / "shared/data"
CLIPS = sorted(
    path
    for folder in ("ucf101-24/videos", "robust")
    for path in (DATA / folder).rglob("*.*")
    if path.suffix in {".avi", ".mp4", ".mov", ".mkv", ".webm"}
)
pytestmark = pytest.mark.skipif(not CLIPS, reason=f"no real clips under {DATA}")


def times_of(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds from the first: the packets' times in ascending order.

    The times of packets that decode: presentation times, but for AVI, which has decoding times
    only. Pictures come in the order they are shown in, so the k-th has the k-th time.
    """
    frames, times = 0, []
    with av.open(str(path), metadata_errors="ignore") as container:
        video = container.streams.video[0]
        video.codec_context.thread_count = 1  # with more, PyAV drops frames after a damaged packet
        for packet in container.demux(video):
            try:
                frames += len(packet.decode())
            except av.FFmpegError:
                continue
            own = packet.dts if container.format.name == "avi" else packet.pts
            if own is not None:
                times.append(own * Fraction(packet.time_base))
    # An XviD file may have a packet more than pictures, behind the last of which nothing is shown.
    times = sorted(times)[:frames]
    return [time - times[0] for time in times]


def end_of(path: Path) -> float:
    """Where a player's clock stops, as far as the picture goes, in seconds."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        return float(((video.start_time or 0) + (video.duration or 0)) * (video.time_base or 0))


def frame_s_of(path: Path) -> float:
    """How long a frame lasts by the nominal rate, in seconds."""
    with av.open(str(path), metadata_errors="ignore") as container:
        video = container.streams.video[0]
        return float(1 / (video.average_rate or video.guessed_rate or 25))


def sounds_of(path: Path) -> list[float]:
    """Seconds of sound that each audio track decodes to."""
    with av.open(str(path), metadata_errors="ignore") as container:
        seconds = [0.0] * len(container.streams.audio)
        index = {stream.index: n for n, stream in enumerate(container.streams.audio)}
        for packet in container.demux(container.streams.audio) if index else ():
            for frame in packet.decode():
                seconds[index[packet.stream.index]] += frame.samples / frame.sample_rate
    return seconds


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.name)
def test_a_real_clip_keeps_its_frames_its_times_its_length_and_its_sound(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    centre = ScriptedBox(0.25, 0.25, 0.75, 0.75)
    detector = ScriptedDetector(script=[[centre]] * 10_000)
    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: detector)
    result = CliRunner().invoke(app, ["detect", str(clip), "-o", str(tmp_path)])
    assert result.exit_code == 0, result.stderr

    annotated = tmp_path / f"{clip.stem}.tubedet.mp4"
    source_times, times, frame_s = times_of(clip), times_of(annotated), frame_s_of(clip)
    assert len(times) == len(source_times)
    assert [float(time) for time in times] == pytest.approx(
        [float(time) for time in source_times], abs=0.001
    )
    assert end_of(annotated) == pytest.approx(float(times[-1]) + frame_s, abs=1.001 * frame_s)
    assert sounds_of(annotated) == pytest.approx(sounds_of(clip), abs=0.1)

    with (tmp_path / f"{clip.stem}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(len(source_times)))
    assert [row["time_s"] for row in rows] == [f"{float(time):.6f}" for time in source_times]
