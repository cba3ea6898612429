"""How long f-mAP takes on all annotated test frames of UCF101-24, beside a plain loop over frames.

    python examples/measure_scoring_speed.py UCF_FOLDER

Annotations alone are needed. The detections are made: every true box, moved at random and, one in
five, under another class. The loop is the same rule as it is usually written: one detection after
the other takes the best free box of its class in its frame, by `iou_xyxy`.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from time import perf_counter

import numpy as np
import pandas as pd

from tubedet.boxes import iou_xyxy
from tubedet.datasets.row_files import BOX_COLUMNS
from tubedet.datasets.ucf101_24 import load_ucf101_24
from tubedet.evaluation.detection_rows import truth_table
from tubedet.evaluation.frame_map import DETECTION_COLUMNS, TRUTH_COLUMNS, frame_map
from tubedet.evaluation.rules import all_points

IOU_THRESHOLDS = (0.2, 0.5, 0.75)


def made_detections(truth: pd.DataFrame, classes: int) -> pd.DataFrame:
    """One detection a true box, all scores different."""
    rng = np.random.default_rng(0)
    moved = truth[BOX_COLUMNS] + rng.normal(0, 10, (len(truth), 4))
    wrong = np.where(rng.random(len(truth)) < 0.2, rng.integers(classes, size=len(truth)), -1)
    labels = np.where(wrong >= 0, wrong, truth["class_index"])
    scores = rng.permutation(len(truth)) / len(truth)
    return truth.assign(class_index=labels, score=scores, **moved)


def plain_loop(detections: pd.DataFrame, truth: pd.DataFrame, iou_threshold: float) -> float:
    """The mean of the classes' average precisions, one frame after the other."""
    free: dict[object, list[tuple[float, ...]]] = defaultdict(list)
    for *key, x1, y1, x2, y2 in truth[TRUTH_COLUMNS].itertuples(index=False):
        free[tuple(key)].append((x1, y1, x2, y2))
    judged: dict[int, list[bool]] = defaultdict(list)
    ranked = detections.sort_values("score", ascending=False)[DETECTION_COLUMNS]
    for video, frame, index, _, *box in ranked.itertuples(index=False):
        rivals = free[video, frame, index]
        overlaps = iou_xyxy(np.array(box), np.array(rivals).reshape(-1, 4))[0]
        hit = bool(rivals) and overlaps.max() >= iou_threshold
        if hit:
            rivals.pop(int(overlaps.argmax()))
        judged[index].append(hit)
    areas = []
    for index, total in Counter(truth["class_index"]).items():
        hits = np.cumsum(judged[index], dtype=np.float64)
        areas.append(all_points(hits / total, hits / np.arange(1, len(hits) + 1)))
    return float(np.mean(areas))


def main(arguments: Sequence[str] | None = None) -> None:
    """Time both on the same boxes and print the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("ucf", help="UCF101-24: annotations")
    data = load_ucf101_24(parser.parse_args(arguments).ucf, require_videos=False)
    truth = truth_table(data)
    detections = made_detections(truth, len(data.class_names))
    began = perf_counter()
    fast = [at.mean for at in frame_map(detections, truth, IOU_THRESHOLDS)]
    between = perf_counter()
    slow = [plain_loop(detections, truth, threshold) for threshold in IOU_THRESHOLDS]
    seconds, plain = between - began, perf_counter() - between
    frames = truth.groupby(["video", "frame"]).ngroups
    print(f"{frames} annotated frames, {len(truth)} boxes, IoU {IOU_THRESHOLDS}")
    print(f"frame_map:  {seconds:.3f} s, f-mAP {', '.join(f'{mean:.9f}' for mean in fast)}")
    print(f"plain loop: {plain:.3f} s, f-mAP {', '.join(f'{mean:.9f}' for mean in slow)}")
    print(f"ratio: {seconds / plain:.4f}")


if __name__ == "__main__":
    main()
