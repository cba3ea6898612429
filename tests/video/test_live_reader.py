"""Live sources on loopback: every picture carries its number, so what came, and when, is known."""

import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.coded_pictures import number_in
from tests.live_server import LiveServer
from tests.synthetic_video import write_video
from tubedet.errors import VideoError
from tubedet.video import live_connection, live_feed
from tubedet.video.frame import VideoFrame
from tubedet.video.live_address import live_source_of
from tubedet.video.live_feed import Outage
from tubedet.video.live_reader import LiveReader
from tubedet.video.reader import VideoReader
from tubedet.video.time_range import FrameNumber, Seconds

ROOT = Path(__file__).parents[2]
# A busy machine's camera is seconds late by itself. Where nothing depends on the machine, in
# test_live_clock and test_live_feed, times are held to the millisecond.
ALLOWED_S = 5
SYSTEM_PYTHON = "/usr/bin/python3"  # Debian's, which may have GStreamer


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lost sources are tried again ten times as fast."""
    monkeypatch.setattr(live_feed, "FIRST_WAIT_S", 0.1)


def reader_of(address: str, **options: Any) -> LiveReader:
    source = live_source_of(address)
    assert source is not None
    return LiveReader(source, **options)


def after(seconds: float) -> Any:
    """Whether so many seconds have passed."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def some(
    frames: Iterator[VideoFrame], count: int, *, behind_outage: bool = False
) -> list[VideoFrame]:
    """The next frames, up to so many, of which those before an outage may not count."""
    taken: list[VideoFrame] = []
    while count:
        frame = next(frames)
        behind_outage = behind_outage and not frame.after_gap
        count -= not behind_outage
        taken.append(frame)
    return taken


def errors_s(server: LiveServer, reader: LiveReader, frames: list[VideoFrame]) -> list[float]:
    """How late each frame's moment is, by UTC, against the one at which it was due."""
    began = time.time() - time.monotonic() + server.began
    return [
        reader.started_at.timestamp()
        + float(frame.time_s)
        - (began + number_of(frame) / server.fps)
        for frame in frames
    ]


def number_of(frame: VideoFrame) -> int:
    number = number_in(frame.rgb)
    assert number is not None
    return number


def test_frames_of_a_live_stream_have_the_times_at_which_they_were_due() -> None:
    with LiveServer(jitter_s=0.06, clock_s=5000) as server, reader_of(server.address) as reader:
        frames = list(reader.frames(stop=after(2.5)))
        assert [frame.frame for frame in frames] == list(range(len(frames)))
        assert frames[0].time_s == 0
        late_s = errors_s(server, reader, frames)
    assert len(frames) > 5
    assert max(late_s) - min(late_s) < ALLOWED_S
    assert max(map(abs, late_s)) < ALLOWED_S
    assert not reader.outages


def test_a_stream_without_times_is_timed_by_what_comes() -> None:
    """FFmpeg would have it at 25 frames a second."""
    with LiveServer(fps=12, has_times=False) as server, reader_of(server.address) as reader:
        frames = list(reader.frames(stop=after(2)))
        late_s = errors_s(server, reader, frames)
    assert 9 <= reader.info.fps <= 15
    assert max(late_s) - min(late_s) < ALLOWED_S
    assert "has no timestamps" in reader.notes()[0].text


def test_a_reader_that_is_kept_waiting_drops_the_newest_and_counts_them() -> None:
    """Between the first frame and the last, what is not there was dropped: nothing else is lost."""
    with LiveServer(fps=50) as server, reader_of(server.address) as reader:
        frames = []
        for frame in reader.frames(stop=after(2.5)):
            frames.append(frame)
            time.sleep(0.07)  # a network that can do 14 frames a second
        numbers = [number_of(frame) for frame in frames]
        late_s = errors_s(server, reader, frames)
    assert [frame.frame for frame in frames] == list(range(len(frames)))
    assert reader.dropped_frames > 0
    assert reader.decoded_frames == len(frames) + reader.dropped_frames
    between = numbers[-1] - numbers[0] + 1 - len(frames)
    assert between <= reader.dropped_frames  # there are some behind the last one
    assert max(late_s) - min(late_s) < ALLOWED_S


