"""Darknet's `.weights` of YOLOv2-VOC and of its backbone, and back.

The file has no names: numbers in the order of the layers. Which layers they are is told by the
length alone, and a file that has one number more or less is refused.

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
from typing import BinaryIO, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from tubedet.checkpoints.name_mapping import require_finite, zero_counters
from tubedet.checkpoints.voc_weights import (
    BACKBONE_PARTS,
    HEAD,
    VocWeights,
    is_of_parts,
    voc_detector_outline,
)
from tubedet.checkpoints.whole_file import written_whole
from tubedet.errors import WeightsError
from tubedet.models.yolov2.darknet19 import DarknetLayout

KIND = "Darknet weights of YOLOv2-VOC (2016 or today's) or of its Darknet-19 backbone"
LICENCE = "LicenseRef-Darknet"
FLOAT_BYTES = 4
# Version 0.1 counts the images seen in 32 bits, 0.2 in 64.
HEADER_BYTES = {(0, 1): 16, (0, 2): 20}
# The order of a layer's numbers; without batch norm there are `conv.bias` and `conv.weight`.
STORED = ("bn.bias", "bn.weight", "bn.running_mean", "bn.running_var", "conv.weight")


class _Content(NamedTuple):
    """What a file of a certain length holds."""

    layout: DarknetLayout
    shapes: dict[str, tuple[int, ...]]  # in the order of the file


def read_darknet(path: Path, width: float = 1.0) -> VocWeights:
    """The stream, and the VOC head if there is one.

    Args:
        path: the `.weights` file.
        width: of a narrow twin, for tests.

    Raises:
        WeightsError: if the file is absent, of another length or version, or not finite.
    """
    try:
        with path.open("rb") as file:
            content = _content_of(file, path, width)
            tensors = {n: _read_tensor(file, shape) for n, shape in content.shapes.items()}
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: expected {KIND}, found {error}") from error
    require_finite(tensors, path)
    head = {n.removeprefix(HEAD): t for n, t in tensors.items() if n.startswith(HEAD)}
    stream = {n: t for n, t in tensors.items() if not n.startswith(HEAD)}
    counters = (f"{n.removesuffix('weight')}num_batches_tracked" for n in stream if "bn.w" in n)
    return VocWeights(
        layout=content.layout,
        # The backbone alone has nothing behind the passthrough that was trained for an order.
        passthrough="darknet" if any(n.startswith("conv4.") for n in stream) else "space_to_depth",
        stream={**stream, **zero_counters(counters)},
        head=head,
        licence=LICENCE,
    )


def write_darknet(
    path: Path, stream: Mapping[str, Tensor], head: Mapping[str, Tensor], *, seen: int = 0
) -> None:
    """Write a stream, or its backbone alone, as Darknet reads it (version 0.2).

    Args:
        path: the file to write or replace.
        stream: state dict of a `Darknet19Stream`, or its `conv1s` and `conv2` alone.
        head: of `PredictionHead`, or empty.
        seen: images seen in training, which the file's header counts.

    Raises:
        OutputError: if it cannot be written; a previous file is untouched.
    """
    tensors = {**stream, **{f"{HEAD}{name}": tensor for name, tensor in head.items()}}
    with written_whole(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<iiiQ", 0, 2, 0, seen))
        for name in _in_file_order(tensors):
            file.write(
                tensors[name].detach().cpu().float().contiguous().numpy().astype("<f4").tobytes()
            )


def _content_of(file: BinaryIO, path: Path, width: float) -> _Content:
    """What the length says; ValueError if no content has it. Leaves the file behind its header."""
    length = file.seek(0, 2)
    known = {FLOAT_BYTES * _count(content.shapes): content for content in _contents(width)}
    file.seek(0)
    start = file.read(12)
    if len(start) < 12:
        raise ValueError(f"{length} bytes")
    major, minor, revision = struct.unpack("<iii", start)
    header = HEADER_BYTES.get((major, minor))
    if header is None:
        raise ValueError(f"version {major}.{minor}.{revision}")
    if length - header not in known:
        expected = ", ".join(str(each + header) for each in sorted(known))
        raise ValueError(f"{length} bytes instead of {expected}; get another copy")
    file.seek(header)
    return known[length - header]


def _contents(width: float) -> Iterator[_Content]:
    for layout in get_args(DarknetLayout):
        shapes = voc_detector_outline(layout, width)
        ordered = {name: shapes[name] for name in _in_file_order(shapes)}
        yield _Content(layout, ordered)
        without_head = {n: shape for n, shape in ordered.items() if not n.startswith(HEAD)}
        yield _Content(layout, without_head)
    backbone = {n: s for n, s in without_head.items() if is_of_parts(n, BACKBONE_PARTS)}
    yield _Content("direct", backbone)


def _in_file_order(names: Mapping[str, object]) -> Iterator[str]:
    """Names layer by layer; `names` are in the order of the layers."""
    layers = dict.fromkeys(name.partition(".conv.")[0] for name in names if ".conv.weight" in name)
    for layer in layers:
        if f"{layer}.bn.bias" in names:
            yield from (f"{layer}.{each}" for each in STORED)
        else:
            yield from (f"{layer}.conv.bias", f"{layer}.conv.weight")


def _count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return sum(prod(shape) for shape in shapes.values())


def _read_tensor(file: BinaryIO, shape: tuple[int, ...]) -> Tensor:
    """The next numbers of the file; the length of the file has been compared before."""
    values = np.fromfile(file, "<f4", prod(shape)).reshape(shape)
    return torch.from_numpy(values.astype(np.float32, copy=False))
