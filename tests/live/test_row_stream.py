"""Rows onto a stream whose reader may pause, stop reading, or be gone."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import TextIO

import pytest

from tubedet.detections import Detection, FrameDetections
from tubedet.errors import OutputError
from tubedet.live.row_stream import MOST_WAITING, RowStream
from tubedet.writers.jsonl import StreamClosedError

BOX = Detection("walk", 0, 0.5, (1.0, 2.0, 3.0, 4.0))


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


def found(frame: int) -> FrameDetections:
    return FrameDetections(frame, None, frame / 10, (BOX,))


def put_for_ever(rows: RowStream) -> None:
    while True:
        rows.put("cam", found(0))
        sleep(0.001)


def test_rows_come_at_once_and_in_order(pipe: tuple[int, TextIO]) -> None:
    reading, stream = pipe
    rows = RowStream(stream)
    for frame in range(3):
        rows.put("cam", found(frame))
        assert json.loads(os.read(reading, 10_000))["frame"] == frame
    assert rows.close(monotonic() + 10) == []


def test_a_reader_that_stops_reading_holds_nothing_up_and_its_rows_are_counted(
    pipe: tuple[int, TextIO],
) -> None:
    reading, stream = pipe
    rows = RowStream(stream)
    count = MOST_WAITING + 2_000  # a pipe holds some hundreds
    for frame in range(count):
        rows.put("cam", found(frame))
    (note,) = rows.close(monotonic() + 0.2)
    assert note.loss
    lost, _, all_of_them = note.text.rpartition(": ")[2].partition(" of ")
    assert int(all_of_them) == count
    os.set_blocking(reading, False)
    came = b""
    while (count - int(lost)) > came.count(b"\n"):
        came += os.read(reading, 1_000_000)
    numbers = [json.loads(line)["frame"] for line in came.splitlines()[: count - int(lost)]]
    assert numbers == list(range(count - int(lost)))


def test_a_reader_that_is_gone_is_told_and_loses_nothing_it_wanted() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        rows = RowStream(stream)
        os.close(reading)
        with pytest.raises(StreamClosedError):
            put_for_ever(rows)
        assert rows.close(monotonic() + 10) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_the_stream_is_an_error() -> None:
    with open("/dev/full", "w") as stream:  # noqa: PTH123
        rows = RowStream(stream)
        rows.put("cam", found(0))
        with pytest.raises(OutputError, match="No space left"):
            rows.close(monotonic() + 10)
