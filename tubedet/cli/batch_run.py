"""How a command runs over videos: stdin as one of them, the bar, and the exit code."""

import shutil
import sys
from collections.abc import Iterator, Sequence
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
    from tubedet.batch.many_videos import Batch

PIPE = "-"


def run_batch(batch: "Batch", view: RunView, found: "FoundVideos", *, strict: bool) -> None:
    """Process videos to the end, or to where a signal asks to stop.

    Args:
        batch: what is processed, and how.
        view: shows what happens.
        found: the videos, and what was left out of folders.
        strict: loss of any kind is a failure.

    Raises:
        KeyboardInterrupt: if a signal stopped the run, when its files are closed.
        TubedetError: what went wrong with the only video.
        typer.Exit: if some of several videos failed.
    """
    from tubedet.batch.many_videos import process_videos

    unreadable = sum(note.loss for note in found.left_out)
    only_one = len(batch.jobs) == 1 and not unreadable
    with stopping_on_signals() as stop:
        view.note_left_out(found.left_out)
        with view, closing(process_videos(batch, stop)) as events:
            for event in events:
                view.show(event)
        view.summarise()
    if stop.asked:
        raise KeyboardInterrupt
    failed = view.failures
    if only_one and failed:
        raise failed[0]
    if only_one and strict and view.lossy:
        raise VideoError(f"{batch.jobs[0].name}: something was lost, which --strict does not allow")
    if failed or unreadable or (strict and view.lossy):
        complain(_what_failed(len(failed), view.lossy if strict else 0, unreadable, batch))
        raise typer.Exit(EXIT_BATCH_FAILED)


def _what_failed(failed: int, lossy: int, unreadable: int, batch: "Batch") -> str:
    said = {
        f"{failed} of {len(batch.jobs)} videos failed": failed,
        f"{lossy} lost something, which --strict does not allow": lossy,
        "files or folders could not be read": unreadable,
    }
    return "; ".join(words for words, count in said.items() if count)


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
