"""Frame by frame, whether the single best box was right: for looking at, and for counting."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.detections import Detection
from tubedet.evaluation.detection_errors import judged
from tubedet.evaluation.detection_rows import best_of_each_frame, truth_table, with_class_index
from tubedet.evaluation.frame_map import on_annotated_frames


@dataclass(frozen=True, slots=True)
class FrameOutcome:
    """An annotated frame and what was found in it.

    Attributes:
        clip: that the frame is of.
        frame: its number.
        truth: what is annotated, at least one box.
        found: the best box, whatever its score; None if there is none.
        kind: of `detection_errors`; "missed" without a box.
        iou: of the best box with the best true box of its class.
    """

    clip: AnnotatedClip
    frame: int
    truth: tuple[LabelledBox, ...]
    found: Detection | None
    kind: str
    iou: float

    @property
    def action_right(self) -> bool:
        """The box has an IoU of `RIGHT_IOU` or more with a true box of its class."""
        return self.kind == "right"

    @property
    def box_right(self) -> bool:
        """With one of any class."""
        return self.kind in ("right", "classification")


def frame_outcomes(rows: pd.DataFrame, data: AnnotatedDataset) -> Iterator[FrameOutcome]:
    """Judge the annotated frames of all clips in their order.

    Args:
        rows: of `detection_rows`; of every frame the best one is taken.
        data: what they were found in.
    """
    truth = truth_table(data)
    best = best_of_each_frame(with_class_index(rows, data.class_names))
    table = judged(on_annotated_frames(best, truth), truth)
    found = {(row.video, row.frame): row for row in table.itertuples()}
    for clip in data.clips:
        for frame, boxes in enumerate(clip.boxes_by_frame):
            if boxes:
                yield _outcome(clip, frame, boxes, found.get((clip.video, frame)))


def _outcome(
    clip: AnnotatedClip, frame: int, truth: tuple[LabelledBox, ...], row: Any
) -> FrameOutcome:
    if row is None:
        return FrameOutcome(clip, frame, truth, None, kind="missed", iou=0.0)
    box = (float(row.x1), float(row.y1), float(row.x2), float(row.y2))
    found = Detection(row.label, int(row.class_index), float(row.score), box)
    return FrameOutcome(clip, frame, truth, found, kind=row.kind, iou=float(row.iou))
