"""EfficientNet-Lite0 as a YOLOv2 stream: the backbone of the `light` preset.

Takes the place of Darknet-19 where two CPU cores have to do: same strides (16 for the passthrough,
32 for the output), a fraction of the work. Differs from the published network in padding
stride-2 convolutions evenly on all sides (TensorFlow pads right and below only): away from the
border that is the same function of an image shifted by a pixel, and it saves a copy.

Source: Tan and Le, 2019; Liu, "EfficientNet-Lite" (TensorFlow, 2020): no squeeze-and-excitation,
ReLU6 for swish, stem and head not scaled.
"""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, cat, nn, stack

from tubedet.models.yolov2.depthwise import DepthwiseConv2d
from tubedet.models.yolov2.passthrough import Passthrough, PassthroughOrder

# The published network sees (RGB - 127) / 128 of 0..255.
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
NEAR_CELLS = 5  # side of the square of cells around a cell that are near it: 160 px


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


class EfficientNetLiteStream(nn.Module):
    """One stream of `light`: stride-16 features join stride-32 ones through the passthrough.

    After the join Darknet-19 has a 3×3 convolution; here two separable ones find the boxes. What is
    done shows less in one cell than around it and in the whole scene: the context is the mean of
    the widest features near each cell, and over the frame, as ImageNet's classifier read them.
    There are two of them. The backbone's learns the actions, and soon knows the training clips by
    heart; the general one stays what ImageNet made it. In training a sample is left with either,
    both or none of them: so each learns to say by itself what they then say together.

    Outside training the context is the mean of what the frame and its mirror image show, which
    wavers less with what has nothing to do with the action. It costs a second pass of the backbone.
    """

    tuned_channels = 2 * WIDE_CHANNELS  # of the context: the backbone's come first
    context_channels = 2 * tuned_channels

    def __init__(
        self, *, passthrough: PassthroughOrder = "space_to_depth", out_channels: int = 512
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.backbone = EfficientNetLite0()
        self.general = EfficientNetLiteTail()
        self.either = nn.Dropout3d(0.5)
        self.lateral = ConvNorm(FINE_CHANNELS, 64)
        self.passthrough = Passthrough(passthrough)
        joined = 4 * 64 + COARSE_CHANNELS
        self.join = nn.Sequential(
            ConvNorm(joined, joined, kernel=3, depthwise=True, activate=False),
            ConvNorm(joined, out_channels),
            ConvNorm(out_channels, out_channels, kernel=5, depthwise=True, activate=False),
            ConvNorm(out_channels, out_channels),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] → last activations and context (B, 512+5120, H/32, W/32)."""
        batch = len(image)
        views = image if self.training else cat([image, image.flip(3)])
        fine, coarse, wide = self.backbone(views)
        last = self.join(cat([self.passthrough(self.lateral(fine[:batch])), coarse[:batch]], dim=1))
        wides = [wide, self.general(fine)]
        if not self.training:  # before they are pooled: the same means from half the maps
            wides = [(both[:batch] + both[batch:].flip(3)) / 2 for both in wides]
        context = stack([_around(each) for each in wides], dim=1)
        return cat([last, self.either(context).flatten(1, 2)], dim=1)


def _around(wide: Tensor) -> Tensor:
    """(B, C, h, w) → means near each cell and over the frame (B, 2C, h, w)."""
    near = F.avg_pool2d(wide, NEAR_CELLS, 1, NEAR_CELLS // 2, count_include_pad=False)
    scene = wide.mean(dim=(2, 3), keepdim=True).expand_as(wide)
    return cat([near, scene], dim=1)
