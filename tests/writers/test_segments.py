"""Action segments of linked boxes, worked out by hand."""

from pathlib import Path

import numpy as np
import pandas as pd

from tests.output_targets import target_for
from tubedet.detections import Detection, FrameDetections
from tubedet.video.frame import VideoFrame
from tubedet.writers.writer import open_writer


def box(label: str, score: float, tube: int | None) -> Detection:
    return Detection(label, 0, score, (0.0, 0.0, 10.0, 10.0), tube=tube)


def segments(folder: Path, frames: list[FrameDetections]) -> list[tuple[object, ...]]:
    writer = open_writer("segments", target_for(folder, Path("a.mp4"), video="a.mp4"))
    for found in frames:
        writer.write(VideoFrame(found.frame, None, None, np.zeros((2, 2, 3), np.uint8)), found)
    path = writer.finish()
    assert path.name == "a.segments.csv"
    rows = pd.read_csv(path).astype(object)
    return list(rows.where(rows.notna(), None).itertuples(index=False, name=None))


def at(
    frame: int, *boxes: Detection, ended: tuple[int, ...] = (), timed: bool = True
) -> FrameDetections:
    time_s = frame / 10 if timed else None
    return FrameDetections(frame, frame, time_s, boxes, ended_tubes=ended)


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


def test_boxes_without_a_tube_make_none_and_unknown_times_stay_empty(tmp_path: Path) -> None:
    frames = [at(7, box("walk", 0.5, None), box("jump", 0.25, 3), timed=False)]

    assert segments(tmp_path, frames) == [("a.mp4", 3, "jump", 7, 7, None, None, 0.25)]
