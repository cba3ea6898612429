"""The detector's streams as a classifier of clips: for pre-training on videos without boxes.

Source: El-Nouby and Taylor §III-C. Which action a clip shows is not asked of one cell but of the
mean over all of them; the paper does not say how it asks.
"""

from torch import Tensor, nn

from tubedet.models.early_fusion import EarlyFusion
from tubedet.models.presets import DetectorConfig, build_detector
from tubedet.models.two_stream import TwoStreamDetector


class ActionScores(EarlyFusion):
    """Early fusion whose 1×1 convolution says what is done, and not where.

    Args:
        stream_channels: channels of the RGB and of the motion stream.
        num_classes: C.
    """

    def __init__(self, *, stream_channels: tuple[int, int], num_classes: int) -> None:
        super().__init__(stream_channels=stream_channels, num_anchors=1, num_classes=num_classes)
        self.conv = nn.Conv2d(sum(stream_channels), num_classes, 1)

    def forward(self, rgb_features: Tensor, motion_features: Tensor) -> Tensor:
        """Two maps (B, F, H, W) → class scores (B, C), logits, the mean over all cells."""
        return super().forward(rgb_features, motion_features).mean(dim=(2, 3))


def build_recognizer(config: DetectorConfig) -> TwoStreamDetector:
    """The network of a configuration with class scores (B, C) in place of a prediction map."""
    network = build_detector(config)
    fusion = network.fusion
    rgb, motion = map(sum, zip(fusion.stream_channels, fusion.context_channels, strict=True))
    network.fusion = ActionScores(
        stream_channels=(rgb, motion), num_classes=len(config.class_names)
    )
    return network
