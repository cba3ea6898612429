"""The detector of `light`: the paper's two streams, with parts that two CPU cores can run."""

from typing import Any

from torch import Tensor, cat, nn

from tubedet.models.light.context_window import ContextWindow
from tubedet.models.light.flow_histograms import FlowHistogramStream
from tubedet.models.light.fusion import LightFusion, StreamFeatures
from tubedet.models.light.rgb_stream import EfficientNetLiteStream
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.models.yolov2.darknet19 import STRIDE


class AbsentStream(nn.Module):
    """Zeros in the place of the features of a stream that a detector lacks."""

    def __init__(self, stream: EfficientNetLiteStream | FlowHistogramStream) -> None:
        super().__init__()
        self.channels = (stream.out_channels, stream.context_channels)

    def forward(self, image: Tensor) -> StreamFeatures:
        """Anything (B, _, H, W) → zeros (B, channels, H/32, W/32)."""
        batch, _, height, width = image.shape
        cells = (height // STRIDE, width // STRIDE)
        last, context = (image.new_zeros(batch, each, *cells) for each in self.channels)
        return StreamFeatures(last, (context,))


class LightDetector(TwoStreamDetector):
    """Two streams whose features have contexts, and a context window behind them.

    `forward` predicts every pair by itself. `over_time`, its name in weights files, is the stage
    that adds the motion around a pair; None until `fit-actions` has made it. It is run
    on the predictions of the network, since it needs those of a whole window.

    Args:
        flow: clip (B, 3, 2, H, W) RGB 0..255 → flow (B, 2, H, W) px; None without a motion stream.
        rgb_stream: `EfficientNetLiteStream`, or an absent one.
        motion_stream: `FlowHistogramStream`, or an absent one.
        fusion: of their features.
        over_time: the context window.
    """

    fusion: LightFusion

    def __init__(self, *, over_time: ContextWindow | None = None, **parts: Any) -> None:
        super().__init__(**parts)
        self.over_time = over_time

    def with_motion_maps(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Raw predictions, and what the context window takes: (B, 27, S/32, S/32)."""
        assert isinstance(self.motion_stream, FlowHistogramStream)
        assert self.flow is not None
        motion, maps = self.motion_stream.with_motion_maps(self.flow(clip))
        raw: Tensor = self.fusion(self.rgb_stream(clip[:, :, 0] / 255.0), motion)
        return raw, maps

    def with_motion_alone(self, clip: Tensor) -> Tensor:
        """Raw predictions (2B, A*(5+C), S/32, S/32): of both streams, then of motion alone.

        For training: the RGB stream overfits the training frames, and from the errors of the fused
        predictions alone the motion stream would learn nothing more. Without the RGB features those
        of motion count twice, as behind dropout.
        """
        rgb, motion = self.features(clip)
        return cat([self.fusion(rgb, motion), self.fusion(rgb.scaled(0.0), motion.scaled(2.0))])

    def with_fixed_contexts(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Raw predictions, and the contexts that training leaves as they are.

        The general one and the histograms (B, 2560+702, S/32, S/32): what the last input channels
        of `fusion.action` take.
        """
        rgb, motion = self.features(clip)
        return self.fusion(rgb, motion), cat([rgb.contexts[-1], *motion.contexts], dim=1)

    def parts(self) -> dict[str, list[nn.Module]]:
        """As the base; layers without pre-trained weights are in `head`."""
        head: list[nn.Module] = []
        pretrained: list[nn.Module] = []
        if isinstance(self.rgb_stream, EfficientNetLiteStream):
            pretrained = [self.rgb_stream.backbone, self.rgb_stream.general]
            head = [self.rgb_stream.lateral, self.rgb_stream.join]
        head += [self.motion_stream, self.fusion]
        if self.over_time is not None:
            head.append(self.over_time)
        return {**super().parts(), "rgb": pretrained, "motion": [], "head": head}

    def fixed_statistics(self) -> list[nn.Module]:
        """The RGB backbone and its general tail: ImageNet's frames are like those of videos."""
        return self.parts()["rgb"]

    def leading_rgb_layers(self, blocks: int) -> list[nn.Module]:
        """The stem, so many blocks and the general tail; with all blocks the backbone's head."""
        stream = self.rgb_stream
        if not blocks or not isinstance(stream, EfficientNetLiteStream):
            return []
        backbone = stream.backbone
        last = [backbone.head] if blocks >= len(backbone.blocks) else []
        return [stream.general, backbone.stem, *backbone.blocks[:blocks], *last]
