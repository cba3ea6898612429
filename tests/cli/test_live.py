"""`tubedet detect --live` over streams on loopback, in processes of their own."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import pytest
from typer.testing import CliRunner, Result

from tests.coded_pictures import number_in
from tests.live_server import LiveServer
from tests.scripted_detector import ScriptedDetector
from tests.synthetic_video import write_video
from tubedet.cli.app import app
from tubedet.cli.live_options import host_and_port, segment_length_s
from tubedet.errors import UsageError

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tests.scripted_program", "detect")
NOBODY = "http://127.0.0.1:9/live.ts"
NEEDS_POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")


def heed_interrupts() -> None:
    """For a new process: whoever runs the tests in the background has them ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def running(
    address: str, *options: object, program: Sequence[str] = PROGRAM, **how: Any
) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*program, address, "--live", *map(str, options)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts if os.name != "nt" else None,  # noqa: PLW1509
        **how,
    ) as process:
        yield process
        process.kill()


def rows_until(process: subprocess.Popen[str], frame: int) -> list[dict[str, Any]]:
    """Rows from stdout up to one of this frame or a later one."""
    assert process.stdout
    rows = []
    for line in process.stdout:
        rows.append(json.loads(line))
        if rows[-1]["frame"] >= frame:
            return rows
    raise AssertionError("the run ended before")


def in_process(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["detect", *map(str, arguments)])


@NEEDS_POSIX
def test_a_camera_is_recorded_through_an_outage_until_ctrl_c(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        LiveServer(fps=25) as camera,
        running(camera.address, "-o", out, "--segment", "2", "--name", "door") as process,
    ):
        rows = rows_until(process, 60)
        camera.go_away(1)
        rows += rows_until(process, 120)
        process.send_signal(signal.SIGINT)
        rest, stderr = process.communicate(timeout=120)
    rows += [json.loads(line) for line in rest.splitlines()]
    assert process.returncode == 0, stderr
    assert "Traceback" not in stderr
    assert "connection lost" in stderr
    assert "connection is back after" in stderr
    metas = [json.loads(path.read_text()) for path in sorted(out.glob("door-*Z.meta.json"))]
    assert len(metas) >= 2
    assert all(meta["complete"] for meta in metas)
    recorded = [
        (int(row["frame"]), float(row["time_s"]))
        for path in sorted(out.glob("door-*Z.csv"))
        for row in csv.DictReader(path.read_text("utf-8").splitlines())
    ]
    assert recorded == [(row["frame"], row["time_s"]) for row in rows]
    (outage,) = [each for meta in metas for each in meta["live"]["outages"]]
    assert outage["seconds"] >= 1
    assert not list(out.glob("*partial*"))
    assert not list(out.glob(".*"))
    check_pictures(out, metas)


def check_pictures(out: Path, metas: list[dict[str, Any]]) -> None:
    """Each frame has its picture in the files, once and in order."""
    numbers = []
    for path in sorted(out.glob("door-*Z.tubedet.mp4")):
        with av.open(str(path)) as container:
            for picture in container.decode(video=0):
                numbers.append(number_in(picture.to_ndarray(format="rgb24")))
    known = [number for number in numbers if number is not None]
    assert known == numbers == sorted(set(known))
    assert len(known) == sum(meta["processed_frames"] for meta in metas)


@NEEDS_POSIX
def test_python_is_not_ended_below_a_source_that_hangs() -> None:
    """PyAV, which waits for it, may crash then (`live_feed.is_reading`)."""
    program = (
        "import atexit, sys\n"
        "from tests.scripted_program import main\n"
        "atexit.register(print, 'Python ends', file=sys.stderr)\n"
        "main()\n"
    )
    for hangs in (False, True):
        with (
            LiveServer(fps=25) as camera,
            running(camera.address, program=[sys.executable, "-c", program, "detect"]) as process,
        ):
            rows_until(process, 5)
            if hangs:
                camera.stall(1000)
                time.sleep(0.5)  # until what was on its way has come
            process.send_signal(signal.SIGINT)
            rest, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
        assert ("Python ends" in stderr) != hangs
        assert all(json.loads(line) for line in rest.splitlines())


