"""Batches made in this process and by workers, and what becomes of workers that fail."""

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from tests.small_training import two_clips
from tubedet.datasets import batch_loader
from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.batch_loader import WorkerKilledError, load_batches
from tubedet.datasets.batching import BatchShare, TrainingSamples
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.errors import DatasetError
from tubedet.notes import Note

ROOT = Path(__file__).parents[2]


class Numbered(NamedTuple):
    step: torch.Tensor
    pid: torch.Tensor


@dataclass
class Numbers:
    """Batches that hold their step; the one of `bad` or `buggy` raises."""

    bad: int | None = None
    buggy: int | None = None
    notes: list[Note] = field(default_factory=list)

    def batch(self, step: int) -> Numbered:
        if step == self.bad:
            raise DatasetError("b.avi: a clip of the data set is bad", ["one", "two"])
        if step == self.buggy:
            raise RuntimeError("a bug")
        if step % 2 and not self.notes:
            self.notes.append(Note("a clip is odd"))
        return Numbered(torch.tensor(step), torch.tensor(os.getpid()))


@pytest.fixture(params=["forkserver", "spawn"])
def start_method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {request.param} on {sys.platform}")
    monkeypatch.setattr(batch_loader, "START_METHOD", request.param)
    return str(request.param)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> AnnotatedDataset:
    return two_clips(tmp_path_factory.mktemp("clips"))


def test_batches_are_the_same_whatever_the_number_of_workers(data: AnnotatedDataset) -> None:
    samples = TrainingSamples(data, ClipFrames(), seed=3, input_size=64, share=BatchShare(4))
    expected = [samples.batch(step) for step in range(5)]

    for workers in (0, 1, 2):
        found = list(load_batches(samples, range(5), workers=workers, pin_memory=False))
        for batch, other in zip(found, expected, strict=True):
            assert all(map(torch.equal, batch, other))


def test_a_resumed_run_goes_on_with_the_batches_of_its_steps() -> None:
    found = list(load_batches(Numbers(), range(7, 11), workers=2, pin_memory=False))

    assert [batch.step.item() for batch in found] == [7, 8, 9, 10]
    assert len({batch.pid.item() for batch in found} - {os.getpid()}) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_as_it_was_raised_behind_the_batches_before_it(workers: int) -> None:
    batches = load_batches(Numbers(bad=2), range(9), workers=workers, pin_memory=False)

    assert [next(batches).step.item() for _ in range(2)] == [0, 1]
    with pytest.raises(DatasetError) as caught:
        next(batches)

    assert str(caught.value) == "b.avi: a clip of the data set is bad"
    assert caught.value.problems == ("one", "two")
    assert not multiprocessing.active_children()  # though the error's traceback is still held


@pytest.mark.parametrize("workers", [0, 2])
def test_notes_of_workers_reach_the_one_who_asked_each_once(workers: int) -> None:
    source = Numbers()

    list(load_batches(source, range(8), workers=workers, pin_memory=False))

    assert source.notes == [Note("a clip is odd")]


@pytest.mark.usefixtures("start_method")
def test_a_killed_worker_is_told_in_one_line_where_the_next_batch_is_asked_for() -> None:
    batches = load_batches(Numbers(), range(1000), workers=1, pin_memory=False)
    os.kill(int(next(batches).pid), signal.SIGKILL)
    time.sleep(1)  # no signal handler raises here

    with pytest.raises(
        WorkerKilledError, match="from worker processes, found one that fails or is gone"
    ):
        list(batches)

    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("start_method")
def test_closing_the_iterator_early_ends_the_workers() -> None:
    batches = load_batches(Numbers(), range(1000), workers=2, pin_memory=False)
    pids = {int(next(batches).pid) for _ in range(4)}
    assert len(pids) == 2

    batches.close()

    assert not multiprocessing.active_children()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such signal")
def test_workers_leave_ctrl_c_to_the_process_that_started_them() -> None:
    batches = load_batches(Numbers(), range(1000), workers=1, pin_memory=False)
    pid = int(next(batches).pid)

    os.kill(pid, signal.SIGINT)

    assert [int(next(batches).pid) for _ in range(10)] == [pid] * 10


def test_samples_that_have_been_asked_take_no_frames_along(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    samples = TrainingSamples(
        data, ClipFrames(tmp_path), seed=3, input_size=64, share=BatchShare(4)
    )
    before = len(pickle.dumps(samples))
    samples.batch(0)

    assert len(pickle.dumps(samples)) == before


def test_a_bug_in_a_worker_keeps_its_type_and_its_traceback() -> None:
    batches = load_batches(Numbers(buggy=1), range(9), workers=1, pin_memory=False)

    with pytest.raises(RuntimeError, match=r"(?s)in batch.*a bug"):
        list(batches)


# It waits where an interrupt is not lost in a destructor of DataLoader's.
INTERRUPTED = """
import signal
import time

from tests.datasets.test_batch_loader import Numbers
from tubedet.datasets.batch_loader import load_batches

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    for batch in load_batches(Numbers(), range(10**9), workers=2, pin_memory=False):
        if batch.step == 10:
            print("ready", flush=True)
            time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
def test_ctrl_c_at_a_terminal_ends_a_run_and_its_workers_without_their_tracebacks(
    tmp_path: Path,
) -> None:
    run = begun(tmp_path)

    os.killpg(run.pid, signal.SIGINT)
    _, complaint = run.communicate(timeout=60)

    assert complaint.count("Traceback") == 1
    assert complaint.endswith("KeyboardInterrupt\n")
    wait_until_gone(run.pid)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups")
def test_workers_end_with_a_run_that_is_killed(tmp_path: Path) -> None:
    run = begun(tmp_path)

    run.kill()
    run.communicate(timeout=60)

    wait_until_gone(run.pid)


def begun(folder: Path) -> subprocess.Popen[str]:
    """A run that has two workers, in a process group of its own."""
    (folder / "run.py").write_text(INTERRUPTED)
    run = subprocess.Popen(
        [sys.executable, str(folder / "run.py")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout
    assert run.stdout.readline() == "ready\n"
    return run


def wait_until_gone(group: int) -> None:
    """Fail unless every process of a group has ended within ten seconds."""
    last = time.monotonic() + 10
    with suppress(ProcessLookupError):
        while time.monotonic() < last:
            os.killpg(group, 0)
            time.sleep(0.1)
        pytest.fail(f"processes of group {group} are left")


class TooLarge(torch.Tensor):
    """A batch for which there is no shared memory."""

    def share_memory_(self) -> "TooLarge":
        raise RuntimeError("unable to allocate shared memory(shm)")


@dataclass
class Large:
    """Batches too large for shared memory."""

    notes: list[Note] = field(default_factory=list)

    def batch(self, step: int) -> torch.Tensor:
        return torch.zeros(2).as_subclass(TooLarge)


def test_a_batch_that_shared_memory_cannot_hold_ends_the_run_with_one_line() -> None:
    with pytest.raises(WorkerKilledError, match=r"shared memory\(shm\)\); .* --loader-workers"):
        list(load_batches(Large(), range(9), workers=1, pin_memory=False))
