"""What a worker's process does by itself; `tests/cli/test_workers.py` starts some."""

import threading
from fractions import Fraction
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import job_of, names_in
from tests.synthetic_video import write_video
from tubedet.batch.earlier_results import GO_ON
from tubedet.batch.many_videos import NewWork
from tubedet.batch.worker import LISTENER, Free, WorkerSetup, WrongForAll, device_of, work
from tubedet.errors import TubedetError, WeightsError
from tubedet.run.detection import DetectionWork
from tubedet.run.events import FrameDone, NetworkLoaded, VideoDone, VideoFailed
from tubedet.run.plan import RunPlan


@pytest.mark.parametrize(
    ("gpus", "device", "expected"),
    [
        (0, "auto", ["auto"] * 3),
        (0, "cuda", ["cuda"] * 3),  # whoever loads the network says that there is none
        (1, "auto", ["cuda:0"] * 3),
        (2, "auto", ["cuda:0", "cuda:1", "cuda:0"]),
        (2, "cuda", ["cuda:0", "cuda:1", "cuda:0"]),
        (2, "cuda:1", ["cuda:1"] * 3),
        (2, "cpu", ["cpu"] * 3),
    ],
)
def test_every_worker_has_a_gpu_of_its_own_as_far_as_there_are_so_many(
    gpus: int, device: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert [device_of(device, number) for number in range(3)] == expected


class UnportableError(Exception):
    """Can be pickled, but not read again, as those of some libraries."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)


@pytest.fixture
def quiet_process(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A worker in this process leaves its signals and threads alone; how many threads it takes."""
    threads: list[int] = []
    monkeypatch.setattr("tubedet.batch.worker.signal.signal", lambda *_: None)
    monkeypatch.setattr("tubedet.batch.worker._interrupt_main_thread", lambda: None)
    monkeypatch.setattr("tubedet.batch.worker.GRACE_S", 0)
    monkeypatch.setattr("tubedet.batch.worker.os._exit", lambda _: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    return threads


def messages_of(jobs: list[Any], load: Any) -> list[Any]:
    """What a worker says of some videos, until the pipe is closed."""
    setup = WorkerSetup(
        load=load,
        device="cpu",
        workers=3,
        kind="boxes",
        formats=("csv",),
        existing=GO_ON,
        spreadsheet_safe=False,
    )
    ours, its = Pipe()
    for job in jobs:
        ours.send(job)
    thread = threading.Thread(target=work, args=(its, setup, 0))
    thread.start()
    heard: list[Any] = []
    while sum(isinstance(each, Free | WrongForAll) for each in heard) < len(jobs):
        heard.append(ours.recv())
        if isinstance(heard[-1], WrongForAll):
            break
    ours.close()
    thread.join()
    for each in threading.enumerate():  # they would end this process once it is no longer quiet
        if each.name == LISTENER:
            each.join()
    return heard


def new_work(detector: ScriptedDetector) -> NewWork:
    return lambda job, earlier: DetectionWork(detector, RunPlan(), earlier=earlier)


def test_a_worker_takes_its_share_of_the_cores_and_tells_of_every_video(
    tmp_path: Path, quiet_process: list[int]
) -> None:
    jobs = [
        job_of(write_video(tmp_path / name, frames=30, width=64, height=48, fps=Fraction(30)))
        for name in ("a.mp4", "b.mp4")
    ]
    heard = messages_of(jobs, lambda device, told: new_work(ScriptedDetector()))
    kinds = [type(each) for each in heard if not isinstance(each, FrameDone)]
    assert kinds == [NetworkLoaded, VideoDone, Free, VideoDone, Free]
    assert sum(isinstance(each, FrameDone) for each in heard) < 30, "not one for every frame"
    assert quiet_process[0] == 8 // 3
    assert names_in(tmp_path / "out") == ["a.csv", "a.meta.json", "b.csv", "b.meta.json"]


def test_an_error_that_cannot_be_sent_is_told_in_words(
    tmp_path: Path, quiet_process: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise UnportableError(3, "out of order")

    detector = ScriptedDetector()
    monkeypatch.setattr(detector, "predict", fail)
    job = job_of(write_video(tmp_path / "a.mp4", frames=2, width=64, height=48))
    (failed,) = [
        each
        for each in messages_of([job], lambda device, told: new_work(detector))
        if isinstance(each, VideoFailed)
    ]
    assert type(failed.error) is TubedetError
    assert str(failed.error) == "unexpected UnportableError: out of order"


def test_what_is_wrong_for_all_says_where_it_comes_from(
    tmp_path: Path, quiet_process: list[int]
) -> None:
    def load(device: str, told: object) -> NewWork:
        raise WeightsError("damaged")

    (wrong,) = messages_of([job_of(tmp_path / "a.mp4")], load)
    assert isinstance(wrong.error, WeightsError)
    assert str(wrong.error) == "damaged"
    assert "in load" in wrong.error.__notes__[0]
