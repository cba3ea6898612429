"""FlowNetFusion: chooses, pixel by pixel, between the flows for large and small displacements."""

from torch import Tensor

from tubedet.models.flownet2.layers import CoarseToFine, conv_block, scaled


class FlowNetFusion(CoarseToFine):
    """Full-resolution flow from two candidates and their errors.

    Args:
        in_channels: 11: frame 1, both flows, both lengths, both brightness errors.
        width: factor on every hidden channel count; 1 is the published network, 0.58 M parameters.

    Source: FlowNet2 (Ilg et al., 2017) §4.
    """

    def __init__(self, *, in_channels: int = 11, width: float = 1.0) -> None:
        super().__init__()
        c16, c32, c64, c128 = (scaled(c, width) for c in (16, 32, 64, 128))
        self.conv0 = conv_block(in_channels, c64)
        self.conv1 = conv_block(c64, c64, stride=2)
        self.conv1_1 = conv_block(c64, c128)
        self.conv2 = conv_block(c128, c128, stride=2)
        self.conv2_1 = conv_block(c128, c128)
        self.add_decoder(2, c128, [(c128, c32), (c64, c16)], intermediate_convs=True)

    def forward(self, candidates: Tensor) -> Tensor:
        """Flow (B, 2, H, W) in px from (B, in_channels, H, W); H and W are multiples of 4."""
        level0 = self.conv0(candidates)
        level1 = self.conv1_1(self.conv1(level0))
        level2 = self.conv2_1(self.conv2(level1))
        return self.decode(level2, [level1, level0])[-1]
