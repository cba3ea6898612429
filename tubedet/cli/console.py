"""What people see; nothing else prints.

Results go to stdout, complaints and notes to stderr. Names are shown as they are, never read as
markup, with control characters spelled out; a complaint is one line however narrow the terminal is.
"""

import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
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

from tubedet.errors import OutputError, TubedetError, in_one_line

NAMES_SHOWN = 5  # of absent clips

Item = TypeVar("Item")

if TYPE_CHECKING:
    from tubedet.notes import Note
    from tubedet.run.events import Event, VideoDone
    from tubedet.run.jobs import VideoJob


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


def drop_unwritten() -> None:
    """Nobody gets what stdout could not take, which has been told: the end is no second failure."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        Console().on_broken_pipe()


def say(message: str) -> None:
    """One line of result."""
    _print_line(Console(), message)


def complain(message: str) -> None:
    """One line on stderr, after the program's name."""
    _print_line(Console(stderr=True), f"tubedet: {message}", style="red")


def mention(message: str) -> None:
    """One line on stderr that is no complaint."""
    _print_line(Console(stderr=True), message)


def show_traceback(error: BaseException) -> None:
    """Where an error comes from, on stderr."""
    for lines in traceback.format_exception(error):
        for line in lines.rstrip().split("\n"):
            _print_line(Console(stderr=True), line)


