"""The detector of `light`: the paper's Figure 1 with a video network as RGB stream.

Flow → motion stream; frames → video backbone; both fused by a 1×1 convolution → boxes and overlap.
The action of a frame is said by the context window, a stage behind the fusion.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, cat, nn

from tubedet.models.early_fusion import Fusion
from tubedet.models.light.context_window import ContextWindow
from tubedet.models.light.flow_stream import FlowFeatures, FlowStream
from tubedet.models.light.video_backbone import State
from tubedet.models.light.video_stream import VideoStream
from tubedet.models.resized_flow import ResizedFlow
from tubedet.models.two_stream import TwoStreamDetector

STRIDE = 16  # of the prediction map, px
VIDEO_BACKBONE = "rgb_stream.backbone"  # the part that starts from published weights
REFERENCE_SECONDS = 1 / 30  # the interval that motion is measured in


class LightFusion(Fusion):
    """Last activations of both streams, concatenated channel-wise → boxes and overlap.

    Args:
        stream_channels: channels of the RGB and of the motion stream.
        num_anchors: A.
        dropout: probability of dropping a feature, in training only.
    """

    def __init__(
        self, *, stream_channels: tuple[int, int], num_anchors: int, dropout: float = 0.0
    ) -> None:
        super().__init__(sum(stream_channels), num_anchors=num_anchors, fields=5)
        self.dropout = nn.Dropout(dropout)

    def forward(self, rgb: Tensor, motion: Tensor) -> Tensor:
        """Two maps (B, F, h, w) → (B, A*5, h, w), anchor-major: tx, ty, tw, th, to."""
        raw: Tensor = self.conv(self.dropout(cat([rgb, motion], dim=1)))
        return raw


class StepFeatures(NamedTuple):
    """Of T frames that the backbone was given: `last` activations and action `logits`.

    (B, T, F, S/16, S/16) and (B, T, C, S/32, S/32).
    """

    last: Tensor
    logits: Tensor


class LightDetector(TwoStreamDetector):
    """A detector that is given a video piece by piece.

    `steps` takes the frames that the backbone is given, `motion` the pairs of frames, `fusion` the
    last activations of both, and `context_window` what there is of them around a frame. `forward`
    does all that for single pairs.

    Args:
        flow: clip (B, 3, 2, S, S) RGB 0..255 → flow (B, 2, S, S) px.
        rgb_stream: the video backbone and what joins its maps.
        motion_stream: of flow.
        fusion: of their last activations.
        context_window: names actions.
    """

    rgb_stream: VideoStream
    motion_stream: FlowStream
    fusion: LightFusion

    def __init__(
        self,
        *,
        flow: ResizedFlow,
        rgb_stream: VideoStream,
        motion_stream: FlowStream,
        fusion: LightFusion,
        context_window: ContextWindow,
    ) -> None:
        super().__init__(
            flow=flow, rgb_stream=rgb_stream, motion_stream=motion_stream, fusion=fusion
        )
        self.context_window = context_window

    def steps(
        self, frames: Tensor, state: Sequence[Tensor] | None = None
    ) -> tuple[StepFeatures, State]:
        """Features of consecutive steps (B, T, 3, S, S) RGB 0..255; `state` of those before."""
        features, next_state = self.rgb_stream(frames / 255.0, state)
        logits = self.context_window.appearance(features.context.flatten(0, 1))
        of_steps = logits.view(*frames.shape[:2], *logits.shape[1:])
        return StepFeatures(features.last, of_steps), next_state

    def motion(self, clip: Tensor, seconds: Tensor) -> FlowFeatures:
        """Features of pairs (B, 3, 2, S, S) RGB 0..255 whose frames are so far apart, (B,)."""
        assert self.flow is not None
        flow_uv = self.flow(clip).float()
        features: FlowFeatures = self.motion_stream(
            flow_uv * (REFERENCE_SECONDS / seconds).view(-1, 1, 1, 1)
        )
        return features

    def pairs(self, clip: Tensor, seconds: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes and flow maps of pairs.

        Args:
            clip: (B, 3, 2, S, S) RGB 0..255.
            seconds: (B,) between the two frames of a pair.
            last: (B, F, S/16, S/16) of the latest step up to each pair's second frame.

        Returns:
            Raw predictions of boxes and overlap (B, A*5, S/16, S/16), and `FlowFeatures.maps`.
        """
        motion = self.motion(clip, seconds)
        return self.fusion(last, motion.last), motion.maps

    def forward(self, clip: Tensor) -> Tensor:
        """Pairs (B, 3, 2, S, S) RGB 0..255 that nothing comes before or after → raw predictions.

        (B, A*(5+C), S/16, S/16), as `decode_boxes` takes them.
        """
        steps, _ = self.steps(clip.transpose(1, 2))
        seconds = clip.new_full((len(clip),), REFERENCE_SECONDS)
        boxes, flow_maps = self.pairs(clip, seconds, steps.last[:, -1])
        actions = [
            self.context_window(logits, maps.expand(len(logits), -1, -1, -1))
            for logits, maps in zip(steps.logits, flow_maps[:, None], strict=True)
        ]
        return joined_predictions(boxes, cat([each[None] for each in actions]))

    def parts(self) -> dict[str, list[nn.Module]]:
        """As the base; layers without pre-trained weights are in `head`."""
        stream = self.rgb_stream
        head: list[nn.Module] = [stream.fine, stream.coarse, stream.join]
        head += [self.motion_stream, self.fusion, self.context_window]
        return {**super().parts(), "rgb": [stream.backbone], "motion": [], "head": head}


def joined_predictions(boxes: Tensor, actions: Tensor) -> Tensor:
    """Boxes (B, A*5, h, w) and action logits (B, C, h/2, w/2) → (B, A*(5+C), h, w).

    All boxes of a cell have the same action logits.
    """
    batch, channels, *cells = boxes.shape
    of_anchors = boxes.float().view(batch, channels // 5, 5, *cells)
    fine = F.interpolate(actions.float(), size=cells, mode="nearest")
    repeated = fine[:, None].expand(-1, of_anchors.shape[1], -1, -1, -1)
    return cat([of_anchors, repeated], dim=2).flatten(1, 2)
