"""Optical flow as the motion stream's input, and the flow network at a size of its own."""

import torch.nn.functional as F
from torch import Tensor, cat, nn

from tubedet.models.flownet2.channel_norm import ChannelNorm

# The Brox images that the paper compares with store clip(16 * flow + 128) in 8 bits
# (gurkirt/optical-flow): the same scale makes learned and stored flow interchangeable.
FLOW_SCALE = 16.0
FLOW_OFFSET = 128.0


def encode_motion(flow_uv: Tensor) -> Tensor:
    """Flow (B, 2, H, W) in px a frame → (16·[u, v, |flow|] + 128) / 255 as (B, 3, H, W).

    Neither rounded nor clipped: a clip would stop the gradient of every fast pixel.
    """
    motion = cat([flow_uv, ChannelNorm()(flow_uv)], dim=1)
    return (FLOW_SCALE * motion + FLOW_OFFSET) / 255.0


def decode_motion(image: Tensor) -> Tensor:
    """The flow (B, 2, H, W) in px a frame of an encoded image (B, 3, H, W)."""
    return (image[:, :2] * 255.0 - FLOW_OFFSET) / FLOW_SCALE


def flow_input_size(input_size: int) -> int:
    """Side of the square that `light` estimates flow on: the multiple of 64 nearest half the input.

    Halfway cases go up (320 → 192): FlowNet needs multiples of 64.
    """
    return max(64, (input_size + 64) // 128 * 64)


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
    scale = flow_uv.new_tensor([new[1] / old[1], new[0] / old[0]]).view(1, 2, 1, 1)
    return F.interpolate(flow_uv, size=new, mode="bilinear", align_corners=False) * scale


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
