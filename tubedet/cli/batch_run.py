"""How a command runs over videos: stdin as one of them, signals, the bar, and the exit code."""

import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import TYPE_CHECKING

import typer

from tubedet.cli.console import RunView, complain
from tubedet.errors import EXIT_BATCH_FAILED, OutputError, TubedetError, UsageError

if TYPE_CHECKING:
    from tubedet.batch.many_videos import Event

PIPE = "-"


def run_batch(
    start: Callable[[Callable[[], bool]], Generator["Event"]],
    view: RunView,
    *,
    videos: int,
    spooled: Path | None,
) -> None:
    """Process videos to the end, or to where a signal asks to stop.

    Args:
        start: begins the run, given what it has to ask whether to stop.
        view: shows what happens.
        videos: how many they are; the error of an only one is raised.
        spooled: from `stdin_as_file`.

    Raises:
        KeyboardInterrupt: if a signal stopped the run, when its files are closed.
        typer.Exit: if some of several videos failed.
    """
    with _stop_on_signal() as stop:
        failed = _follow(start(stop), view, only_one=videos == 1, spooled=spooled)
        stopped = stop()
    if stopped:
        raise KeyboardInterrupt
    if failed:
        complain(f"{failed} of {videos} videos failed")
        raise typer.Exit(EXIT_BATCH_FAILED)


def refuse_empty_names(names: Sequence[str]) -> None:
    """Raise UsageError: `Path("")` is the working folder, and an unset $VAR is ""."""
    if "" in names:
        raise UsageError("an empty name was given: name a file or folder, or . for this folder")


@contextmanager
def stdin_as_file(videos: Sequence[str]) -> Iterator[tuple[list[Path], Path | None]]:
    """The inputs as paths; what comes through stdin is kept in a file of that name meanwhile.

    Containers are not read front to back, so a pipe cannot be decoded as it comes. The file is
    gone afterwards, SIGTERM or not; errors that pass call it stdin.
    """
    if PIPE not in videos:
        yield list(map(Path, videos)), None
        return
    if sys.stdin.isatty():
        raise UsageError("- reads a video from stdin, but stdin is a terminal: pipe a file into it")
    with _sigterm_as_interrupt(), TemporaryDirectory(prefix="tubedet-") as folder:
        spooled = Path(folder, "stdin")
        try:
            with spooled.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        except OSError as error:
            raise OutputError(f"{spooled}: cannot keep stdin there ({error.strerror})") from error
        try:
            yield [spooled if name == PIPE else Path(name) for name in videos], spooled
        except TubedetError as error:
            raise _calling_it_stdin(error, spooled) from error


def _calling_it_stdin(error: Exception, spooled: Path | None) -> Exception:
    """The same error without the name of the file that nobody gave."""
    if spooled is None or not isinstance(error, TubedetError):
        return error
    message = str(error).replace(str(spooled), spooled.name)
    return type(error)(message).with_traceback(error.__traceback__)


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM clean up behind itself, as Ctrl-C does."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _stop_on_signal() -> Iterator[Callable[[], bool]]:
    """Whether to stop: SIGINT and SIGTERM ask for it after the current frame, a second one now.

    So no frame is half written, and Ctrl-C is not lost in a library's C code.
    """
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _follow(
    events: Generator["Event"], view: RunView, *, only_one: bool, spooled: Path | None
) -> int:
    """Show the events to the end; how many videos failed. The only one's error is raised."""
    from tubedet.batch.many_videos import VideoFailed

    failed = 0
    with view, closing(events):
        for event in events:
            shown = event
            if isinstance(event, VideoFailed):
                if only_one:
                    raise event.error
                shown = replace(event, error=_calling_it_stdin(event.error, spooled))
                failed += 1
            view.show(shown)
    view.summarise()
    return failed
