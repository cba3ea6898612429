"""A flow network at a size of its own."""

import torch.nn.functional as F
from torch import Tensor, cat, nn

Size = tuple[int, int]
"""Height and width in px."""


def resized_clip(clip: Tensor, size: Size) -> Tensor:
    """A clip (B, C, T, H, W) with frames of `size`, each new pixel the mean of its place."""
    if clip.shape[-2:] == size:  # resizing to the same size changes nothing but the time
        return clip
    batch, channels, frames, *_ = clip.shape
    small = F.interpolate(
        clip.flatten(1, 2), size=size, mode="bilinear", align_corners=False, antialias=True
    )
    return small.reshape(batch, channels, frames, *size)


def resized_flow(flow_uv: Tensor, old: Size, new: Size) -> Tensor:
    """A flow of any resolution, in px of a frame of one size, at another size and in its px."""
    if flow_uv.shape[-2:] == old == new:
        return flow_uv
    # By numbers: a tensor of both would have to be copied to the device.
    scaled = cat([flow_uv[:, :1] * (new[1] / old[1]), flow_uv[:, 1:] * (new[0] / old[0])], dim=1)
    return F.interpolate(scaled, size=new, mode="bilinear", align_corners=False)


class ResizedFlow(nn.Module):
    """A flow network that works on a resized pair and answers in the pixels of the given one.

    Args:
        network: (B, 3, 2, h, w) → flow (B, 2, h, w) in its own pixels.
        size: (h, w), or one number for both; multiples of 64.
    """

    def __init__(self, network: nn.Module, size: int | tuple[int, int]) -> None:
        super().__init__()
        self.network = network
        self.size = (size, size) if isinstance(size, int) else size

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (B, 3, 2, H, W) RGB 0..255 → flow (B, 2, H, W) in px of that clip."""
        flow = self.network(resized_clip(clip, self.size))
        return resized_flow(flow, self.size, (clip.shape[3], clip.shape[4]))
