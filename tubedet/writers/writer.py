"""What every output format does, and which formats there are. A new one: a file and a line here."""

from pathlib import Path
from typing import ClassVar, Protocol

from tubedet.detections import FrameDetections
from tubedet.errors import UsageError
from tubedet.video.frame import VideoFrame
from tubedet.writers.csv import CsvWriter
from tubedet.writers.json import JsonWriter
from tubedet.writers.jsonl import JsonlWriter
from tubedet.writers.mp4 import Mp4Writer
from tubedet.writers.output_target import OutputTarget
from tubedet.writers.segments import SegmentsWriter


class Output(Protocol):
    """What becomes one file, or one folder of them, or nothing.

    Nothing stands under a final name before `finish` or `finish_partial`; whoever meets an error
    on the way calls `discard`. Every method may raise OutputError.

    Attributes:
        needs_pixels: it shows the picture that was made of every frame; otherwise it ignores
            `frame.rgb`.
        warnings: one line each, for the user; complete after `finish`.
    """

    needs_pixels: ClassVar[bool]
    warnings: list[str]

    @property
    def repaired_timestamps(self) -> int:
        """Frames so far whose timestamp had to be made up."""
        ...

    def finish(self) -> Path:
        """Complete the file and give it its final name, over an older file of that name."""
        ...

    def finish_partial(self) -> Path:
        """Complete the file of an interrupted run, as STEM.partial.<extension>."""
        ...

    def discard(self) -> None:
        """Remove what was written; harmless when finished or discarded already."""


class Writer(Output, Protocol):
    """Takes the detections of one video, frame by frame, and leaves one file, or none.

    Attributes:
        suffix: of the finished file's name.
    """

    suffix: ClassVar[str]

    def write(self, frame: VideoFrame, detections: FrameDetections) -> None:
        """Add one frame, annotated if `needs_pixels`; else only those with detections matter."""


class WriterFactory(Protocol):
    """A class of writers: called with the target, and known by its suffix."""

    suffix: str

    def __call__(self, target: OutputTarget, /) -> Writer:
        """Open the hidden temporary file, so that an unwritable folder is found at once."""
        ...


WRITERS: dict[str, WriterFactory] = {
    "mp4": Mp4Writer,
    "csv": CsvWriter,
    "json": JsonWriter,
    "jsonl": JsonlWriter,
    "segments": SegmentsWriter,
}


def open_writer(format: str, target: OutputTarget) -> Writer:
    """A writer of this format.

    Raises:
        UsageError: if there is no such format.
        OutputError: if the folder cannot be made or written.
    """
    return writer_class(format)(target)


def writer_class(name: str) -> WriterFactory:
    """The writers of a format; UsageError if there is none of that name."""
    if name not in WRITERS:
        raise UsageError(f"unknown format '{name}': choose from {', '.join(WRITERS)}")
    return WRITERS[name]