@pytest.mark.usefixtures("quick")
def test_a_source_that_goes_away_is_awaited_and_its_times_go_on() -> None:
    """Each connection has another clock and size, and begins with pictures of a second before."""
    told: list[Outage] = []
    sizes = [(320, 240), (480, 360)]
    with (
        LiveServer(clock_s=70_000, burst_s=1, sizes=sizes) as server,
        reader_of(server.address, told=told.append) as reader,
    ):
        coming = reader.frames()
        frames = some(coming, 25)
        server.go_away(0.3)
        frames += some(coming, 35, behind_outage=True)
        server.go_away(1)
        frames += some(coming, 20, behind_outage=True)
        late_s = errors_s(server, reader, frames)
    assert {frame.rgb.shape for frame in frames} == {(240, 320, 3)}
    assert "resized to 320x240" in " ".join(note.text for note in reader.notes())
    gaps = [frame.frame for frame in frames if frame.after_gap]
    assert len(gaps) == 2
    assert max(late_s) - min(late_s) < ALLOWED_S
    assert len(reader.outages) == 2
    for outage, first in zip(reader.outages, gaps, strict=True):
        assert outage.time_s == frames[first - 1].time_s
        seconds = frames[first].time_s - frames[first - 1].time_s
        assert outage.seconds == pytest.approx(float(seconds))
        assert outage.reason == "the connection broke off"
    assert [each.seconds is None for each in told] == [True, False, True, False]


@pytest.mark.usefixtures("quick")
def test_a_source_that_stalls_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_connection, "STALLED_S", 1)
    with LiveServer() as server, reader_of(server.address) as reader:
        coming = reader.frames()
        frames = some(coming, 10)
        server.stall(1.5)
        frames += some(coming, 10, behind_outage=True)
        late_s = errors_s(server, reader, frames)
    assert server.connections >= 2
    assert reader.outages[0].reason == "nothing came for 1 s"
    assert reader.outages[-1].seconds is not None
    assert max(late_s) - min(late_s) < ALLOWED_S


@pytest.mark.parametrize("end", [Seconds(Fraction(1)), FrameNumber(10)])
def test_an_end_ends_the_run(end: Any) -> None:
    with LiveServer() as server, reader_of(server.address) as reader:
        frames = list(reader.frames(end=end))
        assert reader.decoded_frames == len(frames) + reader.dropped_frames
    if isinstance(end, Seconds):
        assert 0 < frames[-1].time_s < 1
    else:
        assert len(frames) == 10


@pytest.mark.usefixtures("quick")
def test_a_run_ends_in_time_though_its_source_is_away() -> None:
    with LiveServer() as server, reader_of(server.address) as reader:
        frames = reader.frames(end=Seconds(Fraction(2)))
        assert next(frames).time_s == 0
        server.go_away(1000)
        assert max(frame.time_s for frame in frames) < 2
    assert reader.outages[0].seconds is None


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", ["stop", "close"])
def test_a_stop_is_heard_though_nothing_comes(how: str) -> None:
    asked, lost, seen = threading.Event(), threading.Event(), threading.Event()
    frames: list[VideoFrame] = []

    def read() -> None:
        for frame in reader.frames(stop=asked.is_set):
            frames.append(frame)
            seen.set()

    with LiveServer() as server:
        reader = reader_of(server.address, told=lambda _: lost.set())
        run = threading.Thread(target=read)
        run.start()
        assert seen.wait(10)
        server.go_away(1000)
        assert lost.wait(10)
        asked.set() if how == "stop" else reader.close()
        run.join(10)
        assert not run.is_alive()
        reader.close()
    assert len(frames) + reader.dropped_frames == reader.decoded_frames > 0