def show_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of plain text on stdout."""
    # Folded, since half a hash or a path cut short is of no use.
    table = Table(*(Column(name, overflow="fold") for name in headings), box=box.SIMPLE)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def with_bar(work: Iterable[Item], words: str, total: int | None = None) -> Iterator[Item]:
    """What the work yields, with a bar on stderr meanwhile that advances with each."""
    console = Console(stderr=True)
    shown = console.is_terminal  # elsewhere a bar that ends early leaves an empty line
    return iter(track(work, words, total, console=console, transient=True, disable=not shown))


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
    """A bar while videos are processed, and what became of them: a table, or a line each in a log.

    Args:
        quiet: show neither, and no notes.
        on_stderr: keep stdout free for rows.
        debug: show where unexpected errors come from.
        finds_boxes: say of how many frames.
        is_job: the same command goes on from what was interrupted.

    Attributes:
        failures: of the videos so far.
        lossy: videos so far in whose results something is missing.
    """

    def __init__(
        self,
        *,
        quiet: bool,
        on_stderr: bool,
        debug: bool,
        finds_boxes: bool = True,
        is_job: bool = False,
    ) -> None:
        self._console = Console(stderr=on_stderr, quiet=quiet)
        self._errors = Console(stderr=True, quiet=quiet)
        self._debug, self._is_job = debug, is_job
        self.failures: list[Exception] = []
        self.lossy = 0
        self._outputs: list[str] = []
        self._kept: dict[VideoJob, VideoDone] = {}
        self._in_lines = self._of_many = False
        found = ("with a box",) if finds_boxes else ()
        self._names = ("video", "frames", *found, "frames/s", "result")
        video, *numbers, result = (Column(name, overflow="fold") for name in self._names)
        for column in numbers:
            column.justify = "right"
        result.min_width = len("skipped")  # so that long names of videos give way to it
        self._blanks = [""] * len(numbers)
        self._table = Table(video, *numbers, result, box=box.SIMPLE)
        self._bar = _bar(self._console, _FramesPerSecond())
        self._tasks: dict[VideoJob, TaskID] = {}  # one for each video at work, the latest last

    def show(self, event: "Event") -> None:
        """Move the bar, or note what became of a video."""
        from tubedet.run import events as happened

        match event:
            case happened.FrameDone(done=done, total=total, job=of_job):
                # The container's frame count is a promise that the bar should not be tied to.
                total = None if total is None else max(done, total)
                task = self._tasks[of_job or next(reversed(self._tasks))]
                self._bar.update(task, completed=done, total=total)
            case happened.VideoStarted(job=job, number=number, of=of):
                self._of_many = of > 1
                self._in_lines = self._of_many and not self._console.is_terminal
                place = f"{number}/{of} " if of > 1 else ""
                self._take_bar_away(job)  # of a video that was put off
                self._tasks[job] = self._bar.add_task(_shown(place + job.video).plain, total=None)
            case happened.DiskNeeded(needed=needed, free=free):
                what = ".flo files" if event.of_flo else "results"
                room = f"{_gigabytes(needed)} of {what}, {_gigabytes(free)} are free"
                self._note(f"{event.job.video}: about {room}")
            case happened.VideoSkipped(job=job, reason=reason):
                self._close(job, *self._blanks, f"skipped: {reason}")
            case happened.VideoFailed(job=job, error=error):
                self._fail(job, error)
            case happened.VideoDone(partial=True):
                self._kept[event.job] = event
            case happened.VideoDone():
                self._finish(event, "done, with loss" if event.has_loss else "done")

    def note_left_out(self, notes: "Sequence[Note]") -> None:
        """What was passed over in folders; what could not be read is a complaint."""
        for note in notes:
            if note.loss:
                complain(note.text)
            else:
                self._note(note.text)

    def summarise(self) -> None:
        """Show the table, and where the results are."""
        # Flow depends on no earlier frame, and stdin is another file every time.
        goes_on = any(
            kept.outputs and kept.found is not None and (kept.job.remote or not kept.job.shown_as)
            for kept in self._kept.values()
        )
        for kept in list(self._kept.values()):
            self._finish(kept, "stopped early")
        if self._table.row_count and not self._in_lines:
            self._console.print(self._table)
        if self._table.row_count == 1:
            for name in self._outputs:
                _print_line(self._console, name)
        elif self._outputs:
            _print_line(self._console, f"Results are in {_folder_of(self._outputs)}")
        if goes_on:
            command = "The same command" if self._is_job else "The same command with --resume"
            _print_line(self._console, f"{command} goes on from there")

    def _finish(self, done: "VideoDone", result: str) -> None:
        self.lossy += done.has_loss
        found = [] if done.found is None else [str(done.found)]
        speed = f"{done.frames / max(done.seconds, 1e-9):.1f}"
        self._close(done.job, str(done.frames), *found, speed, result)
        self._outputs += map(done.job.output_name, done.outputs)
        for note in done.notes:
            self._note(f"{done.job.video}: {note.text}")
        self._kept.pop(done.job, None)

    def _fail(self, job: "VideoJob", error: Exception) -> None:
        if self._debug:
            show_traceback(error)
        with self._bar_away():
            if self._of_many:
                complain(explain(error, offer_debug=not self._debug))
            if (kept := self._kept.pop(job, None)) and kept.outputs:
                names = ", ".join(map(job.output_name, kept.outputs))
                complain(f"{job.name}: {kept.frames} frames were done and are kept: {names}")
        self.failures.append(error)
        self._close(job, *self._blanks, "failed")

    def _take_bar_away(self, job: "VideoJob") -> None:
        if (task := self._tasks.pop(job, None)) is not None:
            self._bar.remove_task(task)

    def _note(self, line: str) -> None:
        with self._bar_away():
            _print_line(self._errors, line, style="yellow")

    @contextmanager
    def _bar_away(self) -> Iterator[None]:
        """Lines of another stream would be written into the bar, and over."""
        is_shown = self._bar.live.is_started
        if is_shown:
            self._bar.stop()
        try:
            yield
        finally:
            if is_shown:
                self._bar.start()

    def _close(self, job: "VideoJob", *cells: str) -> None:
        self._take_bar_away(job)
        *numbers, result = cells
        style = "red" if result == "failed" else ""
        self._table.add_row(_shown(job.video), *numbers, Text(result, style=style))
        if self._in_lines:
            named = zip(self._names[1:-1], numbers, strict=True)
            told = [f"{number} {name}" for name, number in named if number]
            _print_line(self._console, ", ".join([f"{job.video}: {result}", *told]))


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


def report_notes(notes: Iterable["Note"]) -> None:
    """Say what was odd about a data set, the first few lines of it."""
    lines = list(dict.fromkeys(note.text for note in notes))
    for line in lines[:NAMES_SHOWN]:
        complain(line)
    if len(lines) > NAMES_SHOWN:
        complain(f"and {len(lines) - NAMES_SHOWN} more such remarks: tubedet data check shows all")


def explain(error: Exception, *, offer_debug: bool) -> str:
    """An error in one line; what we did not foresee is called by its type."""
    offer_debug = offer_debug and not isinstance(error, TubedetError)
    return in_one_line(error) + ("; --debug shows where it comes from" if offer_debug else "")


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


def _print_line(console: Console, line: str, style: str | None = None) -> None:
    console.print(_shown(line), style=style, soft_wrap=True)


def _shown(text: str) -> Text:
    """A text in one line that does to a terminal what it says and nothing else."""
    return Text("".join(c if c.isprintable() else repr(c)[1:-1] for c in text))


def _folder_of(names: Sequence[str]) -> str:
    """The folder that holds all of these, at an address or here."""
    scheme, mark, _ = names[0].rpartition("://")
    folders = {str(Path(name.removeprefix(scheme + mark)).parent) for name in names}
    return scheme + mark + os.path.commonpath(folders)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
