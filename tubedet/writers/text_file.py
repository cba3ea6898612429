"""What the text formats share: a pending file, text put into it frame by frame, flat memory."""

from abc import ABC, abstractmethod
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar

from tubedet.detections import FrameDetections
from tubedet.errors import OutputError
from tubedet.video.frame import VideoFrame
from tubedet.writers.output_target import OutputTarget, PendingFile


class TextFile(ABC):
    """A `Writer` of a text file; a format says what begins it, what a frame adds, what ends it."""

    suffix: ClassVar[str]
    needs_pixels: ClassVar[bool] = False

    def __init__(self, target: OutputTarget) -> None:
        """Open the hidden file.

        Raises:
            OutputError: if it cannot be written.
        """
        self.warnings: list[str] = []
        self.repaired_timestamps = 0
        self.target = target
        self.pending = PendingFile(target, self.suffix)
        self.files = ExitStack()
        try:
            with self.pending.errors():
                # A file name that is not UTF-8 comes as lone surrogates: they are spelled out.
                text = self.pending.path.open(
                    "w", encoding="utf-8", errors="backslashreplace", newline=""
                )
                self.text = self.files.enter_context(text)
                self.begin()
        except OutputError:
            self.discard()
            raise

    @abstractmethod
    def begin(self) -> None:
        """Write what precedes all frames."""

    @abstractmethod
    def end(self) -> None:
        """Write what follows all frames."""

    @abstractmethod
    def add(self, detections: FrameDetections) -> None:
        """Write what a frame adds."""

    def write(self, frame: VideoFrame, detections: FrameDetections) -> None:
        """Append a frame; its pixels are not looked at."""
        with self.pending.errors():
            self.add(detections)

    def finish(self) -> Path:
        """Close the file under its final name, which is returned."""
        return self._close(partial=False)

    def finish_partial(self) -> Path:
        """Close the file of an interrupted run: whole, under its partial name."""
        return self._close(partial=True)

    def discard(self) -> None:
        """Leave nothing behind; after `finish` nothing happens."""
        with suppress(OSError):  # rows that no longer fit on the disk are not wanted either
            self.files.close()
        self.pending.discard()

    def _close(self, *, partial: bool) -> Path:
        try:
            with self.pending.errors():
                self.end()
                self.files.close()
            return self.pending.commit(partial=partial)
        except OutputError:
            self.discard()
            raise
