"""The RGB stream of `light`: EfficientNet-Lite0 with a passthrough, and context features."""

import torch.nn.functional as F
from torch import Tensor, cat, nn, stack

from tubedet.models.light.efficientnet_lite import (
    COARSE_CHANNELS,
    FINE_CHANNELS,
    NEIGHBOURHOOD,
    WIDE_CHANNELS,
    ConvNorm,
    EfficientNetLite0,
    EfficientNetLiteTail,
)
from tubedet.models.light.fusion import StreamFeatures
from tubedet.models.yolov2.passthrough import Passthrough, PassthroughOrder


class EfficientNetLiteStream(nn.Module):
    """Stride-16 features join stride-32 ones through the passthrough; wide ones are the context.

    After the join Darknet-19 has a 3×3 convolution; here two separable ones predict boxes. An
    action shows less in one cell than in its neighbourhood and in the whole frame: a context is the
    mean of the 1280 features that ImageNet's classifier takes over either.
    There are two: the tuned context, of the backbone, which is trained and overfits the training
    clips, and the general one, of a copy of the backbone's tail with ImageNet's weights. In
    training each is dropped for every second sample, so that both learn to classify alone.

    Outside training the contexts are means over the frame and its mirror image, which vary less
    with what has nothing to do with the action. That costs a second pass of the backbone.
    """

    context_channels = 4 * WIDE_CHANNELS

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

    def forward(self, image: Tensor) -> StreamFeatures:
        """Image (B, 3, H, W) in [0, 1] → 512 last activations, tuned and general context.

        Each context is (B, 2560, H/32, W/32): mean of the neighbourhood, then of the frame.
        """
        batch = len(image)
        views = image if self.training else cat([image, image.flip(3)])
        fine, coarse, wide = self.backbone(views)
        last = self.join(cat([self.passthrough(self.lateral(fine[:batch])), coarse[:batch]], dim=1))
        wides = [wide, self.general(fine)]
        if not self.training:  # before they are pooled: the same means from half the maps
            wides = [(both[:batch] + both[batch:].flip(3)) / 2 for both in wides]
        tuned, general = self.either(stack([_context(each) for each in wides], dim=1)).unbind(dim=1)
        return StreamFeatures(last, (tuned, general))


def _context(wide: Tensor) -> Tensor:
    """(B, C, h, w) → means over each cell's neighbourhood and over the frame (B, 2C, h, w)."""
    padding = NEIGHBOURHOOD // 2
    local = F.avg_pool2d(wide, NEIGHBOURHOOD, 1, padding, count_include_pad=False)
    whole = wide.mean(dim=(2, 3), keepdim=True).expand_as(wide)
    return cat([local, whole], dim=1)
