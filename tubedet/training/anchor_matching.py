"""Which prediction answers for which box, and which predictions are left alone.

Source: YOLOv2 §2 and the loss of yolo2-pytorch: the cell of the box's centre, in it the anchor of
the most similar shape; predictions that overlap a box well are not told that they are background.
"""

from typing import NamedTuple

import torch
from torch import Tensor

SMALLEST_AREA = 1e-9  # keeps a quotient finite where a box is empty


class AnchorMatch(NamedTuple):
    """One row for each of the K boxes of a batch.

    `sample` (K,) and `prediction` (K,) index the decoded predictions (B, N); where two boxes fall
    on the same prediction, both rows stand and the loss sees both.
    """

    sample: Tensor
    prediction: Tensor


def match_anchors(
    boxes_xyxy: Tensor,
    sample: Tensor,
    anchors_wh: Tensor,
    rows: int,
    columns: int,
    *,
    border_cells: float = 0.0,
) -> AnchorMatch:
    """The responsible prediction of every true box.

    Args:
        boxes_xyxy: (K, 4) fractions of the network input.
        sample: (K,) index of the sample that each box belongs to.
        anchors_wh: (A, 2) in grid cells.
        rows: of the prediction map.
        columns: of the prediction map.
        border_cells: added to both sides of a box before it is compared with the anchors.
    """
    center = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    column = (center[:, 0] * columns).long().clamp(0, columns - 1)
    row = (center[:, 1] * rows).long().clamp(0, rows - 1)
    size = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) * boxes_xyxy.new_tensor([columns, rows])
    anchor = shape_iou(size + border_cells, anchors_wh).argmax(dim=1)
    return AnchorMatch(sample, (row * columns + column) * len(anchors_wh) + anchor)


def shape_iou(sizes_wh: Tensor, anchors_wh: Tensor) -> Tensor:
    """IoU (K, A) of sizes (K, 2) and anchors (A, 2) laid on a common corner."""
    sizes, anchors = (torch.cat([wh * 0, wh], dim=1) for wh in (sizes_wh, anchors_wh))
    return pairwise_iou(sizes, anchors)


def pairwise_iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """IoU (N, M) of boxes (N, 4) and others (M, 4), in any common unit."""
    shared = shared_area(boxes_xyxy[:, None], others_xyxy[None])
    union = area(boxes_xyxy)[:, None] + area(others_xyxy)[None] - shared
    return shared / union.clamp(min=SMALLEST_AREA)


def covered_share(boxes_xyxy: Tensor, regions_xyxy: Tensor) -> Tensor:
    """Largest share (N,) of each box (N, 4) that lies inside one of the regions (M, 4)."""
    if len(regions_xyxy) == 0:
        return boxes_xyxy.new_zeros(len(boxes_xyxy))
    shared = shared_area(boxes_xyxy[:, None], regions_xyxy[None])
    return (shared / area(boxes_xyxy).clamp(min=SMALLEST_AREA)[:, None]).amax(dim=1)


def generalised_iou(boxes_xyxy: Tensor, others_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """GIoU in (-1, 1] and IoU in [0, 1] of boxes (K, 4) with others (K, 4), row by row.

    Source: Rezatofighi et al., "Generalized Intersection over Union", 2019.
    """
    shared = shared_area(boxes_xyxy, others_xyxy)
    union = (area(boxes_xyxy) + area(others_xyxy) - shared).clamp(min=SMALLEST_AREA)
    low = torch.minimum(boxes_xyxy[:, :2], others_xyxy[:, :2])
    high = torch.maximum(boxes_xyxy[:, 2:], others_xyxy[:, 2:])
    hull = (high - low).prod(dim=1).clamp(min=SMALLEST_AREA)
    iou = shared / union
    return iou - (hull - union) / hull, iou


def area(boxes_xyxy: Tensor) -> Tensor:
    """Area (...) of boxes (..., 4); an inverted box has none."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0).prod(dim=-1)


def shared_area(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Area (...) common to boxes (..., 4) and others (..., 4)."""
    low = torch.maximum(boxes_xyxy[..., :2], others_xyxy[..., :2])
    high = torch.minimum(boxes_xyxy[..., 2:], others_xyxy[..., 2:])
    return (high - low).clamp(min=0).prod(dim=-1)
