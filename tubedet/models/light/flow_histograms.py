"""The motion stream of `light`: where and which way things move, as histograms of flow.

A convolutional network that starts from photographs overfits the flow of a few hundred clips.
Descriptors made for motion need not be learned: histograms of the
directions of flow (HOF), and of the directions in which each of its components changes (motion
boundaries, MBH), which a moving camera leaves alone. What they mean is learned.

Source: Dalal, Triggs and Schmid, "Human Detection Using Oriented Histograms of Flow and
Appearance", 2006; Wang et al., "Dense Trajectories and Motion Boundary Descriptors", 2013.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, cat, nn, stack

from tubedet.models.light.efficientnet_lite import NEIGHBOURHOOD, ConvNorm
from tubedet.models.light.fusion import StreamFeatures

DIRECTIONS = 8
MOTION_MAPS = 3 * (DIRECTIONS + 1)  # of flow and of the gradients of both components
HISTOGRAM_CHANNELS = 3 * (DIRECTIONS * NEIGHBOURHOOD**2 + DIRECTIONS + NEIGHBOURHOOD**2 + 1)
PIXEL = 4  # input pixels that share a flow vector
# px a frame, and px a frame from one such vector to the next: what is slower counts as still.
STILL_FLOW, STILL_GRADIENT = 0.25, 0.1
LEAST_MOTION = 1e-2  # of a neighbourhood, px a frame: noise is not blown up to a pattern


def motion_maps(flow_uv: Tensor) -> Tensor:
    """Flow (B, 2, H, W) in px a frame → (B, 27, H, W): three times 8 directions and stillness.

    Of the flow, of the gradient of u and of that of v. The camera's motion, the median over the
    frame, is subtracted before.
    """
    camera = flow_uv.flatten(2).median(dim=2).values[..., None, None]
    of_u, of_v = _gradients(flow_uv)
    return cat(
        [
            _by_direction(flow_uv - camera, STILL_FLOW),
            _by_direction(of_u, STILL_GRADIENT),
            _by_direction(of_v, STILL_GRADIENT),
        ],
        dim=1,
    )


def _gradients(flow_uv: Tensor) -> tuple[Tensor, Tensor]:
    """Flow (B, 2, H, W) → of u and of v their change to the right and downwards, (B, 2, H, W).

    Sobel's, by differences of slices: as a convolution, autocast would round it.
    """
    padded = F.pad(flow_uv, (1, 1, 1, 1), mode="replicate")
    rows = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    to_the_right = (rows[..., 2:] - rows[..., :-2]) / 8
    downwards = (columns[:, :, 2:] - columns[:, :, :-2]) / 8
    of_u, of_v = stack([to_the_right, downwards], dim=2).unbind(dim=1)
    return of_u, of_v


def _by_direction(vectors: Tensor, still: float) -> Tensor:
    """Vectors (B, 2, H, W) → lengths by direction, smoothly, and how still it is; (B, 9, H, W)."""
    across, down = vectors.chunk(2, dim=1)
    length = (across.square() + down.square() + 1e-6).sqrt()
    angles = torch.arange(DIRECTIONS, device=vectors.device) * (2 * math.pi / DIRECTIONS)
    angles = angles.view(-1, 1, 1)
    cosine = (across * angles.cos() + down * angles.sin()) / length
    nearest = math.cos(2 * math.pi / DIRECTIONS)
    shares = ((cosine - nearest) / (1 - nearest)).clamp(min=0)
    return cat([shares * length, torch.sigmoid(4 * (still - length) / still)], dim=1)


def neighbourhood_histograms(maps: Tensor) -> Tensor:
    """Histograms of the neighbourhood of each cell, of maps (B, 27, h, w), as (B, 702, h, w).

    For each of the three kinds, over 5×5 cells: the square root of the share of every direction in
    every cell, and of every direction; stillness by cell; the logarithm of all motion.
    """
    batch, _, rows, columns = maps.shape
    neighbours = F.unfold(maps, NEIGHBOURHOOD, padding=NEIGHBOURHOOD // 2)
    kinds = neighbours.view(batch, 3, DIRECTIONS + 1, NEIGHBOURHOOD**2, rows, columns)
    lengths, stillness = kinds[:, :, :-1], kinds[:, :, -1]
    total = lengths.sum(dim=(2, 3), keepdim=True)
    shares = lengths / (total + LEAST_MOTION)
    parts = [
        (shares + 1e-4).sqrt().flatten(1, 3),
        (shares.sum(dim=3) + 1e-4).sqrt().flatten(1, 2),
        stillness.flatten(1, 2),
        (total + LEAST_MOTION).log().flatten(1, 3),
    ]
    return cat(parts, dim=1)


def cell_motion_maps(flow_uv: Tensor) -> Tensor:
    """Flow (B, 2, H, W) in px a frame → means of its motion maps in cells (B, 27, H/32, W/32)."""
    return F.avg_pool2d(_half_cell_motion_maps(flow_uv), 2)


def _half_cell_motion_maps(flow_uv: Tensor) -> Tensor:
    """The same at stride 16; in float32, whatever the flow network computes in."""
    maps = motion_maps(F.avg_pool2d(flow_uv.float(), PIXEL))
    return F.avg_pool2d(maps, 16 // PIXEL)


class FlowHistogramStream(nn.Module):
    """Flow → motion maps; convolutions on them predict boxes, their histograms are the context.

    Args:
        out_channels: of the last activations.
    """

    context_channels = HISTOGRAM_CHANNELS

    def __init__(self, *, out_channels: int = 128) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.join = nn.Sequential(
            ConvNorm(MOTION_MAPS, 64, kernel=3, stride=2),
            ConvNorm(64, 64, kernel=5, depthwise=True, activate=False),
            ConvNorm(64, out_channels),
            ConvNorm(out_channels, out_channels, kernel=5, depthwise=True, activate=False),
            ConvNorm(out_channels, out_channels),
        )
        self.standardise = nn.BatchNorm2d(self.context_channels)

    def forward(self, flow_uv: Tensor) -> StreamFeatures:
        """Flow (B, 2, H, W) in px → 128 last activations and 702 of context at H/32, W/32."""
        return self.with_motion_maps(flow_uv)[0]

    def with_motion_maps(self, flow_uv: Tensor) -> tuple[StreamFeatures, Tensor]:
        """The same, and the motion maps of every cell (B, 27, H/32, W/32)."""
        fine = _half_cell_motion_maps(flow_uv)
        maps = F.avg_pool2d(fine, 2)
        context = self.standardise(neighbourhood_histograms(maps))
        return StreamFeatures(self.join((fine + 1e-4).sqrt()), (context,)), maps
