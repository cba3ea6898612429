"""Many videos one after the other, and what became of each.

A video that fails doesn't stop the others. Nothing is printed: events tell what happens.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from tubedet.batch.earlier_results import Existing, Todo, what_is_left
from tubedet.errors import OutputError, TubedetError, UsageError, WeightsError
from tubedet.pipeline import process_video, stream_video
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.events import Event, VideoFailed, VideoSkipped, VideoStarted
from tubedet.run.jobs import VideoJob
from tubedet.run.stop import StopRequest
from tubedet.run.work import Work
from tubedet.video.reader import VideoReader
from tubedet.writers.jsonl import StreamClosedError
from tubedet.writers.run_lock import BeingWrittenError

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
    """

    jobs: Sequence[VideoJob]
    new_work: NewWork
    formats: Sequence[str]
    existing: Existing = field(default_factory=Existing)
    rows_to: TextIO | None = None
    spreadsheet_safe: bool = False

    def todo(self, job: VideoJob, *, begun: bool) -> Todo:
        """What is left to do of a video; see `what_is_left`."""
        work = self.new_work(job, None)
        return what_is_left(job, work, self.formats, self.existing, begun=begun)


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
    """Raise VideoError if the source is no video, or a folder without any."""
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
    wrong_for_all = (WeightsError, UsageError, *([OutputError] if batch.rows_to else []))
    left = deque(enumerate(batch.jobs, start=1))
    put_off = set[int]()
    while left and not stop.asked:
        number, job = left.popleft()
        yield VideoStarted(job, number, len(batch.jobs))
        try:
            with _called_by_its_name(job):
                yield from _process(batch, job, stop)
        except StreamClosedError:  # nobody wants more rows
            return
        except BeingWrittenError as error:
            if number not in put_off and left:  # by the end that run may have ended
                put_off.add(number)
                left.append((number, job))
            elif len(batch.jobs) == 1 and not batch.existing.skip:
                yield VideoFailed(job, error)
            else:
                yield VideoSkipped(job, "another run is writing it")
        except wrong_for_all:
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
    if batch.rows_to is not None:
        yield from stream_video(job, batch.new_work(job, None), batch.rows_to, stop=stop)
        return
    todo = batch.todo(job, begun=True)
    if not todo.formats:
        yield VideoSkipped(job, "its outputs are there")
        return
    yield from process_video(
        job,
        batch.new_work(job, todo.earlier),
        todo.formats,
        overwrite=todo.overwrite,
        spreadsheet_safe=batch.spreadsheet_safe,
        notes=todo.notes,
        stop=stop,
    )
