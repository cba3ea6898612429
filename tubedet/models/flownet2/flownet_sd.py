"""FlowNetSD: the FlowNet2 branch for small displacements, 3x3 convolutions from full resolution."""

from torch import Tensor

from tubedet.models.flownet2.layers import (
    FlowPyramid,
    SixLevelNet,
    check_size,
    conv_block,
    scaled,
)


class SmallDisplacementLayers(SixLevelNet):
    """The layers of FlowNetSD without a `forward`.

    NVIDIA's stand-alone FlowNet2-SD has these parameters under the same, unprefixed names but
    answers with one flow in pixels, so both classes are built on this one.
    """

    def __init__(self, *, in_channels: int = 6, width: float = 1.0) -> None:
        super().__init__()
        c64, c128, c256 = (scaled(c, width) for c in (64, 128, 256))
        self.conv0 = conv_block(in_channels, c64)
        self.conv1 = conv_block(c64, c64, stride=2)
        self.conv1_1 = conv_block(c64, c128)
        self.conv2 = conv_block(c128, c128, stride=2)
        self.conv2_1 = conv_block(c128, c128)
        self.conv3 = conv_block(c128, c256, stride=2)
        self.conv3_1 = conv_block(c256, c256)
        self.add_coarse_levels(width=width, intermediate_convs=True)

    def flow_pyramid(self, pair: Tensor) -> FlowPyramid:
        """Flow at five levels from normalised frames (B, in_channels, H, W).

        Raises:
            ValueError: if H or W is not a multiple of 64.
        """
        check_size(pair)
        level1 = self.conv1_1(self.conv1(self.conv0(pair)))
        level2 = self.conv2_1(self.conv2(level1))
        return self.pyramid(level2, self.conv3_1(self.conv3(level2)))


class FlowNetSD(SmallDisplacementLayers):
    """Flow of slow motion, below about 10 px.

    Args:
        in_channels: 6: two RGB frames, channel by channel, frame 1 first.
        width: factor on every hidden channel count; 1 is the published network, 45.4 M parameters.

    Source: FlowNet2 (Ilg et al., 2017) §4.
    """

    def forward(self, pair: Tensor) -> FlowPyramid:
        """Flow at five levels from normalised frames (B, in_channels, H, W).

        Raises:
            ValueError: if H or W is not a multiple of 64.
        """
        return self.flow_pyramid(pair)
