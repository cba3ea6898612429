"""Tables of boxes in files: what `tubedet detect` writes, corrected by hand or made by others.

Columns are video, frame, tube, label, score, x1, y1, x2, y2 of our row schema, `frame` from 0,
boxes in source pixels, half-open. `tube` may be absent or empty; other columns don't matter. CSV,
JSON and JSON lines as `tubedet detect` writes them; a JSON may also be the bare list of rows.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tubedet.errors import DatasetError

BOX_COLUMNS = ["x1", "y1", "x2", "y2"]
FRAME_COLUMNS = ["video", "frame"]
NEEDED_COLUMNS = [*FRAME_COLUMNS, "label", "score", *BOX_COLUMNS]
ROW_COLUMNS = [*FRAME_COLUMNS, "tube", "label", "score", *BOX_COLUMNS]
ROW_SUFFIXES = (".csv", ".json", ".jsonl")


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
    except (OSError, ValueError, TypeError) as error:  # pandas' and json's own are ValueErrors
        raise DatasetError(f"{path}: expected rows of detections: {error}") from error
    if absent := [column for column in NEEDED_COLUMNS if column not in table.columns]:
        raise DatasetError(
            f"{path}: expected columns {', '.join(NEEDED_COLUMNS)}; {', '.join(absent)} not found"
        )
    return _typed(table.reindex(columns=ROW_COLUMNS), path)


def read_records(path: Path) -> list[dict[str, Any]]:
    """The same rows as plain values; `tube` is a float, NaN where there is none."""
    return read_rows(path).to_dict("records")  # type: ignore[return-value]


def _read_csv(path: Path) -> pd.DataFrame:
    # As text, since a label or a video may be called "nan".
    table = pd.read_csv(path, dtype="str", keep_default_na=False)
    return table.assign(tube=table["tube"].replace("", "nan")) if "tube" in table else table


def _read_json(path: Path) -> pd.DataFrame:
    content: Any = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict):
        content = content.get("detections")
    if not isinstance(content, list):
        raise ValueError('neither a list nor an object with "detections"')
    return _from_records(content)


def _read_jsonl(path: Path) -> pd.DataFrame:
    lines = path.read_text(encoding="utf-8").split("\n")
    return _from_records([json.loads(line) for line in lines if line.strip()])


def _from_records(records: list[Any]) -> pd.DataFrame:
    if not all(isinstance(record, dict) for record in records):
        raise ValueError("a row that is no object")
    return pd.DataFrame(records) if records else pd.DataFrame(columns=ROW_COLUMNS)


def _typed(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    numbers = ["frame", "score", *BOX_COLUMNS]
    try:
        table = table.astype({**dict.fromkeys(numbers, "float64"), "tube": "float64"})
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: expected numbers in a row: {error}") from error
    finite = np.isfinite(table[numbers].to_numpy()).all(axis=1) & (table["frame"] % 1 == 0)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        raise DatasetError(
            f"{path}: row {row + 1}: expected a whole frame, a finite score and box, "
            f"found {table.iloc[row][numbers].tolist()}"
        )
    return table.astype({"frame": "int64", "video": "str", "label": "str"})
