"""Where and which way things move, as histograms of flow: nothing in this file is learned.

Histograms of the directions of flow (HOF), and of the directions in which each of its components
changes (motion boundaries, MBH), which a moving camera leaves alone. Flow is in px per thirtieth
of a second.

Source: Dalal, Triggs and Schmid, "Human Detection Using Oriented Histograms of Flow and
Appearance", 2006; Wang et al., "Dense Trajectories and Motion Boundary Descriptors", 2013.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, cat, stack

from tubedet.models.light.video_stream import NEIGHBOURHOOD

DIRECTIONS = 8
MAPS_OF_A_KIND = DIRECTIONS + 1
MOTION_MAPS = 3 * MAPS_OF_A_KIND  # of flow and of the gradients of both components
HISTOGRAM_CHANNELS = DIRECTIONS * NEIGHBOURHOOD**2 + DIRECTIONS + NEIGHBOURHOOD**2 + 1
PIXEL = 4  # input pixels that share a flow vector
# Of flow, and of its change from one such vector to the next: what is slower counts as still.
STILL_FLOW, STILL_GRADIENT = 0.25, 0.1
LEAST_MOTION = 1e-2  # of a neighbourhood: noise is not blown up to a pattern


def motion_maps(flow_uv: Tensor) -> Tensor:
    """Flow (B, 2, H, W) → (B, 27, H, W): three times 8 directions and stillness.

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


def cell_motion_maps(flow_uv: Tensor) -> Tensor:
    """Flow (B, 2, H, W) → means of its motion maps in cells of 16 px (B, 27, H/16, W/16).

    In float32, whatever the flow network computes in.
    """
    maps = motion_maps(F.avg_pool2d(flow_uv.float(), PIXEL))
    return F.avg_pool2d(maps, 16 // PIXEL)


def flow_maps(maps: Tensor) -> Tensor:
    """Of motion maps (B, 27, h, w) those of the flow itself, in cells of 32 px (B, 9, h/2, w/2)."""
    return F.avg_pool2d(maps[:, :MAPS_OF_A_KIND], 2)


def neighbourhood_histograms(maps: Tensor) -> Tensor:
    """Histograms of the neighbourhood of each cell, of maps (B, 9, h, w), as (B, 234, h, w).

    Over 5×5 cells: the square root of the share of every direction in every cell, and of every
    direction; stillness by cell; the logarithm of all motion.
    """
    batch, _, rows, columns = maps.shape
    neighbours = F.unfold(maps, NEIGHBOURHOOD, padding=NEIGHBOURHOOD // 2)
    by_cell = neighbours.view(batch, MAPS_OF_A_KIND, NEIGHBOURHOOD**2, rows, columns)
    lengths, stillness = by_cell[:, :-1], by_cell[:, -1]
    total = lengths.sum(dim=(1, 2))[:, None]
    shares = lengths / (total[:, None] + LEAST_MOTION)
    parts = [
        (shares + 1e-4).sqrt().flatten(1, 2),
        (shares.sum(dim=2) + 1e-4).sqrt(),
        stillness,
        (total + LEAST_MOTION).log(),
    ]
    return cat(parts, dim=1)
