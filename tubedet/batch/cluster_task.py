"""What a task of `cluster` does, in a process that keeps its network from task to task."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache

from tubedet import __version__
from tubedet.batch.manifest import network_loaded
from tubedet.batch.many_videos import Batch, process_one
from tubedet.batch.worker import Free, Told, WorkerSetup, WrongForAll, as_sent, device_of, portable
from tubedet.errors import TubedetError, UsageError
from tubedet.run.detection import DetectionWork
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.events import Event, FrameDone, VideoFailed
from tubedet.run.jobs import VideoJob
from tubedet.run.part_boxes import FramePart, PartFound
from tubedet.run.parts import split
from tubedet.run.stop import StopRequest
from tubedet.run.work import Work
from tubedet.writers.run_lock import BeingWrittenError
from tubedet.writers.transaction import lock_path
from tubedet.writers.writer import Writer

TWIN_S = 60  # until an earlier attempt, on a node that Ray has given up, ends of itself
POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSetup:
    """What every task has to know; everything can be pickled.

    Attributes:
        worker: as for workers on this machine.
        working_folder: of the driver, where relative paths begin; None where there are none.
        part_s: a video of twice as many seconds or more is done in parts of about so many; None
            where all go as a whole.
        version: of tubedet at the driver.
    """

    worker: WorkerSetup
    working_folder: str | None
    part_s: float | None = None
    version: str = __version__


@dataclass(frozen=True, slots=True)
class InParts:
    """The video is to be done in these parts, and nothing of it is done yet."""

    parts: tuple[FramePart, ...]


Message = Event | Free | InParts | Told | WrongForAll


def load_in_task(setup: TaskSetup, job: VideoJob) -> list[Message]:
    """What the first task does: load the network; `NetworkLoaded`, or `WrongForAll`."""
    try:
        batch = batch_of(setup)
        return [network_loaded(job, batch.new_work(job, None))]
    except Exception as error:
        return [WrongForAll(portable(error))]


def process_in_task(setup: TaskSetup, job: VideoJob) -> list[Message]:
    """What a task does: process a video; its events but for those of frames, or `InParts`.

    Cancelled, it keeps what it has, as partial.
    """
    return _messages(setup, job, _whole_or_in_parts)


def find_in_task(setup: TaskSetup, job: VideoJob, part: FramePart) -> PartFound:
    """What a task does: find the boxes of a part of a video.

    Where something is wrong with it nothing is found: whoever joins the parts will meet it too.
    """
    with suppress(Exception), _stopping_on_cancel() as stop:
        work = batch_of(setup).new_work(job, None)
        assert isinstance(work, DetectionWork)
        return work.find_part(job.source, part, stop)
    return PartFound.of(())


def join_in_task(setup: TaskSetup, job: VideoJob, *found: PartFound) -> list[Message]:
    """What a task does: process a video in whose parts this was found; as `process_in_task`."""

    def joined(setup: TaskSetup, job: VideoJob, stop: StopRequest) -> Iterator[Message]:
        batch = batch_of(setup)

        def new_work(job: VideoJob, earlier: EarlierRows | None) -> Work:
            work = batch.new_work(job, earlier)
            assert isinstance(work, DetectionWork)
            return work.with_parts(found)

        return _once_unlocked(replace(batch, new_work=new_work), job, stop)

    return _messages(setup, job, joined)


def _messages(
    setup: TaskSetup,
    job: VideoJob,
    process: Callable[[TaskSetup, VideoJob, StopRequest], Iterator[Message]],
) -> list[Message]:
    messages: list[Message] = []
    try:
        with _stopping_on_cancel() as stop:
            for message in process(setup, job, stop):
                if not isinstance(message, FrameDone):
                    messages.append(
                        as_sent(message) if isinstance(message, VideoFailed) else message
                    )
    except BeingWrittenError as error:
        messages.append(Free(error))
    except Exception as error:
        messages.append(WrongForAll(portable(error)))
    return messages


def _whole_or_in_parts(setup: TaskSetup, job: VideoJob, stop: StopRequest) -> Iterator[Message]:
    batch = batch_of(setup)
    if parts := _parts_of(batch, job, setup.part_s):
        yield InParts(parts)
    else:
        yield from _once_unlocked(batch, job, stop)


def _parts_of(batch: Batch, job: VideoJob, part_s: float | None) -> tuple[FramePart, ...]:
    """The parts of a video; none if it goes as a whole, or if something is wrong with it."""
    with suppress(TubedetError):
        work = batch.new_work(job, None)
        # Every part would have to be fetched with all of the video.
        is_here = not (job.remote and job.remote.source)
        if part_s and is_here and isinstance(work, DetectionWork) and work.can_be_split:
            todo = batch.todo(job, begun=True)
            if todo.formats:
                work = batch.new_work(job, todo.earlier)
                assert isinstance(work, DetectionWork)
                return tuple(split(job.source, work, part_s=part_s))
    return ()


@lru_cache(maxsize=1)
def batch_of(setup: TaskSetup) -> Batch:
    """The batch of this process, with its network; made once.

    Raises:
        UsageError: if the node has another tubedet, or not the driver's folder.
        TubedetError: from `load`.
    """
    node = socket.gethostname()
    if setup.version != __version__:
        raise UsageError(
            f"node {node}: has tubedet {__version__}, not {setup.version}; install the same on all "
            "nodes"
        )
    try:
        os.chdir(setup.working_folder or ".")
    except OSError as error:
        raise UsageError(
            f"node {node}: expected the folder {setup.working_folder} of the driver "
            f"({error.strerror}); run the command in one that all nodes see"
        ) from error
    worker = setup.worker
    return worker.batch(worker.load(device_of(worker.device, 0), lambda _: None))


def _once_unlocked(batch: Batch, job: VideoJob, stop: StopRequest) -> Iterator[Message]:
    """As `process_one`; where the outputs are being written, that is waited for a while.

    It may be an earlier attempt at this video, on a node that Ray has lost, which still works.
    """
    kind = batch.new_work(job, None).kind
    if Writer.files_of(lock_path(job.folder, job.stem, kind)):
        yield Told(f"{job.name}: an attempt at it was lost, so it is done again")
    until = time.monotonic() + TWIN_S
    while not stop.asked:
        try:
            yield from process_one(batch, job, stop)
            return
        except BeingWrittenError:
            if time.monotonic() > until:
                raise
            time.sleep(POLL_S)


@contextmanager
def _stopping_on_cancel() -> Iterator[StopRequest]:
    """A request that `ray.cancel` sets, which interrupts the task as Ctrl-C would.

    The second time it ends a frame that takes long.
    """
    stop = StopRequest()
    before = signal.signal(signal.SIGINT, lambda *_: stop.ask())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
