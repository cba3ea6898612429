"""Correlation of two feature maps over a window of displacements, FlowNetC's matching step.

Pure torch and differentiable; the same on every device. Only the configuration that FlowNetC
uses: kernel 1, displacements up to 20 px in steps of 2.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 2  # px between neighbouring displacements
RADIUS = 10  # displacements to each side
SPAN = 2 * RADIUS + 1


class Correlation(nn.Module):
    """Mean product over channels of `first` here and `second` displaced, for 21 x 21 shifts.

    Displacements are even, so pixels of one (row, column) parity only ever meet each other. Each
    of the four parities is a map of half the size, in which a displacement step is one pixel and
    a row meets all it can meet in one matrix product; of its columns x columns result the band
    within the radius is kept. At 256x40x40 that costs 8 ms on two CPU cores, where a loop over
    441 shifted products takes 130, and memory grows with height x width².

    Source: FlowNet (Dosovitskiy et al., 2015) §3; order and scale as NVIDIA's CUDA kernel.
    """

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Correlate two maps.

        Args:
            first: (B, C, H, W) features of frame 1.
            second: (B, C, H, W) features of frame 2, zero outside the map.

        Returns:
            (B, 441, H, W); channel 21 * (dy / 2 + 10) + (dx / 2 + 10) compares (y, x) of `first`
            with (y + dy, x + dx) of `second`.
        """
        channels, height, width = first.shape[1:]
        # Divided before the product, not after, so that half precision cannot overflow.
        rows = _parities(first / channels).permute(0, 1, 3, 4, 2).contiguous()
        columns = F.pad(_parities(second), (0, 0, RADIUS, RADIUS)).contiguous()
        products = [
            rows[:, :, y] @ columns[:, :, :, y : y + SPAN].flatten(-2) for y in range(rows.shape[2])
        ]
        bands = torch.stack([_band(product) for product in products], dim=-2)
        interleaved = bands.flatten(2, 3).transpose(1, 2).flatten(1, 2)
        return F.pixel_shuffle(interleaved, STRIDE)[..., :height, :width]


def _parities(features: Tensor) -> Tensor:
    """(B, C, H, W) as (B, 4, C, ceil(H/2), ceil(W/2)): one map for each parity of (row, column)."""
    channels, height, width = features.shape[1:]
    even = F.pad(features, (0, width % STRIDE, 0, height % STRIDE))
    parities = torch.unflatten(F.pixel_unshuffle(even, STRIDE), 1, (channels, STRIDE**2))
    return parities.transpose(1, 2)


def _band(product: Tensor) -> Tensor:
    """Keep of (…, x, 21 * x') the columns x' within the radius of x: (…, 21, 21, x)."""
    by_row = torch.unflatten(product, -1, (SPAN, product.shape[-2]))
    windows = F.pad(by_row, (RADIUS, RADIUS)).unfold(-1, SPAN, 1)  # (…, x, dy, x', dx)
    return windows.diagonal(dim1=-4, dim2=-2)
