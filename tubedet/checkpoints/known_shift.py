"""What a flow network answers where the flow is known: a wrong scale is seen at once."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SHIFT_PX = 2
SIDE = 256  # px; a multiple of 64
MARGIN = 32  # px at each border, where a part of the picture has no counterpart
CELLS = (4, 8, 16, 32, 64)  # px of each octave of the texture
TOLERANCE_PX = 0.5


class ShiftAnswer(NamedTuple):
    """Median flow in px; exact would be (`SHIFT_PX`, 0)."""

    u: float
    v: float

    @property
    def is_right(self) -> bool:
        """Whether it is within `TOLERANCE_PX`, as any trained network's is."""
        return abs(self.u - SHIFT_PX) < TOLERANCE_PX and abs(self.v) < TOLERANCE_PX


@torch.inference_mode()
def flow_of_known_shift(network: nn.Module) -> ShiftAnswer:
    """The flow that a network finds between a textured picture and itself, `SHIFT_PX` to the right.

    Args:
        network: clip (B, 3, 2, H, W) RGB in 0..255 → flow_uv (B, 2, H, W) px.
    """
    picture = _texture()
    pair = [picture[..., start : start + SIDE] for start in (MARGIN, MARGIN - SHIFT_PX)]
    flow_uv = network(torch.stack(pair, dim=2))[0, :, MARGIN:-MARGIN, MARGIN:-MARGIN]
    u, v = flow_uv.flatten(1).quantile(0.5, dim=1).tolist()
    return ShiftAnswer(u, v)


def _texture() -> Tensor:
    """The same coloured noise every time, (1, 3, SIDE, SIDE + 2·MARGIN), in 0..255."""
    chance = torch.Generator().manual_seed(0)
    height, width = SIDE, SIDE + 2 * MARGIN
    octaves = [
        F.interpolate(
            torch.rand(1, 3, height // cell, width // cell, generator=chance),
            size=(height, width),
            mode="bicubic",
        )
        for cell in CELLS
    ]
    return (255 * torch.stack(octaves).mean(dim=0)).clamp(0, 255)
