"""What people see; nothing else prints.

Results go to stdout, complaints to stderr. Names are shown as they are, never read as markup, and
a complaint is one line however narrow the terminal is.
"""

import os
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from rich import box
from rich import console as rich_console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    track,
)
from rich.table import Column, Table
from rich.text import Text

from tubedet.errors import OutputError, TubedetError

NAMES_SHOWN = 5  # of absent clips

Item = TypeVar("Item")

if TYPE_CHECKING:
    from tubedet.batch.many_videos import Event
    from tubedet.video_run import VideoDone, VideoJob


class Console(rich_console.Console):
    """A stream that may be closed before everything is said, as by `| head`: that is no failure."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich does.

        Raises:
            OutputError: if stdout cannot be written, as on a full disk.
        """
        try:
            super().print(*objects, **options)
        except OSError as error:
            self.on_broken_pipe()
            if not self.stderr:  # otherwise nobody could be told
                raise OutputError(f"cannot write to stdout: {error.strerror}") from error

    def on_broken_pipe(self) -> None:
        """Say the rest to nobody, what Python still holds back included, and go on."""
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, self.file.fileno())
        os.close(nobody)


def say(message: str) -> None:
    """One line of result."""
    _print_line(Console(), message)


def complain(message: str) -> None:
    """One line on stderr, after the program's name."""
    _print_line(Console(stderr=True), f"tubedet: {' '.join(message.split())}", style="red")


def show_traceback(error: BaseException) -> None:
    """Where an error comes from, on stderr."""
    for line in traceback.format_exception(error):
        _print_line(Console(stderr=True), line.rstrip())


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of plain text on stdout."""
    # Folded, since half a hash or a path cut short is of no use.
    table = Table(*(Column(name, overflow="fold") for name in headings), box=box.SIMPLE)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def with_bar(work: Iterable[Item], words: str, total: int | None = None) -> Iterator[Item]:
    """What the work yields, with a bar on stderr meanwhile that advances with each."""
    return iter(track(work, words, total, console=Console(stderr=True), transient=True))


class _BarView:
    """A bar that stands while the block of a `with` runs."""

    _bar: Progress

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


class RunView(_BarView):
    """A bar while videos are processed, and a table of what became of them.

    Args:
        quiet: show neither.
        on_stderr: keep stdout free for rows.
        debug: show where unexpected errors come from.
        finds_boxes: say of how many frames.
    """

    def __init__(
        self, *, quiet: bool, on_stderr: bool, debug: bool, finds_boxes: bool = True
    ) -> None:
        self._console = Console(stderr=on_stderr, quiet=quiet)
        self._debug = debug
        self._notes: list[str] = []
        self._outputs: list[Path] = []
        found = ("with a box",) if finds_boxes else ()
        names = ("video", "frames", *found, "frames/s", "result")
        video, *numbers, result = (Column(name, overflow="fold") for name in names)
        for column in numbers:
            column.justify = "right"
        result.min_width = len("skipped")  # so that long names of videos give way to it
        self._blanks = [""] * len(numbers)
        self._table = Table(video, *numbers, result, box=box.SIMPLE)
        self._bar = _bar(self._console, _FramesPerSecond())
        self._task = TaskID(0)

    def show(self, event: "Event") -> None:
        """Move the bar, or note what became of a video."""
        from tubedet.batch.many_videos import VideoFailed, VideoSkipped, VideoStarted
        from tubedet.video_run import FrameDone, VideoDone

        match event:
            case FrameDone(done=done, total=total):
                # The container's frame count is a promise that the bar should not be tied to.
                total = None if total is None else max(done, total)
                self._bar.update(self._task, completed=done, total=total)
            case VideoStarted(job=job, number=number, of=of):
                place = f"{number}/{of} " if of > 1 else ""
                self._task = self._bar.add_task(place + job.video, total=None)
            case VideoSkipped(job=job):
                self._close(job, *self._blanks, Text("skipped: its outputs are there"))
            case VideoFailed(job=job, error=error):
                if self._debug:
                    show_traceback(error)
                if self._console.quiet:
                    complain(self._explain(error))
                self._close(job, *self._blanks, Text("failed", style="red"))
                self._notes.append(self._explain(error))
            case VideoDone(job=job, outputs=outputs, notes=notes):
                self._close(job, *_numbers_of(event), Text(_result_of(event)))
                self._outputs += [path for path in outputs if path.exists()]  # not a stream
                self._notes += [f"{job.video}: {note}" for note in notes]

    def summarise(self) -> None:
        """Show the table, what was wrong with a video, and where the results are."""
        self._console.print(self._table)
        for note in self._notes:
            _print_line(self._console, note, style="yellow")
        folders = {str(path.parent) for path in self._outputs}
        if self._table.row_count == 1:
            for path in self._outputs:
                _print_line(self._console, str(path))
        elif folders:
            _print_line(self._console, f"Results are in {os.path.commonpath(folders)}")

    def _explain(self, error: Exception) -> str:
        return explain(error, offer_debug=not self._debug)

    def _close(self, job: "VideoJob", *cells: str | Text) -> None:
        self._bar.remove_task(self._task)
        self._table.add_row(Text(job.video), *cells)


class TrainingView(_BarView):
    """A bar with a few words beside it, and lines that stay above it, all on stderr.

    Where stderr is no terminal the lines are all there is.
    """

    def __init__(self, steps: int, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = _bar(self._console)
        self._task = self._bar.add_task("", total=steps)

    def advance(self, done: int | None, words: str) -> None:
        """Change the words, and move the bar to `done` steps unless that is None."""
        self._bar.update(self._task, completed=done, description=words)

    def note(self, line: str) -> None:
        """A line that stays."""
        _print_line(self._console, line)


def report_absent(videos: Sequence[str]) -> None:
    """Say how many clips of a data set's lists are not there, and name some."""
    if videos:
        shown = ", ".join(videos[:NAMES_SHOWN])
        more = f" and {len(videos) - NAMES_SHOWN} more" if len(videos) > NAMES_SHOWN else ""
        complain(f"listed but absent, so left out ({len(videos)}): {shown}{more}")


def explain(error: Exception, *, offer_debug: bool) -> str:
    """An error in one line; what we did not foresee is called by its type."""
    if isinstance(error, TubedetError):
        return str(error)
    offer = "; --debug shows where it comes from" if offer_debug else ""
    return f"unexpected {type(error).__name__}: {error}{offer}"


def _bar(console: Console, *speed: ProgressColumn) -> Progress:
    """A bar that goes when it is full, and is not there where it could not move."""
    name_column = Column(ratio=1, no_wrap=True, overflow="ellipsis")  # gives way to figures
    return Progress(
        TextColumn("{task.description}", markup=False, table_column=name_column),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        *speed,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        expand=True,
        disable=console.quiet or not console.is_terminal,
    )


class _FramesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} frames/s" if task.speed else "", style="progress.data.speed")


def _numbers_of(done: "VideoDone") -> list[str]:
    found = [] if done.found is None else [str(done.found)]
    return [str(done.frames), *found, f"{done.frames / done.seconds:.1f}"]


def _result_of(done: "VideoDone") -> str:
    return "stopped early" if done.partial else "done"


def _print_line(console: Console, line: str, style: str | None = None) -> None:
    console.print(Text(line), style=style, soft_wrap=True)
