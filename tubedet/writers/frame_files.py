"""Formats that are one file a frame: STEM/000000.flo and the like.

The files are written into a hidden folder and get their place together when all are there, so that
neither half a file nor half a video stands under the final name.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOTDIR
from pathlib import Path
from shutil import rmtree
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tubedet.errors import OutputError
from tubedet.video.frame import VideoFrame
from tubedet.writers.output_target import OutputTarget, lock

FlowArray = NDArray[np.float32]


class FrameFilesWriter(ABC):
    """STEM/<number><suffix>, one file a frame; formats share the folder and leave each other alone.

    The hidden folder is locked until it is finished or discarded. A killed run leaves only that,
    without its lock; the next run of the same target writes over it.

    Attributes:
        suffix: of every file.
        digits: of its number, at least.
        first_number: of frame 0.
    """

    suffix: ClassVar[str]
    digits: ClassVar[int]
    first_number: ClassVar[int] = 0
    needs_pixels: ClassVar[bool] = False
    repaired_timestamps = 0

    def __init__(self, target: OutputTarget) -> None:
        """Make the hidden folder, empty.

        Raises:
            OutputError: if that is not possible, or another run is writing it.
        """
        self.warnings: list[str] = []
        self._final = self.output_path(target.folder, target.stem)
        self._partial = target.partial_path("")
        self._hidden = target.folder.absolute() / f".{target.stem}{self.suffix}.part"
        self._open = False
        self._held: int | None = None
        with self._errors():
            if self._final.exists() and not self._final.is_dir():
                raise NotADirectoryError(ENOTDIR, "a file of this name is in the way of a folder")
            self._hidden.mkdir(parents=True, exist_ok=True)
            self._hold()
            self._open = True
            _remove(self._hidden.iterdir())

    @staticmethod
    def output_path(folder: Path, stem: str) -> Path:
        """Where the files of a video stem will be."""
        return folder / stem

    @classmethod
    def existing(cls, folder: Path, stem: str) -> Path | None:
        """A file that is in the way of a run, if there is one."""
        return next(cls._files_in(cls.output_path(folder, stem)), None)

    @abstractmethod
    def encode(self, flow_uv: FlowArray) -> bytes:
        """The content of a file: flow (2, H, W) in px."""

    def write(self, frame: VideoFrame, flow_uv: FlowArray) -> None:
        """Add the file of one frame: its flow (2, H, W) in px."""
        name = f"{frame.frame + self.first_number:0{self.digits}d}{self.suffix}"
        begun = self._hidden / "begun"
        with self._errors():
            begun.write_bytes(self.encode(flow_uv))
            begun.replace(self._hidden / name)

    def finish(self) -> Path:
        """Put all files where they belong, in the place of an older run's; the folder's name."""
        self._move_to(self._final)
        with self._errors():
            _remove(self._files_in(self._partial))
            with suppress(OSError):  # another format's files may be there, or nothing
                self._partial.rmdir()
        return self._final

    def finish_partial(self) -> Path:
        """Put the files of an interrupted run into STEM.partial."""
        self._move_to(self._partial)
        return self._partial

    def discard(self) -> None:
        """Leave nothing behind; after `finish` nothing happens."""
        if self._open:
            with self._errors():
                try:
                    rmtree(self._hidden, ignore_errors=not self._hidden.exists())
                finally:
                    self._release()

    def _move_to(self, folder: Path) -> None:
        try:
            with self._errors():
                (self._hidden / "begun").unlink(missing_ok=True)
                if not folder.exists():
                    self._hidden.replace(folder)  # all in one step
                else:
                    self._move_into(folder)
                self._release()
        except OutputError:
            self.discard()
            raise

    def _move_into(self, folder: Path) -> None:
        """Replace an older run's files one by one; those that have no successor go last."""
        new = sorted(self._files_in(self._hidden))
        for path in new:
            path.replace(folder / path.name)
        names = {path.name for path in new}
        _remove(path for path in self._files_in(folder) if path.name not in names)
        self._hidden.rmdir()

    @classmethod
    def _files_in(cls, folder: Path) -> Iterator[Path]:
        """The files of this format; none where there is no folder."""
        try:
            entries = list(folder.iterdir())
        except OSError:
            return
        for path in entries:
            number = path.name.removesuffix(cls.suffix)
            if path.suffix == cls.suffix and number.isdecimal() and len(number) >= cls.digits:
                yield path

    def _hold(self) -> None:
        if os.name == "nt":  # Windows opens no folder
            return
        self._held = os.open(self._hidden, os.O_RDONLY)
        try:
            lock(self._held, self._final)
        except OutputError:
            self._release()
            raise

    def _release(self) -> None:
        self._open = False
        if self._held is not None:
            os.close(self._held)
            self._held = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Report OSError as an OutputError that names the folder."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(f"cannot write {self._final}: {reason}") from error


def _remove(files: Iterator[Path]) -> None:
    for path in files:
        path.unlink()
