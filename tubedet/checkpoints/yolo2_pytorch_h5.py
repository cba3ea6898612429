"""The `.h5` of yolo2-pytorch: one HDF5 dataset for each tensor, named by its state-dict key.

h5py reads it, of the extra `h5`. Files of 2017 have no batch counters. Only
plain datasets are read: no links out of the file, nothing compressed, nothing that a file may
promise and not hold.

Source: longcw/yolo2-pytorch, utils/network.py (save_net).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tubedet.checkpoints.name_mapping import (
    COUNTER,
    Shape,
    require_finite,
    require_fit,
    zero_counters,
)
from tubedet.checkpoints.voc_weights import HEAD, VocWeights, voc_detector_outline
from tubedet.errors import WeightsError
from tubedet.extras import needed_for

KIND = "YOLOv2 weights as .h5 of yolo2-pytorch"
LICENCE = "LicenseRef-unknown"
MOST_DATASETS = 1000  # seven times those of a VOC detector


def read_h5(path: Path, width: float = 1.0) -> VocWeights:
    """The stream and the VOC head.

    Args:
        path: the `.h5` file.
        width: of a narrow twin, for tests.

    Raises:
        WeightsError: if the file is absent, damaged, does not fit, or is not finite.
        UsageError: if h5py is not installed.
    """
    outline = voc_detector_outline("direct", width)
    with _opened(path) as file:
        datasets = _plain_datasets(file)
        found = {name: dataset.shape for name, dataset in datasets.items()}
        require_fit(found, outline, path, KIND)
        tensors = {n: _read(datasets[n], n, shape) for n, shape in outline.items() if n in found}
    tensors = {**zero_counters(outline), **tensors}
    require_finite(tensors, path)
    return VocWeights(
        layout="direct",
        passthrough="space_to_depth",
        stream={name: tensor for name, tensor in tensors.items() if not name.startswith(HEAD)},
        head={n.removeprefix(HEAD): t for n, t in tensors.items() if n.startswith(HEAD)},
        licence=LICENCE,
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with needed_for(".h5 files", "h5py"):
        import h5py  # noqa: PLC0415
    try:
        with h5py.File(path, "r") as file:
            yield file
    except WeightsError:
        raise
    except Exception as error:  # RuntimeError, KeyError, …: whatever HDF5 makes of foreign bytes
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"{path}: expected {KIND}, found a damaged file ({reason})") from error


def _plain_datasets(file: Any) -> dict[str, Any]:
    """The datasets at the root by name; ValueError if there is anything else."""
    import h5py  # noqa: PLC0415

    if len(file) > MOST_DATASETS:
        raise ValueError(f"{len(file)} datasets")
    datasets: dict[str, Any] = {}
    for name in file:
        if type(file.get(name, getlink=True)) is not h5py.HardLink:
            raise ValueError(f"a link to somewhere else in {name!a}")
        dataset = file[name]
        if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
            raise ValueError(f"no plain dataset in {name!a}")
        if dataset.chunks is not None or dataset.shape is None:
            raise ValueError(f"a compressed or empty dataset in {name!a}")
        datasets[name] = dataset
    return datasets


def _read(dataset: Any, name: str, shape: Shape) -> Tensor:
    """A dataset whose shape is the expected one, once it has promised kind and room."""
    wanted = np.int64 if name.endswith(COUNTER) else np.float32
    if dataset.dtype.newbyteorder("=") != wanted:
        raise ValueError(f"{dataset.dtype} in {name!a} instead of {np.dtype(wanted)}")
    if dataset.id.get_storage_size() != dataset.dtype.itemsize * int(np.prod(shape)):
        raise ValueError(f"{dataset.id.get_storage_size()} bytes in {name!a}")
    values = np.empty(shape, wanted)
    dataset.read_direct(values) if shape else values.__setitem__((), dataset[()])
    return torch.from_numpy(values)
