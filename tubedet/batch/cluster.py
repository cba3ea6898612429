"""Videos over a Ray cluster: each is a task, which Ray places, and runs again where one is lost.

The driver, where the command was given, alone tells what happens. A task sends back what became of
its video, never frames: results are written where they belong, so all nodes see the same files.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tubedet.batch.cluster_connection import Cluster, connected
from tubedet.batch.cluster_room import ATTEMPTS, Room
from tubedet.batch.cluster_task import (
    InParts,
    Message,
    TaskSetup,
    find_in_task,
    join_in_task,
    load_in_task,
    process_in_task,
)
from tubedet.batch.many_videos import VideoQueue
from tubedet.batch.worker import Free, Told, WorkerSetup, WrongForAll
from tubedet.batch.workers import ENDING_S, POLL_S, WorkerKilledError
from tubedet.errors import OutputError, UsageError
from tubedet.run.events import Event, VideoDone, VideoFailed, VideoStarted
from tubedet.run.jobs import VideoJob
from tubedet.run.part_boxes import FramePart
from tubedet.run.stop import StopRequest
from tubedet.writers.run_lock import BeingWrittenError
from tubedet.writers.transaction import clear_after_kill

# So a lost node costs minutes; finding the parts of a video takes one more reading.
PART_S = 300.0
SAID_TO_WAIT_S = 15


def process_on_ray(
    jobs: Sequence[VideoJob],
    setup: WorkerSetup,
    stop: StopRequest,
    told: Callable[[str], None],
    cluster: Cluster,
) -> Generator[Event]:
    """Process every video, and say what happens, as `process_in_workers` does.

    Args:
        jobs: from `find_videos`.
        setup: of the workers.
        stop: once it is asked for, the videos at work are closed as partial and no other begins.
        told: called with a line on what takes long.
        cluster: which one.

    Raises:
        WeightsError, UsageError: as `process_videos`; if Ray is not installed, or there is no
            cluster at that address.
    """
    with connected(cluster) as ray:
        run = _Run(Room(ray, setup.device, cluster.at_most), jobs, setup, stop, told)
        try:
            yield from run.events()
        finally:
            run.end()
        if run.wrong_for_all:
            raise run.wrong_for_all


@dataclass(eq=False, slots=True)
class _Parts:
    """A video that is done in parts: those `left` to begin, how many are not done, their tasks."""

    started: VideoStarted
    left: deque[FramePart]
    undone: int
    tasks: list[Any] = field(default_factory=list)


class _Run:
    """The tasks at work, and the events they give."""

    def __init__(
        self,
        room: Room,
        jobs: Sequence[VideoJob],
        setup: WorkerSetup,
        stop: StopRequest,
        told: Callable[[str], None],
    ) -> None:
        self.wrong_for_all: Exception | None = None
        self._room, self._ray, self._stop, self._told = room, room.ray, stop, told
        self._first, self._queue = jobs[0], VideoQueue(jobs)
        part_s = PART_S if room.places > 1 else None
        self._setup = TaskSetup(
            worker=setup,
            working_folder=None if all(map(_is_elsewhere, jobs)) else str(Path.cwd()),
            part_s=part_s,
        )
        self._at_work: dict[Any, VideoStarted | _Parts] = {}
        self._in_parts: deque[_Parts] = deque()
        self._nodes, self._told_to_stop = "", False

    def events(self) -> Generator[Event]:
        """Until all is done, or what was at work has stopped."""
        self._tell_of_nodes()
        yield from self._network()
        while True:
            self._tell_of_nodes()
            if not self._stops:
                yield from self._hand_out()
            elif not self._told_to_stop:
                self._told_to_stop = True
                self._cancel()
            if not self._at_work:
                return
            for task in self._ready(list(self._at_work)):
                yield from self._ended(task, self._at_work.pop(task))

    def end(self) -> None:
        """End all tasks; what is at work keeps what it has."""
        if self._at_work:
            self._cancel()
            tasks = list(self._at_work)
            self._ray.wait(tasks, num_returns=len(tasks), timeout=ENDING_S)

    @property
    def _stops(self) -> bool:
        return self._stop.asked or self.wrong_for_all is not None

    def _tell_of_nodes(self) -> None:
        """Say what there is, when it changes: nodes come and go."""
        if (nodes := str(self._room)) != self._nodes:
            self._nodes = nodes
            self._told(f"Ray: {nodes}")

    def _network(self) -> Iterator[Event]:
        """`NetworkLoaded`, from the first task: what is wrong with it is so for all videos."""
        task = self._begin(load_in_task, self._first)
        said_at = time.monotonic() + SAID_TO_WAIT_S
        while not self._ready([task]):
            if self._stop.asked:
                self._ray.cancel(task)
                return
            if time.monotonic() > said_at:
                said_at = float("inf")
                self._told(f"Ray: waiting for {self._room.of_a_task}, on which a network is loaded")
        try:
            messages = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            reason = _reason(error)
            self.wrong_for_all = UsageError(f"{reason}, before the network was loaded")
            return
        for message in messages:
            if isinstance(message, WrongForAll):
                self.wrong_for_all = message.error
            else:
                yield message

    def _begin(self, work: Callable[..., object], job: VideoJob, *given: object) -> Any:
        task = self._ray.remote(work).options(**self._room.options, name=f"tubedet {job.name}")
        return task.remote(self._setup, job, *given)

    def _hand_out(self) -> Iterator[Event]:
        """Tasks, as many as are to be at work or to wait at Ray's; what is begun comes first."""
        while len(self._at_work) < self._room.tasks:
            if self._in_parts:
                video = self._in_parts[0]
                part = video.left.popleft()
                video.tasks.append(self._begin(find_in_task, video.started.job, part))
                self._at_work[video.tasks[-1]] = video
                if not video.left:
                    self._in_parts.popleft()
            elif self._queue:
                started = self._queue.next()
                self._at_work[self._begin(process_in_task, started.job)] = started
                yield started
            else:
                return

    def _cancel(self) -> None:
        """Interrupt what is at work, which keeps what it has; what waits does not begin."""
        for task in self._at_work:
            self._ray.cancel(task)

    def _ready(self, tasks: list[Any]) -> list[Any]:
        """The tasks that have ended, after a moment."""
        self._stop.interruptible = self._told_to_stop
        try:
            count = len(tasks)
            return list(
                self._ray.wait(tasks, num_returns=count, timeout=POLL_S, fetch_local=False)[0]
            )
        except KeyboardInterrupt:  # a second signal
            self._cancel()
            return []
        finally:
            self._stop.interruptible = False

    def _ended(self, task: Any, at: "VideoStarted | _Parts") -> Iterator[Event]:
        """What it means that a task has ended."""
        if isinstance(at, VideoStarted):
            yield from self._answered(task, at)
            return
        at.undone -= 1
        if not (at.undone or self._stops):
            join = self._begin(join_in_task, at.started.job, *at.tasks)
            self._at_work[join] = at.started

    def _answered(self, task: Any, started: VideoStarted) -> Iterator[Event]:
        job = started.job
        try:
            messages = self._ray.get(task)
        except self._ray.exceptions.TaskCancelledError:
            self._clear_after(job)
        except self._ray.exceptions.RaySystemError as error:
            self.wrong_for_all = self.wrong_for_all or UsageError(
                f"a node could not begin a task ({_reason(error)}); install the same tubedet on all"
            )
        except self._ray.exceptions.RayError as error:
            self._clear_after(job)
            yield VideoFailed(job, WorkerKilledError(f"{job.name}: {_reason(error)}"))
        else:
            for message in messages:
                yield from self._heard(message, started)

    def _heard(self, message: Message, started: VideoStarted) -> Iterator[Event]:
        match message:
            case WrongForAll(error=error):
                self.wrong_for_all = self.wrong_for_all or error
            case Free(being_written=BeingWrittenError() as error):
                yield from self._queue.put_off(started, error, self._setup.worker.existing)
            case Free():
                pass
            case Told(text=text):
                self._told(text)
            case InParts(parts=parts):
                self._in_parts.append(_Parts(started, deque(parts), len(parts)))
            case VideoDone(job=VideoJob(remote=None), outputs=(*_, meta)) if not meta.exists():
                self.wrong_for_all = self.wrong_for_all or UsageError(
                    f"{meta}: was written by another node, but is not to be seen here; choose an "
                    "-o that all nodes share"
                )
            case _:
                yield message

    def _clear_after(self, job: VideoJob) -> None:
        with suppress(OutputError):  # the next run will try again, and say why not
            clear_after_kill(self._setup.worker.kind, job.folder, job.stem)


def _is_elsewhere(job: VideoJob) -> bool:
    """Whether neither the video nor its results are among the files of the nodes."""
    return job.remote is not None and bool(job.remote.source and job.remote.folder)


def _reason(error: Exception) -> str:
    """Why Ray has given a task up, in a line."""
    kinds = {
        "OutOfMemoryError": "Ray ended its worker for want of memory",
        "NodeDiedError": "its node was lost",
        "WorkerCrashedError": "its worker's process was lost",
    }
    if said := kinds.get(type(error).__name__):
        return f"{said}, {ATTEMPTS} times"
    lines = str(getattr(error, "cause", None) or error).strip().splitlines() or [""]
    return f"Ray could not do it: {lines[-1]}"
