"""The flow networks a detector is built with: from two RGB frames to one flow in pixels.

`forward(clip (B, 3, 2, H, W) RGB in 0..255) -> flow_uv (B, 2, H, W)`: pixels of that input, u to
the right, v down, such that frame2(x + u, y + v) shows what frame1(x, y) does. H and W must be
multiples of 64; another size or shape raises ValueError.

The name of every submodule with parameters is the one in NVIDIA's checkpoints.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tubedet.models.flownet2.channel_norm import ChannelNorm
from tubedet.models.flownet2.flownet_c import FlowNetC
from tubedet.models.flownet2.flownet_fusion import FlowNetFusion
from tubedet.models.flownet2.flownet_s import FlowNetS
from tubedet.models.flownet2.flownet_sd import FlowNetSD, SmallDisplacementLayers
from tubedet.models.flownet2.warping import Resample2d

RGB_MAX = 255.0
DIV_FLOW = 20.0  # FlowNetC and FlowNetS regress px / 20


def normalize_clip(clip: Tensor) -> Tensor:
    """Centre each channel over both frames, divide by 255 and stack the frames: (B, 6, H, W).

    The mean is taken per sample and channel, so a change of brightness alone changes nothing.

    Args:
        clip: (B, 3, 2, H, W) RGB in 0..255, channel before time.

    Raises:
        ValueError: if the clip has another shape.
    """
    if clip.ndim != 5 or clip.shape[1:3] != (3, 2):
        raise ValueError(f"expected a clip (B, 3, 2, H, W), found {tuple(clip.shape)}")
    centred = (clip - clip.mean(dim=(2, 3, 4), keepdim=True)) / RGB_MAX
    return centred.transpose(1, 2).flatten(1, 2)


class FlowNet2SD(SmallDisplacementLayers):
    """FlowNetSD alone: the flow network of the paper's real-time row (its best rows use FlowNet2).

    Args:
        width: factor on every hidden channel count.
        sd_scale: what the regressed flow is multiplied by. NVIDIA's stand-alone class multiplies
            by 20, its FlowNet2 divides the same branch by 20; a checkpoint fits one of the two.
        align_corners: how flow is upsampled: False as PyTorch since 0.4, True as before.
    """

    def __init__(
        self, *, width: float = 1.0, sd_scale: float = DIV_FLOW, align_corners: bool = False
    ) -> None:
        super().__init__(width=width)
        self.sd_scale = sd_scale
        self.align_corners = align_corners

    def forward(self, clip: Tensor) -> Tensor:
        """Flow (B, 2, H, W) in px."""
        flow2 = self.flow_pyramid(normalize_clip(clip)).flow2
        return _upsample_bilinear(flow2 * self.sd_scale, self.align_corners)


class FlowNet2CSS(nn.Module):
    """FlowNetC, then two FlowNetS that each see how well the flow before them fits.

    Args:
        width: factor on every hidden channel count.
        align_corners: how flow between the networks is upsampled: False as PyTorch since 0.4,
            True as before.

    Source: FlowNet2 (Ilg et al., 2017) §3.2.
    """

    def __init__(self, *, width: float = 1.0, align_corners: bool = False) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.resample = Resample2d()
        self.channelnorm = ChannelNorm()
        self.flownetc = FlowNetC(width=width)
        self.flownets_1 = FlowNetS(in_channels=12, width=width)
        self.flownets_2 = FlowNetS(in_channels=12, width=width)

    def forward(self, clip: Tensor) -> Tensor:
        """Flow (B, 2, H, W) in px."""
        return self.large_flow(normalize_clip(clip))

    def large_flow(self, pair: Tensor) -> Tensor:
        """Flow (B, 2, H, W) in px of normalised frames (B, 6, H, W), constant over 4x4 px."""
        flow = self.flownetc(pair).flow2 * DIV_FLOW
        for refine in (self.flownets_1, self.flownets_2):
            flow = _upsample_bilinear(flow, self.align_corners)
            warped, error = self.warp(pair, flow)
            flow = refine(torch.cat([pair, warped, flow / DIV_FLOW, error], dim=1)).flow2 * DIV_FLOW
        return _upsample_nearest(flow)

    def warp(self, pair: Tensor, flow_uv: Tensor) -> tuple[Tensor, Tensor]:
        """Frame 2 warped onto frame 1, (B, 3, H, W), and how far it is off, (B, 1, H, W)."""
        first, second = pair.chunk(2, dim=1)
        warped = self.resample(second, flow_uv)
        return warped, self.channelnorm(first - warped)


class FlowNet2(FlowNet2CSS):
    """FlowNet2-CSS for large and FlowNetSD for small displacements, fused at full resolution.

    Source: FlowNet2 (Ilg et al., 2017) §4, Figure 2.
    """

    def __init__(self, *, width: float = 1.0, align_corners: bool = False) -> None:
        super().__init__(width=width, align_corners=align_corners)
        self.flownets_d = FlowNetSD(width=width)
        self.flownetfusion = FlowNetFusion(width=width)

    def forward(self, clip: Tensor) -> Tensor:
        """Flow (B, 2, H, W) in px."""
        pair = normalize_clip(clip)
        large = self.large_flow(pair)
        large_length, large_error = self._judge(pair, large)
        small = _upsample_nearest(self.flownets_d(pair).flow2 / DIV_FLOW)
        small_length, small_error = self._judge(pair, small)
        first = pair.chunk(2, dim=1)[0]
        flows, lengths = [small, large], [small_length, large_length]
        candidates = [first, *flows, *lengths, small_error, large_error]
        flow_uv: Tensor = self.flownetfusion(torch.cat(candidates, dim=1))
        return flow_uv

    def _judge(self, pair: Tensor, flow_uv: Tensor) -> tuple[Tensor, Tensor]:
        """Length of a flow and brightness error after warping by it, each (B, 1, H, W)."""
        return self.channelnorm(flow_uv), self.warp(pair, flow_uv)[1]


def _upsample_bilinear(flow: Tensor, align_corners: bool) -> Tensor:
    return F.interpolate(flow, scale_factor=4, mode="bilinear", align_corners=align_corners)


def _upsample_nearest(flow: Tensor) -> Tensor:
    return F.interpolate(flow, scale_factor=4, mode="nearest")
