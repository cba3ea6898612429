"""What the network is told: where the box is, how well it overlaps, and which action it shows.

YOLOv2's three terms and its assignment (`anchor_matching`), with the penalties that later work
found to train faster: generalised IoU for the four coordinates, cross-entropy for overlap and
class. The class term also goes to predictions that already overlap the box well, for any of them
may be the one that scores highest when the network is used.

Source: YOLOv2 §2; Rezatofighi et al., "Generalized Intersection over Union", 2019.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tubedet.datasets.batching import TrainingBatch
from tubedet.models.yolov2.box_decoding import decode_boxes
from tubedet.training.anchor_matching import (
    AnchorMatch,
    covered_share,
    generalised_iou,
    match_anchors,
    pairwise_iou,
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
NOBODY = -1


class DetectionLoss(NamedTuple):
    """Terms of the loss, already weighted, and their sum; scalars."""

    total: Tensor
    box: Tensor
    overlap: Tensor
    label: Tensor


class _Targets(NamedTuple):
    """What every prediction (B, N) is told; `owner` is the row of a true box or NOBODY."""

    overlap: Tensor
    overlap_weight: Tensor
    owner: Tensor


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
    decoded = decode_boxes(raw, anchors_wh, num_classes).boxes_xyxy
    true_boxes = [boxes.to(raw) for boxes in batch.boxes_xyxy]
    truth, sample = torch.cat(true_boxes), samples_of(true_boxes).to(raw.device)
    match = match_anchors(truth, sample, anchors_wh.to(raw), *raw.shape[-2:])
    giou, iou = generalised_iou(decoded[match.sample, match.prediction], truth)
    ignored = [regions.to(raw) for regions in batch.ignore_xyxy]
    targets = _targets(decoded.detach(), true_boxes, ignored, match, iou.detach())

    overlap_logit, class_logits = _logits(raw, len(anchors_wh))
    num_boxes = max(1, num_boxes or len(truth))
    box = (1 - giou).sum() * BOX_WEIGHT / num_boxes
    overlap = F.binary_cross_entropy_with_logits(
        overlap_logit, targets.overlap, targets.overlap_weight, reduction="sum"
    )
    overlap = overlap / num_boxes
    classes = torch.cat(batch.class_indices).to(raw.device)
    label = _label_loss(class_logits, classes, targets.owner, label_smoothing)
    label = label * (len(truth) / num_boxes)
    return DetectionLoss(box + overlap + label, box, overlap, label)


def samples_of(boxes: Sequence[Tensor]) -> Tensor:
    """For every row of the boxes' concatenation the number of its sample."""
    return torch.repeat_interleave(torch.tensor([len(each) for each in boxes]))


def _targets(
    decoded: Tensor,
    true_boxes: Sequence[Tensor],
    ignored: Sequence[Tensor],
    match: AnchorMatch,
    matched_iou: Tensor,
) -> _Targets:
    """Targets of the decoded boxes (B, N, 4); those of responsible predictions are laid on last."""
    weight = torch.full_like(decoded[..., 0], BACKGROUND_WEIGHT)
    owner = torch.full_like(weight, NOBODY, dtype=torch.long)
    first_row = accumulate((len(boxes) for boxes in true_boxes), initial=0)
    for i, (boxes, first) in enumerate(zip(true_boxes, first_row, strict=False)):
        if len(boxes):
            best, index = pairwise_iou(decoded[i], boxes).max(dim=1)
            overlapping = best > BACKGROUND_MAX_IOU
            weight[i][overlapping] = 0.0
            owner[i][overlapping] = first + index[overlapping]
        weight[i][covered_share(decoded[i], ignored[i]) > IGNORED_MIN_SHARE] = 0.0
    overlap = torch.zeros_like(weight)
    responsible = (match.sample, match.prediction)
    overlap[responsible] = matched_iou
    weight[responsible] = OBJECT_WEIGHT
    owner[responsible] = torch.arange(len(matched_iou), device=owner.device)
    return _Targets(overlap, weight, owner)


def _logits(raw: Tensor, anchors: int) -> tuple[Tensor, Tensor]:
    """Overlap (B, N) and class (B, N, C) logits, in the order of `decode_boxes`."""
    batch, _, rows, columns = raw.shape
    per_anchor = raw.permute(0, 2, 3, 1).reshape(batch, rows * columns * anchors, -1)
    return per_anchor[..., 4], per_anchor[..., 5:]


def _label_loss(logits: Tensor, classes: Tensor, owner: Tensor, smoothing: float) -> Tensor:
    """Mean cross-entropy of the predictions that have an owner; 0 if none has."""
    labelled = owner != NOBODY
    if not labelled.any():
        return logits.new_zeros(())
    return F.cross_entropy(logits[labelled], classes[owner[labelled]], label_smoothing=smoothing)
