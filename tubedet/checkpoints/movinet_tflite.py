"""MoViNet-A0-Stream as published for TensorFlow Lite into a `VideoBackbone`.

The file is `movinet/a0/stream/kinetics-600/classification/tflite/int8/1` of TensorFlow Hub (Google,
Apache-2.0), 3.3 MB: kernels in 8 bits with a scale for each output channel, batch norm folded in.
Its classifier is not used.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
import tflite
import torch
from numpy.typing import NDArray
from torch import Tensor

from tubedet.checkpoints.foreign_files import (
    LONGEST_NAME,
    Shape,
    refused_as,
    require_finite,
    require_fit,
    shapes_of,
)
from tubedet.models.light.video_backbone import VideoBackbone

KIND = "MoViNet-A0-Stream (Kinetics-600, int8) as TensorFlow Hub has it for TensorFlow Lite"
SHA256 = "6125b36e2485eeb5cc1fd6206cf5e5d70235593fbc84610d1dce97fe3aa9c2ac"
LICENCE = "Apache-2.0"
FILE_ID, FILE_ID_AT = b"TFL3", 4  # of every TensorFlow Lite file
MOST_BYTES = 16 << 20  # five times the published file's
INT8, INT32 = tflite.TensorType.INT8, tflite.TensorType.INT32
DTYPES = {INT8: "<i1", INT32: "<i4"}
NAME_START = "movinet_classifier/movinet/"

# Numbers of weight tensors in the file, block by block; biases follow their weights. None: absent.
STEM, WIDE = 92, 229
#  expand, depthwise, temporal, project, skip, rezero
TENSORS_OF_BLOCKS: tuple[tuple[int, int, int | None, int, int | None, int], ...] = (
    (94, 96, None, 98, 101, 100),
    (103, 105, 109, 111, 107, 113),
    (114, 116, 118, 120, None, 122),
    (123, 125, 127, 129, None, 131),
    (132, 134, 138, 140, 136, 142),
    (143, 145, 147, 149, None, 151),
    (152, 154, 156, 158, None, 160),
    (161, 163, 165, 167, None, 169),
    (170, 172, 174, 176, None, 178),
    (179, 181, 183, 185, None, 187),
    (188, 190, 192, 194, None, 196),
    (197, 199, 203, 205, 201, 207),
    (208, 210, None, 212, None, 214),
    (215, 217, None, 219, None, 221),
    (222, 224, None, 226, None, 228),
)
# Layers of a block, and how the names of their tensors go on behind the block's.
LAYERS = {
    "expand": "expansion/",
    "depthwise": "feature/conv2d/",
    "temporal": "feature/conv2d_temporal/",
    "project": "projection/",
    "skip": "skip/",
}
LAYERS_OF_STAGES = (1, 3, 3, 4, 4)
BLOCK_NAMES = [
    f"block{s}_layer{n}" for s, count in enumerate(LAYERS_OF_STAGES) for n in range(count)
]


def load_video_backbone(path: Path, backbone: VideoBackbone) -> None:
    """Fill a backbone from the published file, or another with the same tensors.

    Raises:
        WeightsError: if the file is absent or damaged, or holds anything else.
    """
    with refused_as(path, KIND):
        graph = _Graph(_content(path))
        stored = {place.name: graph.stored(place) for place in _places()}
        expected = shapes_of(backbone.state_dict())
        # A number for a whole map is written out in some size of the map.
        found = {n: expected[n] if _is_number(n) else each.shape for n, each in stored.items()}
        require_fit(found, expected, path, KIND)
        tensors = {name: each.values() for name, each in stored.items()}
        for name in filter(_is_number, tensors):
            tensors[name] = torch.unique(tensors[name])
            if len(tensors[name]) != 1:
                raise ValueError(f"{len(tensors[name])} values of {name}")
    require_finite(tensors, path)
    backbone.load_state_dict(tensors)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if content[FILE_ID_AT:][: len(FILE_ID)] != FILE_ID:
        raise ValueError("a file of another kind")
    if len(content) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES >> 20} MiB")
    return content


def _is_number(name: str) -> bool:
    return name.endswith(".rezero")


class _Place(NamedTuple):
    """Where the file has one of our tensors.

    `axes` are its axes in our order; the first of them, in the file, is that of output channels.
    """

    name: str
    number: int
    name_start: str
    type: int
    axes: tuple[int, ...]


def _places() -> Iterator[_Place]:
    yield from _places_of_layer("stem", STEM, "stem/")
    for index, (*numbers, rezero) in enumerate(TENSORS_OF_BLOCKS):
        block, theirs = f"blocks.{index}", f"{BLOCK_NAMES[index]}/bneck/"
        for (layer, name_start), number in zip(LAYERS.items(), numbers, strict=True):
            if number is not None:
                yield from _places_of_layer(f"{block}.{layer}", number, theirs + name_start)
        map_axes = (4, 0, 1, 2, 3)
        yield _Place(f"{block}.rezero", rezero, f"{theirs}rezero/", INT8, map_axes)
    yield from _places_of_layer("project", WIDE, "head/project/")


def _places_of_layer(name: str, number: int, name_start: str) -> Iterator[_Place]:
    # Depthwise kernels are [1, kh, kw, C], others [out, kh, kw, in].
    is_depthwise = name.endswith((".depthwise", ".temporal"))
    axes = (3, 0, 1, 2) if is_depthwise else (0, 3, 1, 2)
    yield _Place(f"{name}.weight", number, name_start, INT8, axes)
    yield _Place(f"{name}.bias", number + 1, name_start, INT32, (0,))


class _Stored(NamedTuple):
    """A tensor of the file before its values are read, shape and axis in our order."""

    shape: Shape
    data: NDArray[Any]
    scale: NDArray[Any]
    zero: NDArray[Any]
    axes: tuple[int, ...]

    def values(self) -> Tensor:
        """In float32: integers, from their zero point, times the scale of their channel."""
        theirs = [0] * len(self.axes)
        for ours, axis in enumerate(self.axes):
            theirs[axis] = self.shape[ours]
        data = torch.from_numpy(self.data.reshape(theirs).astype(np.float32)).permute(self.axes)
        along = (-1, *[1] * (len(self.shape) - 1))
        zero, scale = (
            torch.from_numpy(each.astype(np.float32)).reshape(along)
            for each in (self.zero, self.scale)
        )
        return ((data - zero) * scale).contiguous()


class _Graph:
    """Constant tensors of a TensorFlow Lite file.

    The library checks no offset: what is damaged raises any error, or reads other bytes of the
    file. So nothing is taken for granted that has not been compared with what is expected.
    """

    def __init__(self, content: bytes) -> None:
        self._model: Any = tflite.Model.GetRootAs(content, 0)
        if self._model.SubgraphsLength() != 1:
            raise ValueError(f"{self._model.SubgraphsLength()} graphs")
        self._graph: Any = self._model.Subgraphs(0)

    def stored(self, place: _Place) -> _Stored:
        """A tensor's shape and bytes; ValueError if it is not what the place says."""
        if place.number >= self._graph.TensorsLength():
            raise ValueError(f"{self._graph.TensorsLength()} tensors")
        tensor = self._graph.Tensors(place.number)
        name = str(tensor.Name(), "ascii", "replace")
        is_right = name.startswith(NAME_START + place.name_start)
        if not is_right or tensor.Type() != place.type or tensor.ShapeLength() != len(place.axes):
            found = shorten(ascii(name), LONGEST_NAME)
            raise ValueError(f"tensor {place.number} is {found}, not {place.name}")
        sides = tensor.ShapeAsNumpy().tolist()
        shape = tuple(sides[axis] for axis in place.axes)
        quantisation = tensor.Quantization()
        scale, zero = quantisation.ScaleAsNumpy(), quantisation.ZeroPointAsNumpy()
        axis = quantisation.QuantizedDimension()
        for each in (scale, zero):
            if len(each) != 1 and (len(each) != shape[0] or axis != place.axes[0]):
                raise ValueError(f"{len(each)} scales on axis {axis} of {place.name}")
        data = self._model.Buffers(tensor.Buffer()).DataAsNumpy().view(DTYPES[place.type])
        if data.shape != (prod(shape),):
            raise ValueError(f"{len(data)} values of {place.name}, not {prod(shape)}")
        return _Stored(shape, data, scale, zero, place.axes)
