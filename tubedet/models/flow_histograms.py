"""The motion stream of `light`: where and which way things move, as histograms of flow.

A convolutional network that starts from photographs learns little from the flow of a few hundred
clips but those clips by heart. Descriptors made for motion need not be learned: histograms of the
directions of flow (HOF), and of the directions in which each of its components changes (motion
boundaries, MBH), which a moving camera leaves alone. What they mean is learned.

Source: Dalal, Triggs and Schmid, "Human Detection Using Oriented Histograms of Flow and
Appearance", 2006; Wang et al., "Dense Trajectories and Motion Boundary Descriptors", 2013.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, cat, nn, stack

from tubedet.models.motion_input import decode_motion
from tubedet.models.yolov2.efficientnet_lite import NEAR_CELLS, ConvNorm

DIRECTIONS = 8
CHANNELS = 3 * (DIRECTIONS + 1)  # of flow and of the gradients of both components
HISTOGRAM_CHANNELS = 3 * (DIRECTIONS * NEAR_CELLS**2 + DIRECTIONS + NEAR_CELLS**2 + 1)
PIXEL = 4  # input pixels that share a flow vector
# px a frame, and px a frame from one such vector to the next: what is slower counts as still.
STILL_FLOW, STILL_GRADIENT = 0.25, 0.1
LEAST_ENERGY = 1e-2  # of a neighbourhood, px a frame: noise is not blown up to a pattern


def motion_energies(flow_uv: Tensor) -> Tensor:
    """Flow (B, 2, H, W) in px a frame → (B, 27, H, W): three times 8 directions and stillness.

    The camera's motion, the median over the frame, is taken off before.
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


def neighbourhood_histograms(energies: Tensor) -> Tensor:
    """What moves how around each cell, whatever the speed: (B, 27, h, w) → (B, 702, h, w).

    For each of the three kinds, over 5×5 cells: the square root of the share of every direction in
    every cell, and of every direction; stillness by cell; the logarithm of all energy.
    """
    batch, _, rows, columns = energies.shape
    around = F.unfold(energies, NEAR_CELLS, padding=NEAR_CELLS // 2)
    kinds = around.view(batch, 3, DIRECTIONS + 1, NEAR_CELLS**2, rows, columns)
    energy, stillness = kinds[:, :, :-1], kinds[:, :, -1]
    total = energy.sum(dim=(2, 3), keepdim=True)
    shares = energy / (total + LEAST_ENERGY)
    parts = [
        (shares + 1e-4).sqrt().flatten(1, 3),
        (shares.sum(dim=3) + 1e-4).sqrt().flatten(1, 2),
        stillness.flatten(1, 2),
        (total + LEAST_ENERGY).log().flatten(1, 3),
    ]
    return cat(parts, dim=1)


def cell_energies(flow_uv: Tensor) -> Tensor:
    """Flow (B, 2, H, W) in px a frame → energies of every cell (B, 27, H/32, W/32)."""
    return F.avg_pool2d(_fine_energies(flow_uv), 2)


def _fine_energies(flow_uv: Tensor) -> Tensor:
    energies = motion_energies(F.avg_pool2d(flow_uv.float(), PIXEL))
    return F.avg_pool2d(energies, 16 // PIXEL)


class FlowHistogramStream(nn.Module):
    """Flow → histograms; a few convolutions on them find boxes, the neighbourhood is the context.

    Args:
        out_channels: of the last activations.
    """

    context_channels = HISTOGRAM_CHANNELS

    def __init__(self, *, out_channels: int = 128) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.join = nn.Sequential(
            ConvNorm(CHANNELS, 64, kernel=3, stride=2),
            ConvNorm(64, 64, kernel=5, depthwise=True, activate=False),
            ConvNorm(64, out_channels),
            ConvNorm(out_channels, out_channels, kernel=5, depthwise=True, activate=False),
            ConvNorm(out_channels, out_channels),
        )
        self.standardise = nn.BatchNorm2d(self.context_channels)

    def forward(self, image: Tensor) -> Tensor:
        """Encoded flow (B, 3, H, W) → last activations and context (B, 128+702, H/32, W/32)."""
        return self.with_energies(image)[0]

    def with_energies(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The same, and the energies of every cell (B, 27, H/32, W/32)."""
        fine = _fine_energies(decode_motion(image.float()))
        energies = F.avg_pool2d(fine, 2)
        context = self.standardise(neighbourhood_histograms(energies))
        return cat([self.join((fine + 1e-4).sqrt()), context], dim=1), energies
