"""Tables of boxes in files: what `tubedet detect` writes, corrected by hand or made by others.

Columns are video, frame, tube, label, score, x1, y1, x2, y2 of our row schema, `frame` from 0,
boxes in source pixels, half-open. `tube` may be absent or empty; other columns don't matter. CSV,
JSON and JSON lines as `tubedet detect` writes them; a JSON may also be the bare list of rows, a CSV
what a spreadsheet makes of it: semicolons or tabs with decimal commas, a byte order mark, UTF-16,
Windows' code page. Names of videos get one Unicode form.
"""

import csv
import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tubedet.datasets.annotation_files import decode_text
from tubedet.datasets.video_names import same_form
from tubedet.errors import DatasetError

BOX_COLUMNS = ["x1", "y1", "x2", "y2"]
FRAME_COLUMNS = ["video", "frame"]
NEEDED_COLUMNS = [*FRAME_COLUMNS, "label", "score", *BOX_COLUMNS]
ROW_COLUMNS = [*FRAME_COLUMNS, "tube", "label", "score", *BOX_COLUMNS]
NUMBER_COLUMNS = ["frame", "score", *BOX_COLUMNS]
ROW_SUFFIXES = (".csv", ".json", ".jsonl")
DELIMITERS = (",", ";", "\t")


def read_rows(path: Path) -> pd.DataFrame:
    """The rows of a .csv, .json or .jsonl file.

    Raises:
        DatasetError: if it can't be read, lacks a column, or holds a number that is none.
    """
    readers = {".csv": _read_csv, ".json": _read_json, ".jsonl": _read_jsonl}
    if path.suffix.lower() not in readers:
        raise DatasetError(f"{path}: expected detections in a .csv, .json or .jsonl file")
    try:
        table = readers[path.suffix.lower()](path)
    except (OSError, ValueError, TypeError, csv.Error) as error:  # pandas' and json's: ValueErrors
        raise DatasetError(f"{path}: expected rows of detections: {error}") from error
    if absent := [column for column in NEEDED_COLUMNS if column not in table.columns]:
        raise DatasetError(
            f"{path}: expected columns {', '.join(NEEDED_COLUMNS)}; {', '.join(absent)} not found"
        )
    return _typed(table.reindex(columns=ROW_COLUMNS), path)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The same rows as plain values; `tube` is a float, NaN where there is none."""
    return read_rows(path).to_dict("records")  # type: ignore[return-value]


def with_points(numbers: Sequence[str]) -> list[str]:
    """Numbers with decimal commas as Python reads them.

    Raises:
        ValueError: if some have a comma and others a point: either may part thousands.
    """
    has_comma, has_point = (any(mark in number for number in numbers) for mark in ",.")
    if has_comma and has_point:
        raise ValueError("numbers with a decimal comma beside numbers with a point")
    return [number.replace(",", ".") for number in numbers]


def _read_csv(path: Path) -> pd.DataFrame:
    text, _ = decode_text(path.read_bytes())
    if text.startswith("sep="):  # a line by which Excel tells itself the delimiter
        text = text.partition("\n")[2]
    delimiter = _delimiter(text)
    # As text, since a label or a video may be called "nan".
    table = pd.read_csv(StringIO(text), sep=delimiter, dtype="str", keep_default_na=False)
    if not isinstance(table.index, pd.RangeIndex):  # pandas' way with surplus cells
        raise ValueError("rows have more cells than the header")
    table = table.fillna("").rename(columns=str.strip)
    table = table[(table != "").any(axis=1)]  # spreadsheets leave lines of delimiters
    if delimiter != ",":
        names = [name for name in (*NUMBER_COLUMNS, "tube") if name in table]
        numbers = with_points(table[names].to_numpy().ravel().tolist())
        table[names] = np.array(numbers, dtype=object).reshape(len(table), len(names))
    return table.assign(tube=table["tube"].replace("", "nan")) if "tube" in table else table


def _delimiter(text: str) -> str:
    """By which the header falls into most of our columns; rows may hold any in a name."""
    header = next(iter(text.splitlines()), "")

    def columns(delimiter: str) -> int:
        cells = next(csv.reader([header], delimiter=delimiter), [])
        return len({cell.strip() for cell in cells} & set(ROW_COLUMNS))

    return max(DELIMITERS, key=columns)


def _read_json(path: Path) -> pd.DataFrame:
    content: Any = json.loads(decode_text(path.read_bytes())[0])
    if isinstance(content, dict):
        content = content.get("detections")
    if not isinstance(content, list):
        raise ValueError('neither a list nor an object with "detections"')
    return _from_records(content)


def _read_jsonl(path: Path) -> pd.DataFrame:
    lines = decode_text(path.read_bytes())[0].split("\n")
    return _from_records([json.loads(line) for line in lines if line.strip()])


def _from_records(records: list[Any]) -> pd.DataFrame:
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("a row that is no object")
    return pd.DataFrame(records) if records else pd.DataFrame(columns=ROW_COLUMNS)


def _typed(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    try:
        table = table.astype({**dict.fromkeys(NUMBER_COLUMNS, "float64"), "tube": "float64"})
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: expected numbers in a row: {error}") from error
    finite = np.isfinite(table[NUMBER_COLUMNS].to_numpy()).all(axis=1) & (table["frame"] % 1 == 0)
    finite &= ~np.isinf(table["tube"])
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DatasetError(
            f"{path}: row {row + 1}: expected a whole frame, a finite score and box, "
            f"found {table.iloc[row][NUMBER_COLUMNS].tolist()}"
        )
    table = table.astype({"frame": "int64", "video": "str", "label": "str"})
    return table.assign(video=table["video"].map(same_form))