@NEEDS_POSIX
def test_the_page_is_said_and_shows_how_the_run_stands(tmp_path: Path) -> None:
    with (
        LiveServer(fps=25) as camera,
        running(camera.address, "--show", env={**os.environ, "DISPLAY": ""}) as process,
    ):
        assert process.stderr
        words = process.stderr.readline().split()
        rows_until(process, 10)
        address = urlsplit(words[-1])
        assert words[:-1] == ["Shown", "at"]
        assert address.hostname == "127.0.0.1"
        connection = HTTPConnection("127.0.0.1", address.port, timeout=20)
        connection.request("GET", f"{address.path}status")
        status = json.loads(connection.getresponse().read())
        connection.close()
        assert status["connected"]
        assert status["frames"] > 10
        assert status["name"] == camera.address
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr


@NEEDS_POSIX
def test_a_pipe_ends_where_it_ends(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.ts", frames=30, width=64, height=48)
    with video.open("rb") as stdin:
        done = subprocess.run(
            [*PROGRAM, "-", "--live"],
            cwd=ROOT,
            stdin=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["frame"] for row in rows] == list(range(len(rows)))
    assert {row["video"] for row in rows} == {"stdin"}
    # It comes as fast as it can be decoded.
    assert f"{len(rows)} frames, {30 - len(rows)} dropped, 0 outages" in done.stderr


@NEEDS_POSIX
def test_a_reader_that_has_enough_ends_it_well(tmp_path: Path) -> None:
    with LiveServer(fps=25) as camera, running(camera.address, "-f", "csv", "-o", tmp_path) as run:
        assert run.stdout
        assert run.stderr
        first = json.loads(run.stdout.readline())
        run.stdout.close()
        stderr = run.stderr.read()
    assert first["frame"] == 0
    assert run.returncode == 0, stderr
    assert "tubedet:" not in stderr.replace("tubedet: frames dropped", "")
    (meta,) = tmp_path.glob("*.meta.json")
    assert json.loads(meta.read_text())["complete"]


def test_an_end_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tubedet.pipeline.load_detector", lambda *_, **__: ScriptedDetector())
    with LiveServer(fps=25) as camera:
        frames = in_process(camera.address, "--live", "--max-frames", "12", "-q")
        seconds = in_process(camera.address, "--live", "--duration", "1", "-q")
    assert (frames.exit_code, seconds.exit_code) == (0, 0)
    assert len(frames.stdout.splitlines()) == 12
    times = [json.loads(line)["time_s"] for line in seconds.stdout.splitlines()]
    assert times[-1] == pytest.approx(1, abs=0.1)
    assert times[-1] < 1


def test_a_long_address_is_recorded_under_a_name_that_is_cut(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tubedet.pipeline.load_detector", lambda *_, **__: ScriptedDetector())
    with LiveServer(fps=25) as camera:
        address = camera.address + "/" + "x" * 260
        done = in_process(address, "--live", "-f", "csv,mp4", "-o", tmp_path, "--max-frames", "2")
    assert done.exit_code == 0, done.stderr
    (meta,) = tmp_path.glob("127.0.0.1-*-live.ts-xxx*Z.meta.json")
    assert json.loads(meta.read_text())["video"] == address


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([NOBODY, NOBODY], "--live: expected one of camera:0"),
        (["clip.mp4"], "clip.mp4: expected camera:0"),
        (["rtps://me:secret@cam/1"], "rtps://me:***@cam/1: expected camera:0"),
        ([NOBODY, "--resume"], "--resume makes no sense with --live"),
        ([NOBODY, "--skip-existing"], "--skip-existing makes no sense with --live"),
        ([NOBODY, "--overwrite"], "--overwrite makes no sense with --live"),
        ([NOBODY, "--workers", "2"], "--workers makes no sense with --live"),
        ([NOBODY, "--include", "*"], "--include makes no sense with --live"),
        ([NOBODY, "--start", "3"], "--start makes no sense with --live"),
        ([NOBODY, "--fail-fast"], "--fail-fast makes no sense with --live"),
        ([NOBODY, "--no-link", "--on-event", "true"], "--no-link and --on-event contradict"),
        ([NOBODY, "--segment", "1h", "-o", "-"], "--segment and -o - contradict"),
        ([NOBODY, "--segment", "0.5"], "--segment: expected 1 second or longer"),
        ([NOBODY, "--segment", "100f"], "--segment: expected 1 second or longer"),
        ([NOBODY, "--name", "../up"], "--name '../up': expected the first part of file names"),
        ([NOBODY, "--name", "/abs", "-f", "csv"], "--name '/abs': expected the first part"),
        ([NOBODY, "--name", "", "-f", "csv"], "--name '': expected the first part of file names"),
        ([NOBODY, "-o", "rows.csv"], "-o rows.csv: expected a folder"),
        ([NOBODY, "--show-at", "a:b:c]"], "--show-at: expected HOST or HOST:PORT"),
        ([NOBODY, "--on-event", "no-such-program"], "--on-event: expected http://"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(arguments: list[str], words: str) -> None:
    done = in_process(*arguments, "--live")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"tubedet: {words}")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [["--segment", "10m"], ["--show"], ["--show-at", "0.0.0.0"], ["--on-event", "true"]],
)
def test_options_of_streams_need_live(arguments: list[str]) -> None:
    done = in_process("clip.mp4", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"tubedet: {arguments[0]} needs --live")


@pytest.mark.parametrize("command", ["detect", "flow", "sheet", "benchmark"])
def test_an_address_without_live_says_so_and_hides_its_password(command: str) -> None:
    done = CliRunner().invoke(app, [command, "rtsp://me:sec/ret@cam/1"])
    assert done.exit_code == 2
    assert done.stderr == (
        "tubedet: rtsp://me:***@cam/1: expected a file; tubedet detect --live reads streams\n"
    )


def test_an_address_where_nobody_is_fails_at_once() -> None:
    done = in_process(NOBODY, "--live")
    assert done.exit_code == 3
    assert done.stderr.startswith(f"tubedet: {NOBODY}: expected live video")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["rtps://door/1"], "rtps://door/1: expected camera:0, rtsp://…, http://… or -\n"),
        (["clip.mp4"], "clip.mp4: expected camera:0, rtsp://…, http://… or -; a file needs no"),
        ([NOBODY, "-o", "s3://bucket/live"], "-o: streams are recorded on this machine"),
        (["http://no-such-host.invalid/a"], "none (no host of that name answers); check the"),
    ],
)
def test_what_cannot_be_is_told_in_a_line_that_fits(given: list[str], said: str) -> None:
    done = in_process(*given, "--live")
    assert done.exit_code in (2, 3)
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_strict_does_not_allow_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(ScriptedDetector):
        def predict(self, clip: Any, tasks: Any, state: Any = None) -> Any:
            time.sleep(0.2)
            return super().predict(clip, tasks, state)

    monkeypatch.setattr("tubedet.pipeline.load_detector", lambda *_, **__: Slow())
    with LiveServer(fps=25) as camera:
        done = in_process(camera.address, "--live", "--strict", "--max-frames", "6")
    assert done.exit_code == 3
    assert "something was lost, which --strict does not allow" in done.stderr


