"""What is wrong with all boxes of a detector alike, by those of whole frames that it learned from.

Boxes turn out a little too wide, and better than their overlap says. One number each, for all
boxes, is too few to overfit.
"""

import torch
from torch import Tensor, cat

from tubedet.training.anchor_matching import iou

HIT_IOU = 0.3


def box_corrections(
    true_xyxy: Tensor, predicted_xyxy: Tensor, overlap: Tensor
) -> tuple[Tensor, Tensor]:
    """What to add to the logarithms of width and height (2,), and to the overlap's logit ().

    Half the boxes are then too wide, half too narrow, the same with their heights, and the
    predicted overlap is right on average. Boxes with an IoU of at most `HIT_IOU` are left out.

    Args:
        true_xyxy: (M, 4); if none is left, nothing is corrected.
        predicted_xyxy: (M, 4).
        overlap: (M,) predicted IoU in (0, 1).
    """
    hit = iou(true_xyxy, predicted_xyxy) > HIT_IOU
    true_xyxy, predicted_xyxy, overlap = true_xyxy[hit], predicted_xyxy[hit], overlap[hit]
    if not len(overlap):
        return torch.zeros(2), torch.zeros(())
    true_wh, predicted_wh = (boxes[:, 2:] - boxes[:, :2] for boxes in (true_xyxy, predicted_xyxy))
    log_size = (true_wh / predicted_wh).log().median(dim=0).values
    center = (predicted_xyxy[:, :2] + predicted_xyxy[:, 2:]) / 2
    half_wh = predicted_wh * log_size.exp() / 2
    corrected = cat([center - half_wh, center + half_wh], dim=1)
    return log_size, iou(true_xyxy, corrected).mean().logit() - overlap.mean().logit()
