"""Detections as a table, one row a box, beside the truth.

Columns are those of `datasets/row_files.py`; `video` is as the data set names it, with or without
the file's suffix.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.row_files import FRAME_COLUMNS, ROW_COLUMNS
from tubedet.errors import DatasetError
from tubedet.evaluation.frame_map import TRUTH_COLUMNS

UNKNOWN_CLASS = -1  # of a label that the data set doesn't have: never right
NAMES_SHOWN = 3


class CheckedRows(NamedTuple):
    """Rows of videos of the data set, and in one line each what else the file holds."""

    rows: pd.DataFrame
    remarks: tuple[str, ...]


def rows_table(rows: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    """A table of tuples in the order of `ROW_COLUMNS`."""
    return pd.DataFrame(list(rows), columns=ROW_COLUMNS).astype({"tube": "float64"})


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
    outside = rows[
        (rows["frame"] < 0) | (rows["frame"] >= rows["video"].map(frames_of).astype("float64"))
    ]
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


def on_known_frames(rows: pd.DataFrame, data: AnnotatedDataset) -> pd.DataFrame:
    """The rows of frames that somebody looked at: of others nothing is right or wrong."""
    unknown = [
        (clip.video, frame)
        for clip in data.clips
        if clip.examined_frames is not None
        for frame in range(clip.frames)
        if frame not in clip.examined_frames
    ]
    if not unknown:
        return rows
    places = pd.MultiIndex.from_frame(rows[FRAME_COLUMNS])
    return rows[~places.isin(unknown)].reset_index(drop=True)


def truth_table(data: AnnotatedDataset) -> pd.DataFrame:
    """All annotated boxes, one a row, with the number of their actor as `tube`."""
    rows = [
        (clip.video, frame, box.class_index, *box.box_xyxy, box.tube)
        for clip in data.clips
        for frame, boxes in enumerate(clip.boxes_by_frame)
        for box in boxes
    ]
    return pd.DataFrame(rows, columns=[*TRUTH_COLUMNS, "tube"])


def _remark(what: str, names: list[str]) -> list[str]:
    shown = ", ".join(names[:NAMES_SHOWN]) + (", …" if len(names) > NAMES_SHOWN else "")
    return [f"{what} ({len(names)}): {shown}"] if names else []
