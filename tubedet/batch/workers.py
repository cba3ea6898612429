"""Several videos at a time, each in a process of its own with a network of its own.

The parent hands out videos, and alone tells what happens. A worker that is killed costs the video
it was at; another takes its place.
"""

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import wait

from tubedet.batch.many_videos import VideoQueue
from tubedet.batch.worker import Free, Stop, Told, WorkerSetup, WrongForAll, work
from tubedet.errors import OutputError, TubedetError, UsageError
from tubedet.run.events import Event, FrameDone, NetworkLoaded, VideoFailed, VideoStarted
from tubedet.run.jobs import VideoJob
from tubedet.run.stop import StopRequest
from tubedet.writers.transaction import clear_after_kill

POLL_S = 0.1  # how soon a signal is passed on
ENDING_S = 60  # for what there is to be kept; then it is killed


class WorkerKilledError(TubedetError):
    """The process that worked on a video has ended without a word."""


class _Worker:
    """A process as its parent sees it: the video it is `at`, whether its network `is_loaded`."""

    def __init__(self, setup: WorkerSetup, number: int) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share CUDA and threads
        self.number = number
        self.at: VideoStarted | None = None
        self.is_loaded = False
        self.pipe, its_end = context.Pipe()
        self._process = context.Process(
            target=work, args=(its_end, setup, number), name=f"tubedet worker {number + 1}"
        )
        with signals_kept_away():
            self._process.start()
        its_end.close()  # so that its death closes the pipe

    def send(self, message: VideoJob | Stop) -> None:
        """Say something; whether it still hears is found out on reading."""
        with suppress(OSError):
            self.pipe.send(message)

    def end(self, *, within_s: float = ENDING_S) -> None:
        """Close the pipe, and wait for its end; it is killed if that takes longer."""
        self.pipe.close()
        self._process.join(within_s)
        self._process.kill()
        self._process.join()

    def why_it_ended(self) -> str:
        """How it was killed, in words."""
        self.end()
        code = self._process.exitcode or 0
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name
        out_of_memory = ", maybe for want of memory: try fewer --workers"
        return f"its process was ended by {name}{out_of_memory if name == 'SIGKILL' else ''}"


def process_in_workers(
    jobs: Sequence[VideoJob], setup: WorkerSetup, stop: StopRequest, told: Callable[[str], None]
) -> Generator[Event]:
    """Process every video, and say what happens, as `process_videos` does.

    Args:
        jobs: from `find_videos`.
        setup: of the workers.
        stop: once it is asked for, the videos at work are closed as partial and no other begins.
        told: called with a line on what takes long.

    Raises:
        WeightsError, UsageError: as `process_videos`, when the other videos at work are closed.
    """
    pool = _Pool(jobs, setup, stop, told)
    try:
        yield from pool.events()
    finally:
        pool.end()
    if pool.wrong_for_all:
        raise pool.wrong_for_all


class _Pool:
    def __init__(
        self,
        jobs: Sequence[VideoJob],
        setup: WorkerSetup,
        stop: StopRequest,
        told: Callable[[str], None],
    ) -> None:
        self.wrong_for_all: Exception | None = None
        self._queue, self._setup, self._stop, self._told = VideoQueue(jobs), setup, stop, told
        self._workers: list[_Worker] = []
        self._network: NetworkLoaded | None = None
        self._told_to_stop = False

    def events(self) -> Generator[Event]:
        """Until all is done, or what was at work has stopped."""
        while True:
            if not self._stops:
                yield from self._hand_out()
            elif not self._told_to_stop:
                self._told_to_stop = True
                self._end_those_that_load()
                self._tell_all(Stop.SOON)
            if not any(worker.at for worker in self._workers):
                return
            for worker in self._ready():
                yield from self._heard_from(worker)

    def end(self) -> None:
        """End all workers; what is at work keeps what it has."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.end()

    @property
    def _stops(self) -> bool:
        return self._stop.asked or self.wrong_for_all is not None

    def _hand_out(self) -> Iterator[Event]:
        """A video to every worker that has none; workers are started as there is work."""
        while self._queue and (worker := self._free_worker()):
            worker.at = self._queue.next()
            worker.send(worker.at.job)
            yield worker.at

    def _free_worker(self) -> _Worker | None:
        for worker in self._workers:
            if worker.at is None:
                return worker
        numbers = set(range(self._setup.workers)) - {each.number for each in self._workers}
        if not numbers:
            return None
        self._workers.append(_Worker(self._setup, min(numbers)))
        return self._workers[-1]

    def _end_those_that_load(self) -> None:
        """They have nothing yet, and would not hear before it is loaded."""
        for worker in [each for each in self._workers if not each.is_loaded]:
            self._workers.remove(worker)
            worker.end(within_s=0)
            self._clear_after(worker)

    def _clear_after(self, killed: _Worker) -> None:
        if killed.at is not None:
            job = killed.at.job
            with suppress(OutputError):  # the next run will try again, and say why not
                clear_after_kill(self._setup.kind, job.folder, job.stem)

    def _tell_all(self, message: Stop) -> None:
        for worker in self._workers:
            worker.send(message)

    def _ready(self) -> list[_Worker]:
        """The workers that have something to say, or have ended."""
        self._stop.interruptible = self._told_to_stop
        try:
            ready = wait([worker.pipe for worker in self._workers], POLL_S)
        except KeyboardInterrupt:  # a second signal
            self._tell_all(Stop.NOW)
            return []
        finally:
            self._stop.interruptible = False
        return [worker for worker in self._workers if worker.pipe in ready]

    def _heard_from(self, worker: _Worker) -> Iterator[Event]:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            yield from self._lost(worker)
            return
        started = worker.at
        match message:
            case Told(text=text):
                self._told(text)
            case WrongForAll(error=error):
                self.wrong_for_all = self.wrong_for_all or error
                worker.at = None
                self._workers.remove(worker)
                worker.end()
            case Free(being_written=error):
                worker.at = None
                if error and started:
                    yield from self._queue.put_off(started, error, self._setup.existing)
            case NetworkLoaded():
                worker.is_loaded = True
                if self._network is None:  # it is the same for all
                    self._network = message
                    yield message
            case FrameDone() if started:
                yield replace(message, job=started.job)
            case _:
                yield message

    def _lost(self, worker: _Worker) -> Iterator[Event]:
        """What it means that a worker has ended of itself."""
        self._workers.remove(worker)
        reason = worker.why_it_ended()
        self._clear_after(worker)
        if (started := worker.at) is None:
            return
        job = started.job
        if self._network is None:
            self.wrong_for_all = self.wrong_for_all or UsageError(
                f"{job.name}: {reason}, before the network was loaded"
            )
        else:
            yield VideoFailed(job, WorkerKilledError(f"{job.name}: {reason}"))


@contextmanager
def signals_kept_away() -> Iterator[None]:
    """A process that is started inside the block is not reached by signals that ask to end.

    They go to all processes of a terminal, but what is to be done is the parent's to say; a worker
    that is still importing would die of them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it changes the mask when it is started
    ending = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
