"""f-mAP of one choice of boxes: on annotated frames and on all, with intervals by source."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tubedet.evaluation.frame_map import (
    MatchedDetections,
    MeanPrecision,
    match,
    mean_precisions,
    on_annotated_frames,
)
from tubedet.evaluation.rules import ScoringRule
from tubedet.evaluation.source_intervals import Interval, SourceDraws, source_intervals

IOU_THRESHOLDS = (0.2, 0.5, 0.75)  # those of the paper's Table II
CURVE_THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # Figure 2
ON_ANNOTATED = "f-mAP on annotated frames, "  # how the protocol in a run's file begins


@dataclass(frozen=True, slots=True, eq=False)
class FrameFigures:
    """f-mAP of one choice of boxes.

    Attributes:
        protocol: which boxes, and the rule.
        curve: on annotated frames, at each of `CURVE_THRESHOLDS`.
        all_frames: on the others too, at `IOU_THRESHOLDS`.
        intervals: by source, of the curve at `IOU_THRESHOLDS`; None if there is one source alone.
        all_frames_intervals: the same of all frames.
    """

    protocol: str
    curve: list[MeanPrecision]
    all_frames: list[MeanPrecision]
    intervals: dict[float, Interval] | None
    all_frames_intervals: dict[float, Interval] | None

    @property
    def trimmed(self) -> list[MeanPrecision]:
        """The curve at `IOU_THRESHOLDS`."""
        return [at for at in self.curve if at.iou_threshold in IOU_THRESHOLDS]

    def to_dict(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Plain values for JSON; all figures are fractions of 1."""
        return {
            "protocol": f"{ON_ANNOTATED}{self.protocol}",
            "f_map": _by_threshold(self.trimmed),
            "f_map_interval": _as_lists(self.intervals),
            "f_map_all_frames": _by_threshold(self.all_frames),
            "f_map_all_frames_interval": _as_lists(self.all_frames_intervals),
            "f_map_curve": _by_threshold(self.curve),
            "per_class": {
                class_names[index]: {
                    "ground_truths": curve.ground_truths,
                    "ap": {
                        str(at.iou_threshold): at.curves[index].average_precision
                        for at in self.trimmed
                    },
                }
                for index, curve in self.curve[0].curves.items()
            },
        }


def frame_figures(
    detections: pd.DataFrame,
    truth: pd.DataFrame,
    draws: SourceDraws | None,
    *,
    protocol: str,
    rule: ScoringRule,
    class_count: int,
) -> FrameFigures:
    """f-mAP of the detections; DatasetError as `frame_map`, whose arguments these are."""

    def intervals(found: MatchedDetections) -> dict[float, Interval] | None:
        if draws is None:
            return None
        return source_intervals(found, IOU_THRESHOLDS, draws, rule, class_count)

    trimmed = match(on_annotated_frames(detections, truth), truth, CURVE_THRESHOLDS, rule)
    of_all = match(detections, truth, IOU_THRESHOLDS, rule)
    return FrameFigures(
        protocol,
        curve=mean_precisions(trimmed, rule, class_count),
        all_frames=mean_precisions(of_all, rule, class_count),
        intervals=intervals(trimmed),
        all_frames_intervals=intervals(of_all),
    )


def _by_threshold(means: Sequence[MeanPrecision]) -> dict[str, float]:
    return {str(at.iou_threshold): at.mean for at in means}


def _as_lists(intervals: dict[float, Interval] | None) -> dict[str, list[float]] | None:
    if intervals is None:
        return None
    return {str(at): [low, high] for at, (low, high) in intervals.items()}
