"""The motion stream of `light`: convolutions on motion maps of flow.

A convolutional network that starts from photographs overfits the flow of a few hundred clips; maps
made for motion need not be learned.
"""

from typing import NamedTuple

from torch import Tensor, nn

from tubedet.models.light.conv_norm import ConvNorm, separable
from tubedet.models.light.flow_histograms import MOTION_MAPS, cell_motion_maps, flow_maps


class FlowFeatures(NamedTuple):
    """Of B pairs of frames.

    `last` activations (B, F, S/16, S/16) say where somebody moves; `maps` (B, 9, S/32, S/32) of the
    flow, for the context window, how.
    """

    last: Tensor
    maps: Tensor


class FlowStream(nn.Module):
    """Flow → features.

    Args:
        out_channels: F, of the last activations.
    """

    def __init__(self, *, out_channels: int = 64) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.join = nn.Sequential(
            ConvNorm(MOTION_MAPS, out_channels, kernel=3),
            separable(out_channels),
            separable(out_channels),
            separable(out_channels),
        )

    def forward(self, flow_uv: Tensor) -> FlowFeatures:
        """Flow (B, 2, S, S) in input px per thirtieth of a second."""
        maps = cell_motion_maps(flow_uv)
        return FlowFeatures(self.join((maps + 1e-4).sqrt()), flow_maps(maps))
