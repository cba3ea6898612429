"""Slow twins of the losses: one sample, one prediction and one box after another.

They share nothing with the batched ones but the numbers of their sources; boxes are tuples of four
scalars. `samples` are, for each of a batch, boxes (K, 4), classes (K,) and ignore regions (M, 4).
"""

import math
from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

Sample = tuple[Tensor, Tensor, Tensor]
Box = Sequence[Tensor] | Tensor


def detection_loss_by_samples(
    raw: Tensor, samples: Sequence[Sample], anchors_wh: Tensor, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Terms for box, overlap and class."""
    box_term, overlap_term, label_terms, count = torch.zeros(()), torch.zeros(()), [], 0
    for fields, (boxes, classes, regions) in zip(_fields(raw, anchors_wh), samples, strict=True):
        rows, columns = raw.shape[-2:]
        decoded = [_decoded(raw, anchors_wh, n, values) for n, values in enumerate(fields)]
        count += len(boxes)
        responsible: dict[int, int] = {}
        for k, box in enumerate(boxes):
            n = _responsible(box * torch.tensor([columns, rows] * 2), anchors_wh, rows, columns)
            responsible[n] = k
            box_term = box_term + 2 * (1 - _giou(decoded[n], box))
        for n, values in enumerate(fields):
            detached = [side.detach() for side in decoded[n]]
            target, weight, own = torch.zeros(()), 0.2, responsible.get(n)
            ious = [_iou(detached, box) for box in boxes]
            if own is not None:
                target, weight = ious[own], 1.0
            else:
                if any(_inside(detached, region) > 0.5 for region in regions):
                    weight = 0.0
                if ious and max(ious) > 0.6:
                    weight, own = 0.0, ious.index(max(ious))
            overlap_term = overlap_term + weight * F.binary_cross_entropy_with_logits(
                values[4], target.to(values)
            )
            if own is not None:
                logs = values[5:].log_softmax(dim=0)
                label_terms.append(-(1 - smoothing) * logs[classes[own]] - smoothing * logs.mean())
    label_term = torch.stack(label_terms).mean() if label_terms else torch.zeros(())
    return box_term / max(1, count), overlap_term / max(1, count), label_term


def yolo2_loss_by_samples(
    raw: Tensor, samples: Sequence[Sample], anchors_wh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Terms for box, overlap and class."""
    rows, columns = raw.shape[-2:]
    box_term, overlap_term, label_term, count = torch.zeros(()), torch.zeros(()), torch.zeros(()), 0
    size_px = torch.tensor([columns, rows] * 2) * 32
    for fields, (boxes, classes, _) in zip(_fields(raw, anchors_wh), samples, strict=True):
        boxes_px = [(box * size_px).round() for box in boxes]
        count += len(boxes)
        responsible = {
            _responsible(box / 32, anchors_wh, rows, columns, border=1.0): k
            for k, box in enumerate(boxes_px)
        }
        for n, values in enumerate(fields):
            predicted = torch.stack(_decoded(raw, anchors_wh, n, values)).detach() * size_px
            ious = [_iou(_bordered(predicted), _bordered(box)) for box in boxes_px]
            confidence = values[4].sigmoid()
            found = torch.cat([values[:2].sigmoid(), values[2:4].exp()])
            if n not in responsible:
                box_term = (
                    box_term + (0.01 * (found - torch.tensor([0.5, 0.5, 1, 1]))).square().sum()
                )
                if not ious or max(ious) <= 0.6:
                    overlap_term = overlap_term + (confidence.detach() * confidence).square()
                continue
            k = responsible[n]
            x1, y1, x2, y2 = (boxes_px[k] / 32).tolist()
            anchor_w, anchor_h = anchors_wh[n % len(anchors_wh)].tolist()
            x, y = (x1 + x2) / 2, (y1 + y2) / 2
            target = [x - math.floor(x), y - math.floor(y), (x2 - x1) / anchor_w]
            target.append((y2 - y1) / anchor_h)
            box_term = box_term + (found - torch.tensor(target)).square().sum()
            mask = 5 * (1 - confidence.detach())
            overlap_term = overlap_term + (mask * (confidence - ious[k])).square()
            wanted = F.one_hot(classes[k], len(values) - 5)
            label_term = label_term + (values[5:].softmax(dim=0) - wanted).square().sum()
    return box_term / max(1, count), overlap_term / max(1, count), label_term / max(1, count)


def _fields(raw: Tensor, anchors_wh: Tensor) -> list[list[Tensor]]:
    """For each sample the 5+C numbers of each prediction: rows, columns, anchors."""
    rows, columns = raw.shape[-2:]
    places = list(product(range(rows), range(columns), range(len(anchors_wh))))
    channels = raw.shape[1] // len(anchors_wh)
    return [
        [of_sample[a * channels : (a + 1) * channels, y, x] for y, x, a in places]
        for of_sample in raw
    ]


def _decoded(raw: Tensor, anchors_wh: Tensor, n: int, values: Tensor) -> list[Tensor]:
    rows, columns = raw.shape[-2:]
    cell, anchor = divmod(n, len(anchors_wh))
    y, x = divmod(cell, columns)
    center_x, center_y = (values[0].sigmoid() + x) / columns, (values[1].sigmoid() + y) / rows
    width = values[2].exp() * anchors_wh[anchor, 0] / columns
    height = values[3].exp() * anchors_wh[anchor, 1] / rows
    return [
        center_x - width / 2,
        center_y - height / 2,
        center_x + width / 2,
        center_y + height / 2,
    ]


def _responsible(
    box_cells: Tensor, anchors_wh: Tensor, rows: int, columns: int, border: float = 0.0
) -> int:
    x1, y1, x2, y2 = map(float, box_cells)
    x = min(max(math.floor((x1 + x2) / 2), 0), columns - 1)
    y = min(max(math.floor((y1 + y2) / 2), 0), rows - 1)
    width, height = x2 - x1 + border, y2 - y1 + border
    likeness: list[float] = []
    for anchor_w, anchor_h in anchors_wh.tolist():
        shared = min(width, anchor_w) * min(height, anchor_h)
        likeness.append(shared / (width * height + anchor_w * anchor_h - shared))
    return (y * columns + x) * len(anchors_wh) + likeness.index(max(likeness))


def _bordered(box: Box) -> Box:
    return [box[0], box[1], box[2] + 1, box[3] + 1]


def _size(box: Box) -> Tensor:
    return (box[2] - box[0]) * (box[3] - box[1])


def _shared(a: Box, b: Box) -> Tensor:
    width = torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])
    height = torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])
    return width.clamp(min=0) * height.clamp(min=0)


def _inside(box: Box, region: Box) -> Tensor:
    return _shared(box, region) / _size(box)


def _iou(a: Box, b: Box) -> Tensor:
    return _shared(a, b) / (_size(a) + _size(b) - _shared(a, b))


def _giou(a: Box, b: Box) -> Tensor:
    width = torch.maximum(a[2], b[2]) - torch.minimum(a[0], b[0])
    height = torch.maximum(a[3], b[3]) - torch.minimum(a[1], b[1])
    union = _size(a) + _size(b) - _shared(a, b)
    return _iou(a, b) - (width * height - union) / (width * height)
