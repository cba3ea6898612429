"""Jobs on Ray: what they leave is what a run on this machine leaves, whatever is lost on the way."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.broken_videos import write_broken_videos
from tests.scripted_run import names_in
from tests.synthetic_video import write_video

pytest.importorskip("ray", reason="the extra cluster is not installed")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

ROOT = Path(__file__).parents[2]
FULL_SIZE = "TUBEDET_FULL_JOB" in os.environ
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
OF_A_MOMENT = {"at", "seconds"}


def program(folder: Path, output: Path, *cluster: object) -> list[str]:
    """`tubedet detect FOLDER -o OUTPUT`, maybe with an address and a number of workers."""
    command = [sys.executable, "-m", "tests.cluster_program", str(folder), str(output)]
    return [*command, *map(str, cluster)]


def run(
    folder: Path, output: Path, *cluster: object, **changed: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        program(folder, output, *cluster),
        cwd=ROOT,
        env=ENVIRONMENT | changed,
        check=False,
        capture_output=True,
        text=True,
    )


def records(output: Path) -> list[dict[str, Any]]:
    """The whole lines of the manifest; none before it is there."""
    path = output / "tubedet.manifest.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def latest(output: Path) -> dict[str, dict[str, Any]]:
    """What the manifest tells of each video, but for when it was and how long it took."""
    return {
        each["video"]: {
            name: str(value).replace(str(output), "")
            for name, value in each.items()
            if name not in OF_A_MOMENT
        }
        for each in records(output)
    }


def assert_same_results(mine: Path, theirs: Path) -> None:
    """Equal rows and manifests, and the same files."""
    assert names_in(mine) == names_in(theirs)
    for name in names_in(theirs):
        if name.endswith(".csv"):
            assert (mine / name).read_bytes() == (theirs / name).read_bytes(), name
    assert latest(mine) == latest(theirs)


def test_a_job_on_a_ray_of_its_own_leaves_what_one_without_leaves(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.mp4", "b.mp4", "sub/c.mp4"):
        write_video(folder / name, frames=5, width=64, height=48)
    (folder / "bad.mp4").write_bytes(b"no video")
    before = {each.pid for each in psutil.process_iter()}
    mine = run(folder, tmp_path / "ray", "local", 1)
    left = [each for each in psutil.process_iter(["cmdline"]) if each.pid not in before]
    theirs = run(folder, tmp_path / "alone")
    assert mine.returncode == theirs.returncode == 7
    first, *complaints = mine.stderr.splitlines()
    assert first == "Ray: 1 node, 2 CPUs, 0 GPUs; a video takes 2 CPUs"
    waiting = "Ray: waiting for 2 CPUs, on which a network is loaded"  # on a slow machine
    assert [line for line in complaints if line != waiting] == theirs.stderr.splitlines()
    assert_same_results(tmp_path / "ray", tmp_path / "alone")
    assert not [each for each in left if "/ray/" in " ".join(each.info["cmdline"] or ())]
