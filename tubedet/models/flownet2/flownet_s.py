"""FlowNetS: a plain encoder and decoder that sees everything stacked; refines a first flow."""

from torch import Tensor

from tubedet.models.flownet2.layers import (
    FlowPyramid,
    SixLevelNet,
    check_size,
    conv_block,
    scaled,
)


class FlowNetS(SixLevelNet):
    """Flow from stacked channels.

    Args:
        in_channels: 12 in a stack (two frames, warped frame 2, flow, brightness error), 6 alone.
        width: factor on every hidden channel count; 1 is the published network, 38.7 M parameters.

    Source: FlowNet (Dosovitskiy et al., 2015) §3; stacking: FlowNet2 (Ilg et al., 2017) §3.2.
    """

    def __init__(self, *, in_channels: int = 6, width: float = 1.0) -> None:
        super().__init__()
        c64, c128, c256 = (scaled(c, width) for c in (64, 128, 256))
        self.conv1 = conv_block(in_channels, c64, kernel=7, stride=2)
        self.conv2 = conv_block(c64, c128, kernel=5, stride=2)
        self.conv3 = conv_block(c128, c256, kernel=5, stride=2)
        self.conv3_1 = conv_block(c256, c256)
        # NVIDIA's FlowNetS alone upsamples flow without a bias; its checkpoints have none.
        self.add_coarse_levels(width=width, intermediate_convs=False, flow_upsampling_bias=False)

    def forward(self, stacked: Tensor) -> FlowPyramid:
        """Flow at five levels, in px / 20, from (B, in_channels, H, W).

        Raises:
            ValueError: if H or W is not a multiple of 64.
        """
        check_size(stacked)
        level2 = self.conv2(self.conv1(stacked))
        return self.pyramid(level2, self.conv3_1(self.conv3(level2)))
