"""From what a network predicts of frames to the boxes that a rule keeps, before smoothing."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tubedet.detections import Detection
from tubedet.run.prediction import PredictedFrame
from tubedet.runtime.detector import Detector
from tubedet.tubes.best_box import SelectionRule, select_boxes
from tubedet.tubes.smoothing import TimedBoxes
from tubedet.video.frame import VideoFrame
from tubedet.video.preprocess import FrameGeometry


class PickedFrame(NamedTuple):
    """A frame with the boxes that linking is given.

    Attributes:
        frame: as in `PredictedFrame`, and so are the others.
        detections: in source pixels, highest score first; none where the frame is not due.
    """

    frame: VideoFrame
    detections: tuple[Detection, ...]
    is_reported: bool
    is_due: bool
    begins_shot: bool


def rule_for(detector: Detector, rule: SelectionRule) -> SelectionRule:
    """As it is for this detector: one that sees time scores by overlap alone, and boxes vote."""
    return replace(rule, score="overlap", vote=True) if detector.temporal else rule


def timed_boxes(
    predicted: Iterable[PredictedFrame],
    detector: Detector,
    rule: SelectionRule,
    geometry: FrameGeometry,
) -> Iterator[TimedBoxes[PredictedFrame]]:
    """Every frame with the boxes that the rule keeps, in px of `geometry`; none if not asked for.

    Args:
        predicted: frames with their context windows.
        detector: whose predictions they are.
        rule: what passes, see `rule_for`.
        geometry: size of the frames.
    """
    for one in predicted:
        yield TimedBoxes(
            payload=one,
            time_s=one.frame.time_s,
            detections=_boxes_of(one, detector, rule, geometry),
            is_support=one.prediction.step is not None,
            begins_shot=one.begins_shot,
        )


def _boxes_of(
    one: PredictedFrame, detector: Detector, rule: SelectionRule, geometry: FrameGeometry
) -> tuple[Detection, ...] | None:
    if one.prediction.raw is None:
        return None
    decoded = detector.decode(one.prediction, one.window)
    boxes_fraction, overlap, class_prob = (each[0].numpy() for each in decoded)
    boxes_xyxy = geometry.to_source_xyxy(boxes_fraction)
    return select_boxes(boxes_xyxy, overlap, class_prob, detector.class_names, rule)
