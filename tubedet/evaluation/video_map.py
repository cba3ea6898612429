"""Video mAP: how well linked tubes agree with the actors of whole videos.

A tube is an actor's boxes over frames, one a frame. Two tubes overlap by the mean IoU of the boxes
in their common frames, times common frames / frames of either. Rows as in `frame_map`, and `tube`:
a number within the video. Different labels under one number are different tubes.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tubedet.boxes import iou_rowwise
from tubedet.errors import DatasetError
from tubedet.evaluation.frame_map import (
    MeanPrecision,
    boxes_of,
    count_truths,
    matched,
    mean_precision,
)
from tubedet.evaluation.rules import TUBEDET, ScoringRule, TubeRule

TUBE_COLUMNS = ["video", "class_index", "tube"]


def video_map(
    detections: pd.DataFrame,
    truth: pd.DataFrame,
    iou_thresholds: Sequence[float],
    rule: ScoringRule = TUBEDET,
    class_count: int = 0,
) -> list[MeanPrecision]:
    """Video-mAP at each threshold; a tube's score is the mean over its rows.

    Args:
        detections: rows of linked boxes; those without a tube number don't count.
        truth: rows of true boxes.
        iou_thresholds: of the spatio-temporal IoU.
        rule: its `tubes` say what overlaps.
        class_count: as for `frame_map`.

    Raises:
        DatasetError: if `truth` has no row, or a tube has two boxes in one frame.
    """
    if truth.empty:
        raise DatasetError("video-mAP is not defined without ground truth: nothing is annotated")
    found, tubes = _numbered(detections[detections["tube"].notna()])
    true, truths = _numbered(truth)
    tubes = tubes.sort_values("score", ascending=False, kind="stable")
    tubes = _counted(found, tubes, rule.tubes)
    classes = tubes["class_index"].to_numpy()
    truths_of = count_truths(truths["class_index"], rule, class_count)
    pairs = _ranked(tube_overlaps(found, true, rule.tubes), tubes)
    maps = []
    for threshold in iou_thresholds:
        iou = pairs["iou"]
        enough = pairs[iou > threshold if rule.tubes.strict else iou >= threshold]
        correct = matched(enough, len(tubes), len(truths))
        maps.append(mean_precision(threshold, correct, classes, truths_of, rule))
    return maps


def tube_overlaps(left: pd.DataFrame, right: pd.DataFrame, rule: TubeRule) -> pd.DataFrame:
    """The spatio-temporal IoU of all tubes of the same video and class that share a frame.

    Args:
        left: rows of detected tubes with `number`, one number a tube.
        right: rows of true tubes, as well.
        rule: what counts.

    Returns:
        Columns left, right (numbers) and iou.
    """
    shared = left.assign(row=np.arange(len(left))).merge(
        right.assign(row=np.arange(len(right))), on=["video", "class_index", "frame"]
    )
    boxes = boxes_of(left, rule.found_pixels)[shared["row_x"]]
    others = boxes_of(right, rule.true_pixels)[shared["row_y"]]
    shared = shared.assign(iou=iou_rowwise(boxes, others))
    pairs = shared.groupby(["number_x", "number_y"])["iou"].agg(["mean", "size"]).reset_index()
    pairs = pairs[pairs["size"] >= rule.least_common_frames]
    common = pairs["size"].to_numpy()
    frames_left = left["number"].value_counts().reindex(pairs["number_x"]).to_numpy()
    frames_right = right["number"].value_counts().reindex(pairs["number_y"]).to_numpy()
    in_time = common / (frames_left + frames_right - common) if rule.time_counts else 1.0
    return pd.DataFrame(
        {
            "left": pairs["number_x"].to_numpy(),
            "right": pairs["number_y"].to_numpy(),
            "iou": pairs["mean"].to_numpy() * in_time,
        }
    )


def _numbered(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows with the number of their tube, and the tubes: one row each, at that number."""
    twice = rows.duplicated([*TUBE_COLUMNS, "frame"])
    if twice.any():
        row = rows[twice].iloc[0]
        raise DatasetError(
            f"{row['video']}: expected one box a frame in a tube, found two in frame "
            f"{row['frame']} of tube {row['tube']:.0f}"
        )
    groups = rows.groupby(TUBE_COLUMNS, sort=False)
    rows = rows.assign(number=groups.ngroup())
    scores = rows.assign(score=rows.get("score", 1.0))
    tubes = scores.groupby("number").agg(
        video=("video", "first"), class_index=("class_index", "first"), score=("score", "mean")
    )
    return rows, tubes


def _counted(rows: pd.DataFrame, tubes: pd.DataFrame, rule: TubeRule) -> pd.DataFrame:
    """The tubes, best first, that suppression and the largest number leave."""
    if rule.suppression_iou is not None:
        tubes = tubes[_survives(rows, tubes.index.to_numpy(), rule, rule.suppression_iou)]
    if rule.most_tubes is not None:
        tubes = tubes[tubes.groupby(["video", "class_index"]).cumcount() < rule.most_tubes]
    return tubes


def _survives(
    rows: pd.DataFrame, best_first: NDArray[np.intp], rule: TubeRule, iou: float
) -> NDArray[np.bool_]:
    pairs = tube_overlaps(rows, rows, rule)
    rivals = pairs[pairs["iou"] > iou].groupby("left")["right"].agg(set)
    dropped: set[int] = set()
    kept: set[int] = set()
    for number in best_first.tolist():
        (dropped if rivals[number] & kept else kept).add(number)
    return np.array([number in kept for number in best_first], dtype=np.bool_)


def _ranked(overlaps: pd.DataFrame, tubes: pd.DataFrame) -> pd.DataFrame:
    """Pairs as `matched` takes them; `detection` is the position in `tubes`."""
    position = pd.Series(np.arange(len(tubes)), index=tubes.index)
    rank = tubes.groupby(["video", "class_index"]).cumcount()
    overlaps = overlaps[overlaps["left"].isin(tubes.index)]
    pairs = overlaps.assign(
        detection=position.reindex(overlaps["left"]).to_numpy(),
        rank=rank.reindex(overlaps["left"]).to_numpy(),
        truth=overlaps["right"],
    )
    return pairs.sort_values(["detection", "iou"], ascending=[True, False], kind="stable")
