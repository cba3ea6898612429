"""Frame by frame, whether a detector's single box was right: for looking at, and for counting."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tubedet.boxes import iou_xyxy
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.detections import Detection
from tubedet.evaluation.evaluate import BEST_BOX
from tubedet.pipeline import detect_video
from tubedet.runtime.detector import Detector

RIGHT_IOU = 0.5


@dataclass(frozen=True, slots=True)
class FrameOutcome:
    """An annotated frame and what was found in it.

    Attributes:
        clip: that the frame is of.
        frame: its number.
        truth: what is annotated, at least one box.
        found: the best box, whatever its score; None if no box has an area.
        box_right: it has an IoU of `RIGHT_IOU` or more with a true box.
        action_right: with one of its own class.
    """

    clip: AnnotatedClip
    frame: int
    truth: tuple[LabelledBox, ...]
    found: Detection | None
    box_right: bool
    action_right: bool


def frame_outcomes(detector: Detector, data: AnnotatedDataset) -> Iterator[FrameOutcome]:
    """Run every clip and judge its annotated frames.

    Raises:
        VideoError: for a clip that can't be read.
        ValueError: for one that has not as many frames as annotated.
    """
    for clip in data.clips:
        frames = detect_video(clip.path, detector, rule=BEST_BOX)
        for found, truth in zip(frames, clip.boxes_by_frame, strict=True):
            if truth:
                best = next(iter(found.detections), None)
                yield _judged(clip, found.frame, truth, best, data.class_names)


def _judged(
    clip: AnnotatedClip,
    frame: int,
    truth: tuple[LabelledBox, ...],
    found: Detection | None,
    class_names: tuple[str, ...],
) -> FrameOutcome:
    if found is None:
        return FrameOutcome(clip, frame, truth, None, box_right=False, action_right=False)
    met = meets(found.box_xyxy, truth)
    named = [class_names[box.class_index] == found.label for box in truth]
    return FrameOutcome(
        clip, frame, truth, found, box_right=any(met), action_right=any(map(min, met, named))
    )


def meets(box_xyxy: tuple[float, ...], truth: tuple[LabelledBox, ...]) -> list[bool]:
    """For every true box, whether a box has an IoU of `RIGHT_IOU` or more with it."""
    others = np.array([box.box_xyxy for box in truth])
    met: list[bool] = (iou_xyxy(np.array([box_xyxy]), others)[0] >= RIGHT_IOU).tolist()
    return met
