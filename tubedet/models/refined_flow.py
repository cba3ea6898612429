"""The flow of `light`: one FlowNet2-SD that looks several times, from coarse to fine."""

from typing import NamedTuple

import torch
from torch import Tensor

from tubedet.models.flownet2.layers import SIZE_MULTIPLE, FlowPyramid
from tubedet.models.flownet2.stacks import FlowNet2SD, normalize_clip
from tubedet.models.flownet2.warping import Resample2d
from tubedet.models.motion_input import Size, resized_clip, resized_flow


def look_sizes(height: int, width: int) -> list[Size]:
    """Heights and widths of the pairs that are looked at, the smallest first and all of it last.

    Each is the largest multiple of 64 up to half of the next; the first has a side of 64 px.
    """
    sizes = [(height, width)]
    while min(sizes[0]) > SIZE_MULTIPLE:
        sizes.insert(0, (_half(sizes[0][0]), _half(sizes[0][1])))
    return sizes


class Look(NamedTuple):
    """What was known `before` it, (B, 2, H, W) in px of the clip, and what it found to be `left`.

    `left` is in px of the pair that it saw / `sd_scale`.
    """

    before: Tensor
    left: FlowPyramid


class RefinedFlow(FlowNet2SD):
    """FlowNet2-SD asked several times: about a small pair, where fast motion is short, then larger.

    What it has answered so far fetches the second frame; what is left between the first frame and
    that is its next answer. So FlowNet2 stacks its networks (Ilg et al., 2017, §3.2), each with
    weights of its own; here all looks share them, under the names they have in FlowNet2-SD.
    """

    def forward(self, clip: Tensor) -> Tensor:
        """Flow (B, 2, H, W) in px."""
        last = self.looks(clip)[-1]
        return last.before + self._in_px(last.left, clip)

    def looks(self, clip: Tensor) -> list[Look]:
        """Its answers at all `look_sizes`.

        Args:
            clip: (B, 3, 2, H, W) RGB in 0..255.
        """
        height, width = clip.shape[-2:]
        known, looks = clip.new_zeros(len(clip), 2, height, width), []
        for size in look_sizes(height, width):
            # Each look answers for its own flow: none learns through the fetching.
            pair = _fetched(clip, known.detach(), size)
            looks.append(Look(known, self.flow_pyramid(normalize_clip(pair))))
            known = known + self._in_px(looks[-1].left, clip)
        return looks

    def _in_px(self, pyramid: FlowPyramid, clip: Tensor) -> Tensor:
        """An answer at the clip's size, in its px; at least in float32, as sums need it."""
        flow = pyramid.flow2.to(torch.promote_types(pyramid.flow2.dtype, torch.float32))
        height, width = flow.shape[-2:]
        in_own_px = flow * self.sd_scale
        return resized_flow(in_own_px, (4 * height, 4 * width), (clip.shape[3], clip.shape[4]))


def _half(side: int) -> int:
    return max(SIZE_MULTIPLE, side // (2 * SIZE_MULTIPLE) * SIZE_MULTIPLE)


def _fetched(clip: Tensor, flow_uv: Tensor, size: Size) -> Tensor:
    """The clip at a size, its second frame fetched along a flow (B, 2, H, W) in px of the clip."""
    first, second = resized_clip(clip, size).unbind(dim=2)
    known = resized_flow(flow_uv, (clip.shape[3], clip.shape[4]), size)
    return torch.stack([first, Resample2d()(second, known)], dim=2)
