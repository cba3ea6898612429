"""Frame mAP: how well boxes and classes of single frames agree with the truth.

The rule (`rules`) is always to be printed next to the number. By our own, per class, detections in
falling order of score take the best ground truth of their frame that is still free, if the IoU
reaches the threshold; average precision is the VOC all-points area; the mean is over the classes
that have ground truth. Tables are pandas frames with one row a box:

    truth       video, frame, class_index, x1, y1, x2, y2
    detections  the same and score
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tubedet.boxes import iou_rowwise
from tubedet.datasets.row_files import BOX_COLUMNS, FRAME_COLUMNS
from tubedet.errors import DatasetError
from tubedet.evaluation.rules import TUBEDET, Area, ScoringRule, all_points

CLASS_COLUMNS = [*FRAME_COLUMNS, "class_index"]
TRUTH_COLUMNS = [*CLASS_COLUMNS, *BOX_COLUMNS]
DETECTION_COLUMNS = [*CLASS_COLUMNS, "score", *BOX_COLUMNS]


@dataclass(frozen=True, slots=True, eq=False)
class ClassCurve:
    """One class: precision and recall after each of its detections, by falling score."""

    ground_truths: int
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    area: Area = all_points

    @property
    def average_precision(self) -> float:
        """The area under the curve by the rule, in [0, 1]."""
        return float(self.area(self.recall, self.precision)) if self.recall.size else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class MeanPrecision:
    """f-mAP or video-mAP at one threshold, with the curve of every class that counts."""

    iou_threshold: float
    curves: dict[int, ClassCurve]

    @property
    def mean(self) -> float:
        """The mean of the classes' average precisions, in [0, 1]."""
        return float(np.mean([curve.average_precision for curve in self.curves.values()]))


@dataclass(frozen=True, slots=True, eq=False)
class MatchedDetections:
    """Detections by falling score, and which of them take a ground truth.

    Attributes:
        detections: a row each.
        truth: a row a ground truth.
        correct: (N,) of the detections, by IoU threshold.
    """

    detections: pd.DataFrame
    truth: pd.DataFrame
    correct: dict[float, NDArray[np.bool_]]


def frame_map(
    detections: pd.DataFrame,
    truth: pd.DataFrame,
    iou_thresholds: Sequence[float],
    rule: ScoringRule = TUBEDET,
    class_count: int = 0,
) -> list[MeanPrecision]:
    """f-mAP at each threshold, over all frames that the tables speak of.

    Equal scores count in the order of the table. `class_count` is the data set's number of classes,
    for a rule that counts those without ground truth.

    Raises:
        DatasetError: if `truth` has no row.
    """
    return mean_precisions(match(detections, truth, iou_thresholds, rule), rule, class_count)


def match(
    detections: pd.DataFrame,
    truth: pd.DataFrame,
    iou_thresholds: Sequence[float],
    rule: ScoringRule = TUBEDET,
) -> MatchedDetections:
    """Let the detections of every frame take its ground truths; DatasetError as `frame_map`."""
    if truth.empty:
        raise DatasetError("f-mAP is not defined without ground truth: no frame is annotated")
    detections = detections.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    if rule.whole_pixels:
        detections = detections.assign(**detections[BOX_COLUMNS].round())
    truth = truth.reset_index(drop=True)
    pairs = overlapping_pairs(detections, truth, CLASS_COLUMNS, pixels=int(rule.inclusive))
    pairs = pairs[pairs["iou"] >= min(iou_thresholds)]
    correct = {}
    for threshold in iou_thresholds:
        enough = pairs[pairs["iou"] >= threshold]
        correct[threshold] = matched(
            enough, len(detections), len(truth), best_remaining=rule.best_remaining
        )
    return MatchedDetections(detections, truth, correct)


def mean_precisions(
    found: MatchedDetections, rule: ScoringRule, class_count: int
) -> list[MeanPrecision]:
    """f-mAP at each threshold of the matches; see `frame_map`."""
    classes = found.detections["class_index"].to_numpy()
    truths_of = count_truths(found.truth["class_index"], rule, class_count)
    return [
        mean_precision(threshold, correct, classes, truths_of, rule)
        for threshold, correct in found.correct.items()
    ]


