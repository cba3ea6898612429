"""How published code scores detections: five rules that give five numbers for the same boxes.

They differ in whether a box holds its last pixel, in which ground truth a detection takes, in the
area under the curve, and for tubes in what time counts. Read from gurkirt's
realtime-action-detection (`evaluation.py`; for tubes the published `.m`), MCG-NJU's MOC (and ACT,
whose evaluation it is), wei-tim's YOWO and the devkit of VOC 2007. Which boxes are scored at all (a
least score, suppression) belongs to the detections, not to the rule.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tubedet.errors import UsageError

Points = NDArray[np.float64]
Area = Callable[[Points, Points], Points]
"""Recall and precision after each detection, (..., N) each, by falling score → area in [0, 1]."""


def all_points(recall: Points, precision: Points) -> Points:
    """Area under the curve whose precision is made to fall (VOC since 2010)."""
    return _sum(np.diff(recall, prepend=0.0) * _highest_to_come(precision))


def eleven_points(recall: Points, precision: Points) -> Points:
    """Mean of the highest precision at or beyond a recall of 0, 0.1 … 1 (VOC 2007)."""
    reached = [np.where(recall >= level, precision, 0.0) for level in np.arange(11) / 10]
    return _sum(np.stack([points.max(axis=-1, initial=0.0) for points in reached], axis=-1)) / 11


def trapezoid(recall: Points, precision: Points) -> Points:
    """Area under straight lines through the points as they are, from recall 0, precision 1."""
    start = np.ones_like(precision[..., :1])
    mean_height = (np.concatenate([start, precision[..., :-1]], axis=-1) + precision) / 2
    return _sum(np.diff(recall, prepend=0.0) * mean_height)


def _highest_to_come(precision: Points) -> Points:
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]


def _sum(values: Points) -> Points:
    total: Points = values.sum(axis=-1)
    return total


@dataclass(frozen=True, slots=True)
class TubeRule:
    """What makes a detected tube meet a true one.

    Attributes:
        found_pixels: added to the width and height of detected boxes.
        true_pixels: the same for true boxes.
        least_common_frames: fewer common frames are no overlap.
        time_counts: multiply by the temporal IoU; else only common frames are looked at.
        strict: the IoU must be greater than the threshold, not equal to it.
        suppression_iou: a tube that overlaps a better one of its class by more is dropped.
        most_tubes: of a class in a video, the best ones.
    """

    found_pixels: int = 0
    true_pixels: int = 0
    least_common_frames: int = 1
    time_counts: bool = True
    strict: bool = False
    suppression_iou: float | None = None
    most_tubes: int | None = None


@dataclass(frozen=True, slots=True)
class ScoringRule:
    """What makes a detection right, and what the average precision is.

    Attributes:
        name: as `--rule` takes it.
        inclusive: a box holds its last pixel: its width is x2 - x1 + 1.
        best_remaining: a detection takes the best ground truth that is still free; else the best of
            all, and if that is taken it is a false alarm.
        area: of a class's curve.
        whole_pixels: detected boxes are rounded first.
        over_all_classes: a class of the data set without ground truth counts as 0.
        tubes: for video-mAP.
    """

    name: str
    inclusive: bool = False
    best_remaining: bool = True
    area: Area = all_points
    whole_pixels: bool = False
    over_all_classes: bool = False
    tubes: TubeRule = field(default_factory=TubeRule)

    def describe(self) -> str:
        """The convention in one line, to be shown next to every number."""
        taken = "best remaining" if self.best_remaining else "best of all, a second one is wrong"
        return (
            f"{_AREA_NAMES[self.area]}, IoU {'with' if self.inclusive else 'without'} +1, "
            f"{'boxes in whole pixels, ' if self.whole_pixels else ''}"
            f"each ground truth matched once ({taken}), "
            f"mean over {'all classes' if self.over_all_classes else 'classes having ground truth'}"
        )

    def describe_tubes(self) -> str:
        """The same for video-mAP."""
        tubes = self.tubes
        found, true = tubes.found_pixels, tubes.true_pixels
        plus = {(0, 0): "without +1", (1, 1): "with +1"}.get((found, true), "+1 on detections")
        parts = [
            f"{_AREA_NAMES[self.area]}",
            f"mean IoU of common frames {plus}"
            + (" times temporal IoU" if tubes.time_counts else ", time not counted"),
            f"{'greater than' if tubes.strict else 'at least'} the threshold",
        ]
        if tubes.least_common_frames > 1:
            parts.append(f"at least {tubes.least_common_frames} common frames")
        if tubes.suppression_iou is not None:
            parts.append(f"tubes suppressed at {tubes.suppression_iou}")
        if tubes.most_tubes is not None:
            parts.append(f"best {tubes.most_tubes} tubes of a class and video")
        return ", ".join(parts)


_AREA_NAMES: dict[Area, str] = {
    all_points: "VOC all-points area",
    eleven_points: "VOC 2007 eleven-point area",
    trapezoid: "trapezoid area",
}
TUBEDET = ScoringRule("tubedet")
RULES = {
    rule.name: rule
    for rule in (
        TUBEDET,
        ScoringRule(
            "gurkirt",
            over_all_classes=True,
            tubes=TubeRule(found_pixels=1, least_common_frames=2, strict=True),
        ),
        ScoringRule(
            "act",
            inclusive=True,
            area=trapezoid,
            tubes=TubeRule(found_pixels=1, true_pixels=1, suppression_iou=0.3),
        ),
        ScoringRule(
            "yowo",
            inclusive=True,
            best_remaining=False,
            whole_pixels=True,
            tubes=TubeRule(found_pixels=1, true_pixels=1, time_counts=False, most_tubes=3),
        ),
        ScoringRule("voc2007", inclusive=True, best_remaining=False, area=eleven_points),
    )
}


def rule_named(name: str) -> ScoringRule:
    """The rule of this name; UsageError if there is none."""
    if name not in RULES:
        raise UsageError(f"rule {name!r}: expected one of {', '.join(RULES)}")
    return RULES[name]
