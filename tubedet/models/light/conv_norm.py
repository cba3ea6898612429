"""The layer that the streams of `light` are made of."""

from torch import nn

from tubedet.models.light.depthwise import DepthwiseConv2d

BATCH_NORM_EPS = 1e-3
BATCH_NORM_MOMENTUM = 0.02


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless told otherwise, ReLU6: (B, C, H, W) → (B, C', H, W)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        depthwise: bool = False,
        activate: bool = True,
    ) -> None:
        conv: nn.Conv2d = (
            DepthwiseConv2d(in_channels, kernel)
            if depthwise
            else nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        )
        norm = nn.BatchNorm2d(out_channels, eps=BATCH_NORM_EPS, momentum=BATCH_NORM_MOMENTUM)
        super().__init__(conv, norm, *([nn.ReLU6(inplace=True)] if activate else []))


def separable(channels: int) -> nn.Sequential:
    """5×5 depthwise, then 1×1: (B, C, H, W) → (B, C, H, W)."""
    return nn.Sequential(
        ConvNorm(channels, channels, kernel=5, depthwise=True, activate=False),
        ConvNorm(channels, channels),
    )
