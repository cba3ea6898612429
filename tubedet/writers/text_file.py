"""What the text formats share: lines that reach the disk frame by frame, flat memory."""

from abc import abstractmethod
from io import StringIO
from typing import ClassVar

from tubedet.detections import FrameDetections
from tubedet.video.frame import VideoFrame
from tubedet.writers.target import OutputTarget
from tubedet.writers.writer import FrameResult, Writer


class TextFile(Writer):
    """A text file in UTF-8; a format says what begins it, what a frame adds, what ends it.

    It can be closed again with other last words, and after a failure.

    A frame is on the disk as a whole or not at all: where the disk is full, what was written of the
    latest one is cut off again.

    Attributes:
        text: takes what `begin`, `add` and `end` write.
    """

    outlives_failure: ClassVar[bool] = True
    is_editable: ClassVar[bool] = True

    def __init__(self, target: OutputTarget) -> None:
        """Open the hidden file and begin it."""
        super().__init__(target)
        self.text = StringIO(newline="")
        self._whole = self._before = 0  # bytes of whole frames, and of all but the latest
        with self.errors():
            self.path.unlink(missing_ok=True)  # a link would be written through
            self._file = self.path.open("xb", buffering=0)
        try:
            self.begin()
            self._whole = self._flush()
        except BaseException:
            self.abandon()
            self.remove()
            raise

    @abstractmethod
    def begin(self) -> None:
        """Write what precedes all frames."""

    @abstractmethod
    def add(self, found: FrameDetections) -> None:
        """Write what a frame adds."""

    def pass_over(self, frame: VideoFrame) -> None:
        """Write what a frame adds that was not looked at: nothing, in most formats."""

    @abstractmethod
    def end(self, *, complete: bool) -> None:
        """Write what follows all frames; `complete` as in `close`."""

    def write(self, result: FrameResult) -> None:
        """Append what a frame adds."""
        self._before = self._whole
        if result.found is not None:
            self.add(result.found)
        else:
            self.pass_over(result.frame)
        self._whole += self._flush()

    def take_back(self) -> None:
        """End the text before the latest frame."""
        self._whole = self._before

    def close(self, *, complete: bool) -> None:
        """End the text behind the latest whole frame."""
        with self.errors():
            if self._file.closed:
                self._file = self.path.open("r+b", buffering=0)
            self._file.truncate(self._whole)
            self._file.seek(self._whole)
        self.text = StringIO(newline="")
        self.end(complete=complete)
        self._flush()
        with self.errors():
            self._file.close()

    def abandon(self) -> None:
        """Close the file."""
        self._file.close()

    def _flush(self) -> int:
        """Bring the text to the disk, and return its length in bytes."""
        # A file name that is not UTF-8 comes as lone surrogates: they are spelled out.
        text = self.text.getvalue().encode("utf-8", "backslashreplace")
        self.text = StringIO(newline="")
        with self.errors():
            rest = memoryview(text)
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        return len(text)
