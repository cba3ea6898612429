"""What a file of YOLOv2 weights gives: one stream, and perhaps the head it was trained with.

Names are those of `Darknet19Stream` and, behind `conv5.`, of `PredictionHead`, which are
yolo2-pytorch's. The layouts of files that they come from are `darknet_weights.py` and
`yolo2_pytorch.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from tubedet.checkpoints.foreign_files import Shapes, require_finite, shapes_of, zero_counters
from tubedet.checkpoints.native import lay_out
from tubedet.models.yolov2.darknet19 import Darknet19Stream, DarknetLayout
from tubedet.models.yolov2.passthrough import PassthroughOrder

HEAD = "conv5."  # begins the head's names in a file
BACKBONE_PARTS = ("conv1s", "conv2")  # what a classifier is pretrained with: 18 convolutions
VOC_OUTPUTS = 5 * (5 + 20)  # anchors, and of each a box, its overlap and the classes


@dataclass(frozen=True, kw_only=True)
class VocWeights:
    """The tensors of one file.

    Attributes:
        layout: of the stream they fit.
        passthrough: order of the folded channels that they were trained with.
        tensors: of a `Darknet19Stream`, all or those of `BACKBONE_PARTS`, and of the VOC head if
            the file has one.
        licence: SPDX expression.
    """

    layout: DarknetLayout
    passthrough: PassthroughOrder
    tensors: dict[str, Tensor]
    licence: str


def voc_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    *,
    layout: DarknetLayout = "direct",
    passthrough: PassthroughOrder = "space_to_depth",
    licence: str,
) -> VocWeights:
    """The weights of a file from its tensors, with batch counters of 0 where it has none.

    Raises:
        WeightsError: if a value is not finite.
    """
    require_finite(tensors, path)
    return VocWeights(
        layout=layout,
        passthrough=passthrough,
        tensors={**zero_counters(tensors), **tensors},
        licence=licence,
    )


@cache
def voc_shapes(layout: DarknetLayout, width: float) -> Shapes:
    """Names and shapes of a whole VOC detector, as in a file, layer by layer."""
    stream = lay_out(lambda: Darknet19Stream(layout=layout, width=width))
    head = {
        f"{HEAD}conv.weight": (VOC_OUTPUTS, stream.out_channels, 1, 1),
        f"{HEAD}conv.bias": (VOC_OUTPUTS,),
    }
    return MappingProxyType({**shapes_of(stream.state_dict()), **head})


def is_of_backbone(name: str) -> bool:
    """Whether a tensor of a file lies before `conv3`."""
    return name.partition(".")[0] in BACKBONE_PARTS
