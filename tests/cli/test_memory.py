"""Memory must not grow with the video. The frame rate decides how long this test takes:

FRAMES_PER_SECOND=24 python -m pytest tests/cli/test_memory.py
"""

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from tests.synthetic_video import repeat_video, write_video

ROOT = Path(__file__).parents[2]
FPS = int(os.environ.get("FRAMES_PER_SECOND", "3"))
TOLERANCE = 0.05
# Runs the command line after it and prints the most memory that it held at once, in kB. What
# getrusage says of a process includes the memory of the one that started it.
PROGRAM = """
import atexit, pathlib, runpy
status = pathlib.Path("/proc/self/status")
atexit.register(lambda: print(status.read_text().partition("VmHWM:")[2].split()[0]))
runpy.run_module("tests.scripted_program", run_name="__main__", alter_sys=True)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc/self/status")


def peak_kilobytes(video: Path, output: Path) -> int:
    command = [sys.executable, "-c", PROGRAM, "detect", str(video), "-o", str(output), "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
    run = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    return int(run.stdout)


def test_a_video_of_twenty_minutes_takes_as_much_memory_as_one_of_one_minute(
    tmp_path: Path,
) -> None:
    clip = write_video(tmp_path / "clip.mp4", frames=2 * FPS, fps=Fraction(FPS), codec="mpeg4")
    short = repeat_video(clip, tmp_path / "short.mp4", 30)
    long = repeat_video(clip, tmp_path / "long.mp4", 20 * 30)
    expected = peak_kilobytes(short, tmp_path / "out")
    assert peak_kilobytes(long, tmp_path / "out") == pytest.approx(expected, rel=TOLERANCE)