@pytest.mark.usefixtures("quick")
def test_a_camera_that_speaks_rtsp_is_read_through_an_outage() -> None:
    program = str(ROOT / "tests/live_rtsp_server.py")
    command = [SYSTEM_PYTHON, program, "--port", "0", "--away", "3:0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            began, port = server.stdout.readline().split() or pytest.skip("no GStreamer here")
            with reader_of(f"rtsp://127.0.0.1:{int(port)}/live") as reader:
                frames = list(reader.frames(stop=after(5.5)))
                zero = reader.started_at.timestamp() - float(began)
        finally:
            server.kill()
    late_s = [zero + float(frame.time_s) - number_of(frame) / 25 for frame in frames]
    assert max(map(abs, late_s)) < ALLOWED_S
    assert [outage.reason for outage in reader.outages] == ["the source ended the stream"]
    assert frames[-1].time_s > reader.outages[0].time_s + 1


def test_an_address_where_nothing_answers_fails_at_once_and_shows_no_password() -> None:
    with LiveServer() as server:
        port = server.address.split(":")[2].split("/")[0]
    with pytest.raises(VideoError, match=r"rtsp://me:\*\*\*@127.*Connection refused") as caught:
        reader_of(f"rtsp://me:geheim@127.0.0.1:{port}/live")
    error: BaseException | None = caught.value
    while error:  # a traceback shows them all
        assert "geheim" not in str(error)
        error = error.__cause__ or error.__context__


def test_a_playlist_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na0.ts\n")
    with served(tmp_path) as address, pytest.raises(VideoError, match="playlists are not read"):
        reader_of(f"{address}/a.m3u8")


def test_a_server_that_refuses_is_said() -> None:
    with (
        LiveServer(away=[(0, 100)]) as server,
        pytest.raises(VideoError, match="Server returned 5XX"),
    ):
        reader_of(server.address)


@pytest.mark.parametrize("name", ["a.mp4", "a.ts"])
def test_a_file_on_a_server_is_read_whole_however_slowly(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, frames=30)
    with (
        served(tmp_path) as address,
        reader_of(f"{address}/{name}") as reader,
        VideoReader(path) as expected,
    ):
        pairs = list(zip(reader.frames(), expected.frames(), strict=True))
    assert len(pairs) == 30
    for live, frame in pairs:
        assert (live.frame, live.pts) == (frame.frame, frame.pts)
        assert abs(live.time_s - frame.time_s) < 0.000_002
        assert np.array_equal(live.rgb, frame.rgb)
    assert reader.dropped_frames == 0


def test_a_file_on_a_server_that_breaks_off_is_an_error(tmp_path: Path) -> None:
    """To open it again would show its beginning a second time."""
    path = write_video(tmp_path / "a.ts", frames=100)
    whole = path.stat().st_size
    with served(tmp_path, missing=whole // 2) as address, reader_of(f"{address}/a.ts") as reader:
        frames = reader.frames()
        numbers = [next(frames).frame for _ in range(20)]
        with pytest.raises(VideoError, match="cannot be read on"):
            numbers.extend(frame.frame for frame in frames)
    assert numbers == list(range(len(numbers)))
    assert 30 < len(numbers) < 90


def test_the_end_of_a_pipe_is_the_end_of_the_run(tmp_path: Path) -> None:
    """The child reads live pictures through its standard input, which then ends."""
    program = (
        "from tubedet.video.live_address import live_source_of as source_of\n"
        "from tubedet.video.live_reader import LiveReader\n"
        "from tests.coded_pictures import number_in\n"
        "with LiveReader(source_of('-')) as reader:\n"
        "    numbers = [number_in(frame.rgb) for frame in reader.frames()]\n"
        "print(numbers[0], numbers[-1], len(numbers), reader.dropped_frames, reader.outages)\n"
    )
    with LiveServer(pictures=50) as server, urllib.request.urlopen(server.address) as stream:
        child = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=False,
        )
        assert child.stdin is not None
        while piece := stream.read1(4096):
            child.stdin.write(piece)
            child.stdin.flush()
        said, _ = child.communicate(timeout=20)
    first, last, given, dropped, outages = said.decode().split()
    assert int(last) - int(first) + 1 <= int(given) + int(dropped) == 50
    assert outages == "[]"


def test_a_process_ends_though_its_source_hangs() -> None:
    program = (
        "import os, sys\n"
        "from tubedet.video.live_address import live_source_of\n"
        "from tubedet.video.live_reader import LiveReader\n"
        "reader = LiveReader(live_source_of(sys.argv[1]))\n"
        "print(next(reader.frames()).frame, flush=True)\n"
        "sys.stdin.readline()\n"
        "reader.close()\n"
        "os._exit(0)\n"  # see live_feed.is_reading
    )
    with LiveServer() as server:
        child = subprocess.Popen(
            [sys.executable, "-c", program, server.address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "0\n"
        server.stall(1000)
        _, complaint = child.communicate("\n", timeout=5)
    assert (child.returncode, complaint) == (0, "")


@contextmanager
def served(folder: Path, missing: int = 0) -> Iterator[str]:
    """The address at which a folder's files are served, each without so many bytes at its end."""
    handler = partial(Files, missing=missing, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Files(SimpleHTTPRequestHandler):
    def __init__(self, *arguments: Any, missing: int, **options: Any) -> None:
        self.missing = missing
        super().__init__(*arguments, **options)

    def copyfile(self, source: Any, outputfile: Any) -> None:
        data = source.read()
        outputfile.write(data[: len(data) - self.missing])

    def log_message(self, format: str, *args: Any) -> None:
        pass
