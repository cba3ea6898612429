"""The 1x1 prediction head, and the single-stream detector that VOC weights were trained as.

Raw numbers come out; `box_decoding.py` makes boxes of them.
"""

from torch import Tensor, nn

from tubedet.models.yolov2.darknet19 import Darknet19Stream


class PredictionHead(nn.Module):
    """1x1 convolution with bias and no activation: A boxes of C classes in every cell."""

    def __init__(self, in_channels: int, *, num_anchors: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_anchors * (5 + num_classes), 1)

    def forward(self, activations: Tensor) -> Tensor:
        """(B, in_channels, H, W) → raw (B, A*(5+C), H, W), anchor-major."""
        raw: Tensor = self.conv(activations)
        return raw


class YOLOv2(nn.Module):
    """One stream and its head: the detector of single images that pretrained weights belong to.

    The stream's keys are yolo2-pytorch's behind `stream.`; the head is `conv5`, as there.
    """

    def __init__(self, stream: Darknet19Stream, head: PredictionHead) -> None:
        super().__init__()
        self.stream = stream
        self.conv5 = head

    def forward(self, image: Tensor) -> Tensor:
        """Raw predictions (B, A*(5+C), H/32, W/32) of RGB images (B, 3, H, W) in [0, 1]."""
        raw: Tensor = self.conv5(self.stream(image))
        return raw
