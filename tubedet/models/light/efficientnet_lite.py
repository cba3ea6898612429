"""EfficientNet-Lite0, the backbone of the RGB stream of `light`.

It takes the place of Darknet-19 where two CPU cores have to do: same strides (16 for the
passthrough, 32 for the output), a fraction of the work. It differs from the published network in
padding stride-2 convolutions evenly on all sides (TensorFlow pads right and below only): away from
the border that is the same function of an image shifted by a pixel, and it saves a copy.

Source: Tan and Le, 2019; Liu, "EfficientNet-Lite" (TensorFlow, 2020): no squeeze-and-excitation,
ReLU6 for swish, stem and head not scaled.
"""

from typing import NamedTuple

from torch import Tensor, nn

from tubedet.models.light.depthwise import DepthwiseConv2d

# The published network takes (RGB - 127) / 128 of 0..255.
INPUT_MEAN = 127 / 255
INPUT_STD = 128 / 255
BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.01


class Stage(NamedTuple):
    """A run of blocks of one width; its first block has the stride."""

    blocks: int
    kernel: int
    channels: int
    stride: int
    expansion: int


STEM_CHANNELS = 32
STAGES = (
    Stage(1, 3, 16, 1, 1),
    Stage(2, 3, 24, 2, 6),
    Stage(2, 5, 40, 2, 6),
    Stage(3, 3, 80, 2, 6),
    Stage(3, 5, 112, 1, 6),  # stride 16 ends here
    Stage(4, 5, 192, 2, 6),
    Stage(1, 3, 320, 1, 6),
)
FINE_BLOCKS = 11
FINE_CHANNELS = 112
COARSE_CHANNELS = 320
WIDE_CHANNELS = 1280
NEIGHBOURHOOD = 5  # side of the square of cells that is the neighbourhood of its middle: 160 px


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless told otherwise, ReLU6.

    In evaluation mode (a frozen batch norm in training included) the norm is part of the
    convolution's weights: no pass over the activations of its own, forward or backward.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        depthwise: bool = False,
        activate: bool = True,
    ) -> None:
        conv: nn.Conv2d = (
            DepthwiseConv2d(in_channels, kernel, stride)
            if depthwise
            else nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False)
        )
        norm = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
        super().__init__(conv, norm, *([nn.ReLU6(inplace=True)] if activate else []))

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H/stride, W/stride)."""
        conv, norm, *activation = self
        if norm.training or not isinstance(norm, nn.BatchNorm2d):
            out: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
            return out
        assert isinstance(conv, nn.Conv2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = norm.bias - norm.running_mean * scale
        out = conv._conv_forward(input, conv.weight * scale.view(-1, 1, 1, 1), bias)
        for layer in activation:
            out = layer(out)
        return out


class InvertedResidual(nn.Module):
    """1×1 expansion, depthwise convolution, 1×1 linear projection; shortcut where shapes match."""

    def __init__(self, in_channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        hidden = in_channels * stage.expansion
        self.expand = ConvNorm(in_channels, hidden) if stage.expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(
            hidden, hidden, kernel=stage.kernel, stride=stride, depthwise=True
        )
        self.project = ConvNorm(hidden, stage.channels, activate=False)
        self.shortcut = stride == 1 and in_channels == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C', H/stride, W/stride)."""
        out: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + out if self.shortcut else out


def _blocks() -> nn.ModuleList:
    blocks: list[InvertedResidual] = []
    channels = STEM_CHANNELS
    for stage in STAGES:
        for position in range(stage.blocks):
            stride = stage.stride if position == 0 else 1
            blocks.append(InvertedResidual(channels, stage, stride))
            channels = stage.channels
    return nn.ModuleList(blocks)


class EfficientNetLite0(nn.Module):
    """The feature extractor, without the classifier.

    `checkpoints/efficientnet_lite.py` fills all of it from the published ImageNet weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_CHANNELS, kernel=3, stride=2)
        self.blocks = _blocks()
        self.head = ConvNorm(COARSE_CHANNELS, WIDE_CHANNELS)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features of an image (B, 3, H, W) in [0, 1].

        Returns:
            (B, 112, H/16, W/16), (B, 320, H/32, W/32), and, of the latter, what the published
            network averages and classifies: (B, 1280, H/32, W/32).
        """
        x = self.stem((image - INPUT_MEAN) / INPUT_STD)
        for block in self.blocks[:FINE_BLOCKS]:
            x = block(x)
        fine = x
        for block in self.blocks[FINE_BLOCKS:]:
            x = block(x)
        return fine, x, self.head(x)


class EfficientNetLiteTail(nn.Module):
    """The network from stride 16 on, a second time."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = _blocks()[FINE_BLOCKS:]
        self.head = ConvNorm(COARSE_CHANNELS, WIDE_CHANNELS)

    def start_from(self, whole: EfficientNetLite0) -> None:
        """Take the weights of a whole network's tail."""
        self.blocks.load_state_dict(whole.blocks[FINE_BLOCKS:].state_dict())
        self.head.load_state_dict(whole.head.state_dict())

    def forward(self, fine: Tensor) -> Tensor:
        """(B, 112, H/16, W/16) → (B, 1280, H/32, W/32)."""
        for block in self.blocks:
            fine = block(fine)
        wide: Tensor = self.head(fine)
        return wide
