"""What every output format does. A new one: a file with a `Writer`, and a line in `formats`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tubedet.detections import FrameDetections
from tubedet.errors import OutputError
from tubedet.notes import Note
from tubedet.video.frame import VideoFrame
from tubedet.writers.target import OutputTarget

FlowArray: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FrameResult:
    """A frame and what a run has made of it.

    Attributes:
        frame: its `rgb` is the picture to be shown, if any writer of the run needs one.
        found: its detections; None where none were looked for, as between the frames of a stride.
        flow_uv: (2, H, W) float32, in px to the next frame; None likewise.
        undrawn: `frame` as it was before its picture was drawn on; None where it was not.
    """

    frame: VideoFrame
    found: FrameDetections | None = None
    flow_uv: FlowArray | None = None
    undrawn: VideoFrame | None = None


class Writer(ABC):
    """Takes the results of one video, frame by frame, and leaves one file, or a folder of files.

    It writes under a hidden name; `OutputTransaction` closes it and gives it its final one. Every
    method may raise OutputError.

    Attributes:
        suffix: of the finished file's name; "" for a folder.
        needs_picture: it shows `frame.rgb`, which is otherwise left as it is.
        outlives_failure: it can be closed with its whole frames after a failure, and closed again.
        is_editable: of rows that people correct: the meta has a hash of its files.
        notes: for people; complete when the writer is closed.
        path: the hidden file or folder.
        offset_s: what turns a row's `time_s` into this output's own time; None if it has none.
    """

    suffix: ClassVar[str]
    needs_picture: bool = False
    outlives_failure: ClassVar[bool] = False
    is_editable: ClassVar[bool] = False
    offset_s: Fraction | None = None

    def __init__(self, target: OutputTarget) -> None:
        """Make the hidden file or folder, so that an unwritable place is found at once."""
        self.target = target
        self.notes: list[Note] = []
        self.path = target.hidden_path(self.hidden_suffixes()[0])

    @abstractmethod
    def write(self, result: FrameResult) -> None:
        """Add one frame."""

    def take_back(self) -> None:  # noqa: B027
        """Forget the latest frame, which some output could not take, where that is possible."""

    @abstractmethod
    def close(self, *, complete: bool) -> None:
        """End the content; `complete` is False if the run ended before its last frame."""

    @abstractmethod
    def abandon(self) -> None:
        """Let go of everything that is open, whatever state it is in."""

    def rename(self, final: Path) -> None:
        """Give the closed output its name, in the place of an older one."""
        with output_errors(final):
            self.path.replace(final)

    def remove(self) -> None:
        """Remove the hidden file."""
        with self.errors():
            self.path.unlink(missing_ok=True)

    @classmethod
    def hidden_suffixes(cls) -> tuple[str, ...]:
        """Of the hidden file or folder, and of what else is hidden while it is written."""
        return (cls.suffix,)

    @classmethod
    def files_of(cls, final: Path) -> list[Path]:
        """The files that a finished output of this name consists of; none if it is not there."""
        try:
            return [final] if final.exists() else []
        except OSError:  # a name that cannot be: whoever opens it will say why
            return []

    def errors(self, *more: type[Exception]) -> AbstractContextManager[None]:
        """As `output_errors`, for this output."""
        return output_errors(self.target.path(self.suffix), *more)


@contextmanager
def output_errors(final: Path, *more: type[Exception]) -> Iterator[None]:
    """Report OSError, and the exceptions `more`, as an OutputError that names the output."""
    kinds: tuple[type[Exception], ...] = (OSError, *more)
    try:
        yield
    except kinds as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise OutputError(f"cannot write {final}: {reason}") from error
