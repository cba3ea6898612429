"""`tubedet detect` over a store that speaks S3's protocol, also as processes that are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import names_in
from tests.synthetic_video import write_video
from tubedet import pipeline
from tubedet.batch.manifest import MANIFEST
from tubedet.cli.app import app

moto_server = pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.scripted_program", "detect"]
SECRET = "a-secret-that-nobody-reads"
LOCK = ".long.boxes.lock.part"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


class Bucket:
    """A bucket of a server on loopback, and who writes there."""

    def __init__(self, name: str) -> None:
        self.address = f"s3://{name}"
        self.files = s3fs.S3FileSystem(skip_instance_cache=True)
        self.files.mkdir(name)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """`tubedet detect` in this process: its exit code, and what it says."""
        result = CliRunner().invoke(app, ["detect", *arguments])
        return result.exit_code, result.stdout, result.stderr

    def names(self, folder: str = "results") -> list[str]:
        self.files.invalidate_cache()
        root = f"{self.address}/{folder}/".removeprefix("s3://")
        return sorted(name.removeprefix(root) for name in self.files.find(root))

    def read(self, name: str) -> bytes:
        return bytes(self.files.cat_file(f"{self.address}/{name}"))

    def done(self) -> list[str]:
        """Videos of which the manifest says so, as often as it does."""
        lines = map(json.loads, self.read(f"results/{MANIFEST}").splitlines())
        return [line["video"] for line in lines if line["status"] == "done"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: ScriptedDetector())
    return Bucket(tmp_path.name.replace("_", "-"))


@pytest.fixture
def folder(bucket: Bucket, tmp_path: Path) -> Path:
    """A long and two short videos, here and in the bucket."""
    (tmp_path / "films/sub").mkdir(parents=True)
    for name, frames in (("long.mp4", 60), ("a.mp4", 3), ("sub/c.mp4", 2)):
        write_video(tmp_path / "films" / name, frames=frames, width=64, height=48)
        bucket.files.put_file(str(tmp_path / "films" / name), f"{bucket.address}/films/{name}")
    return tmp_path / "films"


@contextmanager
def running(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """`tubedet detect` as a process, which takes 0.3 s a frame."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=os.environ | {"SECONDS_PER_FRAME": "0.3"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_until(happened: Callable[[], Any], process: "subprocess.Popen[str]") -> None:
    while not happened():
        assert process.poll() is None, "it ended before"
        time.sleep(0.05)


def test_workers_that_are_killed_are_made_good_by_the_same_command(
    bucket: Bucket, folder: Path, tmp_path: Path
) -> None:
    command = [f"{bucket.address}/films", "-o", f"{bucket.address}/results", "--workers"]
    with running(*command, "2") as killed:
        wait_until(lambda: LOCK in bucket.names(), killed)
        workers = Path(f"/proc/{killed.pid}/task/{killed.pid}/children").read_text().split()
        for each in [killed.pid, *map(int, workers)]:
            os.kill(each, signal.SIGKILL)
        out, errors = killed.communicate()
    assert SECRET not in out + errors
    assert LOCK in bucket.names()
    code, out, _ = bucket.run(*command, "1")
    assert (code, f"Results are in {bucket.address}/results" in out) == (0, True)
    assert bucket.run(str(folder), "-o", str(tmp_path / "out"))[0] == 0
    assert bucket.names() == names_in(tmp_path / "out")
    for name in names_in(tmp_path / "out"):
        if name.endswith((".csv", ".mp4")):
            assert bucket.read(f"results/{name}") == (tmp_path / "out" / name).read_bytes()
    assert sorted(bucket.done()) == ["a.mp4", "long.mp4", "sub/c.mp4"]
    code, out, _ = bucket.run(*command, "1")
    assert (code, out.count("skipped: its outputs are there")) == (0, 3)
    assert sorted(bucket.done()) == ["a.mp4", "long.mp4", "sub/c.mp4"]


def test_an_interrupted_run_leaves_what_it_has_and_no_other_file(
    bucket: Bucket, folder: Path, tmp_path: Path
) -> None:
    video, results = f"{bucket.address}/films/long.mp4", f"{bucket.address}/results"
    with running(video, "-o", results, "-f", "csv") as process:
        wait_until(lambda: LOCK in bucket.names(), process)
        wait_until(lambda: [*(tmp_path / "temporary").rglob(".long.csv.part")], process)
        time.sleep(2)  # for some frames
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 143
    assert bucket.names() == ["long.partial.csv", "long.partial.meta.json"]
    assert list((tmp_path / "temporary").iterdir()) == []
    code, out, _ = bucket.run(video, "-o", results, "-f", "csv", "--resume")
    assert (code, bucket.names()) == (0, ["long.csv", "long.meta.json"])
    assert f"{results}/long.csv" in out


def test_a_bucket_that_is_not_there_is_one_line(bucket: Bucket, folder: Path) -> None:
    code, _, errors = bucket.run(str(folder / "a.mp4"), "-o", "s3://no-such-bucket/x")
    assert code == 6
    assert errors.strip() == "tubedet: s3://no-such-bucket/x: no such file, folder or bucket"
