"""Rows that tubedet wrote, read again; pandas reads a table in parts, so memory stays flat.

A whole JSON is read at once. For tables that people have edited or made see `datasets.row_files`.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from tubedet.errors import OutputError
from tubedet.writers.csv import without_mark
from tubedet.writers.track_rows import Row

ROWS_AT_ONCE = 10_000
INTEGERS = ("frame", "pts", "tube")
TEXTS = ("video", "label")
FLOATS = ("time_s", "score", "x1", "y1", "x2", "y2")


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a .csv, .jsonl or .json file, in order.

    Raises:
        OutputError: if it is not as tubedet writes it.
    """
    readers = {".csv": _csv_records, ".jsonl": _jsonl_records, ".json": _json_records}
    try:
        for record in readers[path.suffix](path):
            yield _row(record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: expected rows of tubedet's, found {error!r}") from error


def _csv_records(path: Path) -> Iterator[dict[Any, Any]]:
    # As text, since a label may be called "nan".
    with pd.read_csv(path, dtype="str", keep_default_na=False, chunksize=ROWS_AT_ONCE) as parts:
        for part in parts:
            plain = part.assign(**{name: part[name].map(without_mark) for name in TEXTS})
            yield from plain.to_dict("records")


def _jsonl_records(path: Path) -> Iterator[dict[Any, Any]]:
    with path.open(encoding="ascii") as lines:
        yield from map(json.loads, lines)


def _json_records(path: Path) -> Iterator[dict[Any, Any]]:
    yield from json.loads(path.read_bytes())["detections"]


def _row(record: dict[Any, Any]) -> Row:
    cells: dict[str, Any] = {name: _whole(record[name]) for name in INTEGERS}
    cells |= {name: float(record[name]) for name in FLOATS}
    cells |= {name: str(record[name]) for name in TEXTS}
    return Row(**cells)


def _whole(cell: Any) -> int | None:
    """A whole number; None for an empty cell."""
    return None if cell in ("", None) else int(cell)
