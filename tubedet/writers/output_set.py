"""All outputs of one run as one: opened, written, finished and thrown away together."""

from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Generic, TypeVar

from tubedet.detections import FrameDetections
from tubedet.errors import OutputError
from tubedet.video.frame import VideoFrame
from tubedet.writers.output_target import OutputTarget
from tubedet.writers.run_meta import RunMetaWriter
from tubedet.writers.writer import Output, Writer, open_writer, writer_class

Kind = TypeVar("Kind", bound=Output)


class Outputs(Generic[Kind]):
    """Several writers that see the same frames."""

    def __init__(self) -> None:
        self.writers: list[Kind] = []
        self.outputs: list[Path] = []

    @property
    def needs_pixels(self) -> bool:
        """Whether any of them shows the annotated picture."""
        return any(writer.needs_pixels for writer in self.writers)

    @property
    def repaired_timestamps(self) -> int:
        """Frames so far whose timestamp had to be made up."""
        return max((writer.repaired_timestamps for writer in self.writers), default=0)

    @property
    def warnings(self) -> list[str]:
        """Those of all writers, one line each."""
        return [warning for writer in self.writers for warning in writer.warnings]

    def finish(self, *, partial: bool = False) -> None:
        """Name every file, in order; `outputs` says how. What an earlier call named stays.

        Raises:
            OutputError: if one cannot be completed; those after it are thrown away.
        """
        try:
            for writer in self.writers[len(self.outputs) :]:
                self.outputs.append(writer.finish_partial() if partial else writer.finish())
        except OutputError:
            with suppress(OutputError):  # the first error says what happened
                self.discard()
            raise

    def discard(self) -> None:
        """Leave nothing behind of what isn't finished.

        Raises:
            OutputError: the first of them, when all have been tried.
        """
        with ExitStack() as all_of_them:  # its last callback, the first writer's, has the last word
            for writer in self.writers[len(self.outputs) :]:
                all_of_them.callback(writer.discard)


class OutputSet(Outputs[Writer]):
    """What is written of a video's detections."""

    def open(self, formats: Iterable[str], target: OutputTarget) -> None:
        """One writer a format, and the meta's: the last, so its file says the others are whole.

        Raises:
            UsageError: if there is no such format.
            OutputError: if the folder cannot be written.
        """
        for name in dict.fromkeys(formats):
            self.writers.append(open_writer(name, target))
        self.writers.append(RunMetaWriter(target))

    def write(self, frame: VideoFrame, detections: FrameDetections) -> None:
        """Give a frame to every writer; it is annotated already if `needs_pixels`."""
        for writer in self.writers:
            writer.write(frame, detections)


def output_paths(formats: Iterable[str], folder: Path, stem: str) -> list[Path]:
    """Where an `OutputSet` of these formats ends; UsageError if there is no such format."""
    suffixes = [writer_class(name).suffix for name in dict.fromkeys(formats)]
    return [folder / f"{stem}{suffix}" for suffix in (*suffixes, RunMetaWriter.suffix)]
