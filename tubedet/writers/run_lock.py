"""One run at a time for the outputs of a video."""

import warnings
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tubedet.errors import OutputError
from tubedet.writers.writer import output_errors


class BeingWrittenError(OutputError):
    """Another run is writing the same outputs."""


class RunLock(AbstractContextManager["RunLock"]):
    """Held from the beginning, to the end of a `with`; its hidden file is gone when it is released.

    A killed run leaves the file, but not the lock.
    """

    def __init__(self, path: Path, final: Path) -> None:
        """Take the lock.

        Args:
            path: the hidden file.
            final: what messages name.

        Raises:
            BeingWrittenError: if another run holds it.
            OutputError: if the file cannot be made.
        """
        self._path = path
        self._lock = FileLock(path, thread_local=False)  # whoever ends a run releases it
        with warnings.catch_warnings(), output_errors(final):
            warnings.simplefilter("ignore")  # a file system without locks: filelock finds a way
            try:
                self._lock.acquire(blocking=False)
            except Timeout as error:
                raise BeingWrittenError(
                    f"{final}: another run is writing it; wait for that run to end, or choose "
                    "another output folder"
                ) from error

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let other runs begin; nothing happens the second time."""
        if self._lock.is_locked:
            # Before the lock is free: afterwards it may be another run's file.
            with suppress(OSError):  # Windows deletes no open file, filelock does it there
                self._path.unlink(missing_ok=True)
            self._lock.release()
