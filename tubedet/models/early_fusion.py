"""Early fusion: the last activations of both streams side by side, one 1×1 convolution on top.

Source: El-Nouby and Taylor §III-A and Figure 1 (c): "applying a 1x1 kernel on the fused
activations".
"""

import math

import torch
from torch import Tensor, cat, nn


class Fusion(nn.Module):
    """Whatever makes predictions of the features of both streams, with a 1×1 convolution `conv`.

    Args:
        channels: of the features that the convolution takes.
        num_anchors: A, boxes predicted in each cell.
        fields: numbers that the convolution predicts for each; the fifth is the overlap's logit.
    """

    def __init__(self, channels: int, *, num_anchors: int, fields: int) -> None:
        super().__init__()
        self.num_anchors = num_anchors
        self.conv = nn.Conv2d(channels, num_anchors * fields, 1)

    @torch.no_grad()
    def set_overlap_prior(self, overlap: float = 0.02) -> None:
        """Start from anchors with a small overlap: one candidate in hundreds answers for a box.

        Source: the prior of RetinaNet (Lin et al., 2017, §4.1).
        """
        assert self.conv.bias is not None
        nn.init.normal_(self.conv.weight, std=0.01)
        self.conv.bias.view(self.num_anchors, -1)[:, 4] = math.log(overlap / (1 - overlap))


class EarlyFusion(Fusion):
    """The paper's: the convolution of both feature maps, concatenated channel-wise.

    Args:
        stream_channels: channels of the last activations of the RGB and of the motion stream.
        num_anchors: A.
        num_classes: C, without a background class.
    """

    def __init__(
        self, *, stream_channels: tuple[int, int], num_anchors: int, num_classes: int
    ) -> None:
        super().__init__(sum(stream_channels), num_anchors=num_anchors, fields=5 + num_classes)

    def forward(self, rgb: Tensor, motion: Tensor) -> Tensor:
        """Two maps (B, F, H, W) → raw predictions (B, A*(5+C), H, W), anchor-major."""
        raw: Tensor = self.conv(cat([rgb, motion], dim=1))
        return raw
