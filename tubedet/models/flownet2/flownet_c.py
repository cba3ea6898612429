"""FlowNetC: features of each frame first, then their correlation; the start of every stack."""

import torch
from torch import Tensor, nn

from tubedet.models.flownet2.correlation import SPAN, Correlation
from tubedet.models.flownet2.layers import (
    NEGATIVE_SLOPE,
    FlowPyramid,
    SixLevelNet,
    check_size,
    conv_block,
    scaled,
)


class FlowNetC(SixLevelNet):
    """Flow from explicit matching of the frames' features.

    Args:
        in_channels: of both frames together; 6 for RGB.
        width: factor on every hidden channel count; 1 is the published network, 39.2 M parameters.

    Source: FlowNet (Dosovitskiy et al., 2015) §3.
    """

    def __init__(self, *, in_channels: int = 6, width: float = 1.0) -> None:
        super().__init__()
        c32, c64, c128, c256 = (scaled(c, width) for c in (32, 64, 128, 256))
        self.conv1 = conv_block(in_channels // 2, c64, kernel=7, stride=2)
        self.conv2 = conv_block(c64, c128, kernel=5, stride=2)
        self.conv3 = conv_block(c128, c256, kernel=5, stride=2)
        self.correlation = Correlation()
        self.activation = nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)
        self.conv_redir = conv_block(c256, c32, kernel=1)
        self.conv3_1 = conv_block(c32 + SPAN**2, c256)
        self.add_coarse_levels(width=width, intermediate_convs=False)

    def forward(self, pair: Tensor) -> FlowPyramid:
        """Flow at five levels, in px / 20, from normalised frames (B, in_channels, H, W).

        Raises:
            ValueError: if H or W is not a multiple of 64.
        """
        check_size(pair)
        level2 = self.conv2(self.conv1(torch.cat(pair.chunk(2, dim=1))))  # both frames in a batch
        first, second = self.conv3(level2).chunk(2)
        matches = self.activation(self.correlation(first, second))
        level3 = self.conv3_1(torch.cat([self.conv_redir(first), matches], dim=1))
        return self.pyramid(level2.chunk(2)[0], level3)
