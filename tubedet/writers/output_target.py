"""Where the results of one video go, and files that appear only when they are whole."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tubedet.errors import OutputError
from tubedet.video.frame import VideoInfo

if TYPE_CHECKING:  # the meta is written to a target, which asks for it
    from tubedet.writers.run_meta import RunMeta


@dataclass(frozen=True, slots=True)
class OutputTarget:
    """One video on its way to one folder.

    Attributes:
        folder: made if absent.
        stem: first part of every output's name.
        source: the video file; the MP4 takes its audio from there.
        video: the rows' `video` column.
        info: of the source.
        run_meta: asked when a writer finishes, and complete by then.
        cut_start: the run begins inside the video: the MP4 starts at 0, without earlier audio.
        cut_end: the run ends inside the video: the MP4's audio ends with its last frame.
    """

    folder: Path
    stem: str
    source: Path
    video: str
    info: VideoInfo
    run_meta: "Callable[[], RunMeta]"
    cut_start: bool = False
    cut_end: bool = False

    def path(self, suffix: str) -> Path:
        """The finished file with this suffix, such as ".csv"."""
        return self.folder / f"{self.stem}{suffix}"

    def partial_path(self, suffix: str) -> Path:
        """The same for a run that was interrupted: STEM.partial.csv, STEM.partial.mp4."""
        return self.folder / f"{self.stem}.partial{suffix.removeprefix('.tubedet')}"


class PendingFile:
    """A hidden file beside its final name, which it gets in one step when it is whole.

    A killed run leaves only the hidden file; the next run of the same target writes over it.
    """

    def __init__(self, target: OutputTarget, suffix: str) -> None:
        """Make the folder and the hidden file.

        Raises:
            OutputError: if that is not possible.
        """
        self._final = target.path(suffix)
        self._partial = target.partial_path(suffix)
        self.path = target.folder.absolute() / f".{self._final.name}.part"
        with self.errors():
            target.folder.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(b"")

    @contextmanager
    def errors(self, *more: type[Exception]) -> Iterator[None]:
        """Report OSError, and the exceptions `more`, as an OutputError that names the file."""
        kinds: tuple[type[Exception], ...] = (OSError, *more)
        try:
            yield
        except kinds as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(f"cannot write {self._final}: {reason}") from error

    def commit(self, *, partial: bool) -> Path:
        """Give the closed file its final name, over an older file of that name.

        Raises:
            OutputError: if the name cannot be given.
        """
        final = self._partial if partial else self._final
        with self.errors():
            self.path.replace(final)
        return final

    def discard(self) -> None:
        """Remove the hidden file, if it is still there."""
        with self.errors():
            self.path.unlink(missing_ok=True)
