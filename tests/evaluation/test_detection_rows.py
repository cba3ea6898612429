"""Rows of detections from files: ours, and those of others."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.ucf_layout import tube, video_record, write_layout
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.datasets.row_files import ROW_COLUMNS, read_rows
from tubedet.datasets.ucf101_24 import load_ucf101_24
from tubedet.errors import DatasetError
from tubedet.evaluation.detection_rows import (
    best_of_each_frame,
    rows_of_data,
    rows_table,
    truth_table,
    with_class_index,
)
from tubedet.evaluation.scoring import Protocol, Source, score_rows

ROW = ("walk/a.avi", 1, 3, "walk", 0.25, 1.5, 2.0, 30.25, 40.0)
OTHER = ("walk/a.avi", 2, None, "run", 0.125, 1.0, 2.0, 3.0, 4.0)


def data_of(*videos: str, frames: int = 4) -> AnnotatedDataset:
    box = LabelledBox(0, (0.0, 0.0, 4.0, 4.0), tube=7)
    clips = [
        AnnotatedClip(video, Path(video), 0, "a", 64, 48, ((box,), *((),) * (frames - 1)))
        for video in videos
    ]
    return AnnotatedDataset("d", 1, "test", ("walk", "run"), tuple(clips))


def written(path: Path, kind: str) -> Path:
    records = [dict(zip(ROW_COLUMNS, row, strict=True)) for row in (ROW, OTHER)]
    file = path / f"rows.{kind}"
    if kind == "csv":
        pd.DataFrame(records).to_csv(file, index=False)
    elif kind == "jsonl":
        file.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        file.write_text(json.dumps({"meta": {}, "detections": records}))
    return file


@pytest.mark.parametrize("kind", ["csv", "json", "jsonl"])
def test_every_format_gives_the_same_table(tmp_path: Path, kind: str) -> None:
    table = read_rows(written(tmp_path, kind))

    pd.testing.assert_frame_equal(table, rows_table([ROW, OTHER]), check_dtype=False)


def test_a_bare_list_other_columns_and_no_tube_are_fine(tmp_path: Path) -> None:
    record = dict(zip(ROW_COLUMNS, ROW, strict=True), weather="fine")
    del record["tube"]
    (tmp_path / "rows.json").write_text(json.dumps([record]))

    table = read_rows(tmp_path / "rows.json")

    assert list(table.columns) == ROW_COLUMNS
    assert np.isnan(table["tube"][0])


def test_a_file_without_rows_is_a_table_without_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("")

    assert read_rows(tmp_path / "rows.jsonl").empty


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.txt", "", "expected detections in a .csv, .json or .jsonl file"),
        ("r.csv", "", "expected rows of detections"),
        ("r.csv", "video,frame\na,0\n", "label, score, x1, y1, x2, y2 not found"),
        ("r.csv", "video,frame,label,score,x1,y1,x2,y2\na,0,b,high,0,0,1,1\n", "expected numbers"),
        ("r.csv", "video,frame,label,score,x1,y1,x2,y2\na,0,b,nan,0,0,1,1\n", "row 1: expected a"),
        ("r.csv", "video,frame,label,score,x1,y1,x2,y2\na,0.5,b,1,0,0,1,1\n", "row 1: expected a"),
        ("r.json", '{"rows": []}', 'neither a list nor an object with "detections"'),
        ("r.json", "[1]", "a row that is no object"),
        ("r.jsonl", "{", "expected rows of detections"),
    ],
)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(DatasetError, match=message) as raised:
        read_rows(tmp_path / name)

    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"absent\.csv: expected rows of detections"):
        read_rows(tmp_path / "absent.csv")


def test_videos_meet_with_or_without_their_suffix_and_strange_ones_are_told() -> None:
    rows = rows_table([ROW, OTHER, ("walk/a", *ROW[1:]), ("b.c.mp4", *ROW[1:])])
    rows.loc[1, "label"] = "fly"

    kept, remarks = rows_of_data(rows, data_of("walk/a"), Path("r.csv"))

    assert kept["video"].tolist() == ["walk/a"] * 3
    assert remarks == (
        "videos that are not in the data, left out (1): b.c.mp4",
        "labels that the data does not have, never right (1): fly",
    )
    assert with_class_index(kept, ("walk", "run"))["class_index"].tolist() == [0, -1, 0]


def test_a_video_whose_name_holds_a_dot_is_not_cut() -> None:
    kept, remarks = rows_of_data(
        rows_table([("a.b", *ROW[1:]), ("a.b.avi", *ROW[1:])]), data_of("a.b"), Path("r.csv")
    )

    assert kept["video"].tolist() == ["a.b", "a.b"]
    assert remarks == ()


@pytest.mark.parametrize("frame", [-1, 4])
def test_a_frame_that_the_video_does_not_have_is_refused(frame: int) -> None:
    rows = rows_table([ROW, ("walk/a.avi", frame, *ROW[2:])])

    with pytest.raises(
        DatasetError, match=f"walk/a: expected frames 0 to 3, found {frame}; 1 such rows"
    ):
        rows_of_data(rows, data_of("walk/a"), Path("r.csv"))


def test_the_best_box_of_a_frame_is_that_of_the_highest_score_the_first_of_equals() -> None:
    scores = [("v", 0, 0.1), ("v", 0, 0.9), ("w", 0, 0.5), ("v", 1, 0.3), ("v", 1, 0.3)]
    rows = rows_table(
        (video, frame, number, "walk", score, 0, 0, 1, 1)
        for number, (video, frame, score) in enumerate(scores)
    )

    assert sorted(best_of_each_frame(rows)["tube"]) == [1, 2, 3]


def test_true_boxes_carry_the_number_of_their_actor() -> None:
    assert truth_table(data_of("a", "b"))["tube"].tolist() == [7, 7]


def test_every_actor_of_ucf101_24_is_a_tube_with_or_without_its_video(tmp_path: Path) -> None:
    left, right = [[0, 0, 9, 9]] * 2, [[50, 0, 9, 9]] * 3
    record = video_record(4, tube(0, left), tube(1, right))
    root = write_layout(tmp_path, {"Biking/a_g01_c01": record}, ["Biking/a_g01_c01"])

    table = truth_table(load_ucf101_24(root, require_videos=False))

    found = sorted(zip(table["tube"], table["frame"], table["x1"], strict=True))
    assert found == [(0, 0, 0), (0, 1, 0), (1, 1, 50), (1, 2, 50), (1, 3, 50)]


def test_the_number_of_an_actor_does_not_change_what_a_checkpoint_was_trained_on() -> None:
    data = data_of("a")
    (clip,) = data.clips
    renumbered = ((clip.boxes_by_frame[0][0]._replace(tube=0),), *clip.boxes_by_frame[1:])

    other = replace(data, clips=(replace(clip, boxes_by_frame=renumbered),))

    assert other.sha256 == data.sha256


def test_rows_of_frames_that_nobody_looked_at_are_neither_right_nor_wrong() -> None:
    """By hand: frame 0 is right, a surer box on background frame 1 halves its precision."""
    data = data_of("a")
    clip = replace(data.clips[0], examined_frames=frozenset({0, 1}))
    data = replace(data, clips=(clip,), class_names=("walk",))
    right = ("a", 0, None, "walk", 0.5, 0.0, 0.0, 4.0, 4.0)
    background, unknown = (("a", frame, None, "walk", 0.9, 0.0, 0.0, 4.0, 4.0) for frame in (1, 2))

    def scores(*rows: tuple[object, ...]) -> tuple[float, float]:
        result = score_rows(rows_table(rows), data, Source("made"), Protocol())
        return result.trimmed[0].mean, result.best.all_frames[0].mean

    assert scores(right, unknown) == (1.0, 1.0)
    assert scores(right, unknown, background) == (1.0, 0.5)
