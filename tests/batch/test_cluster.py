"""What tasks do by themselves, and what Ray is asked for; `tests/cli/test_ray.py` runs some."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import job_of, names_in
from tests.synthetic_video import write_video
from tubedet.batch import cluster_task
from tubedet.batch.cluster import process_on_ray
from tubedet.batch.cluster_connection import Cluster
from tubedet.batch.cluster_room import Room
from tubedet.batch.cluster_task import (
    InParts,
    TaskSetup,
    find_in_task,
    join_in_task,
    load_in_task,
    process_in_task,
)
from tubedet.batch.earlier_results import GO_ON
from tubedet.batch.many_videos import NewWork
from tubedet.batch.worker import Free, Told, WorkerSetup, WrongForAll
from tubedet.errors import UsageError, WeightsError
from tubedet.run.detection import DetectionWork
from tubedet.run.events import Event, NetworkLoaded, VideoDone, VideoFailed, VideoSkipped
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest
from tubedet.writers.run_lock import RunLock


@dataclass(frozen=True)
class LoadOnce:
    """The same detector for every video; `times` grows with every loading."""

    detector: ScriptedDetector
    times: list[str]
    name: str = ""

    def __hash__(self) -> int:
        return id(self.times)

    def __call__(self, device: str, told: Callable[[str], None]) -> NewWork:
        self.times.append(device)
        return lambda job, earlier: DetectionWork(self.detector, RunPlan(), earlier=earlier)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> LoadOnce:
    cluster_task.batch_of.cache_clear()
    monkeypatch.chdir(Path.cwd())  # a task goes to the driver's folder, and stays there
    return LoadOnce(ScriptedDetector(), [])


def setup_of(load: Any, folder: Path, **changed: Any) -> TaskSetup:
    worker = WorkerSetup(
        load=load,
        device="cpu",
        workers=1,
        kind="boxes",
        formats=("csv",),
        existing=GO_ON,
        spreadsheet_safe=False,
    )
    return TaskSetup(worker=worker, working_folder=str(folder), **changed)


def job_in(folder: Path, name: str = "a.mp4", frames: int = 4) -> VideoJob:
    return job_of(write_video(folder / name, frames=frames, width=64, height=48))


def test_a_task_loads_its_network_once_and_sends_what_became_of_each_video(
    tmp_path: Path, load: LoadOnce
) -> None:
    setup, jobs = setup_of(load, tmp_path), [job_in(tmp_path), job_in(tmp_path, "b.mp4")]
    assert [type(each) for each in load_in_task(setup, jobs[0])] == [NetworkLoaded]
    for job in jobs:
        assert [type(each) for each in process_in_task(setup, job)] == [VideoDone]
    (bad,) = process_in_task(setup, replace(jobs[0], source=tmp_path / "absent.mp4", stem="c"))
    assert isinstance(bad, VideoFailed)
    assert load.times == ["cpu"]
    assert names_in(tmp_path / "out") == ["a.csv", "a.meta.json", "b.csv", "b.meta.json"]


def test_relative_paths_begin_where_they_do_for_the_driver(tmp_path: Path, load: LoadOnce) -> None:
    job_in(tmp_path)
    job = job_of(Path("a.mp4"), Path("out"))
    (done,) = process_in_task(setup_of(load, tmp_path), job)
    assert isinstance(done, VideoDone)
    assert done.outputs == (Path("out/a.csv"), Path("out/a.meta.json"))
    assert names_in(tmp_path / "out") == ["a.csv", "a.meta.json"]


def test_a_node_that_does_not_fit_says_so(tmp_path: Path, load: LoadOnce) -> None:
    job = job_in(tmp_path)
    (wrong,) = process_in_task(setup_of(load, tmp_path, version="0.0.1"), job)
    assert isinstance(wrong, WrongForAll)
    assert f"node {socket.gethostname()}: has tubedet" in str(wrong.error)
    (wrong,) = load_in_task(setup_of(load, tmp_path / "absent"), job)
    assert isinstance(wrong, WrongForAll)
    assert isinstance(wrong.error, UsageError)
    assert "No such file or directory" in str(wrong.error)


def test_where_no_path_is_the_drivers_its_folder_need_not_be_there(
    tmp_path: Path, load: LoadOnce
) -> None:
    setup = replace(setup_of(load, tmp_path), working_folder=None)
    assert [type(each) for each in load_in_task(setup, job_in(tmp_path))] == [NetworkLoaded]


def test_what_is_wrong_with_the_network_is_sent(tmp_path: Path, load: LoadOnce) -> None:
    def fail(device: str, told: object) -> NewWork:
        raise WeightsError("damaged")

    for work in (load_in_task, process_in_task):
        (wrong,) = work(setup_of(fail, tmp_path), job_in(tmp_path))
        assert isinstance(wrong, WrongForAll)
        assert isinstance(wrong.error, WeightsError)


def test_a_task_waits_until_a_lost_twin_lets_go_of_the_outputs(
    tmp_path: Path, load: LoadOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_in(tmp_path)
    job.folder.mkdir()
    lock = RunLock(job.folder / ".a.boxes.lock.part", job.folder / "a.meta.json")
    waited = threading.Event()

    def let_go(seconds: float) -> None:
        waited.set()
        lock.release()

    monkeypatch.setattr(time, "sleep", let_go)
    told, done = process_in_task(setup_of(load, tmp_path), job)
    assert told == Told(f"{job.name}: an attempt at it was lost, so it is done again")
    assert isinstance(done, VideoDone)
    assert waited.is_set()


def test_outputs_that_stay_locked_are_another_runs(
    tmp_path: Path, load: LoadOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_task, "TWIN_S", -1)
    job = job_in(tmp_path)
    job.folder.mkdir()
    with RunLock(job.folder / ".a.boxes.lock.part", job.folder / "a.meta.json"):
        (_, free) = process_in_task(setup_of(load, tmp_path), job)
    assert isinstance(free, Free)
    assert "another run is writing it" in str(free.being_written)


def test_a_second_attempt_finds_what_the_first_one_has_finished(
    tmp_path: Path, load: LoadOnce
) -> None:
    setup, job = setup_of(load, tmp_path), job_in(tmp_path)
    process_in_task(setup, job)
    (skipped,) = process_in_task(setup, job)
    assert isinstance(skipped, VideoSkipped)


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to itself")
def test_a_task_that_is_cancelled_keeps_what_it_has(
    tmp_path: Path, load: LoadOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, seen = job_in(tmp_path, frames=20), []
    predict = load.detector.predict

    def cancel(*arguments: Any) -> Any:
        seen.append(1)
        if len(seen) == 5:
            os.kill(os.getpid(), signal.SIGINT)  # as Ray does it
        return predict(*arguments)

    monkeypatch.setattr(load.detector, "predict", cancel)
    before = signal.getsignal(signal.SIGINT)
    (done,) = process_in_task(setup_of(load, tmp_path), job)
    assert signal.getsignal(signal.SIGINT) is before
    assert isinstance(done, VideoDone)
    assert done.partial
    assert 0 < done.frames < 20
    assert names_in(tmp_path / "out") == ["a.partial.csv", "a.partial.meta.json"]


class NodesOfRay:
    """What `Room` asks Ray: the nodes (CPUs, GPUs), the last of which is gone."""

    def __init__(self, *nodes: tuple[float, float]) -> None:
        self._nodes = [
            {"Alive": True, "Resources": {"CPU": cpus, "GPU": gpus, "memory": 1e9}}
            for cpus, gpus in nodes
        ]

    def nodes(self) -> list[dict[str, Any]]:
        return [*self._nodes, {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}]


@pytest.mark.parametrize(
    ("nodes", "device", "taken", "tasks"),
    [
        ([(4, 0), (5, 0)], "auto", (1, 0), 2 * (4 + 5)),
        ([(1, 0), (1, 0)], "cpu", (1, 0), 2 * 2),
        ([(4, 0), (16, 3)], "auto", (2, 1), 2 * 3),
        ([(1, 1), (1, 1)], "cuda", (1, 1), 2 * 2),
        ([(4, 0), (16, 3)], "cpu", (1, 0), 2 * (4 + 16)),
        ([(4, 0)], "cuda", (2, 1), 1),  # a cluster that grows may get one yet
    ],
)
def test_a_task_takes_a_gpu_and_two_cores_where_there_are_some_and_otherwise_a_core(
    nodes: list[tuple[float, float]], device: str, taken: tuple[int, int], tasks: int
) -> None:
    room = Room(NodesOfRay(*nodes), device, None)
    cpus, gpus = taken
    assert room.options == {"num_cpus": cpus, "num_gpus": gpus, "max_retries": 3}
    assert room.tasks == tasks
    assert Room(NodesOfRay(*nodes), device, 3).tasks == 3


def test_a_numbered_gpu_is_refused() -> None:
    with pytest.raises(UsageError, match="--device cuda:1: Ray shares the GPUs out"):
        Room(NodesOfRay((4, 2)), "cuda:1", None)


def events_at(address: str, tmp_path: Path) -> list[Event]:
    worker = setup_of(LoadOnce(ScriptedDetector(), []), tmp_path).worker
    jobs = [job_of(tmp_path / "a.mp4")]
    cluster = Cluster(address)
    return list(process_on_ray(jobs, worker, StopRequest(), lambda _: None, cluster))


@pytest.mark.parametrize("address", ["head", "ray://head:10001", "head:", ":1", "head:x"])
def test_an_address_that_is_none_is_a_usage_error(address: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    with pytest.raises(UsageError, match=f"--ray {address}: expected HOST:PORT"):
        events_at(address, tmp_path)


def test_an_address_where_nobody_listens_is_a_usage_error_at_once(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(UsageError, match="expected a Ray cluster, found none") as failure:
            events_at(address, tmp_path)
    assert "Connection refused" in str(failure.value)


def test_without_ray_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"clusters need ray: pip install 'tubedet\[cluster\]'"):
        events_at("local", tmp_path)


def test_a_long_video_is_done_in_parts_and_has_the_rows_of_the_whole(
    tmp_path: Path, load: LoadOnce
) -> None:
    path = write_video(tmp_path / "a.mp4", frames=72, width=64, height=48, options={"g": "12"})
    whole, joined = job_of(path, tmp_path / "whole"), job_of(path, tmp_path / "joined")
    process_in_task(setup_of(load, tmp_path), whole)
    setup = setup_of(load, tmp_path, part_s=1.0)
    (in_parts,) = process_in_task(setup, joined)
    assert isinstance(in_parts, InParts)
    assert len(in_parts.parts) == 3
    assert not joined.folder.exists()
    found = [find_in_task(setup, joined, part) for part in in_parts.parts]
    assert [len(each.times_s) for each in found][:2] == [24, 24]
    load.detector.batch_sizes.clear()
    (done,) = join_in_task(setup, joined, *found)
    assert isinstance(done, VideoDone)
    assert not load.detector.batch_sizes, "the network has nothing left to do"
    for name in ("a.csv", "a.meta.json"):
        mine, its = ((each.folder / name).read_text("utf-8") for each in (joined, whole))
        assert mine == its
    (skipped,) = process_in_task(setup, joined)
    assert isinstance(skipped, VideoSkipped)


def test_a_part_that_was_not_found_is_found_by_whoever_joins(
    tmp_path: Path, load: LoadOnce, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "a.mp4", frames=72, width=64, height=48, options={"g": "12"})
    setup, job = setup_of(load, tmp_path, part_s=1.0), job_of(path)
    (in_parts,) = process_in_task(setup, job)
    assert isinstance(in_parts, InParts)
    found = [find_in_task(setup, job, part) for part in in_parts.parts]
    with monkeypatch.context() as failing:
        failing.setattr(load.detector, "predict", None)
        found[1] = find_in_task(setup, job, in_parts.parts[1])
    assert not found[1].times_s
    (done,) = join_in_task(setup, job, *found)
    assert isinstance(done, VideoDone)
    assert done.found == 72


def test_short_videos_go_as_a_whole(tmp_path: Path, load: LoadOnce) -> None:
    (done,) = process_in_task(setup_of(load, tmp_path, part_s=1.0), job_in(tmp_path, frames=40))
    assert isinstance(done, VideoDone)
