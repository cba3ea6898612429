import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import pytest

from tests.synthetic_video import repeat_video, write_video

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.scripted_program", "detect"]
FRAMES = 200
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129} if os.name != "nt" else {}

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")


def heed_interrupts() -> None:
    """For a new process: whoever runs the tests in the background has them ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(folder: Path, pattern: str) -> None:
    """Until a file of that kind lies in the folder."""
    deadline = time.monotonic() + 60
    while not any(folder.glob(pattern)):
        assert time.monotonic() < deadline, "the run did not begin"
        time.sleep(0.02)


@contextmanager
def running(
    video: Path, output: Path, *options: str, wait_s: float = 1, seconds_per_frame: float = 0.05
) -> Iterator[subprocess.Popen[str]]:
    """`tubedet detect`, `wait_s` after it has begun to write."""
    environment = os.environ | {"SECONDS_PER_FRAME": str(seconds_per_frame)}
    with subprocess.Popen(
        [*COMMAND, str(video), "-o", str(output), *options],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509
    ) as process:
        wait_for(output, ".*.mp4.part")
        time.sleep(wait_s)
        yield process
        process.kill()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", frames=FRAMES, width=64, height=48, audio=["aac"])


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.parametrize("number", CODES)
def test_an_interrupted_run_leaves_whole_partial_files_that_agree(
    video: Path, tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "out"
    with running(video, output) as process:
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == CODES[number]
    assert stderr == "tubedet: interrupted\n"
    assert "stopped early" in stdout
    assert "--resume" in stdout
    assert sorted(path.name for path in output.iterdir()) == [
        "clip.partial.csv",
        "clip.partial.meta.json",
        "clip.partial.mp4",
    ]
    frames = frames_in(output / "clip.partial.mp4")
    assert 0 < frames < FRAMES
    with (output / "clip.partial.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["frame"]) for row in rows] == list(range(frames))
    meta = json.loads((output / "clip.partial.meta.json").read_text())
    assert (meta["processed_frames"], meta["complete"]) == (frames, False)


@pytest.mark.parametrize("gap_s", [0.0, 0.003, 0.03])
def test_signals_that_follow_the_first_change_nothing(
    video: Path, tmp_path: Path, gap_s: float
) -> None:
    output = tmp_path / "out"
    with running(video, output, "-f", "mp4,csv,json") as process:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGINT):
            process.send_signal(number)
            time.sleep(gap_s)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode in CODES.values()  # pending at once, they have no order
    assert stderr == "tubedet: interrupted\n"
    left = ["clip.partial.csv", "clip.partial.json", "clip.partial.meta.json", "clip.partial.mp4"]
    assert sorted(path.name for path in output.iterdir()) == left
    meta = json.loads((output / "clip.partial.meta.json").read_text())
    rows = json.loads((output / "clip.partial.json").read_text())["detections"]
    assert len(rows) == meta["processed_frames"] == frames_in(output / "clip.partial.mp4") > 0


def test_a_signal_while_frames_before_the_range_are_decoded_ends_the_run(tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", frames=60, width=320, height=240, fps=Fraction(30))
    video = repeat_video(clip, tmp_path / "long.mp4", 100)
    output = tmp_path / "out"
    with running(video, output, "--start", "5999f", wait_s=0) as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert not output.exists()


def test_an_interrupted_batch_begins_no_other_video(video: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(video.read_bytes())
    output = tmp_path / "out"
    with running(video, output, str(other)) as process:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert {path.name.partition(".")[0] for path in output.iterdir()} == {"clip", "tubedet"}
    manifest = (output / "tubedet.manifest.jsonl").read_text().splitlines()
    latest = {line["video"]: line["status"] for line in map(json.loads, manifest)}
    assert latest == {"clip.mp4": "partial", "other.mp4": "waiting"}


def test_a_second_interrupt_ends_a_slow_frame_too_and_keeps_those_before(
    video: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with running(video, output, "--batch-size", "100", seconds_per_frame=10) as process:
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)  # a batch takes 1000 seconds
    assert process.returncode == 130
    assert not output.exists()  # not one frame was done


def test_a_killed_run_leaves_nothing_under_a_final_name_and_the_next_one_is_not_hindered(
    video: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with running(video, output) as process:
        process.kill()
        process.wait(timeout=30)
    assert all(path.name.startswith(".") for path in output.iterdir())
    subprocess.run([*COMMAND, str(video), "-o", str(output), "-q"], cwd=ROOT, check=True)
    assert sorted(path.name for path in output.iterdir()) == [
        "clip.csv",
        "clip.meta.json",
        "clip.tubedet.mp4",
    ]


@pytest.mark.parametrize("number", CODES)
def test_an_interruption_while_stdin_is_read_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [*COMMAND, "-", "-o", str(tmp_path / "out")],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509
    ) as process:
        wait_for(tmp_path, "tubedet-*/stdin")
        process.send_signal(number)
        try:
            assert process.wait(timeout=60) == CODES[number]
        finally:
            process.kill()  # it would wait for its input forever
        assert process.stderr
        assert process.stderr.read() == "tubedet: interrupted\n"
    assert list(tmp_path.iterdir()) == []


SIGNAL_WHILE_OPTIONS_ARE_READ = """
import os, sys, typer.core
from tubedet.__main__ import main

make_context = typer.core.TyperCommand.make_context

def late(*arguments, **options):
    os.kill(os.getpid(), int(sys.argv.pop()))
    return make_context(*arguments, **options)

typer.core.TyperCommand.make_context = late
main()
"""


@pytest.mark.parametrize("number", CODES)
def test_a_signal_while_options_are_read_has_its_own_exit_code(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SIGNAL_WHILE_OPTIONS_ARE_READ, "doctor", str(int(number))]
    ended = subprocess.run(
        command, check=False, cwd=ROOT, capture_output=True, preexec_fn=heed_interrupts
    )
    assert ended.returncode == CODES[number]
    assert b"Traceback" not in ended.stderr
