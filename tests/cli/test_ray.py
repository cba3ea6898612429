"""Jobs on Ray leave what a run on this machine leaves, whatever is lost on the way."""

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import pytest

from tests.broken_videos import write_broken_videos
from tests.scripted_run import names_in
from tests.synthetic_video import write_video

pytest.importorskip("ray", reason="the extra cluster is not installed")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

ROOT = Path(__file__).parents[2]
FULL_SIZE = "TUBEDET_FULL_JOB" in os.environ
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(ROOT),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # otherwise whatever else runs on the machine comes first
}
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


def processes() -> dict[int, tuple[int, str]]:
    """Of every process its parent and its command line."""
    found = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = status.read_text().rpartition(")")[2].split()[1]
            command = status.with_name("cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        found[int(status.parent.name)] = (int(parent), command.replace(b"\0", b" ").decode())
    return found


def begun_by(mark: Path) -> list[str]:
    """The command lines of the processes that have this mark in their environment."""
    found = []
    for pid, (_, name) in processes().items():
        with suppress(OSError):  # it has ended meanwhile, or is not ours
            if f"BEGUN_BY={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes():
                found.append(name)
    return found


def below(pid: int) -> dict[int, str]:
    """The command lines of the processes that a process has started, and these."""
    children = {each: name for each, (parent, name) in processes().items() if parent == pid}
    return children | {each: name for child in children for each, name in below(child).items()}


def wait_until(happened: Callable[[], Any], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def records(output: Path) -> list[dict[str, Any]]:
    """The whole lines of the manifest; none before it is there."""
    path = output / "tubedet.manifest.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def done_in(output: Path) -> int:
    """How many videos the manifest calls done."""
    return sum(each["status"] == "done" for each in records(output))


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
    mine = run(folder, tmp_path / "ray", "local", 1, BEGUN_BY=str(tmp_path))
    left = begun_by(tmp_path)
    theirs = run(folder, tmp_path / "alone")
    assert mine.returncode == theirs.returncode == 7
    first, *complaints = mine.stderr.splitlines()
    assert first == "Ray: 1 node, 2 CPUs, 0 GPUs; a video takes 1 CPU"
    waiting = "Ray: waiting for 1 CPU, on which a network is loaded"  # on a slow machine
    assert [line for line in complaints if line != waiting] == theirs.stderr.splitlines()
    assert_same_results(tmp_path / "ray", tmp_path / "alone")
    assert not left


@contextmanager
def node(*options: str, **environment: str) -> Iterator[int]:
    """A node of a cluster, of two CPUs: the process that has started all of it."""
    start = [str(Path(sys.executable).with_name("ray")), "start", "--block", *options]
    with subprocess.Popen(
        [*start, "--num-cpus=2", "--object-store-memory=100000000"],
        env=ENVIRONMENT | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield process.pid
        finally:
            kill_all(process.pid)


def kill_all(pid: int) -> None:
    """End a process and all below it without a word."""
    for each in (pid, *below(pid)):
        with suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)


def memory_threshold(room: int) -> str:
    """The part of the machine's memory that is taken when so many bytes more are."""
    told = dict(re.findall(r"(\w+): +(\d+) kB", Path("/proc/meminfo").read_text()))
    total, free = int(told["MemTotal"]) * 1024, int(told["MemAvailable"]) * 1024
    return f"{(total - free + room) / total:.3f}"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        return int(free.getsockname()[1])


@pytest.mark.skipif(not FULL_SIZE, reason="takes minutes: TUBEDET_FULL_JOB=1 runs it")
def test_a_cluster_that_loses_a_node_and_memory_gives_what_an_undisturbed_run_gives(
    tmp_path: Path,
) -> None:
    """100 videos on two nodes: one node is killed, and one video takes all memory at first."""
    folder, output, whole = tmp_path / "in", tmp_path / "out", tmp_path / "undisturbed"
    (folder / "sub").mkdir(parents=True)
    good = [f"{'sub/' if number % 3 == 0 else ''}clip {number}" for number in range(96)] + ["hog"]
    for number, name in enumerate(good):
        write_video(folder / f"{name}.mp4", frames=8 + number % 7, width=64, height=48)
    for name in write_broken_videos(folder, folder / "clip 1.mp4")[3:]:
        (folder / name).unlink()
    (folder / ".hog.tried").touch()  # here it may not take any
    assert run(folder, whole).returncode == 7
    (folder / ".hog.tried").unlink()

    address = f"127.0.0.2:{free_port()}"
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_memory_usage_threshold": memory_threshold(4 << 30),
    }
    session = Path(mkdtemp(prefix="ray-", dir="/tmp"))  # a socket's path may not be long
    head = ("--head", f"--port={address.partition(':')[2]}", f"--temp-dir={session}")
    first = (*head, "--node-ip-address=127.0.0.2", "--include-dashboard=false")
    second = (f"--address={address}", "--node-ip-address=127.0.0.3")
    with node(*first, **environment):
        wait_until(lambda: len(list(session.glob("session_latest/sockets/raylet*"))) == 1)
        with ExitStack() as stack:
            lost = stack.enter_context(node(*second, **environment))
            wait_until(lambda: len(list(session.glob("session_latest/sockets/raylet*"))) == 2)
            process = stack.enter_context(
                subprocess.Popen(
                    program(folder, output, address, 4),
                    cwd=ROOT,
                    env=ENVIRONMENT | environment | {"SECONDS_PER_FRAME": "0.1"},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            wait_until(lambda: done_in(output) >= 40)
            wait_until(lambda: any("ray::tubedet" in name for name in below(lost).values()))
            at_kill = {path: path.stat().st_mtime_ns for path in output.rglob("[!.]*.meta.json")}
            kill_all(lost)
            print(f"killed with {len(at_kill)} videos done")
            stdout, stderr = process.communicate(timeout=600)
    logs = "".join(path.read_text(errors="replace") for path in session.rglob("raylet*.out"))
    rmtree(session)

    assert process.returncode == 7
    assert "Ray: 1 node, 2 CPUs" in stderr
    assert "raylet" not in stdout + stderr, "what Ray says to itself"
    assert stderr.splitlines()[-1] == "tubedet: 3 of 100 videos failed"
    assert_same_results(output, whole)
    times = Counter(each["results"] for each in records(output) if each["status"] == "done")
    assert times == dict.fromkeys(good, 1)
    for path, changed in at_kill.items():
        assert path.stat().st_mtime_ns == changed, f"{path} was done twice"
    assert (folder / ".hog.tried").exists()
    assert "OOM" in logs or "memory usage" in logs
