"""Which prediction is responsible for which box, and how well boxes overlap.

Everything is batched and stays on the device of the predictions: no value is read by the host, no
shape depends on one. Samples with fewer boxes than others are padded.

Source: YOLOv2 §2 and the loss of yolo2-pytorch: the cell of the box's centre, in it the anchor of
the most similar shape.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tubedet.datasets.batching import NO_CLASS, TrainingBatch

SMALLEST_AREA = 1e-9  # keeps a quotient finite where a box is empty


class TrueBoxes(NamedTuple):
    """The boxes of a batch behind a row 0 that is no box, so that an index can say "none".

    boxes_xyxy (B, 1+K, 4), zeros in rows that are no box; class_indices (B, 1+K), `NO_CLASS` there;
    present (B, 1+K) bool, False there.
    """

    boxes_xyxy: Tensor
    class_indices: Tensor
    present: Tensor


def true_boxes(batch: TrainingBatch, like: Tensor) -> TrueBoxes:
    """A batch's boxes with the device and the dtype of `like`."""
    boxes = F.pad(batch.boxes_xyxy.to(like), (0, 0, 1, 0))
    classes = F.pad(batch.class_indices.to(like.device), (1, 0), value=NO_CLASS)
    return TrueBoxes(boxes, classes, classes != NO_CLASS)


def match_anchors(
    boxes_cells: Tensor,
    anchors_wh: Tensor,
    rows: int,
    columns: int,
    *,
    border_cells: float = 0.0,
) -> Tensor:
    """The responsible prediction (...) of every box, an index into the N of `decode_boxes`.

    Args:
        boxes_cells: (..., 4) x1, y1, x2, y2 in grid cells.
        anchors_wh: (A, 2) in grid cells.
        rows: of the prediction map.
        columns: of the prediction map.
        border_cells: added to both sides of a box before it is compared with the anchors.
    """
    center = (boxes_cells[..., :2] + boxes_cells[..., 2:]) / 2
    column = center[..., 0].long().clamp(0, columns - 1)
    row = center[..., 1].long().clamp(0, rows - 1)
    size = boxes_cells[..., 2:] - boxes_cells[..., :2]
    anchor = shape_iou(size + border_cells, anchors_wh).argmax(dim=-1)
    return (row * columns + column) * len(anchors_wh) + anchor


def responsible_for(prediction: Tensor, present: Tensor, predictions: int) -> Tensor:
    """The row (B, N) of the box that each prediction is responsible for, 0 where there is none.

    Of several boxes on one prediction it is the last, on every device: the greatest row number does
    not depend on the order of writing.

    Args:
        prediction: (B, 1+K) of `match_anchors`.
        present: (B, 1+K) of `TrueBoxes`.
        predictions: N.
    """
    rows = torch.arange(prediction.shape[1], device=prediction.device) * present
    none = rows.new_zeros(len(rows), predictions)
    return none.scatter_reduce(1, prediction, rows, "amax")


def scaled(boxes_xyxy: Tensor, width: float, height: float) -> Tensor:
    """Boxes (..., 4) from fractions to a grid of that size."""
    x, y = boxes_xyxy[..., 0::2] * width, boxes_xyxy[..., 1::2] * height
    return torch.stack([x, y], dim=-1).flatten(-2)


def shape_iou(sizes_wh: Tensor, anchors_wh: Tensor) -> Tensor:
    """IoU (..., A) of sizes (..., 2) and anchors (A, 2) laid on a common corner."""
    sizes, anchors = (F.pad(wh, (2, 0)) for wh in (sizes_wh, anchors_wh))
    return pairwise_iou(sizes, anchors)


def pairwise_iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """IoU (..., N, M) of boxes (..., N, 4) and others (..., M, 4), in any common unit."""
    return iou(boxes_xyxy[..., None, :], others_xyxy[..., None, :, :])


def iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """IoU (...) in [0, 1] of boxes (..., 4) with others (..., 4)."""
    return _iou_and_union(boxes_xyxy, others_xyxy)[0]


def covered_share(boxes_xyxy: Tensor, regions_xyxy: Tensor) -> Tensor:
    """Largest share (..., N) of each box (..., N, 4) inside one of the regions (..., M, 4)."""
    if regions_xyxy.shape[-2] == 0:
        return boxes_xyxy.new_zeros(boxes_xyxy.shape[:-1])
    shared = shared_area(boxes_xyxy[..., None, :], regions_xyxy[..., None, :, :])
    return shared.amax(dim=-1) / area(boxes_xyxy).clamp(min=SMALLEST_AREA)


def generalised_iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """GIoU in (-1, 1] and IoU in [0, 1], (...), of boxes (..., 4) with others (..., 4).

    Source: Rezatofighi et al., "Generalized Intersection over Union", 2019.
    """
    overlap, union = _iou_and_union(boxes_xyxy, others_xyxy)
    low = torch.minimum(boxes_xyxy[..., :2], others_xyxy[..., :2])
    high = torch.maximum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
    hull = (high - low).prod(dim=-1).clamp(min=SMALLEST_AREA)
    return overlap - (hull - union) / hull, overlap


def _iou_and_union(boxes_xyxy: Tensor, others_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    shared = shared_area(boxes_xyxy, others_xyxy)
    union = (area(boxes_xyxy) + area(others_xyxy) - shared).clamp(min=SMALLEST_AREA)
    return shared / union, union


def area(boxes_xyxy: Tensor) -> Tensor:
    """Area (...) of boxes (..., 4); an inverted box has none."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0).prod(dim=-1)


def shared_area(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Area (...) common to boxes (..., 4) and others (..., 4)."""
    low = torch.maximum(boxes_xyxy[..., :2], others_xyxy[..., :2])
    high = torch.minimum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
    return (high - low).clamp(min=0).prod(dim=-1)
