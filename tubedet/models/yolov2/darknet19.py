"""Darknet-19 as a YOLOv2 stream: image in, the last 1024 activations at stride 32 out.

The modules are named so that a state dict has the keys of yolo2-pytorch (`conv1s.0.0.conv.weight`
… `conv4.0.bn.running_var`), in the order in which Darknet writes its `.weights`. The prediction
head is a part of its own: `prediction_head.py`.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tubedet.models.yolov2.passthrough import Passthrough, PassthroughOrder

DarknetLayout = Literal["direct", "conv64"]
ConvSpec = tuple[int, int]  # output channels, side of the kernel

STRIDE = 32  # five halvings; one cell of the grid is 32 input px

# Every stage but the first begins by halving the size.
_CONV1S: tuple[tuple[ConvSpec, ...], ...] = (
    ((32, 3),),
    ((64, 3),),
    ((128, 3), (64, 1), (128, 3)),
    ((256, 3), (128, 1), (256, 3)),
    ((512, 3), (256, 1), (512, 3), (256, 1), (512, 3)),
)
_CONV2: tuple[ConvSpec, ...] = ((1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3))
_CONV3: tuple[ConvSpec, ...] = ((1024, 3), (1024, 3))
_CONV4: tuple[ConvSpec, ...] = ((1024, 3),)
_SQUEEZED_CHANNELS = 64


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm and LeakyReLU(0.1)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-5, momentum=0.01)  # as yolo2-pytorch

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) → (B, out_channels, H, W)."""
        return F.leaky_relu(self.bn(self.conv(x)), 0.1, inplace=True)


class Darknet19Stream(nn.Module):
    """One stream of the detector: Darknet-19, the passthrough, and the convolution joining them.

    Args:
        layout: "direct" folds the 512 fine channels as they are (yolo-voc.cfg of 2016, the one the
            paper used); "conv64" squeezes them to 64 first (yolov2-voc.cfg of today).
        passthrough: order of the folded channels; "darknet" only for imported Darknet weights.
        width: multiplies every channel count but the image's; 1 is the paper's.

    Source: YOLOv2 §3 (Darknet-19, training for detection); layers as in yolo2-pytorch.
    """

    def __init__(
        self,
        *,
        layout: DarknetLayout = "direct",
        passthrough: PassthroughOrder = "space_to_depth",
        width: float = 1.0,
    ) -> None:
        super().__init__()
        if layout not in ("direct", "conv64"):
            raise ValueError(f"layout {layout!r} is neither direct nor conv64")
        sizes = [3, *(_scaled(specs[-1][0], width) for specs in _CONV1S)]
        fine, coarse = sizes[-1], _scaled(_CONV3[-1][0], width)
        squeezed = _scaled(_SQUEEZED_CHANNELS, width) if layout == "conv64" else fine

        self.conv1s = nn.Sequential(
            *(
                _stage(channels, specs, width, halve=index > 0)
                for index, (channels, specs) in enumerate(zip(sizes, _CONV1S, strict=False))
            )
        )
        self.conv2 = _stage(fine, _CONV2, width, halve=True)
        self.conv3 = _stage(coarse, _CONV3, width)
        self.passthrough = ConvBlock(fine, squeezed, 1) if layout == "conv64" else nn.Identity()
        self.reorg = Passthrough(passthrough)
        self.conv4 = _stage(4 * squeezed + coarse, _CONV4, width)
        self.out_channels = _scaled(_CONV4[-1][0], width)

    def forward(self, image: Tensor) -> Tensor:
        """Last activations (B, out_channels, H/32, W/32) of an image (B, 3, H, W).

        The image is RGB in [0, 1] without further normalisation.

        Raises:
            ValueError: if H or W is not a multiple of 32.
        """
        height, width = image.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(f"{width}x{height}: both sides need to be multiples of {STRIDE}")
        fine = self.conv1s(image)
        coarse = self.conv3(self.conv2(fine))
        folded = self.reorg(self.passthrough(fine))
        activations: Tensor = self.conv4(torch.cat([folded, coarse], dim=1))
        return activations


def _stage(
    in_channels: int, specs: Sequence[ConvSpec], width: float, *, halve: bool = False
) -> nn.Sequential:
    """Convolution blocks in a row, behind 2x2 max pooling where `halve` asks for it."""
    layers: list[nn.Module] = [nn.MaxPool2d(2)] if halve else []
    for channels, kernel in specs:
        layers.append(ConvBlock(in_channels, _scaled(channels, width), kernel))
        in_channels = _scaled(channels, width)
    return nn.Sequential(*layers)


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))
