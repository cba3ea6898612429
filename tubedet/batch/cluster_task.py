"""What a task of `cluster` does, in a process that keeps its network from task to task."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType

from tubedet import __version__
from tubedet.batch.manifest import network_loaded
from tubedet.batch.many_videos import Batch, process_one
from tubedet.batch.worker import Free, WorkerSetup, WrongForAll, as_sent, device_of, portable
from tubedet.errors import UsageError
from tubedet.run.events import Event, FrameDone
from tubedet.run.jobs import VideoJob
from tubedet.run.stop import StopRequest
from tubedet.writers.run_lock import BeingWrittenError

Message = Event | Free | WrongForAll

TWIN_S = 60  # until an earlier attempt, on a node that Ray has given up, ends of itself
POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSetup:
    """What every task has to know; everything can be pickled.

    Attributes:
        worker: as for workers on this machine.
        working_folder: of the driver, where relative paths begin.
        version: of tubedet at the driver.
    """

    worker: WorkerSetup
    working_folder: str
    version: str = __version__


def load_in_task(setup: TaskSetup, job: VideoJob) -> list[Message]:
    """What the first task does: load the network; `NetworkLoaded`, or `WrongForAll`."""
    try:
        batch = batch_of(setup)
        return [network_loaded(job, batch.new_work(job, None))]
    except Exception as error:
        return [WrongForAll(portable(error))]


def process_in_task(setup: TaskSetup, job: VideoJob) -> list[Message]:
    """What a task does: process a video; its events but for those of frames.

    Cancelled, it keeps what it has, as partial.
    """
    messages: list[Message] = []
    try:
        with _stopping_on_cancel() as stop:
            batch = batch_of(setup)
            for event in _once_unlocked(batch, job, stop):
                if not isinstance(event, FrameDone):
                    messages.append(as_sent(event))
    except BeingWrittenError as error:
        messages.append(Free(error))
    except Exception as error:
        messages.append(WrongForAll(portable(error)))
    return messages


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
        os.chdir(setup.working_folder)
    except OSError as error:
        raise UsageError(
            f"node {node}: expected the folder {setup.working_folder} of the driver "
            f"({error.strerror}); run the command in one that all nodes see"
        ) from error
    worker = setup.worker
    return worker.batch(worker.load(device_of(worker.device, 0), lambda _: None))


def _once_unlocked(batch: Batch, job: VideoJob, stop: StopRequest) -> Iterator[Event]:
    """As `process_one`; where the outputs are being written, that is waited for a while.

    It may be an earlier attempt at this video, on a node that Ray has lost, which still works.
    """
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

    def heed(number: int, frame: FrameType | None) -> None:
        if stop.asked and stop.interruptible:
            stop.interruptible = False
            raise KeyboardInterrupt
        stop.asked = True

    before = signal.signal(signal.SIGINT, heed)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
