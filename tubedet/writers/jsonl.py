"""Rows as JSON lines, one object a row: into a file, or onto a stream as they are found."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from tubedet.detections import FrameDetections
from tubedet.errors import OutputError
from tubedet.writers.text_file import TextFile
from tubedet.writers.track_rows import rows_of


class JsonlWriter(TextFile):
    """STEM.jsonl."""

    suffix = ".jsonl"

    def begin(self) -> None:
        """Nothing precedes the rows."""

    def add(self, found: FrameDetections) -> None:
        """Write one line a box."""
        self.text.writelines(json_lines(self.target.video, found))

    def end(self, *, complete: bool) -> None:
        """Nothing follows the rows."""


class StreamClosedError(OutputError):
    """Whoever read a stream of rows has enough of them, as `head` does."""


def put_on_stream(stream: TextIO, video: str, found: FrameDetections) -> None:
    """Write the rows of a frame at once.

    Raises:
        StreamClosedError: if nobody reads the stream any more.
        OutputError: if it cannot be written.
    """
    with stream_errors():
        stream.writelines(json_lines(video, found))
        stream.flush()


@contextmanager
def stream_errors() -> Iterator[None]:
    """Report OSError of an output stream, as `put_on_stream` does."""
    try:
        yield
    except BrokenPipeError as error:
        raise StreamClosedError("nobody reads the output stream any more") from error
    except OSError as error:
        raise OutputError(f"cannot write to the output stream: {error.strerror}") from error


def json_lines(video: str, found: FrameDetections) -> list[str]:
    """ASCII with escapes, so that it survives any encoding of a terminal or pipe."""
    return [json.dumps(row._asdict()) + "\n" for row in rows_of(video, found)]
