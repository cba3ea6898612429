"""Backward warping: fetch each pixel from where the flow says it went."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Resample2d(nn.Module):
    """Bilinear sample of an image at (x + u, y + v); beyond the border its edge is repeated.

    Values and gradients as NVIDIA's operation of that name, but for the flow's gradient exactly
    on a whole pixel, where bilinear sampling has a kink and either side's slope is right.
    """

    def forward(self, image: Tensor, flow_uv: Tensor) -> Tensor:
        """Warp frame 2 onto the grid of frame 1.

        Args:
            image: (B, C, H, W).
            flow_uv: (B, 2, H, W) px, u to the right, v down.

        Returns:
            (B, C, H, W) in the dtype of `image`.
        """
        # bfloat16 counts whole pixels only up to 256, so positions need float32 or better.
        dtype = torch.promote_types(flow_uv.dtype, torch.float32)
        height, width = flow_uv.shape[-2:]
        y = torch.arange(height, dtype=dtype, device=flow_uv.device).view(1, height, 1)
        x = torch.arange(width, dtype=dtype, device=flow_uv.device).view(1, 1, width)
        u, v = flow_uv.to(dtype).unbind(dim=1)
        # Fractions as grid_sample counts them: pixel centres at (i + 0.5) / size, ends at -1, 1.
        grid = torch.stack([(2 * (x + u) + 1) / width - 1, (2 * (y + v) + 1) / height - 1], dim=-1)
        warped = F.grid_sample(image.to(dtype), grid, padding_mode="border", align_corners=False)
        return warped.to(image.dtype)
