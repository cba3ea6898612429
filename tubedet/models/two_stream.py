"""The paper's Figure 1: flow → motion stream, frame → RGB stream, fused by a 1×1 convolution.

Differentiable from the two frames to the raw predictions; knows nothing of files or of losses.
"""

import torch
from torch import Tensor, cat, nn

from tubedet.models.early_fusion import EarlyFusion
from tubedet.models.flow_histograms import FlowHistogramStream
from tubedet.models.motion_input import encode_motion
from tubedet.models.motion_over_time import MotionOverTime


class SilentStream(nn.Module):
    """Stands where a detector has no stream: says nothing about any image.

    Args:
        out_channels: of the last activations whose place its zeros take.
        context_channels: the same of the context behind them.
        stride: input pixels a cell.
    """

    def __init__(self, *, out_channels: int, context_channels: int, stride: int) -> None:
        super().__init__()
        self.out_channels, self.context_channels = out_channels, context_channels
        self.stride = stride

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) → zeros (B, out_channels + context_channels, H/stride, W/stride)."""
        batch, _, height, width = image.shape
        cells = (height // self.stride, width // self.stride)
        return image.new_zeros(batch, self.out_channels + self.context_channels, *cells)


class TwoStreamDetector(nn.Module):
    """Two-stream YOLOv2 with the flow network inside.

    Args:
        flow: clip (B, 3, 2, H, W) RGB 0..255 → flow (B, 2, H, W) px; None when the clip carries a
            ready flow image in the place of its second frame (the `brox` preset), or nobody looks
            at motion.
        rgb_stream: image (B, 3, H, W) in [0, 1] → features (B, F, H/32, W/32).
        motion_stream: the same for the encoded flow.
        fusion: both features → raw predictions (B, A*(5+C), H/32, W/32).
        over_time: what the pairs before and after add, if they have a say; `fit-actions` makes it.
            The motion stream is one of flow histograms then.
    """

    def __init__(
        self,
        *,
        flow: nn.Module | None,
        rgb_stream: nn.Module,
        motion_stream: nn.Module,
        fusion: EarlyFusion,
        over_time: MotionOverTime | None = None,
    ) -> None:
        super().__init__()
        self.flow = flow
        self.rgb_stream = rgb_stream
        self.motion_stream = motion_stream
        self.fusion = fusion
        self.over_time = over_time

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (B, 3, 2, S, S) RGB 0..255 → raw predictions (B, A*(5+C), S/32, S/32).

        The boxes belong to the first frame. Decode them with `decode_boxes`. Of each pair by
        itself: what `over_time` adds is not in it.
        """
        raw: Tensor = self.fusion(*self._features(clip))
        return raw

    def with_motion_alone(self, clip: Tensor) -> Tensor:
        """Raw predictions (2B, A*(5+C), S/32, S/32): of both streams, then of motion alone.

        For training: told only what the fused map gets wrong, the motion stream learns nothing once
        the RGB stream knows the training frames by heart.
        """
        rgb, motion = self._features(clip)
        raw: Tensor = self.fusion(cat([rgb, torch.zeros_like(rgb)]), cat([motion, 2 * motion]))
        return raw

    def with_energies(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Raw predictions, and what `over_time` reads: (B, 27, S/32, S/32)."""
        assert isinstance(self.motion_stream, FlowHistogramStream)
        motion, energies = self.motion_stream.with_energies(self.motion(clip))
        return self.fusion(self.rgb_stream(clip[:, :, 0] / 255.0), motion), energies

    def with_contexts(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Raw predictions, and what `fusion.action` reads for them: (B, K, S/32, S/32)."""
        features = self._features(clip)
        return self.fusion(*features), self.fusion.split_contexts(*features)[1]

    def motion(self, clip: Tensor) -> Tensor:
        """The motion stream's input (B, 3, S, S): encoded flow, or the clip's own flow image."""
        if self.flow is None:
            return clip[:, :, 1] / 255.0
        # Half a number format's digits would go to the encoding's offset.
        return encode_motion(self.flow(clip).float())

    def _features(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Last activations of the RGB and of the motion stream, (B, F, S/32, S/32) each."""
        return self.rgb_stream(clip[:, :, 0] / 255.0), self.motion_stream(self.motion(clip))
