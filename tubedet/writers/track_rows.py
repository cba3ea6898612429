"""The row schema of every table that is written: one row a box, none for a frame without boxes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple

from tubedet.detections import Detection, FrameDetections


class Row(NamedTuple):
    """One box on one frame; the field names are the column names, in order.

    `video` is the path relative to the input folder with "/"; `frame` counts decoded frames from
    0; `pts` is the source's own, None where it has none; `time_s` counts from the video's first
    frame; `tube` is None until boxes are linked; the box is in source pixels after rotation.
    """

    video: str
    frame: int
    pts: int | None
    time_s: float
    tube: int | None
    label: str
    score: float
    x1: float
    y1: float
    x2: float
    y2: float


def rows_of(video: str, found: FrameDetections) -> list[Row]:
    """The rows of a frame, best box first: seconds to 6 decimals, scores to 4, boxes to 2.

    Rounding here keeps the numbers of all formats alike.
    """
    time_s = round(found.time_s, 6)
    return [
        Row(video, found.frame, found.pts, time_s, box.tube, box.label, box.score, *box.box_xyxy)
        for box in map(as_in_rows, found.detections)
    ]


def as_in_rows(box: Detection) -> Detection:
    """A box with the numbers that its row has; again, it stays as it is."""
    x1, y1, x2, y2 = (round(edge, 2) for edge in box.box_xyxy)
    return replace(box, score=round(box.score, 4), box_xyxy=(x1, y1, x2, y2))


def frames_of(rows: Iterable[Row], class_names: Sequence[str] = ()) -> Iterator[FrameDetections]:
    """The frames that rows, given by frame, tell of; a label beyond `class_names` has index -1."""
    index_of = {name: index for index, name in enumerate(class_names)}
    for _, group in groupby(rows, lambda row: row.frame):
        of_frame = list(group)
        boxes = tuple(
            Detection(row.label, index_of.get(row.label, -1), row.score, row[-4:], row.tube)
            for row in of_frame
        )
        yield FrameDetections(of_frame[0].frame, of_frame[0].pts, of_frame[0].time_s, boxes)
