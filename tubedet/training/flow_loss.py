"""The training loss of flow networks; no file, no optimiser."""

import torch.nn.functional as F
from torch import Tensor

from tubedet.models.flownet2.channel_norm import ChannelNorm
from tubedet.models.flownet2.layers import FlowPyramid
from tubedet.models.flownet2.stacks import DIV_FLOW

# Weights of flow2 … flow6, each on a sum over the level's pixels: FlowNet's Caffe definition.
LEVEL_WEIGHTS = (0.005, 0.01, 0.02, 0.08, 0.32)


def multi_scale_loss(pyramid: FlowPyramid, flow_uv: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """FlowNet's training loss.

    Args:
        pyramid: predicted flow2 … flow6, in px / 20.
        flow_uv: (B, 2, H, W) true flow, px.
        valid: (B, H, W) bool, pixels whose true flow is known; the others do not count.

    Returns:
        The loss: `LEVEL_WEIGHTS` times the sums of end-point errors, over the number of pixels of
        flow2, which makes it independent of the input's size. And flow2's mean error in px.
    """
    weight = valid[:, None].float()
    true = flow_uv / DIV_FLOW * weight
    loss, errors = flow_uv.new_zeros(()), []
    for flow, level_weight in zip(pyramid, LEVEL_WEIGHTS, strict=True):
        cells = (flow.shape[2], flow.shape[3])
        share = F.adaptive_avg_pool2d(weight, cells)
        target = F.adaptive_avg_pool2d(true, cells) / share.clamp(min=1e-6)
        error = ChannelNorm()(flow.float() - target) * (share > 0.5)
        loss = loss + level_weight / LEVEL_WEIGHTS[0] * error.sum()
        errors.append(error.detach())
    return loss / errors[0].numel(), errors[0].mean() * DIV_FLOW
