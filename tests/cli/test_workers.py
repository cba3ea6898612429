"""Several videos at a time: processes that are interrupted, killed and left alone."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.broken_videos import write_broken_videos
from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import meta_of, names_in
from tests.synthetic_video import write_video
from tubedet import pipeline
from tubedet.cli.app import app

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.scripted_program", "detect"]
CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}
FULL_SIZE = "TUBEDET_FULL_JOB" in os.environ  # 200 videos instead of 17

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


def heed_interrupts() -> None:
    """For a new process: whoever runs the tests in the background has them ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def running(
    folder: Path, output: Path, *options: str, seconds_per_frame: float = 0.05
) -> Iterator[subprocess.Popen[str]]:
    """`tubedet detect --workers 2`, which leads a process group as it would in a shell."""
    with subprocess.Popen(
        [*COMMAND, str(folder), "-o", str(output), "--workers", "2", *options],
        cwd=ROOT,
        env=os.environ | {"SECONDS_PER_FRAME": str(seconds_per_frame)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(folder: Path, output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, str(folder), "-o", str(output), *options]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def run_here(folder: Path, output: Path) -> Result:
    """Without workers, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "load_detector", lambda *_, **__: ScriptedDetector())
        return CliRunner().invoke(app, ["detect", str(folder), "-o", str(output)])


def wait_until(happened: Callable[[], Any], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """Processes that it has started, but for Python's own tracker."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = status.read_text().rpartition(")")[2].split()[1]
            command = status.with_name("cmdline").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if int(parent) == process.pid and b"spawn_main" in command:
            found.append(int(status.parent.name))
    return sorted(found)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def records(output: Path) -> list[dict[str, Any]]:
    """The whole lines of the manifest; none before it is there."""
    path = output / "tubedet.manifest.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def done_in(output: Path) -> int:
    """How many videos the manifest calls done."""
    return sum(each["status"] == "done" for each in records(output))


def at_work(output: Path) -> list[str]:
    """The videos that are being written."""
    return [path.name.split(".")[1] for path in output.glob(".*.mp4.part") if path.stat().st_size]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four videos of ten seconds, as long as each frame takes 0.05 s."""
    (tmp_path / "in").mkdir()
    for name in "abcd":
        write_video(tmp_path / f"in/{name}.mp4", frames=200, width=64, height=48)
    return tmp_path / "in"


@pytest.mark.parametrize("to", ["parent", "group"])
@pytest.mark.parametrize("name", CODES)
def test_a_signal_ends_all_workers_and_what_they_had_is_kept(
    folder: Path, tmp_path: Path, name: str, to: str
) -> None:
    """A terminal sends it to every process of the group, `kill` to one."""
    output = tmp_path / "out"
    with running(folder, output) as process:
        wait_until(lambda: len(at_work(output)) == 2)
        workers = workers_of(process)
        (os.kill if to == "parent" else os.killpg)(process.pid, signal.Signals[name])
        stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == CODES[name]
    assert stderr == "tubedet: interrupted\n"
    assert len(workers) == 2
    assert not any(map(is_running, workers))
    assert "The same command goes on from there" in stdout
    left = [f"{stem}.partial.{suffix}" for stem in "ab" for suffix in ("csv", "meta.json", "mp4")]
    assert names_in(output) == [*left, "tubedet.manifest.jsonl"]
    latest = {each["video"]: each for each in records(output)}
    assert {video: each["status"] for video, each in latest.items()} == {
        "a.mp4": "partial",
        "b.mp4": "partial",
        "c.mp4": "waiting",
        "d.mp4": "waiting",
    }
    for stem in "ab":
        frames = meta_of(output / f"{stem}.partial.meta.json")["processed_frames"]
        assert 0 < frames < 200
        assert latest[f"{stem}.mp4"]["frames"] == frames


def test_a_signal_while_networks_are_loaded_ends_the_job_at_once(
    folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with running(folder, output) as process:
        wait_until(lambda: len(workers_of(process)) == 2)
        workers = workers_of(process)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=300)
    assert (process.returncode, stderr) == (143, "tubedet: interrupted\n")
    assert not any(map(is_running, workers))
    assert names_in(output) in ([], ["tubedet.manifest.jsonl"])


def test_a_second_signal_ends_slow_frames_too(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with running(folder, output, "--batch-size", "100", seconds_per_frame=10) as process:
        wait_until(lambda: len(list(output.glob(".*.mp4.part"))) == 2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)  # a batch takes 1000 seconds
    assert process.returncode == 130
    assert names_in(output) == ["tubedet.manifest.jsonl"]  # not one frame was done


def test_an_interrupted_job_goes_on_to_what_an_undisturbed_one_gives(
    folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    with running(folder, output) as process:
        wait_until(lambda: len(at_work(output)) == 2)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)
    assert run(folder, output, "--workers", "2").returncode == 0
    assert run_here(folder, tmp_path / "undisturbed").exit_code == 0
    assert names_in(output) == names_in(tmp_path / "undisturbed")
    for stem in "abcd":
        mine, theirs = (tmp_path / each / f"{stem}.csv" for each in ("out", "undisturbed"))
        assert mine.read_bytes() == theirs.read_bytes()


def test_a_worker_that_is_killed_costs_its_video_alone(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with running(folder, output, seconds_per_frame=0.01) as process:
        wait_until(lambda: len(at_work(output)) == 2)
        (first, _) = workers_of(process)
        os.kill(first, signal.SIGKILL)
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 7
    reason, last = stderr.splitlines()
    assert last == "tubedet: 1 of 4 videos failed"
    lost = re.fullmatch(
        rf"tubedet: {folder}/(.)\.mp4: its process was ended by SIGKILL, "
        "maybe for want of memory: try fewer --workers",
        reason,
    )
    assert lost
    done = [stem for stem in "abcd" if stem != lost[1]]
    assert names_in(output) == sorted(
        ["tubedet.manifest.jsonl"]
        + [f"{stem}{each}" for stem in done for each in (".csv", ".meta.json", ".tubedet.mp4")]
    )
    assert run_here(folder, output).exit_code == 0
    assert meta_of(output / f"{lost[1]}.meta.json")["complete"]


def test_workers_notice_that_their_parent_was_killed(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    with running(folder, output) as process:
        wait_until(lambda: len(at_work(output)) == 2)
        workers = workers_of(process)
        process.kill()
        process.wait(timeout=300)
        wait_until(lambda: not any(map(is_running, workers)), seconds=60)
    assert len(workers) == 2
    assert {name.split(".")[0] for name in names_in(output)} == {"a", "b", "tubedet"}
    assert not list(output.glob(".*")), "what they had is kept as partial results"


def test_what_is_wrong_for_all_ends_a_job_with_workers_as_without(
    folder: Path, tmp_path: Path
) -> None:
    for workers in ("1", "2"):
        ended = run(folder, tmp_path / "out", "--workers", workers, "--class", "fly")
        assert ended.returncode == 2
        assert ended.stderr == "tubedet: --class fly: not one of walk, run\n"


def test_fail_fast_leaves_the_others_as_they_are(folder: Path, tmp_path: Path) -> None:
    (folder / "b.mp4").write_bytes(b"no video")
    output = tmp_path / "out"
    with running(folder, output, "--fail-fast") as process:
        _, stderr = process.communicate(timeout=300)
    assert process.returncode == 7
    last = stderr.splitlines()[-1]
    assert last == "tubedet: 1 of 4 videos failed; the others were left, as --fail-fast asks"
    latest = {each["video"]: each["status"] for each in records(output)}
    assert latest["b.mp4"] == "failed"
    assert set(latest.values()) <= {"failed", "partial", "waiting"}


def test_a_job_that_is_killed_again_and_again_does_every_video_once(tmp_path: Path) -> None:
    """`TUBEDET_FULL_JOB=1` takes 200 videos, ten of them broken, instead of 17."""
    count, broken = (190, 10) if FULL_SIZE else (14, 3)
    folder, output, whole = tmp_path / "in", tmp_path / "out", tmp_path / "undisturbed"
    (folder / "sub").mkdir(parents=True)
    good = [f"{'sub/' if number % 3 == 0 else ''}clip {number}" for number in range(count)]
    for number, name in enumerate(good):
        write_video(folder / f"{name}.mp4", frames=8 + number % 7, width=64, height=48)
    bad = write_broken_videos(folder, folder / "clip 1.mp4")
    for name in bad[broken:]:
        (folder / name).unlink()
    assert run_here(folder, whole).exit_code == 7

    draw = random.Random(seed := random.randrange(2**32))
    done_at_kill: dict[Path, int] = {}
    for _ in range(3):
        done = done_in(output)
        aim = done + draw.randint(1, max(1, (count - done) // 3))
        with running(folder, output, seconds_per_frame=0.01) as process:
            wait_until(partial(lambda aim: done_in(output) >= aim, aim))
            time.sleep(draw.uniform(0, 0.3))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=300)
        for path, changed in done_at_kill.items():
            assert path.stat().st_mtime_ns == changed, f"{path} was done twice, seed {seed}"
        done_at_kill |= {path: path.stat().st_mtime_ns for path in output.rglob("[!.]*.meta.json")}
    last = run(folder, output, "--workers", "2")

    assert last.returncode == 7, f"seed {seed}"
    *reasons, summary = last.stderr.splitlines()
    assert summary == f"tubedet: {broken} of {count + broken} videos failed"
    assert {Path(line.removeprefix("tubedet: ").split(": ")[0]).name for line in reasons} == set(
        bad[:broken]
    )
    endings = (".csv", ".meta.json", ".tubedet.mp4")
    expected = [*(name + each for name in good for each in endings), "tubedet.manifest.jsonl"]
    assert names_in(output) == sorted(expected), f"seed {seed}"
    for name in good:
        assert (output / f"{name}.csv").read_bytes() == (whole / f"{name}.csv").read_bytes()
    for path, changed in done_at_kill.items():
        assert path.stat().st_mtime_ns == changed, f"{path} was done twice, seed {seed}"
    times = Counter(each["results"] for each in records(output) if each["status"] == "done")
    assert times == dict.fromkeys(good, 1), f"seed {seed}"
