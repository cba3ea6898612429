"""From the raw prediction map to boxes and probabilities. Tensors in, tensors out.

No threshold and no suppression: picking boxes belongs to `tubes`.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class DecodedBoxes(NamedTuple):
    """Every candidate box of a batch: N = H·W·A, cells row by row, anchors innermost.

    `boxes_xyxy` (B, N, 4) is in fractions of the network input, not clipped; `overlap` (B, N) is
    the predicted IoU with the object, `class_prob` (B, N, C) sums to 1 over C; both in [0, 1].
    """

    boxes_xyxy: Tensor
    overlap: Tensor
    class_prob: Tensor


def decode_boxes(raw: Tensor, anchors_wh: Tensor, num_classes: int) -> DecodedBoxes:
    """Turn the raw prediction map into boxes, overlap estimates and class scores.

    Args:
        raw: (B, A*(5+C), H, W) float, anchor-major; per anchor tx, ty, tw, th, to, classes.
        anchors_wh: (A, 2) float, prior width and height in grid cells (1 cell = 32 input px).
        num_classes: C, without a background class.

    Returns:
        boxes_xyxy (B, N, 4), fractions of the network input, not clipped; overlap (B, N) and
        class_prob (B, N, C) in [0, 1]. N = H*W*A, cells row by row, anchors innermost.

    Raises:
        ValueError: if the channels of `raw` are not A*(5+C).

    Source: YOLOv2 §2 (direct location prediction).
    """
    batch, channels, rows, columns = raw.shape
    anchors, fields = len(anchors_wh), 5 + num_classes
    if channels != anchors * fields:
        raise ValueError(
            f"the prediction map has {channels} channels; {anchors} anchors and "
            f"{num_classes} classes need {anchors * fields}"
        )
    per_cell = raw.permute(0, 2, 3, 1).reshape(batch, rows * columns, anchors, fields)
    corners = _cell_corners(rows, columns, per_cell)
    grid_wh = corners[-1] + 1  # made on the device: a copy from the host would wait for a GPU
    centers = (per_cell[..., :2].sigmoid() + corners) / grid_wh
    sizes = per_cell[..., 2:4].exp() * anchors_wh.to(per_cell) / grid_wh
    boxes_xyxy = torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1)
    return DecodedBoxes(
        boxes_xyxy=boxes_xyxy.flatten(1, 2),
        overlap=per_cell[..., 4].sigmoid().flatten(1, 2),
        class_prob=per_cell[..., 5:].softmax(dim=-1).flatten(1, 2),
    )


def _cell_corners(rows: int, columns: int, like: Tensor) -> Tensor:
    """(rows·columns, 1, 2): column and row of every cell, row by row, in `like`'s dtype."""
    y, x = torch.meshgrid(
        torch.arange(rows, dtype=like.dtype, device=like.device),
        torch.arange(columns, dtype=like.dtype, device=like.device),
        indexing="ij",
    )
    return torch.stack([x, y], dim=-1).reshape(-1, 1, 2)
