"""yolo2-pytorch's `.h5` and `.npz` of YOLOv2-VOC.

| file | arrays | kernels |
|---|---|---|
| `.h5` | datasets named by state-dict key; those of 2017 have no batch counters | as ours |
| `.npz` | of TensorFlow: `0-convolutional/gamma:0`; `biases` are batch norm's | (h, w, in, out) |

`darknet19.weights.npz` has the first 18 convolutions, the backbone. Nothing is unpickled, and an
array is read only when its shape and size have been compared with the network's.

Source: longcw/yolo2-pytorch, utils/network.py (save_net), darknet.py (load_from_npz).
"""

import warnings
from math import prod
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor

from tubedet.checkpoints.foreign_files import (
    COUNTER,
    Shape,
    Shapes,
    opened_zip,
    refused_as,
    require_fit,
)
from tubedet.checkpoints.voc_weights import (
    VocWeights,
    is_of_backbone,
    voc_shapes,
    voc_weights,
)
from tubedet.extras import needed_for

H5 = "YOLOv2 weights as .h5 of yolo2-pytorch"
NPZ = "YOLOv2 weights as .npz of yolo2-pytorch"
LICENCE = "LicenseRef-unknown"
MOST_DATASETS = 1000  # seven times those of a VOC detector
NAMES_IN_NPZ = {
    "conv.weight": "kernel",
    "conv.bias": "biases",
    "bn.weight": "gamma",
    "bn.bias": "biases",
    "bn.running_mean": "moving_mean",
    "bn.running_var": "moving_variance",
}


def read_h5(path: Path, width: float = 1.0) -> VocWeights:
    """The stream and the VOC head of an `.h5`.

    Args:
        path: the file.
        width: factor on hidden channels, for tests.

    Raises:
        WeightsError: if the file is absent, damaged, does not fit, or is not finite.
        UsageError: if h5py is not installed.
    """
    with needed_for(".h5 files", "h5py"):
        import h5py  # noqa: PLC0415
    expected = voc_shapes("direct", width)
    with refused_as(path, H5), h5py.File(path, "r") as file:
        if len(file) > MOST_DATASETS:
            raise ValueError(f"{len(file)} datasets")
        found = {name: _plain_dataset(file, name).shape for name in file}
        require_fit(found, expected, path, H5)
        tensors = {name: _read_dataset(file[name], name) for name in expected if name in found}
    return voc_weights(path, tensors, licence=LICENCE)


def read_npz(path: Path, width: float = 1.0) -> VocWeights:
    """The stream, or its backbone, and the VOC head if there is one, of an `.npz`.

    Args:
        path: the file.
        width: factor on hidden channels, for tests.

    Raises:
        WeightsError: if the file is absent, damaged, does not fit, or is not finite.
    """
    expected = voc_shapes("direct", width)
    names = _names_in_npz(expected)
    backbone = {ours: n for ours, n in names.items() if is_of_backbone(ours)}
    with refused_as(path, NPZ), opened_zip(path) as archive:
        members = archive.namelist()
        names = backbone if len(members) <= len(backbone) else names
        shapes = {theirs: expected[ours] for ours, theirs in names.items()}
        # Names first: of an array, the shape is in its own member.
        require_fit({n: shapes.get(n, ()) for n in members}, shapes, path, NPZ)
        tensors = {
            ours: _read_member(archive, theirs, expected[ours]) for ours, theirs in names.items()
        }
    return voc_weights(path, tensors, licence=LICENCE)


def _plain_dataset(file: Any, name: str) -> Any:
    """A dataset that lies in the file itself, whole and as it is; ValueError for any other."""
    import h5py  # noqa: PLC0415

    if type(file.get(name, getlink=True)) is not h5py.HardLink:
        raise ValueError(f"a link to somewhere else in {name!a}")
    dataset = file[name]
    is_dataset = isinstance(dataset, h5py.Dataset)
    if not is_dataset or dataset.is_virtual or dataset.external or dataset.chunks:
        raise ValueError(f"no plain dataset in {name!a}")
    if dataset.id.get_storage_size() != dataset.nbytes:
        raise ValueError(f"{dataset.id.get_storage_size()} bytes in {name!a}")
    return dataset


def _read_dataset(dataset: Any, name: str) -> Tensor:
    wanted = np.dtype(np.int64 if name.endswith(COUNTER) else np.float32)
    if dataset.dtype.newbyteorder("=") != wanted:
        raise ValueError(f"{dataset.dtype} in {name!a} instead of {wanted}")
    return torch.from_numpy(np.asarray(dataset[()], wanted))


def _names_in_npz(shapes: Shapes) -> dict[str, str]:
    """Our name of each tensor → the member of the archive, without batch counters."""
    layers = list(dict.fromkeys(name.rsplit(".", 2)[0] for name in shapes))
    names = {}
    for name in shapes:
        layer, module, entry = name.rsplit(".", 2)
        if entry != COUNTER:
            theirs = NAMES_IN_NPZ[f"{module}.{entry}"]
            names[name] = f"{layers.index(layer)}-convolutional/{theirs}:0.npy"
    return names


def _read_member(archive: ZipFile, name: str, shape: Shape) -> Tensor:
    """The float32 array of our shape that a member holds; ValueError if it holds any other."""
    theirs = (*shape[2:], shape[1], shape[0]) if len(shape) == 4 else shape
    with archive.open(name) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that Python 2 wrote the header
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"another version of .npy in {name!a}")
        found, _, dtype = np.lib.format.read_array_header_1_0(file)
        if found != theirs or dtype.newbyteorder("=") != np.float32:
            raise ValueError(f"{name!a}: an array of {dtype}, shape {found}, not float32, {theirs}")
        size = file.tell() + dtype.itemsize * prod(shape)
        if archive.getinfo(name).file_size != size:
            raise ValueError(f"{archive.getinfo(name).file_size} bytes in {name!a}, not {size}")
        file.seek(0)
        values = torch.from_numpy(np.load(file, allow_pickle=False).astype(np.float32))
    return values.permute(3, 2, 0, 1).contiguous() if values.ndim == 4 else values
