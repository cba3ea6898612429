"""Files of TensorFlow Lite with the tensors of MoViNet-A0-Stream, of any values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import tflite
import torch
from numpy.typing import NDArray
from torch import Tensor

from tubedet.models.light.video_backbone import VideoBackbone

TENSORS = 231  # as many as the trunk's layers need
BLOCK_NAMES = (
    "block0_layer0 block1_layer0 block1_layer1 block1_layer2 block2_layer0 block2_layer1 "
    "block2_layer2 block3_layer0 block3_layer1 block3_layer2 block3_layer3 block4_layer0 "
    "block4_layer1 block4_layer2 block4_layer3"
).split()
# Of the reference table: numbers of the weights in a block, and the rest of their names.
NUMBERS = """
94 96 - 98 101 100 | 103 105 109 111 107 113 | 114 116 118 120 - 122 | 123 125 127 129 - 131
132 134 138 140 136 142 | 143 145 147 149 - 151 | 152 154 156 158 - 160 | 161 163 165 167 - 169
170 172 174 176 - 178 | 179 181 183 185 - 187 | 188 190 192 194 - 196 | 197 199 203 205 201 207
208 210 - 212 - 214 | 215 217 - 219 - 221 | 222 224 - 226 - 228
"""
NAMES = {
    "expand": "expansion/conv2d/conv2d/Conv2D",
    "depthwise": "feature/conv2d/depthwise_conv2d/depthwise",
    "temporal": "feature/conv2d_temporal/depthwise_conv2d_1/depthwise",
    "project": "projection/conv2d/conv2d_1/Conv2D",
    "skip": "skip/skip_project/conv2d/conv2d_2/Conv2D",
    "rezero": "rezero/mul",
}
START = "movinet_classifier/movinet/"


@dataclass
class StoredTensor:
    """One tensor as the file has it."""

    name: str
    values: NDArray[Any]  # int8 or int32
    scale: NDArray[np.float32]
    zero: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    axis: int = 0


def write_tflite(path: Path, tensors: Mapping[int, StoredTensor], count: int = TENSORS) -> Path:
    """A graph of `count` tensors, those that are not given without a name or values."""
    builder = flatbuffers.Builder(1 << 20)
    nothing = StoredTensor("", np.zeros(0, np.int8), np.zeros(0, np.float32))
    stored = [tensors.get(number, nothing) for number in range(count)]
    data = [builder.CreateByteVector(each.values.tobytes()) for each in stored]
    buffers = []
    for each in data:
        tflite.BufferStart(builder)
        tflite.BufferAddData(builder, each)
        buffers.append(tflite.BufferEnd(builder))
    outlines = [_add_tensor(builder, each, number) for number, each in enumerate(stored)]
    tensors_at = _add_vector(builder, outlines)
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors_at)
    graphs_at = _add_vector(builder, [tflite.SubGraphEnd(builder)])
    buffers_at = _add_vector(builder, buffers)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddSubgraphs(builder, graphs_at)
    tflite.ModelAddBuffers(builder, buffers_at)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def write_made_movinet(path: Path) -> Path:
    """What `made_tensors` stores."""
    return write_tflite(path, made_tensors()[0])


def made_layers() -> list[tuple[str, int, str]]:
    """Our name, the number of the weight, and a name of it, for each layer and `rezero`."""
    layers = [("stem", 92, "stem/stem/Conv2D"), ("project", 229, "head/project/Conv2D")]
    rows = NUMBERS.replace("|", "\n").split("\n")
    numbers = [row.split() for row in " | ".join(filter(str.strip, rows)).split("|")]
    for index, (block, row) in enumerate(zip(BLOCK_NAMES, numbers, strict=True)):
        for (layer, name), number in zip(NAMES.items(), row, strict=True):
            if number != "-":
                layers.append((f"blocks.{index}.{layer}", int(number), f"{block}/bneck/{name}"))
    return layers


def made_tensors() -> tuple[dict[int, StoredTensor], dict[str, Tensor]]:
    """Random tensors of a file, and the values that they are for a backbone."""
    chance = np.random.default_rng(0)
    shapes = {name: tuple(each.shape) for name, each in VideoBackbone().state_dict().items()}
    stored: dict[int, StoredTensor] = {}
    ours: dict[str, Tensor] = {}
    for layer, number, name in made_layers():
        if layer.endswith("rezero"):
            value, scale = np.full((1, 1, 4, 3, 8), 100, np.int8), np.float32(0.01)
            stored[number] = StoredTensor(START + name, value, np.array([scale]), np.array([-20]))
            ours[layer] = torch.tensor([np.float32(120) * scale])
            continue
        out, inner, height, width = shapes[f"{layer}.weight"]
        scales = chance.uniform(0.01, 0.1, out).astype(np.float32)
        kernel = chance.integers(-127, 128, (out, inner, height, width)).astype(np.int8)
        bias = chance.integers(-9999, 9999, out).astype(np.int32)
        is_depthwise = layer.endswith(("depthwise", "temporal"))
        order = (1, 2, 3, 0) if is_depthwise else (0, 2, 3, 1)
        axis = 3 if is_depthwise else 0
        zeros = np.zeros(out, np.int64)
        theirs = kernel.transpose(order)
        stored[number] = StoredTensor(START + name, theirs, scales, zeros, axis)
        stored[number + 1] = StoredTensor(START + name, bias, scales, zeros)
        ours[f"{layer}.weight"] = torch.from_numpy(kernel * scales[:, None, None, None])
        ours[f"{layer}.bias"] = torch.from_numpy((bias * scales).astype(np.float32))
    return stored, ours


def _add_tensor(builder: Any, tensor: StoredTensor, buffer: int) -> Any:
    name = builder.CreateString(tensor.name)
    shape = builder.CreateNumpyVector(np.array(tensor.values.shape, np.int32))
    scale, zero = map(builder.CreateNumpyVector, (tensor.scale, tensor.zero))
    tflite.QuantizationParametersStart(builder)
    tflite.QuantizationParametersAddScale(builder, scale)
    tflite.QuantizationParametersAddZeroPoint(builder, zero)
    tflite.QuantizationParametersAddQuantizedDimension(builder, tensor.axis)
    quantisation = tflite.QuantizationParametersEnd(builder)
    tflite.TensorStart(builder)
    tflite.TensorAddName(builder, name)
    tflite.TensorAddShape(builder, shape)
    is_int8 = tensor.values.dtype == np.int8
    kind = tflite.TensorType.INT8 if is_int8 else tflite.TensorType.INT32
    tflite.TensorAddType(builder, kind)
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddQuantization(builder, quantisation)
    return tflite.TensorEnd(builder)


def _add_vector(builder: Any, offsets: list[Any]) -> Any:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()
