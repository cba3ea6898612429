"""The flow of `light`: one FlowNet2-SD that estimates residual flow from coarse to fine."""

from typing import NamedTuple

import torch
from torch import Tensor

from tubedet.models.flownet2.layers import SIZE_MULTIPLE, FlowPyramid
from tubedet.models.flownet2.stacks import FlowNet2SD, normalize_clip
from tubedet.models.flownet2.warping import Resample2d
from tubedet.models.resized_flow import Size, resized_clip, resized_flow


def level_sizes(height: int, width: int) -> list[Size]:
    """Heights and widths of the levels, the coarsest first and the given size last.

    Each is the largest multiple of 64 up to half of the next; the first has a side of 64 px.
    """
    sizes = [(height, width)]
    while min(sizes[0]) > SIZE_MULTIPLE:
        sizes.insert(0, (_half(sizes[0][0]), _half(sizes[0][1])))
    return sizes


class FlowLevel(NamedTuple):
    """`initial` flow (B, 2, H, W) in px of the clip, and the `residual` that a level adds to it.

    The residual is in px of the level / 20, at five resolutions.
    """

    initial: Tensor
    residual: FlowPyramid


class CoarseToFineFlow(FlowNet2SD):
    """FlowNet2-SD on a small pair, where fast motion is short, then on larger ones.

    The flow so far warps the second frame; the next level estimates the residual flow between the
    first frame and that. All levels share their weights, under the names of FlowNet2-SD.

    Args:
        width: factor on every hidden channel count.

    Source: SpyNet (Ranjan and Black, 2017), with one network for all levels.
    """

    def __init__(self, *, width: float = 1.0) -> None:
        super().__init__(width=width)

    def forward(self, clip: Tensor) -> Tensor:
        """Flow (B, 2, H, W) in px."""
        return self._refined(self.levels(clip)[-1], clip)

    def levels(self, clip: Tensor) -> list[FlowLevel]:
        """The residual flow of all `level_sizes`.

        Args:
            clip: (B, 3, 2, H, W) RGB in 0..255.
        """
        height, width = clip.shape[-2:]
        flow_uv = clip.new_zeros(len(clip), 2, height, width)
        levels: list[FlowLevel] = []
        for size in level_sizes(height, width):
            if levels:
                flow_uv = self._refined(levels[-1], clip)
            # No gradient through the warping: each level learns its own residual.
            pair = _warped(clip, flow_uv.detach(), size)
            levels.append(FlowLevel(flow_uv, self.flow_pyramid(normalize_clip(pair))))
        return levels

    def _refined(self, level: FlowLevel, clip: Tensor) -> Tensor:
        """Its initial flow plus its residual in px of the clip, at least in float32."""
        flow = level.residual.flow2
        flow = flow.to(torch.promote_types(flow.dtype, torch.float32)) * self.sd_scale
        height, width = flow.shape[-2:]
        own, whole = (4 * height, 4 * width), (clip.shape[3], clip.shape[4])
        return level.initial + resized_flow(flow, own, whole)


def _half(side: int) -> int:
    return max(SIZE_MULTIPLE, side // (2 * SIZE_MULTIPLE) * SIZE_MULTIPLE)


def _warped(clip: Tensor, flow_uv: Tensor, size: Size) -> Tensor:
    """The clip at a size, its second frame warped by a flow (B, 2, H, W) in px of the clip."""
    first, second = resized_clip(clip, size).unbind(dim=2)
    resized = resized_flow(flow_uv, (clip.shape[3], clip.shape[4]), size)
    return torch.stack([first, Resample2d()(second, resized)], dim=2)
