"""Frame mAP: how well boxes and classes of single frames agree with the truth.

The convention, always to be printed next to the number: per class, detections in falling order of
score take the best ground truth of their frame that is still free, if the IoU (without +1) reaches
the threshold; average precision is the VOC all-points area; the mean is over the classes that have
ground truth. Tables are pandas frames with one row a box:

    truth       video, frame, class_index, x1, y1, x2, y2
    detections  the same and score
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tubedet.errors import DatasetError

CONVENTION = (
    "VOC all-points area, IoU without +1, each ground truth matched once (best remaining), "
    "mean over classes having ground truth"
)
BOX_COLUMNS = ["x1", "y1", "x2", "y2"]
FRAME_COLUMNS = ["video", "frame"]
CLASS_COLUMNS = [*FRAME_COLUMNS, "class_index"]
TRUTH_COLUMNS = [*CLASS_COLUMNS, *BOX_COLUMNS]
DETECTION_COLUMNS = [*CLASS_COLUMNS, "score", *BOX_COLUMNS]


@dataclass(frozen=True, slots=True, eq=False)
class ClassCurve:
    """One class: precision and recall after each of its detections, by falling score."""

    ground_truths: int
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]

    @property
    def average_precision(self) -> float:
        """Area under the curve whose precision is made to fall (VOC all points), in [0, 1]."""
        recall = np.concatenate([[0.0], self.recall])
        highest_to_come = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float(np.diff(recall) @ highest_to_come)


@dataclass(frozen=True, slots=True, eq=False)
class FrameMap:
    """f-mAP at one threshold, with the curve of every class that has ground truth."""

    iou_threshold: float
    curves: dict[int, ClassCurve]

    @property
    def mean(self) -> float:
        """The mean of the classes' average precisions, in [0, 1]."""
        return float(np.mean([curve.average_precision for curve in self.curves.values()]))


def frame_map(
    detections: pd.DataFrame, truth: pd.DataFrame, iou_thresholds: Sequence[float]
) -> list[FrameMap]:
    """f-mAP at each threshold, over all frames that the tables speak of.

    Equal scores count in the order of the table.

    Raises:
        DatasetError: if `truth` has no row.
    """
    if truth.empty:
        raise DatasetError("f-mAP is not defined without ground truth: no frame is annotated")
    detections = detections.sort_values("score", ascending=False, kind="stable", ignore_index=True)
    truth = truth.reset_index(drop=True)
    pairs = _overlapping_pairs(detections, truth, CLASS_COLUMNS, min(iou_thresholds))
    classes = detections["class_index"].to_numpy()
    indices, counts = np.unique(truth["class_index"].to_numpy(), return_counts=True)
    truths_of = dict(zip(indices.tolist(), counts.tolist(), strict=True))
    maps = []
    for threshold in iou_thresholds:
        correct = _matched(pairs[pairs["iou"] >= threshold], len(detections), len(truth))
        curves = {k: _curve(correct[classes == k], truths) for k, truths in truths_of.items()}
        maps.append(FrameMap(threshold, curves))
    return maps


def on_annotated_frames(detections: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """The detections that lie in frames where something is annotated, of whatever class."""
    return detections.merge(truth[FRAME_COLUMNS].drop_duplicates(), on=FRAME_COLUMNS)


def boxes_right(detections: pd.DataFrame, truth: pd.DataFrame, iou_threshold: float) -> float:
    """Share of annotated frames in which some detection meets some ground truth of any class."""
    pairs = _overlapping_pairs(detections, truth, FRAME_COLUMNS, iou_threshold)
    return pairs["place"].nunique() / len(truth[FRAME_COLUMNS].drop_duplicates())


def _overlapping_pairs(
    detections: pd.DataFrame, truth: pd.DataFrame, same: list[str], least_iou: float
) -> pd.DataFrame:
    """Every detection with every ground truth that agrees in the columns `same` and overlaps.

    Columns: `place`, a number for what they agree in; `detection` and `truth`, row positions;
    `rank` of the detection at its place; `iou`. Ordered by detection, then falling IoU.
    """
    # One number to join on: joining on several columns, one of them text, takes twice as long.
    both = pd.concat([detections[same], truth[same]])
    places = both.groupby(same, sort=False).ngroup().to_numpy()
    left = pd.DataFrame({"place": places[: len(detections)]})
    left = left.assign(detection=left.index, rank=left.groupby("place").cumcount())
    right = pd.DataFrame({"place": places[len(detections) :]})
    pairs = left.merge(right.assign(truth=right.index), on="place")
    boxes = detections[BOX_COLUMNS].to_numpy(dtype=np.float64)[pairs["detection"]]
    others = truth[BOX_COLUMNS].to_numpy(dtype=np.float64)[pairs["truth"]]
    pairs = pairs.assign(iou=_iou_rowwise(boxes, others))
    pairs = pairs[pairs["iou"] >= least_iou]
    return pairs.sort_values(["detection", "iou"], ascending=[True, False], kind="stable")


def _iou_rowwise(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of each box (N, 4) with the other box of its row, as (N,)."""
    sides = np.minimum(boxes[:, 2:], others[:, 2:]) - np.maximum(boxes[:, :2], others[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    areas = [(b[:, 2:] - b[:, :2]).clip(min=0).prod(axis=1) for b in (boxes, others)]
    union = areas[0] + areas[1] - shared
    iou: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
    return iou


def _matched(pairs: pd.DataFrame, detections: int, truths: int) -> NDArray[np.bool_]:
    """Which detections take a ground truth.

    A frame's detections choose one after the other, but frames do not interfere: the first choices
    of all frames are made at once, then all second ones, and so on. Two detections of one rank
    never share a ground truth, as they differ in frame or class.
    """
    matched = np.zeros(detections, dtype=np.bool_)
    taken = np.zeros(truths, dtype=np.bool_)
    for _, of_rank in pairs.groupby("rank"):
        free = of_rank[~taken[of_rank["truth"].to_numpy()]]
        best = free.drop_duplicates("detection")  # the pairs of a detection come by falling IoU
        matched[best["detection"]] = True
        taken[best["truth"]] = True
    return matched


def _curve(correct: NDArray[np.bool_], ground_truths: int) -> ClassCurve:
    hits = np.cumsum(correct, dtype=np.float64)
    return ClassCurve(ground_truths, hits / ground_truths, hits / np.arange(1, len(hits) + 1))
