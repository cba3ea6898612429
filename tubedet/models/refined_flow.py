"""The flow of `light`: one FlowNet2-SD that looks twice, first at a smaller pair."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tubedet.models.flownet2.layers import SIZE_MULTIPLE, FlowPyramid
from tubedet.models.flownet2.stacks import FlowNet2SD, normalize_clip
from tubedet.models.flownet2.warping import Resample2d
from tubedet.models.motion_input import resized_clip


def coarse_side(side: int) -> int:
    """Of the smaller pair in px: the largest multiple of 64 up to half of `side`, at least 64."""
    return max(SIZE_MULTIPLE, side // (2 * SIZE_MULTIPLE) * SIZE_MULTIPLE)


class RefinedFlow(FlowNet2SD):
    """FlowNet2-SD asked twice: about a smaller pair, where fast motion is short; about the rest.

    Its first answer fetches the second frame; what is left between the first frame and that is its
    second. So FlowNet2 stacks its networks (Ilg et al., 2017, §3.2), each with weights of its own;
    here the weights are the same, and so are their names.
    """

    def forward(self, clip: Tensor) -> Tensor:
        """Flow (B, 2, H, W) in px."""
        _, before, left = self.looks(clip)
        return before + self._in_px(left, clip)

    def looks(self, clip: Tensor) -> tuple[FlowPyramid, Tensor, FlowPyramid]:
        """Both answers.

        Args:
            clip: (B, 3, 2, H, W) RGB in 0..255.

        Returns:
            Flow of the smaller pair, in its px / `sd_scale`; the same as (B, 2, H, W) in px of the
            clip; what that leaves, in px / `sd_scale`.
        """
        height, width = clip.shape[-2:]
        small = resized_clip(clip, (coarse_side(height), coarse_side(width)))
        first = self.flow_pyramid(normalize_clip(small))
        before = self._in_px(first, clip)
        first_frame, second_frame = clip.unbind(dim=2)
        # Each look answers for its own flow: none learns through the fetching.
        fetched = Resample2d()(second_frame, before.detach())
        rest = torch.stack([first_frame, fetched], dim=2)
        return first, before, self.flow_pyramid(normalize_clip(rest))

    def _in_px(self, pyramid: FlowPyramid, clip: Tensor) -> Tensor:
        """An answer at the clip's size, in its px; at least in float32, as sums need it."""
        flow = pyramid.flow2.to(torch.promote_types(pyramid.flow2.dtype, torch.float32))
        height, width = clip.shape[-2:]
        cells_high, cells_wide = flow.shape[-2:]
        scale = flow.new_tensor([width / (4 * cells_wide), height / (4 * cells_high)])
        full = F.interpolate(
            flow, size=(height, width), mode="bilinear", align_corners=self.align_corners
        )
        return full * (scale * self.sd_scale).view(1, 2, 1, 1)
