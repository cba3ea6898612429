"""The row schema of every table that is written: one row a box, none for a frame without boxes."""

from typing import NamedTuple

from tubedet.detections import FrameDetections


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
    rows = []
    for detection in found.detections:
        x1, y1, x2, y2 = (round(edge, 2) for edge in detection.box_xyxy)
        time_s, score = round(found.time_s, 6), round(detection.score, 4)
        rows.append(
            Row(video, found.frame, found.pts, time_s, detection.tube, detection.label, score,
                x1, y1, x2, y2)
        )  # fmt: skip
    return rows
