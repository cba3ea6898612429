"""Box voting: a chosen box becomes the mean of all predictions of the same actor.

Neighbouring cells and anchors all predict the box of an actor, each with errors of its own, which a
mean makes smaller; the prediction that is surest of itself is one of many good ones. Beyond the
paper, whose networks keep the one box.

Source: Gidaris and Komodakis, "Object detection via a multi-region and semantic segmentation-aware
CNN model", 2015, §4.
"""

import numpy as np
from numpy.typing import NDArray

from tubedet.boxes import FloatArray, iou_xyxy

# Least IoU of a prediction that has a vote. From 0.4 to 0.6 it makes a point of difference at most.
SAME_ACTOR_IOU = 0.5


def voted_boxes(
    chosen_xyxy: FloatArray, boxes_xyxy: FloatArray, overlap: FloatArray
) -> NDArray[np.float64]:
    """The mean, for each chosen box (K, 4), of the predictions that overlap it.

    Args:
        chosen_xyxy: (K, 4), each one of the predictions.
        boxes_xyxy: all predictions of the frame (N, 4).
        overlap: (N,) their estimated IoU with an actor, in [0, 1]; its square is their weight. What
            is not finite has no vote.
    """
    squares = np.square(np.nan_to_num(overlap, posinf=0.0, neginf=0.0), dtype=np.float64)
    weights = np.where(iou_xyxy(chosen_xyxy, boxes_xyxy) >= SAME_ACTOR_IOU, squares, 0.0)
    total = weights.sum(axis=1, keepdims=True)
    means = weights @ boxes_xyxy / np.where(total > 0, total, 1.0)
    return np.where(total > 0, means, chosen_xyxy)
