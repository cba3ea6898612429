"""Box arithmetic in numpy: intersection over union, suppression of overlaps, clipping.

Boxes are (x1, y1, x2, y2), x right, y down, half-open: a box's width is x2 - x1, without the
+1 pixel of older code. Any unit works as long as both sides share it.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


def iou_xyxy(boxes: FloatArray, others: FloatArray) -> NDArray[np.float64]:
    """Intersection over union of every box (N, 4) with every other (M, 4), as (N, M) in [0, 1].

    An empty or inverted box overlaps nothing: its row is 0.
    """
    return iou_rowwise(np.reshape(boxes, (-1, 1, 4)), np.reshape(others, (1, -1, 4)))


def iou_rowwise(boxes: FloatArray, others: FloatArray) -> NDArray[np.float64]:
    """IoU (...) of each box (..., 4) with the other box (..., 4) at its place; see `iou_xyxy`."""
    a, b = np.asarray(boxes, dtype=np.float64), np.asarray(others, dtype=np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(min=0).prod(axis=-1)
    areas = [(box[..., 2:] - box[..., :2]).clip(min=0).prod(axis=-1) for box in (a, b)]
    union = areas[0] + areas[1] - shared
    iou: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(union), where=union > 0)
    return iou


def nms_xyxy(boxes: FloatArray, scores: FloatArray, iou_threshold: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the kept boxes, highest score first.

    Args:
        boxes: (N, 4).
        scores: (N,); ties keep their order.
        iou_threshold: a box is dropped when its IoU with a kept one is greater.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    kept: list[int] = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(int(best))
        order = rest[iou_xyxy(boxes[best], boxes[rest])[0] <= iou_threshold]
    return np.asarray(kept, dtype=np.intp)


def clip_xyxy(boxes: FloatArray, width: float, height: float) -> NDArray[np.float64]:
    """Boxes (N, 4) cut to the frame [0, width] × [0, height]."""
    limits = np.array([width, height, width, height], dtype=np.float64)
    return np.clip(np.asarray(boxes, dtype=np.float64), 0.0, limits)
