"""Rows onto a stream, by a thread: a reader that pauses or stops reading holds nothing up."""

import os
from contextlib import suppress
from io import UnsupportedOperation
from queue import Full, Queue
from threading import Thread
from time import monotonic
from typing import TextIO

from tubedet.detections import FrameDetections
from tubedet.errors import OutputError
from tubedet.notes import Note
from tubedet.writers.jsonl import StreamClosedError, json_lines, stream_errors

MOST_WAITING = 1_000  # frames


class RowStream:
    """JSON lines onto a stream such as stdout.

    Rows of frames that find too many waiting are left out and counted.

    Args:
        stream: they go to its file descriptor, past its buffer, if it has one: a thread that waits
            there holds no lock that the program's end needs.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        try:
            self._descriptor: int | None = stream.fileno()
        except (UnsupportedOperation, AttributeError):
            self._descriptor = None
        self._queue: Queue[list[str] | None] = Queue(MOST_WAITING)
        self._handed_over = self._written = 0
        self._failure: OutputError | None = None
        self._thread = Thread(target=self._work, name="tubedet-rows", daemon=True)
        self._thread.start()

    def put(self, video: str, found: FrameDetections) -> None:
        """Hand the rows of a frame over.

        Raises:
            StreamClosedError: if nobody reads the stream any more.
            OutputError: if it cannot be written.
        """
        if self._failure:
            raise self._failure
        if lines := json_lines(video, found):
            self._handed_over += len(lines)
            with suppress(Full):
                self._queue.put_nowait(lines)

    def close(self, deadline: float) -> list[Note]:
        """Write what waits, until `deadline` (as `monotonic` counts); what is said of rows lost.

        Raises:
            OutputError: if the stream cannot be written.
        """
        with suppress(Full):
            self._queue.put(None, timeout=max(0.0, deadline - monotonic()))
        self._thread.join(max(0.0, deadline - monotonic()))
        if isinstance(self._failure, StreamClosedError):
            return []
        if self._failure:
            raise self._failure
        lost = self._handed_over - self._written
        slow = f"rows that nobody read from stdout in time: {lost} of {self._handed_over}"
        return [Note(slow, loss=True)] if lost else []

    def _work(self) -> None:
        try:
            while (lines := self._queue.get()) is not None:
                with stream_errors():
                    self._write("".join(lines))
                self._written += len(lines)
        except OutputError as error:
            self._failure = error

    def _write(self, text: str) -> None:
        if self._descriptor is None:
            self._stream.write(text)
            self._stream.flush()
            return
        rest = memoryview(text.encode())
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
