"""The `.npz` of yolo2-pytorch: YOLOv2 weights as TensorFlow converters wrote them.

Arrays are named `{i}-convolutional/{kernel,biases,gamma,moving_mean,moving_variance}:0`, i counting
convolutions in the order of the layers; `biases` is batch norm's shift. Kernels are
(height, width, in, out). `darknet19.weights.npz` has the first 18 convolutions, the backbone.
Nothing is unpickled, and each array is unpacked only when its size has been compared.

Source: longcw/yolo2-pytorch, darknet.py (load_from_npz).
"""

import warnings
from io import BytesIO
from math import prod
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
import torch
from torch import Tensor

from tubedet.checkpoints.name_mapping import (
    COUNTER,
    Shape,
    Shapes,
    require_finite,
    require_fit,
    zero_counters,
)
from tubedet.checkpoints.voc_weights import (
    BACKBONE_PARTS,
    HEAD,
    VocWeights,
    is_of_parts,
    voc_detector_outline,
)
from tubedet.checkpoints.zip_directory import ZipError, opened_zip, read_member
from tubedet.errors import WeightsError

KIND = "YOLOv2 weights as .npz of yolo2-pytorch"
LICENCE = "LicenseRef-unknown"
MAX_HEADER_BYTES = 1 << 16  # of a .npy of version 1
THEIR_NAMES = {
    "conv.weight": "kernel",
    "conv.bias": "biases",
    "bn.weight": "gamma",
    "bn.bias": "biases",
    "bn.running_mean": "moving_mean",
    "bn.running_var": "moving_variance",
}


def read_npz(path: Path, width: float = 1.0) -> VocWeights:
    """The stream, or its backbone, and the VOC head if there is one.

    Args:
        path: the `.npz` file.
        width: of a narrow twin, for tests.

    Raises:
        WeightsError: if the file is absent, damaged, does not fit, or is not finite.
    """
    outline = voc_detector_outline("direct", width)
    counters = [name for name in outline if name.endswith(COUNTER)]
    try:
        with opened_zip(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            names = _their_names(outline)
            backbone = {ours: n for ours, n in names.items() if is_of_parts(ours, BACKBONE_PARTS)}
            if len(members) <= len(backbone):
                names = backbone
                counters = [name for name in counters if is_of_parts(name, BACKBONE_PARTS)]
            expected = {f"{theirs}.npy": outline[ours] for ours, theirs in names.items()}
            # Names first: of an array, only the size can be known before it is unpacked.
            require_fit({n: expected.get(n, ()) for n in members}, expected, path, KIND)
            tensors = {
                ours: _read(archive, members[f"{theirs}.npy"], outline[ours])
                for ours, theirs in names.items()
            }
    except (OSError, ZipError, ValueError) as error:
        raise WeightsError(f"{path}: expected {KIND}, found {error}") from error
    require_finite(tensors, path)
    return VocWeights(
        layout="direct",
        passthrough="space_to_depth",
        stream={
            **{name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD)},
            **zero_counters(counters),
        },
        head={n.removeprefix(HEAD): t for n, t in tensors.items() if n.startswith(HEAD)},
        licence=LICENCE,
    )


def _their_names(outline: Shapes) -> dict[str, str]:
    """Our name of each tensor → theirs, without batch counters."""
    layers = list(dict.fromkeys(_split(name)[0] for name in outline))
    return {
        name: f"{layers.index(layer)}-convolutional/{THEIR_NAMES[entry]}:0"
        for name in outline
        if not name.endswith(COUNTER)
        for layer, entry in [_split(name)]
    }


def _split(name: str) -> tuple[str, str]:
    """`conv2.1.bn.weight` → (`conv2.1`, `bn.weight`)."""
    layer, module, entry = name.rsplit(".", 2)
    return layer, f"{module}.{entry}"


def _their_shape(ours: Shape) -> Shape:
    if len(ours) != 4:
        return ours
    outputs, inputs, height, width = ours
    return height, width, inputs, outputs


def _read(archive: ZipFile, member: ZipInfo, shape: Shape) -> Tensor:
    """The tensor of our shape that a member holds."""
    most_bytes = prod(shape) * np.dtype(np.float32).itemsize + MAX_HEADER_BYTES
    content = read_member(archive, member, most_bytes)
    return _kernel_first(_parse_npy(content, _their_shape(shape)))


def _parse_npy(content: bytes, shape: Shape) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """A float32 array of this shape; ValueError if it is another, or bytes are left."""
    stream = BytesIO(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Python 2 wrote the header
        try:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError("another version of .npy")
            found, by_column, dtype = np.lib.format.read_array_header_1_0(stream)
        except Exception as error:  # the header is parsed as Python: SyntaxError and others
            raise ValueError(f"a damaged array ({error})") from error
    if found != shape or dtype not in (np.dtype("<f4"), np.dtype(">f4")):
        raise ValueError(f"an array of {dtype}, shape {found}, instead of float32, shape {shape}")
    if len(content) - stream.tell() != prod(shape) * dtype.itemsize:
        raise ValueError("an array with too few or too many bytes")
    values = np.frombuffer(content, dtype, offset=stream.tell())
    ordered = values.reshape(shape, order="F" if by_column else "C")
    return ordered.astype(np.float32)


def _kernel_first(array: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> Tensor:
    """(height, width, in, out) → (out, in, height, width); vectors as they are."""
    tensor = torch.from_numpy(array)
    return tensor.permute(3, 2, 0, 1).contiguous() if tensor.ndim == 4 else tensor
