"""The detector's streams as a classifier of clips: for pre-training on videos without boxes.

Source: El-Nouby and Taylor §III-C. Which action a clip shows is not asked of one cell but of the
mean over all of them; the paper does not say how it asks.
"""

from torch import Tensor, cat

from tubedet.models.early_fusion import Fusion
from tubedet.models.presets import DetectorConfig, PaperConfig, build_detector
from tubedet.models.two_stream import TwoStreamDetector


class ActionScores(Fusion):
    """Early fusion whose 1×1 convolution predicts classes alone.

    Args:
        channels: of the last activations of both streams.
        num_classes: C.
    """

    def __init__(self, channels: int, *, num_classes: int) -> None:
        super().__init__(channels, num_anchors=1, fields=num_classes)

    def forward(self, rgb: Tensor, motion: Tensor) -> Tensor:
        """Two maps (B, F, H, W) → class scores (B, C), logits, the mean over all cells."""
        scores: Tensor = self.conv(cat([rgb, motion], dim=1))
        return scores.mean(dim=(2, 3))


def build_recognizer(config: DetectorConfig) -> TwoStreamDetector:
    """The network of a configuration with class scores (B, C) in place of a prediction map.

    Raises:
        ValueError: if it is no network of the paper.
    """
    if not isinstance(config, PaperConfig):
        raise ValueError(f"preset {config.preset}: expected one of the paper, to learn actions")
    network = build_detector(config)
    channels = network.fusion.conv.in_channels
    network.fusion = ActionScores(channels, num_classes=len(config.class_names))
    return network