def on_annotated_frames(detections: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """The detections that lie in frames where something is annotated, of whatever class."""
    return detections.merge(truth[FRAME_COLUMNS].drop_duplicates(), on=FRAME_COLUMNS)


def boxes_right(detections: pd.DataFrame, truth: pd.DataFrame, iou_threshold: float) -> float:
    """Share of annotated frames in which some detection meets some ground truth of any class."""
    pairs = overlapping_pairs(detections, truth, FRAME_COLUMNS)
    right = pairs[pairs["iou"] >= iou_threshold]
    return right["place"].nunique() / len(truth[FRAME_COLUMNS].drop_duplicates())


def overlapping_pairs(
    detections: pd.DataFrame, truth: pd.DataFrame, same: list[str], pixels: int = 0
) -> pd.DataFrame:
    """Every detection with every ground truth that agrees in the columns `same` and overlaps.

    Columns: `place`, a number for what they agree in; `detection` and `truth`, row positions;
    `rank` of the detection at its place; `iou`, both boxes being wider and higher by `pixels`.
    Ordered by detection, then falling IoU.
    """
    # One number to join on: joining on several columns, one of them text, takes twice as long.
    both = pd.concat([detections[same], truth[same]])
    places = both.groupby(same, sort=False).ngroup().to_numpy()
    left = pd.DataFrame({"place": places[: len(detections)]})
    left = left.assign(detection=left.index, rank=left.groupby("place").cumcount())
    right = pd.DataFrame({"place": places[len(detections) :]})
    pairs = left.merge(right.assign(truth=right.index), on="place")
    boxes = boxes_of(detections, pixels)[pairs["detection"]]
    pairs = pairs.assign(iou=iou_rowwise(boxes, boxes_of(truth, pixels)[pairs["truth"]]))
    pairs = pairs[pairs["iou"] > 0]
    return pairs.sort_values(["detection", "iou"], ascending=[True, False], kind="stable")


def boxes_of(table: pd.DataFrame, pixels: int = 0) -> NDArray[np.float64]:
    """The boxes (N, 4) of a table, wider and higher by `pixels`."""
    boxes: NDArray[np.float64] = table[BOX_COLUMNS].to_numpy(dtype=np.float64)
    return boxes + np.array([0, 0, pixels, pixels], dtype=np.float64)


def matched(
    pairs: pd.DataFrame, detections: int, truths: int, *, best_remaining: bool = True
) -> NDArray[np.bool_]:
    """Which detections take a ground truth, of pairs that overlap enough.

    The detections of a place choose one after the other, but places do not interfere: the first
    choices of all places are made at once, then all second ones, and so on. Two detections of one
    rank never share a ground truth, as they differ in place.
    """
    right = np.zeros(detections, dtype=np.bool_)
    if not best_remaining:  # everyone's favourite is fixed: the first who comes has it
        favourites = pairs.drop_duplicates("detection").drop_duplicates("truth")
        right[favourites["detection"]] = True
        return right
    taken = np.zeros(truths, dtype=np.bool_)
    for _, of_rank in pairs.groupby("rank"):
        free = of_rank[~taken[of_rank["truth"].to_numpy()]]
        best = free.drop_duplicates("detection")  # the pairs of a detection come by falling IoU
        right[best["detection"]] = True
        taken[best["truth"]] = True
    return right


def count_truths(
    class_indices: "pd.Series[int]", rule: ScoringRule, class_count: int
) -> dict[int, int]:
    """The number of ground truths of every class that counts."""
    indices, counts = np.unique(class_indices.to_numpy(), return_counts=True)
    found = dict(zip(indices.tolist(), counts.tolist(), strict=True))
    if rule.over_all_classes:
        return dict.fromkeys(range(class_count), 0) | found
    return found


def mean_precision(
    threshold: float,
    correct: NDArray[np.bool_],
    classes: NDArray[np.intp],
    truths_of: dict[int, int],
    rule: ScoringRule,
) -> MeanPrecision:
    """The curves of detections that come by falling score, with whether each is correct."""
    curves = {k: _curve(correct[classes == k], n, rule.area) for k, n in truths_of.items()}
    return MeanPrecision(threshold, curves)


def _curve(correct: NDArray[np.bool_], ground_truths: int, area: Area) -> ClassCurve:
    hits = np.cumsum(correct, dtype=np.float64)
    recall = hits / max(ground_truths, 1)  # without ground truth nothing is correct
    return ClassCurve(ground_truths, recall, hits / np.arange(1, len(hits) + 1), area)
