"""The loss of yolo2-pytorch, which the paper builds on: squared errors under masks.

Each term is the sum of the squares of mask times error, so a mask counts by its square, divided by
the number of true boxes. The masks of the overlap depend on the prediction itself: confident
mistakes weigh more, though no gradient flows through the weight. Sizes are compared as multiples of
the anchor, not as logarithms, and areas count both border pixels.

Source: longcw/yolo2-pytorch at f046769; its numbers, and no others, are below.
"""

from typing import NamedTuple

import torch
from torch import Tensor, cat

from tubedet.datasets.batching import TrainingBatch
from tubedet.models.presets import OUTPUT_STRIDE
from tubedet.models.yolov2.box_decoding import decode_boxes
from tubedet.training.anchor_matching import match_anchors, pairwise_iou
from tubedet.training.detection_loss import BACKGROUND_MAX_IOU, DetectionLoss, samples_of

COORD_SCALE, OBJECT_SCALE, NOOBJECT_SCALE, CLASS_SCALE = 1.0, 5.0, 1.0, 1.0
PRIOR_SCALE = 0.01  # pulls predictions without responsibility to their anchors, all the time
PRIOR_BOX = (0.5, 0.5, 1.0, 1.0)  # the middle of the cell, the size of the anchor
BORDER_PX = 1.0  # x2 and y2 are the last pixels inside
# Boxes are matched with anchors in cells, but with the border of one pixel still added: it leaked.
BORDER_CELLS = 1.0


class Yolo2Targets(NamedTuple):
    """What every prediction is told, and how much it matters; N in the order of `decode_boxes`.

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
            are not looked at.
        anchors_wh: (A, 2) in grid cells.
        num_classes: C.
        num_boxes: true boxes of the whole batch that this one is a part of; None: of this one.
    """
    told = yolo2_targets(raw.detach(), batch, anchors_wh.to(raw), num_classes)
    per_anchor = raw.permute(0, 2, 3, 1).reshape(len(raw), -1, 5 + num_classes)
    boxes = cat([per_anchor[..., :2].sigmoid(), per_anchor[..., 2:4].exp()], dim=-1)
    overlap, classes = per_anchor[..., 4:5].sigmoid(), per_anchor[..., 5:].softmax(dim=-1)
    count = max(1, num_boxes or sum(map(len, batch.boxes_xyxy)))
    box, iou, label = (
        ((predicted - target) * mask).square().sum() / count
        for predicted, target, mask in (
            (boxes, told.boxes, told.box_mask),
            (overlap, told.overlap, told.overlap_mask),
            (classes, told.classes, told.class_mask),
        )
    )
    return DetectionLoss(box + iou + label, box, iou, label)


def yolo2_targets(
    raw: Tensor, batch: TrainingBatch, anchors_wh: Tensor, num_classes: int
) -> Yolo2Targets:
    """Targets and masks for raw predictions (B, A*(5+C), H, W)."""
    rows, columns = raw.shape[-2:]
    input_wh = raw.new_tensor([columns, rows]) * OUTPUT_STRIDE
    true_px = [(boxes.to(raw) * input_wh.repeat(2)).round() for boxes in batch.boxes_xyxy]
    decoded = decode_boxes(raw, anchors_wh, num_classes)
    predicted_px = decoded.boxes_xyxy * input_wh.repeat(2)
    told = _background(predicted_px, decoded.overlap[..., None], true_px, num_classes)

    truth, sample = cat(true_px), samples_of(true_px).to(raw.device)
    fractions = truth / input_wh.repeat(2)
    match = match_anchors(fractions, sample, anchors_wh, rows, columns, border_cells=BORDER_CELLS)
    last = {
        key: row for row, key in enumerate(zip(*(part.tolist() for part in match), strict=True))
    }
    kept = torch.tensor(list(last.values()), dtype=torch.long, device=raw.device)
    at = (match.sample[kept], match.prediction[kept])
    told.boxes[at] = _box_targets(truth[kept], anchors_wh, match.prediction[kept])
    told.box_mask[at] = COORD_SCALE
    iou = pairwise_iou(_with_border(predicted_px[at]), _with_border(truth[kept])).diagonal()
    told.overlap[at] = iou[:, None]
    told.overlap_mask[at] = OBJECT_SCALE * (1 - decoded.overlap[at])[:, None]
    told.classes[(*at, cat(batch.class_indices).to(raw.device)[kept])] = 1.0
    told.class_mask[at] = CLASS_SCALE
    return told


def _background(
    predicted_px: Tensor, overlap: Tensor, true_px: list[Tensor], num_classes: int
) -> Yolo2Targets:
    """Targets of predictions (B, N, 4) that answer for no box."""
    overlap_mask = -NOOBJECT_SCALE * overlap
    for mask, predicted, truth in zip(overlap_mask, predicted_px, true_px, strict=True):
        if len(truth):
            best = pairwise_iou(_with_border(predicted), _with_border(truth)).amax(dim=1)
            mask[best > BACKGROUND_MAX_IOU] = 0.0
    return Yolo2Targets(
        boxes=overlap.new_tensor(PRIOR_BOX).expand_as(predicted_px).clone(),
        box_mask=torch.full_like(overlap, PRIOR_SCALE),
        overlap=torch.zeros_like(overlap),
        overlap_mask=overlap_mask,
        classes=overlap.new_zeros(*overlap.shape[:2], num_classes),
        class_mask=torch.zeros_like(overlap),
    )


def _box_targets(truth_px: Tensor, anchors_wh: Tensor, prediction: Tensor) -> Tensor:
    """Centre within the cell, and size over that of the anchor, (K, 4)."""
    center = (truth_px[:, :2] + truth_px[:, 2:]) / 2 / OUTPUT_STRIDE
    size = (truth_px[:, 2:] - truth_px[:, :2]) / OUTPUT_STRIDE
    return cat([center - center.floor(), size / anchors_wh[prediction % len(anchors_wh)]], dim=1)


def _with_border(boxes_px: Tensor) -> Tensor:
    return boxes_px + boxes_px.new_tensor([0.0, 0.0, BORDER_PX, BORDER_PX])
