"""Darknet's `.weights` of YOLOv2-VOC and of its backbone, and back.

The file has no names: numbers in the order of the layers. Which layers they are follows from the
length alone; a file that has one number more or less is refused.

| holds | layers | such as |
|---|---|---|
| `whole` | a stream and the VOC head | `yolo-voc.weights` (2016), `yolov2-voc.weights` |
| `stream` | a stream without a head | what `darknet partial` cuts off, what we export |
| `backbone` | `conv1s` and `conv2` | `darknet19_448.conv.23` |

Source: Darknet's parser.c (load_weights_upto, load_convolutional_weights).
"""

import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import BinaryIO, get_args

import numpy as np
import torch
from torch import Tensor

from tubedet.checkpoints.foreign_files import Shapes, refused_as
from tubedet.checkpoints.voc_weights import (
    HEAD,
    VocWeights,
    is_of_backbone,
    voc_shapes,
    voc_weights,
)
from tubedet.models.yolov2.darknet19 import DarknetLayout
from tubedet.models.yolov2.passthrough import PassthroughOrder
from tubedet.whole_file import written_whole

KIND = "Darknet weights of YOLOv2-VOC (2016 or today's) or of its Darknet-19 backbone"
LICENCE = "LicenseRef-Darknet"
FLOAT_BYTES = 4
# Version 0.1 counts the images seen in 32 bits, 0.2 in 64.
HEADER_BYTES = {(0, 1): 16, (0, 2): 20}
# The order of a layer's numbers; without batch norm there are `conv.bias` and `conv.weight`.
STORED = ("bn.bias", "bn.weight", "bn.running_mean", "bn.running_var", "conv.weight")


def read_darknet(path: Path, width: float = 1.0) -> VocWeights:
    """The stream, and the VOC head if there is one.

    Args:
        path: the `.weights` file.
        width: factor on hidden channels, for tests.

    Raises:
        WeightsError: if the file is absent, of another length or version, or not finite.
    """
    with refused_as(path, KIND), path.open("rb") as file:
        layout, shapes = _content_of(file, width)
        tensors = {name: _read_tensor(file, shape) for name, shape in shapes.items()}
    # The backbone alone has nothing behind the passthrough that was trained for an order.
    is_backbone = all(map(is_of_backbone, shapes))
    order: PassthroughOrder = "space_to_depth" if is_backbone else "darknet"
    return voc_weights(path, tensors, layout=layout, passthrough=order, licence=LICENCE)


def write_darknet(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a stream, or its backbone alone, as Darknet reads it (version 0.2).

    Args:
        path: the file to write or replace.
        tensors: state dict of a `Darknet19Stream`, or its `conv1s` and `conv2` alone; a head's
            behind `conv5.`.

    Raises:
        OutputError: if it cannot be written; a previous file is untouched.
    """
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<iiiQ", 0, 2, 0, 0))  # and no image seen
        for name in _in_file_order(tensors):
            file.write(tensors[name].detach().cpu().float().numpy().astype("<f4").tobytes())


def _content_of(file: BinaryIO, width: float) -> tuple[DarknetLayout, Shapes]:
    """Layout and shapes by the length, ValueError for another; the file is behind its header."""
    length = file.seek(0, 2)
    file.seek(0)
    start = file.read(12)
    if len(start) < 12:
        raise ValueError(f"{length} bytes")
    major, minor, revision = struct.unpack("<iii", start)
    header = HEADER_BYTES.get((major, minor))
    if header is None:
        raise ValueError(f"version {major}.{minor}.{revision}")
    known = {header + _bytes_of(shapes): (layout, shapes) for layout, shapes in _contents(width)}
    if length not in known:
        raise ValueError(f"{length} bytes instead of {', '.join(map(str, sorted(known)))}")
    file.seek(header)
    return known[length]


def _contents(width: float) -> Iterator[tuple[DarknetLayout, Shapes]]:
    """Layout and shapes, in the order of the file, of all that a file can hold."""
    for layout in get_args(DarknetLayout):
        shapes = voc_shapes(layout, width)
        whole = {name: shapes[name] for name in _in_file_order(shapes)}
        yield layout, whole
        yield layout, {n: shape for n, shape in whole.items() if not n.startswith(HEAD)}
    yield "direct", {n: shape for n, shape in whole.items() if is_of_backbone(n)}


def _in_file_order(names: Mapping[str, object]) -> Iterator[str]:
    """Names layer by layer; `names` are in the order of the layers."""
    layers = dict.fromkeys(name.partition(".conv.")[0] for name in names if ".conv.weight" in name)
    for layer in layers:
        if f"{layer}.bn.bias" in names:
            yield from (f"{layer}.{each}" for each in STORED)
        else:
            yield from (f"{layer}.conv.bias", f"{layer}.conv.weight")


def _bytes_of(shapes: Shapes) -> int:
    return FLOAT_BYTES * sum(prod(shape) for shape in shapes.values())


def _read_tensor(file: BinaryIO, shape: tuple[int, ...]) -> Tensor:
    """The next numbers of the file; the length of the file has been compared before."""
    values = np.fromfile(file, "<f4", prod(shape)).reshape(shape)
    return torch.from_numpy(values.astype(np.float32, copy=False))
