"""What is said of a live run where stderr is no terminal."""

from fractions import Fraction
from pathlib import Path

import pytest

from tests.live.file_stream import FileOutage, FileStream
from tests.synthetic_video import write_video
from tubedet.cli.live_view import LiveView
from tubedet.live.live_status import LiveStatus
from tubedet.notes import Note


class Clock:
    """Stands in for `monotonic`, in seconds."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tubedet.cli.live_view.monotonic", clock)
    monkeypatch.setattr("tubedet.live.live_status.monotonic", clock)
    return clock


@pytest.fixture
def stream(tmp_path: Path) -> FileStream:
    return FileStream(write_video(tmp_path / "clip.mp4", frames=1, width=64, height=48))


def test_how_it_stands_is_a_line_a_minute(
    stream: FileStream, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    status = LiveStatus(stream, "door")
    with LiveView(quiet=False, in_lines=False) as view:
        view.begin(status)
        for _ in range(1_000):  # of 125 s at 8 frames a second
            clock.now += 0.125
            status.add(clock.now, ["walk"], [])
            view.frame_done()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "live, 8.0 frames/s; 480 frames; 0 dropped; walk",
        "live, 8.0 frames/s; 960 frames; 0 dropped; walk",
    ]


def test_what_happens_is_said_at_once(
    stream: FileStream, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    status = LiveStatus(stream, "door")
    with LiveView(quiet=False, in_lines=False) as view:
        view.begin(status)
        view.outage(FileOutage(Fraction(1), None, "the cable"))
        view.outage(FileOutage(Fraction(1), 2.5, "the cable"))
        view.note(Note("a remark"))
    view.summarise([Note("a loss", loss=True)])
    assert capsys.readouterr().err.splitlines() == [
        "tubedet: connection lost: the cable; trying again",
        "connection is back after 2.5 s",
        "a remark",
        "tubedet: a loss",
        "0 frames, 0 dropped, 0 outages",
    ]


def test_nothing_is_said_to_who_wants_quiet(
    stream: FileStream, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with LiveView(quiet=True, in_lines=False) as view:
        view.begin(LiveStatus(stream, "door"))
        clock.now += 100
        view.frame_done()
        view.outage(FileOutage(Fraction(1), None, "the cable"))
        view.note(Note("a loss", loss=True))
    view.summarise([])
    assert capsys.readouterr().err == ""


def test_a_rate_is_that_of_the_last_seconds_and_nothing_goes_on_in_an_outage(
    stream: FileStream, clock: Clock
) -> None:
    status = LiveStatus(stream, "door")
    assert status.frames_per_s == 0
    for _ in range(200):
        clock.now += 0.05
        status.add(clock.now, ["walk"], [])
    assert status.frames_per_s == pytest.approx(20, abs=0.3)
    assert list(status.actions) == ["walk"]
    stream.outages.append(FileOutage(Fraction(1), None, "the cable"))
    clock.now += 2.5
    assert status.frames_per_s == pytest.approx(10, abs=0.3)
    assert not status.actions
    assert not status.is_connected
