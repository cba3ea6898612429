"""How a command runs over videos: stdin as one of them, the bar, and the exit code."""

import shutil
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import typer

from tubedet.cli.console import RunView, complain
from tubedet.cli.signals import stopping_on_signals
from tubedet.errors import EXIT_BATCH_FAILED, OutputError, UsageError, VideoError

if TYPE_CHECKING:
    from tubedet.batch.find_videos import FoundVideos
    from tubedet.run.events import Event
    from tubedet.run.stop import StopRequest

PIPE = "-"


def run_batch(
    events_of: "Callable[[StopRequest], Generator[Event]]",
    view: RunView,
    found: "FoundVideos",
    *,
    strict: bool,
    fail_fast: bool,
) -> None:
    """Process videos to the end, or to where a signal asks to stop.

    Args:
        events_of: processes the videos, until it is asked to stop.
        view: shows what happens.
        found: the videos, and what was left out of folders.
        strict: loss of any kind is a failure.
        fail_fast: the first failure ends the run.

    Raises:
        KeyboardInterrupt: if a signal stopped the run, when its files are closed.
        TubedetError: what went wrong with the only video.
        typer.Exit: if some of several videos failed.
    """
    unreadable = sum(note.loss for note in found.left_out)
    only_one = len(found.jobs) == 1 and not unreadable
    stopped_by_failure = False
    with stopping_on_signals() as stop:
        view.note_left_out(found.left_out)
        with view, closing(events_of(stop)) as events:
            for event in events:
                view.show(event)
                if fail_fast and not stop.asked and (view.failures or (strict and view.lossy)):
                    stop.asked = stopped_by_failure = True
        view.summarise()
    if stop.asked and not stopped_by_failure:
        raise KeyboardInterrupt
    failed = view.failures
    if only_one and failed:
        raise failed[0]
    if only_one and strict and view.lossy:
        raise VideoError(f"{found.jobs[0].name}: something was lost, which --strict does not allow")
    if failed or unreadable or (strict and view.lossy):
        said = {
            f"{len(failed)} of {len(found.jobs)} videos failed": failed,
            f"{view.lossy} lost something, which --strict does not allow": strict and view.lossy,
            "files or folders could not be read": unreadable,
            "the others were left, as --fail-fast asks": stopped_by_failure,
        }
        complain("; ".join(words for words, count in said.items() if count))
        raise typer.Exit(EXIT_BATCH_FAILED)


def refuse_empty_names(names: Sequence[str]) -> None:
    """Raise UsageError: `Path("")` is the working folder, and an unset $VAR is ""."""
    if "" in names:
        raise UsageError("an empty name was given: name a file or folder, or . for this folder")


@contextmanager
def stdin_as_file(videos: Sequence[str]) -> Iterator[dict[Path, str]]:
    """The inputs as paths, and what messages call them; "" for the path itself.

    What comes through stdin is kept in a file called "stdin" meanwhile: containers are not read
    front to back, so a pipe cannot be decoded as it comes. The file is gone afterwards, whatever
    ends the program but SIGKILL.

    Raises:
        VideoError: if there is no stdin.
        UsageError: if it is a terminal.
        OutputError: if there is no room for the file.
    """
    if PIPE not in videos:
        yield dict.fromkeys(map(Path, videos), "")
        return
    if sys.stdin is None or sys.stdin.closed:
        raise VideoError("-: expected a video on stdin, found it closed; pipe a file into it")
    if sys.stdin.isatty():
        raise UsageError("- reads a video from stdin, but stdin is a terminal: pipe a file into it")
    with TemporaryDirectory(prefix="tubedet-") as folder:
        spooled = Path(folder, "stdin")
        try:
            with spooled.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        except OSError as error:
            raise OutputError(f"{spooled}: cannot keep stdin there ({error.strerror})") from error
        yield {spooled if v == PIPE else Path(v): "stdin" if v == PIPE else "" for v in videos}
