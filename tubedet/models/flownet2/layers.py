"""Layers that the FlowNet2 networks share: convolution blocks and the coarse-to-fine decoder.

Children carry the names of NVIDIA's flownet2-pytorch, so that its checkpoints load key by key.
Its batch-norm variant is left out: no released checkpoint uses it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

FLOW_CHANNELS = 2
NEGATIVE_SLOPE = 0.1
SIZE_MULTIPLE = 64  # six stages of stride 2; another size would not meet its skip connections


class FlowPyramid(NamedTuple):
    """Flow (B, 2, H/2^k, W/2^k) at levels k = 2 to 6, in the scale the network regresses."""

    flow2: Tensor
    flow3: Tensor
    flow4: Tensor
    flow5: Tensor
    flow6: Tensor


def scaled(channels: int, width: float) -> int:
    """Channels of a hidden layer in a network `width` times as wide as the published one."""
    return max(1, round(channels * width))


def conv_block(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution and leaky ReLU; padded, so that stride 1 keeps the size."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=(kernel - 1) // 2)
    return _activated(conv)


def deconv_block(inputs: int, outputs: int) -> nn.Sequential:
    """Transposed convolution to twice the size, and leaky ReLU."""
    return _activated(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1))


def _activated(conv: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    # Without batch norm some twenty layers in a row must keep the variance themselves.
    nn.init.kaiming_normal_(conv.weight, a=NEGATIVE_SLOPE)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True))


class CoarseToFine(nn.Module):
    """Base of the four networks: predicts flow at the coarsest level, then refines it upwards.

    A finer level sees [encoder features, upsampled decoder features, upsampled flow], in this
    order; the same concatenation goes up to the level above it.

    Source: FlowNet (Dosovitskiy et al., 2015) Figure 3; intermediate convolutions: FlowNet2 §4.
    """

    def add_decoder(
        self,
        coarsest: int,
        channels: int,
        steps: Sequence[tuple[int, int]],
        *,
        intermediate_convs: bool,
        flow_upsampling_bias: bool = True,
    ) -> None:
        """Register the decoder's layers.

        Args:
            coarsest: level (log2 of the downsampling) of the first prediction.
            channels: features at that level.
            steps: for every finer level, (encoder features, upsampled decoder features).
            intermediate_convs: whether a convolution without activation precedes predictions.
            flow_upsampling_bias: whether the upsampling of flow has a bias.
        """
        self.coarsest = coarsest
        self.intermediate_convs = intermediate_convs
        self.add_module(f"predict_flow{coarsest}", _same_size_conv(channels, FLOW_CHANNELS))
        for finer, (skip, raised) in enumerate(steps, start=1):
            level = coarsest - finer
            upsampling = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1, bias=flow_upsampling_bias)
            self.add_module(f"upsampled_flow{level + 1}_to_{level}", upsampling)
            self.add_module(f"deconv{level}", deconv_block(channels, raised))
            channels = skip + raised + FLOW_CHANNELS
            if intermediate_convs:
                conv = nn.Sequential(_same_size_conv(channels, raised))
                self.add_module(f"inter_conv{level}", conv)
            in_channels = raised if intermediate_convs else channels
            self.add_module(f"predict_flow{level}", _same_size_conv(in_channels, FLOW_CHANNELS))

    def decode(self, top: Tensor, skips: Sequence[Tensor]) -> list[Tensor]:
        """Flow at every level, coarsest first.

        Args:
            top: encoder features at the coarsest level.
            skips: encoder features of the finer levels, coarsest first.
        """
        features, flows = top, [self.get_submodule(f"predict_flow{self.coarsest}")(top)]
        for finer, skip in enumerate(skips, start=1):
            level = self.coarsest - finer
            raised = self.get_submodule(f"deconv{level}")(features)
            raised_flow = self.get_submodule(f"upsampled_flow{level + 1}_to_{level}")(flows[-1])
            features = torch.cat([skip, raised, raised_flow], dim=1)
            decoded = features
            if self.intermediate_convs:
                decoded = self.get_submodule(f"inter_conv{level}")(features)
            flows.append(self.get_submodule(f"predict_flow{level}")(decoded))
        return flows


class SixLevelNet(CoarseToFine):
    """What FlowNetC, FlowNetS and FlowNetSD have in common: everything below 1/8 resolution.

    They differ in how they reach `conv2` and `conv3_1` from the two frames.
    """

    def add_coarse_levels(
        self, *, width: float, intermediate_convs: bool, flow_upsampling_bias: bool = True
    ) -> None:
        """Register conv4 to conv6_1 and the decoder from level 6 to 2."""
        c64, c128, c256, c512, c1024 = (scaled(c, width) for c in (64, 128, 256, 512, 1024))
        self.conv4 = conv_block(c256, c512, stride=2)
        self.conv4_1 = conv_block(c512, c512)
        self.conv5 = conv_block(c512, c512, stride=2)
        self.conv5_1 = conv_block(c512, c512)
        self.conv6 = conv_block(c512, c1024, stride=2)
        self.conv6_1 = conv_block(c1024, c1024)
        self.add_decoder(
            6,
            c1024,
            [(c512, c512), (c512, c256), (c256, c128), (c128, c64)],
            intermediate_convs=intermediate_convs,
            flow_upsampling_bias=flow_upsampling_bias,
        )

    def pyramid(self, level2: Tensor, level3: Tensor) -> FlowPyramid:
        """Flow from encoder features (B, 128, H/4, W/4) and (B, 256, H/8, W/8) at width 1."""
        level4 = self.conv4_1(self.conv4(level3))
        level5 = self.conv5_1(self.conv5(level4))
        level6 = self.conv6_1(self.conv6(level5))
        flows = self.decode(level6, [level5, level4, level3, level2])
        return FlowPyramid(*reversed(flows))


def check_size(pair: Tensor) -> None:
    """Refuse frames (…, H, W) that six stages of stride 2 do not divide.

    Raises:
        ValueError: if H or W is not a positive multiple of 64.
    """
    height, width = pair.shape[-2:]
    if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE or not height or not width:
        raise ValueError(
            f"flow networks need width and height in multiples of {SIZE_MULTIPLE}, "
            f"found {width}x{height}: resize the frames first"
        )


def _same_size_conv(inputs: int, outputs: int) -> nn.Conv2d:
    """3x3 convolution without activation."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)
