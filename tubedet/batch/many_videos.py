"""Many videos one after the other, and what became of each.

A video that fails doesn't stop the others. Nothing is printed: events tell what happens.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TextIO

from tubedet.batch.earlier_results import Existing, Todo, what_is_left
from tubedet.batch.remote_copy import fetched, require_source, stand_ins
from tubedet.batch.remote_files import StoppedError
from tubedet.errors import OutputError, TubedetError, UsageError, WeightsError
from tubedet.pipeline import process_video, stream_video
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.events import DiskNeeded, Event, VideoFailed, VideoSkipped, VideoStarted
from tubedet.run.jobs import VideoJob
from tubedet.run.stop import StopRequest
from tubedet.run.work import Work
from tubedet.video.reader import VideoReader
from tubedet.writers.jsonl import StreamClosedError
from tubedet.writers.run_lock import BeingWrittenError
from tubedet.writers.transaction import clear_after_kill

NewWork = Callable[[VideoJob, EarlierRows | None], Work]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Videos, and what is made of them.

    Attributes:
        jobs: from `find_videos`.
        new_work: makes the work of one video, which takes over earlier rows if there are any.
        formats: names of formats for that kind of work.
        existing: what may be done with results that are there.
        rows_to: JSON lines of all videos go to this stream, and no file is written.
        spreadsheet_safe: see `OutputTarget`.
        needs_room: a video whose outputs will not find room on the disk is not begun.
    """

    jobs: Sequence[VideoJob]
    new_work: NewWork
    formats: Sequence[str]
    existing: Existing = field(default_factory=Existing)
    rows_to: TextIO | None = None
    spreadsheet_safe: bool = False
    needs_room: bool = False

    @property
    def wrong_for_all(self) -> tuple[type[Exception], ...]:
        """Errors that are no video's own: every other would meet them, too."""
        return (WeightsError, UsageError, *([OutputError] if self.rows_to else []))

    def todo(self, job: VideoJob, *, begun: bool) -> Todo:
        """What is left to do of a video, see `what_is_left`; killed runs' leftovers are removed.

        Where its files are elsewhere this is told by their sizes, and nothing is removed.
        """
        work = self.new_work(job, None)
        if job.remote:
            with stand_ins(job, work.kind) as local:
                return self.todo(local, begun=begun)
        clear_after_kill(work.kind, job.folder, job.stem)
        return what_is_left(job, work, self.formats, self.existing, begun=begun)


class VideoQueue:
    """Which video comes next; one that another run is writing is put off to the end, once."""

    def __init__(self, jobs: Sequence[VideoJob]) -> None:
        self._left = deque(enumerate(jobs, start=1))
        self._put_off = set[int]()
        self.count = len(jobs)

    def __len__(self) -> int:
        return len(self._left)

    def next(self) -> VideoStarted:
        """The next one, taken from the queue; IndexError if there is none."""
        number, job = self._left.popleft()
        return VideoStarted(job, number, self.count)

    def put_off(
        self, started: VideoStarted, error: BeingWrittenError, existing: Existing
    ) -> Iterator[Event]:
        """What becomes of a video that another run is writing; nothing yet if it comes again."""
        job, number = started.job, started.number
        if number not in self._put_off and self._left:  # by the end that run may have ended
            self._put_off.add(number)
            self._left.append((number, job))
        elif self.count == 1 and not existing.skip:
            yield VideoFailed(job, error)
        else:
            yield VideoSkipped(job, "another run is writing it")


def refuse_existing(batch: Batch) -> None:
    """Find out that outputs are in the way before hours of work, not after.

    Raises:
        OutputError: if an output of any video is in the way, unless there may be some.
        UsageError: as `what_is_left`.
    """
    for job in batch.jobs if batch.rows_to is None else ():
        try:
            batch.todo(job, begun=False)
        except OutputError:
            if not (batch.existing.skip or batch.existing.resume):
                raise


def check_readable(job: VideoJob, video_stream: int | None = None) -> None:
    """Raise VideoError if the source is no video, or a folder without any.

    Of one that is elsewhere, if nothing is there.
    """
    if job.remote and job.remote.source:
        require_source(job)
        return
    with _called_by_its_name(job):
        VideoReader(job.source, video_stream=video_stream).close()


def process_videos(batch: Batch, stop: StopRequest) -> Generator[Event]:
    """Process every video, and say what happens.

    Args:
        batch: which, and how.
        stop: once it is asked for, the video at work is closed as partial and no other begins.

    Raises:
        WeightsError, UsageError: what is wrong with the network or the plan is wrong for all.
        OutputError: if `rows_to` cannot be written.
    """
    queue = VideoQueue(batch.jobs)
    while queue and not stop.asked:
        started = queue.next()
        yield started
        try:
            yield from process_one(batch, started.job, stop)
        except StreamClosedError:  # nobody wants more rows
            return
        except BeingWrittenError as error:
            yield from queue.put_off(started, error, batch.existing)


def process_one(batch: Batch, job: VideoJob, stop: StopRequest) -> Generator[Event]:
    """Process one video of a batch; whatever is wrong with it alone is told by an event.

    Raises:
        BeingWrittenError: if another run is writing its outputs.
        StreamClosedError: if nobody reads `rows_to` any more.
        WeightsError, UsageError, OutputError: as `process_videos`.
    """
    try:
        with _called_by_its_name(job):
            yield from _process(batch, job, stop)
    except (StreamClosedError, BeingWrittenError):
        raise
    except batch.wrong_for_all:
        raise
    except Exception as error:  # even a bug met by one video should spare the others
        yield VideoFailed(job, error)


@contextmanager
def _called_by_its_name(job: VideoJob) -> Iterator[None]:
    """Let errors name a source as people know it, such as stdin, not by a path that nobody gave."""
    try:
        yield
    except TubedetError as error:
        error.args = (str(error).replace(str(job.source), job.name), *error.args[1:])
        raise


def _process(batch: Batch, job: VideoJob, stop: StopRequest) -> Generator[Event]:
    if job.remote:
        yield from _process_elsewhere(batch, job, stop)
        return
    if batch.rows_to is not None:
        yield from stream_video(job, batch.new_work(job, None), batch.rows_to, stop=stop)
        return
    todo = batch.todo(job, begun=True)
    if not todo.formats:
        yield VideoSkipped(job, "its outputs are there")
        return
    events = process_video(
        job,
        batch.new_work(job, todo.earlier),
        todo.formats,
        overwrite=todo.overwrite,
        spreadsheet_safe=batch.spreadsheet_safe,
        notes=todo.notes,
        stop=stop,
    )
    with closing(events):
        for event in events:
            if batch.needs_room and isinstance(event, DiskNeeded) and event.needed > event.free:
                raise OutputError(
                    f"{job.folder}: expected room for the results of {job.name}, about "
                    f"{event.needed} bytes, found {event.free}; make room, or choose another -o"
                )
            yield event


def _process_elsewhere(batch: Batch, job: VideoJob, stop: StopRequest) -> Generator[Event]:
    """Process a video whose file or results are elsewhere, which is not fetched for nothing."""
    kind = None if batch.rows_to else batch.new_work(job, None).kind
    if kind and _is_done(batch, job):
        yield VideoSkipped(job, "its outputs are there")
        return
    with (
        suppress(StoppedError),
        fetched(job, kind, stop) as copy,
        closing(_process(batch, copy.job, stop)) as events,
    ):
        for event in events:
            yield copy.told(event)


def _is_done(batch: Batch, job: VideoJob) -> bool:
    try:
        return not batch.todo(job, begun=True).formats
    except TubedetError:  # met again, and told, when all is here
        return False
