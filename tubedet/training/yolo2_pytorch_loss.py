"""The loss of yolo2-pytorch, which the paper builds on: squared errors under masks.

Each term is the sum of the squares of mask times error, so a mask counts by its square, divided by
the number of true boxes. The masks of the overlap depend on the prediction itself: confident
mistakes weigh more, though no gradient flows through the weight. Sizes are compared as multiples of
the anchor, not as logarithms, and areas count both border pixels.

Source: longcw/yolo2-pytorch at f046769; its numbers, and no others, are below.
"""

from typing import NamedTuple

import torch
from torch import Tensor, cat, where

from tubedet.datasets.batching import TrainingBatch
from tubedet.models.presets import OUTPUT_STRIDE
from tubedet.models.yolov2.box_decoding import decode_boxes
from tubedet.training.anchor_matching import (
    iou,
    match_anchors,
    pairwise_iou,
    responsible_for,
    scaled,
    true_boxes,
)
from tubedet.training.detection_loss import BACKGROUND_MAX_IOU, DetectionLoss, divisor

COORD_SCALE, OBJECT_SCALE, NOOBJECT_SCALE, CLASS_SCALE = 1.0, 5.0, 1.0, 1.0
PRIOR_SCALE = 0.01  # pulls predictions without responsibility to their anchors, all the time
PRIOR_CENTER, PRIOR_SIZE = 0.5, 1.0  # the middle of the cell, the size of the anchor
BORDER_PX = 1.0  # x2 and y2 are the last pixels inside
# Boxes are matched with anchors in cells, but with the border of one pixel still added: it leaked.
BORDER_CELLS = 1.0


class Yolo2Targets(NamedTuple):
    """The target of every prediction and its weight; N in the order of `decode_boxes`.

    boxes (B, N, 4): centre within the cell, size as a multiple of the anchor; overlap (B, N, 1);
    classes (B, N, C); each with its mask (B, N, 1).
    """

    boxes: Tensor
    box_mask: Tensor
    overlap: Tensor
    overlap_mask: Tensor
    classes: Tensor
    class_mask: Tensor


def yolo2_pytorch_loss(
    raw: Tensor,
    batch: TrainingBatch,
    anchors_wh: Tensor,
    num_classes: int,
    *,
    num_boxes: int | None = None,
) -> DetectionLoss:
    """Loss of raw predictions against a batch's boxes.

    Args:
        raw: (B, A*(5+C), H, W) float, see `decode_boxes`.
        batch: boxes in fractions of the network input; a sample may have none. Its ignore regions
            are not used.
        anchors_wh: (A, 2) in grid cells.
        num_classes: C.
        num_boxes: true boxes of the whole batch that this one is a part of; None: of this one.
    """
    targets = yolo2_targets(raw.detach(), batch, anchors_wh.to(raw), num_classes)
    per_anchor = raw.permute(0, 2, 3, 1).reshape(len(raw), -1, 5 + num_classes)
    boxes = cat([per_anchor[..., :2].sigmoid(), per_anchor[..., 2:4].exp()], dim=-1)
    overlap, classes = per_anchor[..., 4:5].sigmoid(), per_anchor[..., 5:].softmax(dim=-1)
    count = divisor(batch, num_boxes)
    box, iou, label = (
        ((predicted - target) * mask).square().sum() / count
        for predicted, target, mask in (
            (boxes, targets.boxes, targets.box_mask),
            (overlap, targets.overlap, targets.overlap_mask),
            (classes, targets.classes, targets.class_mask),
        )
    )
    return DetectionLoss(box + iou + label, box, iou, label)


def yolo2_targets(
    raw: Tensor, batch: TrainingBatch, anchors_wh: Tensor, num_classes: int
) -> Yolo2Targets:
    """Targets and masks for raw predictions (B, A*(5+C), H, W)."""
    rows, columns = raw.shape[-2:]
    input_wh = columns * OUTPUT_STRIDE, rows * OUTPUT_STRIDE
    decoded = decode_boxes(raw, anchors_wh, num_classes)
    predicted_px, overlap = scaled(decoded.boxes_xyxy, *input_wh), decoded.overlap[..., None]
    truth = true_boxes(batch, raw)
    truth_px = scaled(truth.boxes_xyxy, *input_wh).round()

    prediction = match_anchors(
        truth_px / OUTPUT_STRIDE, anchors_wh, rows, columns, border_cells=BORDER_CELLS
    )
    row = responsible_for(prediction, truth.present, overlap.shape[1])[..., None]
    responsible = row > 0
    own_px = truth_px.gather(1, row.expand_as(predicted_px))
    center = (own_px[..., :2] + own_px[..., 2:]) / 2 / OUTPUT_STRIDE
    size = (own_px[..., 2:] - own_px[..., :2]) / OUTPUT_STRIDE
    size = size / anchors_wh.repeat(rows * columns, 1)
    own_iou = iou(_with_border(predicted_px), _with_border(own_px))[..., None]
    own_class = truth.class_indices.gather(1, row[..., 0])[..., None]

    # With the border a row that is no box would cover a pixel.
    ious = pairwise_iou(_with_border(predicted_px), _with_border(truth_px))
    best = (ious * truth.present[:, None]).amax(dim=-1, keepdim=True)
    background = where(best > BACKGROUND_MAX_IOU, 0.0, -NOOBJECT_SCALE * overlap)
    return Yolo2Targets(
        boxes=cat(
            [
                where(responsible, center - center.floor(), PRIOR_CENTER),
                where(responsible, size, PRIOR_SIZE),
            ],
            dim=-1,
        ),
        box_mask=where(responsible, COORD_SCALE, PRIOR_SCALE),
        overlap=own_iou * responsible,
        overlap_mask=where(responsible, OBJECT_SCALE * (1 - overlap), background),
        classes=(own_class == torch.arange(num_classes, device=raw.device)).to(raw),
        class_mask=responsible * CLASS_SCALE,
    )


def _with_border(boxes_px: Tensor) -> Tensor:
    """Corners are pixels: the last one counts, too."""
    return cat([boxes_px[..., :2], boxes_px[..., 2:] + BORDER_PX], dim=-1)
