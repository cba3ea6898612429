"""Detections as a table, one row a box, and such tables read from files of whoever made them.

Columns are video, frame, tube, label, score, x1, y1, x2, y2 of our row schema: `video` as the data
set names it, with or without the file's suffix, `frame` from 0, boxes in source pixels, half-open.
`tube` may be absent or empty; other columns don't matter. CSV, JSON and JSON lines as
`tubedet detect` writes them; a JSON may also be the bare list of rows.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.errors import DatasetError
from tubedet.evaluation.frame_map import BOX_COLUMNS, FRAME_COLUMNS, TRUTH_COLUMNS

NEEDED_COLUMNS = [*FRAME_COLUMNS, "label", "score", *BOX_COLUMNS]
ROW_COLUMNS = [*FRAME_COLUMNS, "tube", "label", "score", *BOX_COLUMNS]
UNKNOWN_CLASS = -1  # of a label that the data set doesn't have: never right
NAMES_SHOWN = 3


class CheckedRows(NamedTuple):
    """Rows of videos of the data set, and in one line each what else the file holds."""

    rows: pd.DataFrame
    remarks: tuple[str, ...]


def rows_table(rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    """A table of tuples in the order of `ROW_COLUMNS`."""
    return pd.DataFrame(list(rows), columns=ROW_COLUMNS).astype({"tube": "float64"})


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


def rows_of_data(rows: pd.DataFrame, data: AnnotatedDataset, source: Path) -> CheckedRows:
    """The rows whose video is in the data, named as there.

    Raises:
        DatasetError: if a row is of a frame that its video doesn't have.
    """
    frames_of = {clip.video: clip.frames for clip in data.clips}
    named = rows["video"].where(
        rows["video"].isin(frames_of), rows["video"].str.replace(r"\.\w+$", "", regex=True)
    )
    known = named.isin(frames_of)
    strange_labels = sorted(set(rows["label"]) - set(data.class_names))
    remarks = [
        *_remark("videos that are not in the data, left out", sorted(set(rows["video"][~known]))),
        *_remark("labels that the data does not have, never right", strange_labels),
    ]
    rows = rows.assign(video=named)[known]
    outside = rows[(rows["frame"] < 0) | (rows["frame"] >= rows["video"].map(frames_of))]
    if len(outside):
        video, frame = outside.iloc[0][FRAME_COLUMNS]
        raise DatasetError(
            f"{source}: {video}: expected frames 0 to {frames_of[video] - 1}, found {frame}; "
            f"{len(outside)} such rows"
        )
    return CheckedRows(rows.reset_index(drop=True), tuple(remarks))


def with_class_index(rows: pd.DataFrame, class_names: tuple[str, ...]) -> pd.DataFrame:
    """The rows as `frame_map` and `video_map` take them."""
    index_of = {name: index for index, name in enumerate(class_names)}
    indices = rows["label"].map(index_of).fillna(UNKNOWN_CLASS).astype("int64")
    return rows.assign(class_index=indices)


def best_of_each_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """The paper's rule: the box with the highest score in the frame; of equal ones the first."""
    ranked = rows.sort_values("score", ascending=False, kind="stable")
    return ranked.drop_duplicates(FRAME_COLUMNS)


def truth_table(data: AnnotatedDataset) -> pd.DataFrame:
    """All annotated boxes, one a row, with the number of their actor as `tube`."""
    rows = [
        (clip.video, frame, box.class_index, *box.box_xyxy, box.tube)
        for clip in data.clips
        for frame, boxes in enumerate(clip.boxes_by_frame)
        for box in boxes
    ]
    return pd.DataFrame(rows, columns=[*TRUTH_COLUMNS, "tube"])


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


def _remark(what: str, names: list[str]) -> list[str]:
    shown = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
    return [f"{what} ({len(names)}): {shown}"] if names else []
