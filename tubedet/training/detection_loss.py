"""YOLOv2's three terms for boxes, overlap and class, with penalties that train faster.

The assignment is YOLOv2's (`anchor_matching`); later work found generalised IoU for the four
coordinates and cross-entropy for overlap and class to train faster. The class term also goes to
predictions that already overlap a box well, for any of them may score highest in use.

Source: YOLOv2 §2; Rezatofighi et al., "Generalized Intersection over Union", 2019.
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, where

from tubedet.datasets.batching import NO_CLASS, TrainingBatch
from tubedet.models.yolov2.box_decoding import decode_boxes
from tubedet.training.anchor_matching import (
    covered_share,
    generalised_iou,
    match_anchors,
    pairwise_iou,
    responsible_for,
    scaled,
    true_boxes,
)

BOX_WEIGHT = 2.0
# YOLOv2's ratio of object_scale to noobject_scale; a fifth of both, since cross-entropy against a
# soft target has a floor that would drown the class term.
OBJECT_WEIGHT = 1.0
BACKGROUND_WEIGHT = 0.2
# yolo2-pytorch's iou_thresh: above it a prediction without responsibility is no background.
BACKGROUND_MAX_IOU = 0.6
# A prediction that lies mostly inside an ignored region is neither box nor background.
IGNORED_MIN_SHARE = 0.5


class DetectionLoss(NamedTuple):
    """Terms of the loss, already weighted, and their sum; scalars."""

    total: Tensor
    box: Tensor
    overlap: Tensor
    label: Tensor


def detection_loss(
    raw: Tensor,
    batch: TrainingBatch,
    anchors_wh: Tensor,
    num_classes: int,
    label_smoothing: float = 0.0,
    *,
    num_boxes: int | None = None,
) -> DetectionLoss:
    """Loss of raw predictions against a batch's boxes.

    Args:
        raw: (B, A*(5+C), H, W) float, see `decode_boxes`.
        batch: boxes in fractions of the network input; a sample may have none.
        anchors_wh: (A, 2) in grid cells.
        num_classes: C.
        label_smoothing: share of the class target spread over all classes.
        num_boxes: boxes of the whole batch that this one is a part of; None: of this one.

    Returns:
        Box and overlap terms are sums over the batch divided by its number of boxes, as in
        yolo2-pytorch; the class term is a mean, and of a part of a batch its share by boxes. A
        batch without boxes still trains the overlap.
    """
    rows, columns = raw.shape[-2:]
    decoded = decode_boxes(raw, anchors_wh, num_classes).boxes_xyxy
    truth = true_boxes(batch, raw)
    boxes_cells = scaled(truth.boxes_xyxy, columns, rows)
    prediction = match_anchors(boxes_cells, anchors_wh.to(raw), rows, columns)
    matched = decoded.gather(1, prediction[..., None].expand_as(truth.boxes_xyxy))
    giou, iou = generalised_iou(matched, truth.boxes_xyxy)

    row = responsible_for(prediction, truth.present, decoded.shape[1])
    best, nearest = pairwise_iou(decoded.detach(), truth.boxes_xyxy).max(dim=-1)
    well_placed = best > BACKGROUND_MAX_IOU
    ignored = covered_share(decoded.detach(), batch.ignore_xyxy.to(raw)) > IGNORED_MIN_SHARE
    weight = where(well_placed | ignored, 0.0, BACKGROUND_WEIGHT)
    weight = where(row > 0, OBJECT_WEIGHT, weight)
    labelled_as = where(row > 0, row, nearest * well_placed)

    count = divisor(batch, num_boxes)
    logits = raw.permute(0, 2, 3, 1).reshape(*decoded.shape[:2], 5 + num_classes)
    box = ((1 - giou) * truth.present).sum() * BOX_WEIGHT / count
    overlap = F.binary_cross_entropy_with_logits(
        logits[..., 4], iou.detach().gather(1, row), weight, reduction="sum"
    )
    overlap = overlap / count
    classes = truth.class_indices.gather(1, labelled_as)
    label = _mean_cross_entropy(logits[..., 5:], classes, label_smoothing) * (
        truth.present.sum() / count
    )
    return DetectionLoss(box + overlap + label, box, overlap, label)


def divisor(batch: TrainingBatch, num_boxes: int | None) -> int | Tensor:
    """What sums over predictions are divided by: `num_boxes` or the batch's own, but at least 1."""
    if num_boxes is None:
        return (batch.class_indices != NO_CLASS).sum().clamp(min=1)
    return max(1, num_boxes)


def _mean_cross_entropy(logits: Tensor, classes: Tensor, smoothing: float) -> Tensor:
    """Of logits (B, N, C) the mean over those whose class (B, N) is not `NO_CLASS`; 0 if none."""
    total = F.cross_entropy(
        logits.flatten(0, 1),
        classes.flatten(),
        ignore_index=NO_CLASS,
        label_smoothing=smoothing,
        reduction="sum",
    )
    return total / (classes != NO_CLASS).sum().clamp(min=1)
