"""What a file of YOLOv2 weights gives: one stream, and the head it was trained with.

Names are those of `Darknet19Stream` and `PredictionHead`, which are yolo2-pytorch's. The layouts
of files that they come from are `darknet_weights.py`, `yolo2_pytorch_h5.py` and
`yolo2_pytorch_npz.py`.
"""

from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from torch import Tensor

from tubedet.checkpoints.name_mapping import Shapes, shapes_of
from tubedet.checkpoints.native import lay_out
from tubedet.models.yolov2.darknet19 import Darknet19Stream, DarknetLayout
from tubedet.models.yolov2.passthrough import PassthroughOrder
from tubedet.models.yolov2.prediction_head import PredictionHead, YOLOv2

HEAD = "conv5."  # begins the head's names in a file
BACKBONE_PARTS = ("conv1s", "conv2")  # what a classifier is pretrained with: 18 convolutions
STREAM_PARTS = ("rgb_stream", "motion_stream")  # of a detector: both take the weights
VOC_ANCHORS, VOC_CLASSES = 5, 20


@dataclass(frozen=True, kw_only=True)
class VocWeights:
    """The tensors of one file.

    Attributes:
        layout: of the stream they fit.
        passthrough: order of the folded channels that they were trained with.
        stream: tensors of a `Darknet19Stream`, all or those of `BACKBONE_PARTS`.
        head: tensors of the VOC `PredictionHead`; empty if the file has none.
        licence: SPDX expression.
    """

    layout: DarknetLayout
    passthrough: PassthroughOrder
    stream: dict[str, Tensor]
    head: dict[str, Tensor]
    licence: str

    @property
    def is_backbone(self) -> bool:
        """Whether there is nothing behind `conv2`."""
        return all(is_of_parts(name, BACKBONE_PARTS) for name in self.stream)


def voc_detector(weights: VocWeights, width: float = 1.0) -> YOLOv2:
    """The detector of single images that the weights were trained as, in evaluation mode.

    Raises:
        ValueError: if they are not those of a whole detector.
    """
    if weights.is_backbone or not weights.head:
        raise ValueError("weights without a VOC head make no detector")
    stream = lay_out(
        lambda: Darknet19Stream(layout=weights.layout, passthrough=weights.passthrough, width=width)
    )
    detector = _with_head(stream)
    detector.stream.load_state_dict(weights.stream, assign=True)
    detector.conv5.load_state_dict(weights.head, assign=True)
    return detector.eval()


@cache
def voc_detector_outline(layout: DarknetLayout, width: float) -> Shapes:
    """Names and shapes of a whole VOC detector, as in a file, layer by layer."""
    detector = lay_out(lambda: _with_head(Darknet19Stream(layout=layout, width=width)))
    shapes = shapes_of(detector.state_dict())
    return MappingProxyType({n.removeprefix("stream."): shape for n, shape in shapes.items()})


def is_of_parts(name: str, parts: tuple[str, ...]) -> bool:
    """Whether a tensor of a stream belongs to one of its parts."""
    return name.partition(".")[0] in parts


def _with_head(stream: Darknet19Stream) -> YOLOv2:
    head = lay_out(
        lambda: PredictionHead(
            stream.out_channels, num_anchors=VOC_ANCHORS, num_classes=VOC_CLASSES
        )
    )
    return YOLOv2(stream, head)
