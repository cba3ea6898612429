"""Where the results of one video go, and files that appear only when they are whole."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

try:
    import fcntl
except ImportError:  # Windows: two runs on one target are not noticed there
    fcntl = None  # type: ignore[assignment]

from tubedet.errors import OutputError
from tubedet.video.frame import VideoInfo

if TYPE_CHECKING:  # the meta is written to a target, which asks for it
    from tubedet.writers.run_meta import RunMeta


def _without_meta() -> NoReturn:
    raise NotImplementedError("no format of this run tells its meta")


@dataclass(frozen=True, slots=True)
class OutputTarget:
    """One video on its way to one folder.

    Attributes:
        folder: made if absent.
        stem: first part of every output's name.
        source: the video file; the MP4 takes its audio from there.
        video: the rows' `video` column.
        info: of the source.
        run_meta: asked when a writer finishes, and complete by then; for formats that tell it.
        cut_start: the run begins inside the video: the MP4 starts at 0, without earlier audio.
        cut_end: the run ends inside the video: the MP4's audio ends with its last frame.
    """

    folder: Path
    stem: str
    source: Path
    video: str
    info: VideoInfo
    run_meta: "Callable[[], RunMeta]" = _without_meta
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

    It is locked until `commit` or `discard`, so that two runs never write it at once. A killed run
    leaves only the hidden file, without its lock; the next run of the same target writes over it.
    """

    def __init__(self, target: OutputTarget, suffix: str) -> None:
        """Make the folder and the hidden file.

        Raises:
            OutputError: if that is not possible, or another run is writing the file.
        """
        self._final = target.path(suffix)
        self._partial = target.partial_path(suffix)
        self.path = target.folder.absolute() / f".{self._final.name}.part"
        with self.errors():
            target.folder.mkdir(parents=True, exist_ok=True)
            self._held: BinaryIO | None = self._hold()

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

        A whole file also takes away what an interrupted run left under the partial name.

        Raises:
            OutputError: if the name cannot be given.
        """
        final = self._partial if partial else self._final
        with self.errors():
            self.path.replace(final)
            self._release()
            if not partial:
                self._partial.unlink(missing_ok=True)
        return final

    def discard(self) -> None:
        """Remove the hidden file, unless that or `commit` was done before."""
        if self._held:
            with self.errors():
                try:
                    self.path.unlink(missing_ok=True)
                finally:
                    self._release()

    def _hold(self) -> BinaryIO:
        """The hidden file, locked and empty."""
        while True:
            file = self.path.open("ab")  # emptied only once it is ours
            try:
                lock(file.fileno(), self._final)
            except OutputError:
                file.close()
                raise
            if self._is_at_path(file):
                file.truncate(0)
                if fcntl is None:
                    file.close()  # Windows renames no open file
                return file
            file.close()  # another run has just given it its final name

    def _is_at_path(self, file: BinaryIO) -> bool:
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        return False

    def _release(self) -> None:
        if self._held:
            self._held.close()
            self._held = None


def lock(descriptor: int, final: Path) -> None:
    """Keep other runs from writing an open file or folder until it is closed, where that works.

    Raises:
        OutputError: if another run is writing it; `final` is the name that it will have.
    """
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"{final}: another run is writing it; wait for that run to end, or choose another "
            "output folder"
        ) from error
    except OSError:  # a file system without locks
        return
