"""The RGB stream of `light`: a video backbone; its maps, joined at stride 16; and their context."""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, cat, nn

from tubedet.models.light.conv_norm import ConvNorm, separable
from tubedet.models.light.video_backbone import (
    MAP_CHANNELS,
    WIDE_CHANNELS,
    BackboneMaps,
    State,
    VideoBackbone,
)

NEIGHBOURHOOD = 5  # side of the square of cells of 32 px that is the neighbourhood of its middle
CONTEXT_CHANNELS = 2 * WIDE_CHANNELS


class VideoFeatures(NamedTuple):
    """Of T frames that the backbone was given.

    `last` activations (B, T, F, S/16, S/16) say where somebody is; `context` (B, T, 960, S/32,
    S/32), means over the neighbourhood of each cell and over the frame, says what is done.
    """

    last: Tensor
    context: Tensor


class VideoStream(nn.Module):
    """Frames → features.

    Args:
        out_channels: F, of the last activations.
    """

    def __init__(self, *, out_channels: int = 128) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.backbone = VideoBackbone()
        self.fine = ConvNorm(4 * MAP_CHANNELS[8], 64)
        self.coarse = ConvNorm(MAP_CHANNELS[32], 96)
        self.join = nn.Sequential(
            ConvNorm(64 + MAP_CHANNELS[16] + 96, out_channels),
            separable(out_channels),
            separable(out_channels),
            separable(out_channels),
        )

    def forward(
        self, frames: Tensor, state: Sequence[Tensor] | None = None
    ) -> tuple[VideoFeatures, State]:
        """Consecutive frames (B, T, 3, S, S) RGB in [0, 1]; `state` as in `VideoBackbone`."""
        maps, next_state = self.backbone(frames, state)
        return VideoFeatures(self.joined(maps), context(maps.wide)), next_state

    def joined(self, maps: BackboneMaps) -> Tensor:
        """Maps of (B, T) frames → last activations."""
        fine, middle, coarse = (each.flatten(0, 1) for each in maps[:3])
        upsampled = F.interpolate(self.coarse(coarse), scale_factor=2.0, mode="nearest")
        parts = [self.fine(F.pixel_unshuffle(fine, 2)), middle, upsampled]
        last: Tensor = self.join(cat(parts, dim=1))
        return last.view(*maps.fine.shape[:2], *last.shape[1:])


def context(wide: Tensor) -> Tensor:
    """(B, T, C, h, w) → means over each cell's neighbourhood and over the frame (B, T, 2C, h, w).

    In float32: of many frames the mean is taken over time next.
    """
    maps = wide.flatten(0, 1).float()
    near = F.avg_pool2d(maps, NEIGHBOURHOOD, 1, NEIGHBOURHOOD // 2, count_include_pad=False)
    whole = maps.mean(dim=(2, 3), keepdim=True).expand_as(maps)
    both = cat([near, whole], dim=1)
    return both.view(*wide.shape[:2], *both.shape[1:])