@pytest.mark.parametrize(
    ("latency", "options"),
    [("none", ["--live"]), ("half-second", ["--live", "--latency", "half-second"])],
)
def test_a_stream_waits_for_nothing_unless_asked(
    monkeypatch: pytest.MonkeyPatch, latency: str, options: list[str]
) -> None:
    asked = []

    def load(*_: object, **how: Any) -> ScriptedDetector:
        asked.append(how["latency"])
        return ScriptedDetector()

    monkeypatch.setattr("tubedet.pipeline.load_detector", load)
    with LiveServer(fps=25) as camera:
        done = in_process(camera.address, *options, "--max-frames", "2", "-q")
    assert (done.exit_code, asked) == (0, [latency])


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("00:10:00", 600)]
)
def test_lengths_of_segments(text: str, seconds: int) -> None:
    assert segment_length_s(text) == seconds


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("0.0.0.0", ("0.0.0.0", 0)),
        ("door.local:8080", ("door.local", 8080)),
        ("[::1]:80", ("::1", 80)),
        ("::", ("::", 0)),
    ],
)
def test_places_of_the_page(text: str, place: tuple[str, int]) -> None:
    assert host_and_port(text) == place


@pytest.mark.parametrize("text", ["", "a:99999", "[::1", "a:b"])
def test_no_places_of_the_page(text: str) -> None:
    with pytest.raises(UsageError):
        host_and_port(text)
