"""Action segments of linked boxes, worked out by hand."""

from pathlib import Path

import pandas as pd

from tests.output_targets import finished, open_writer, plain_frame, target_for
from tubedet.detections import Detection, FrameDetections
from tubedet.writers.writer import FrameResult


def box(label: str, score: float, tube: int | None) -> Detection:
    return Detection(label, 0, score, (0.0, 0.0, 10.0, 10.0), tube=tube)


def segments(folder: Path, frames: list[FrameDetections]) -> list[tuple[object, ...]]:
    writer = open_writer("segments", target_for(folder, Path("a.mp4"), video="a.mp4"))
    for found in frames:
        writer.write(FrameResult(plain_frame(found.frame), found))
    path = finished(writer)
    assert path.name == "a.segments.csv"
    return list(pd.read_csv(path).astype(object).itertuples(index=False, name=None))


def at(frame: int, *boxes: Detection, ended: tuple[int, ...] = ()) -> FrameDetections:
    return FrameDetections(frame, frame, frame / 10, boxes, ended_tubes=ended)


def test_a_change_of_label_and_the_end_of_a_tube_close_a_segment(tmp_path: Path) -> None:
    frames = [
        at(0, box("walk", 0.5, 0)),
        at(1, box("walk", 0.7, 0), box("wave", 0.9, 1)),
        at(2),
        at(3, box("walk", 0.9, 0)),
        at(4, box("run", 0.4, 0), ended=(1,)),
        at(5, box("run", 0.6, 0)),
    ]

    assert segments(tmp_path, frames) == [
        ("a.mp4", 0, "walk", 0, 3, 0.0, 0.3, 0.7),
        ("a.mp4", 1, "wave", 1, 1, 0.1, 0.1, 0.9),
        ("a.mp4", 0, "run", 4, 5, 0.4, 0.5, 0.5),
    ]


def test_boxes_without_a_tube_make_none(tmp_path: Path) -> None:
    frames = [at(7, box("walk", 0.5, None), box("jump", 0.25, 3))]

    assert segments(tmp_path, frames) == [("a.mp4", 3, "jump", 7, 7, 0.7, 0.7, 0.25)]


def test_a_score_is_the_mean_of_scores_as_rows_have_them(tmp_path: Path) -> None:
    """0.10004 and 0.10004 and 0.10016 are 0.1, 0.1 and 0.1002 in rows: 0.10007, not 0.10008."""
    scores = [0.10014, 0.10014, 0.10014]  # 0.1001 in rows; with all digits the mean is 0.10014
    frames = [at(n, box("walk", score, 0)) for n, score in enumerate([*scores, 0.10046])]

    ((*_, score),) = segments(tmp_path, frames)

    assert score == 0.1002  # (3 * 0.1001 + 0.1005) / 4 = 0.1002; of all digits 0.10022
