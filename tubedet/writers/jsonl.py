"""Rows as JSON lines, one object a row: into a file, or onto a stream as they are found."""

import json
from pathlib import Path
from typing import ClassVar, TextIO

from tubedet.detections import FrameDetections
from tubedet.errors import OutputError
from tubedet.video.frame import VideoFrame
from tubedet.writers.row_file import RowFile
from tubedet.writers.track_rows import Row, rows_of


class JsonlWriter(RowFile):
    """STEM.jsonl."""

    suffix = ".jsonl"

    def begin(self) -> None:
        """Nothing precedes the rows."""

    def put(self, row: Row) -> None:
        """Write one line."""
        self.text.write(_line(row))

    def end(self) -> None:
        """Nothing follows the rows."""


class JsonlStream:
    """The same lines on a stream such as standard output, flushed frame by frame.

    It has no temporary: what was found before an interruption has been written.
    """

    suffix: ClassVar[str] = ""
    needs_pixels: ClassVar[bool] = False

    def __init__(self, video: str, stream: TextIO) -> None:
        """Write rows whose `video` is `video` onto `stream`, which stays open."""
        self.warnings: list[str] = []
        self.repaired_timestamps = 0
        self._video = video
        self._stream = stream

    def write(self, frame: VideoFrame, detections: FrameDetections) -> None:
        """Write the rows of a frame.

        Raises:
            OutputError: if the stream is closed, as by `| head`.
        """
        try:
            self._stream.writelines(_line(row) for row in rows_of(self._video, detections))
            self._stream.flush()
        except OSError as error:
            raise OutputError(f"cannot write to the output stream: {error.strerror}") from error

    def finish(self) -> Path:
        """Nothing is left to do; "-" is how the command line calls the stream."""
        return Path("-")

    def finish_partial(self) -> Path:
        """As `finish`."""
        return self.finish()

    def discard(self) -> None:
        """What is written on a stream stays written."""


def _line(row: Row) -> str:
    """ASCII with escapes, so that it survives any encoding of a terminal or pipe."""
    return json.dumps(row._asdict()) + "\n"
