"""One run at a time for the outputs of a video."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

from tests.output_targets import plain_frame, result, target_for
from tubedet.detections import Detection
from tubedet.errors import OutputError
from tubedet.writers.run_lock import BeingWrittenError, RunLock
from tubedet.writers.transaction import OutputTransaction

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from tests.output_targets import target_for
from tubedet.writers.transaction import OutputTransaction

outputs = OutputTransaction("boxes", ["csv"], target_for(Path(sys.argv[1]), Path("clip.mp4")))
print("held", flush=True)
sys.stdin.readline()
outputs.commit()
"""
WALK = Detection("walk", 0, 0.5, (1.0, 2.0, 3.0, 4.0))


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that is writing clip.csv, until it reads a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def begin(folder: Path, *formats: str) -> OutputTransaction:
    return OutputTransaction("boxes", formats or ("csv",), target_for(folder, Path("clip.mp4")))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_second_process_is_refused_in_one_line_and_takes_nothing_from_the_first(
    tmp_path: Path,
) -> None:
    with holder(tmp_path) as first:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        with pytest.raises(BeingWrittenError, match=r"clip\.meta\.json: another run is") as error:
            begin(tmp_path, "jsonl")
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
        first.communicate("end\n")
    assert "\n" not in str(error.value)
    assert isinstance(error.value, OutputError)
    assert first.returncode == 0
    assert names(tmp_path) == ["clip.csv", "clip.meta.json"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_does_not_hinder_the_next_and_its_hidden_files_go(tmp_path: Path) -> None:
    with holder(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
    assert all(name.startswith(".clip.") for name in names(tmp_path))
    assert ".clip.boxes.lock.part" in names(tmp_path)

    outputs = begin(tmp_path)
    outputs.write(result(plain_frame(0), WALK))
    outputs.commit()

    assert names(tmp_path) == ["clip.csv", "clip.meta.json"]


@pytest.mark.parametrize("end", ["commit", "keep_partial", "discard"])
def test_the_lock_is_free_and_its_file_gone_after_any_end(tmp_path: Path, end: str) -> None:
    for _ in range(2):
        outputs = begin(tmp_path)
        assert ".clip.boxes.lock.part" in names(tmp_path)
        getattr(outputs, end)()
        assert not [name for name in names(tmp_path) if name.startswith(".")]
        for path in tmp_path.iterdir():
            path.unlink()


def test_within_one_process_a_second_run_is_refused_too(tmp_path: Path) -> None:
    first = begin(tmp_path)
    with pytest.raises(BeingWrittenError):
        begin(tmp_path)
    first.write(result(plain_frame(0), WALK))
    first.commit()

    assert len((tmp_path / "clip.csv").read_text().splitlines()) == 2


def test_boxes_and_flow_and_other_stems_do_not_wait_for_each_other(tmp_path: Path) -> None:
    runs = [
        OutputTransaction("boxes", ["csv"], target_for(tmp_path, Path("a.mp4"))),
        OutputTransaction("flow", ["flo"], target_for(tmp_path, Path("a.mp4"))),
        OutputTransaction("boxes", ["csv"], target_for(tmp_path, Path("b.mp4"))),
        OutputTransaction("boxes", ["csv"], target_for(tmp_path / "x", Path("a.mp4"))),
    ]
    for run in runs:
        run.discard()
    assert names(tmp_path) == []


def test_a_run_that_was_released_twice_leaves_the_lock_of_the_next_alone(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    first = RunLock(path, tmp_path / "a.csv")
    first.release()
    second = RunLock(path, tmp_path / "a.csv")

    first.release()

    assert path.exists()
    with pytest.raises(BeingWrittenError):
        RunLock(path, tmp_path / "a.csv")
    second.release()
    assert not path.exists()


def test_a_file_system_without_locks_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some network drives: flock says that it is not implemented."""
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    outputs = begin(tmp_path)
    outputs.write(result(plain_frame(0), WALK))
    outputs.commit()

    assert names(tmp_path) == ["clip.csv", "clip.meta.json"]


def test_a_folder_that_takes_no_file_is_an_output_error_that_names_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(OutputError, match=r"cannot write .*clip\.meta\.json: Permission denied"):
        begin(tmp_path)
    assert names(tmp_path) == []
