"""NVIDIA's FlowNet2 checkpoints (`FlowNet2-SD_checkpoint.pth.tar` and its siblings), and back.

The files are no tar archives but what `torch.save` wrote under PyTorch 0.2 and Python 2.7: pickles,
then the numbers. Later layouts, zip included, are read as well. Names and colour order are ours.

`torch.load(weights_only=True)` runs no foreign code but allocates what a file claims: storages and
bytearrays of any length. So a pickle is first read for names, shapes and sizes alone.

Source: NVIDIA/flownet2-pytorch (convert.py, main.py).
"""

import pickle
import pickletools
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tubedet.checkpoints.foreign_files import (
    ZIP_START,
    opened_zip,
    refused_as,
    require_finite,
    require_fit,
    shapes_of,
)
from tubedet.whole_file import written_whole

KIND = "a PyTorch checkpoint of NVIDIA's FlowNet2"
LICENCE = "LicenseRef-FlowNet2-research-only"
# How torch.save began until 1.6: a pickle of its magic number.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_PICKLES = 5  # magic number, protocol, system, content, keys of storages
MOST_PICKLE_BYTES = 1 << 18  # FlowNet2's 220 tensors take 60 kB
MOST_ITEMS = 10_000
MOST_SHARED_LEVELS = 20  # of tuples that hold shared tuples
PROTOCOL = 2
DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
}
# A part of each network that none of those behind it has.
NETWORKS = {
    "flownetfusion": "FlowNet2",
    "flownets_2": "FlowNet2-CSS",
    "flownets_1": "FlowNet2-CS",
    "conv_redir": "FlowNet2-C",
    "conv0": "FlowNet2-SD",
    "conv1": "FlowNet2-S",
}


def read_flownet2(path: Path, expected: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The tensors of a flow network, float32, in the order of `expected`.

    Args:
        path: the checkpoint file.
        expected: state dict of the network, which may lie on `meta`.
        what: name of that network, for messages.

    Raises:
        WeightsError: if the file is absent, damaged, of another network, or not finite.
    """
    outline = outline_flownet2(path)
    require_fit(shapes_of(outline), shapes_of(expected), path, f"{what} of NVIDIA")
    with refused_as(path, KIND):
        with path.open("rb") as file:
            is_zip = file.read(len(ZIP_START)) == ZIP_START
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        state = _state_of(content)
        tensors = {name: state[name].detach().float().contiguous() for name in expected}
    require_fit(shapes_of(tensors), shapes_of(expected), path, f"{what} of NVIDIA")
    require_finite(tensors, path)
    return tensors


def outline_flownet2(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on `meta`; nothing else of the file is read.

    Raises:
        WeightsError: if it is no checkpoint, or claims more than it holds.
    """
    with refused_as(path, KIND):
        length = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(MOST_PICKLE_BYTES)
        if start.startswith(ZIP_START):
            content = _outline_pickle(BytesIO(_zipped_pickle(path)), length)
        elif start.startswith(LEGACY_START):
            stream = BytesIO(start)
            content = [_outline_pickle(stream, length) for _ in range(LEGACY_PICKLES)][3]
        else:
            raise ValueError("a file of another kind")
        state = _state_of(content)
        if not isinstance(state, dict):
            raise ValueError("no state dict")
        for name, value in state.items():
            if not isinstance(name, str) or not isinstance(value, Tensor):
                raise ValueError(f"{name!a}, which is no tensor, in the state dict")
            if not value.is_floating_point():
                raise ValueError(f"whole numbers in {name!a}")
        return state


def network_of(names: Iterable[str]) -> str | None:
    """Which of NVIDIA's networks has tensors of these names; None if none has."""
    parts = {name.partition(".")[0] for name in names}
    return next((network for part, network in NETWORKS.items() if part in parts), None)


def write_flownet2(path: Path, network: nn.Module) -> None:
    """Write a flow network as NVIDIA's code reads it, in the format of any PyTorch.

    Raises:
        OutputError: if it cannot be written; a previous file is untouched.
    """
    state = OrderedDict((n, t.detach().cpu().contiguous()) for n, t in network.state_dict().items())
    content = {"epoch": 0, "state_dict": state, "best_EPE": 1e10}  # as converted by NVIDIA
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file, _use_new_zipfile_serialization=False)


def _state_of(content: Any) -> Any:
    """The tensors of a checkpoint, or of a file that holds nothing else."""
    is_checkpoint = isinstance(content, dict) and "state_dict" in content
    return content["state_dict"] if is_checkpoint else content


def _zipped_pickle(path: Path) -> bytes:
    """The pickle of an archive whose members are all stored, and equal their checksums."""
    with opened_zip(path) as archive:
        members = archive.infolist()
        pickles = [member for member in members if member.filename.endswith("/data.pkl")]
        if any(member.compress_type for member in members):
            raise ValueError("a compressed archive, which torch.save never writes")
        if len(pickles) != 1 or pickles[0].file_size > MOST_PICKLE_BYTES:
            raise ValueError(f"an archive of {len(pickles)} checkpoints, or of a huge one")
        if damaged := archive.testzip():
            raise ValueError(f"a damaged archive ({damaged!a} differs from its checksum)")
        return archive.read(pickles[0])


def _outline_pickle(stream: BytesIO, most_bytes: int) -> Any:
    """The object of the next pickle, with tensors on `meta`, by the operations of torch.save."""
    start, levels, deepest, before = stream.tell(), dict[int, int](), 0, ""
    for operation, argument, _ in pickletools.genops(stream):
        number = argument if isinstance(argument, int) else 0
        # A tuple of twice the same tuple, and so on, has a hash that takes 2^depth steps.
        if operation.name.endswith("PUT") and before.startswith("TUPLE"):
            levels[number] = deepest + 1
        if operation.name.endswith("GET"):
            deepest = max(deepest, levels.get(number, 0))
        if operation.name == "DUP" or deepest > MOST_SHARED_LEVELS:
            raise ValueError("a pickle of nested tuples, which no set of weights needs")
        before = operation.name
        if operation.proto > PROTOCOL or (operation.name == "PROTO" and number != PROTOCOL):
            raise ValueError(f"a pickle of another protocol (with {operation.name})")
        if operation.name.endswith("PUT") and number > MOST_PICKLE_BYTES:
            raise ValueError("a damaged pickle")  # for which Python would take that many places
    stream.seek(start)
    return _Outline(stream, most_bytes).load()


class _Outline(pickle.Unpickler):
    """Makes tensors on `meta` of what torch.save pickled, and knows no other class or function."""

    def __init__(self, stream: BytesIO, most_bytes: int) -> None:
        super().__init__(stream, encoding="utf-8")  # Python 2's texts
        self.bytes_allowed = most_bytes
        self.items_allowed = MOST_ITEMS
        self.keys: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name; ValueError for one that no set of weights needs."""
        permitted: dict[str, Any] = {
            "collections.OrderedDict": self._mapping,
            "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
            "torch._utils._rebuild_tensor": self._tensor,  # until PyTorch 0.3
            "torch._utils._rebuild_tensor_v2": self._tensor,
            **{f"torch.{kind}": dtype for kind, dtype in DTYPES.items()},
        }
        wanted = f"{module}.{name}"
        if wanted not in permitted:
            raise ValueError(f"a pickle that asks for {wanted!a}, which no set of weights needs")
        return permitted[wanted]

    def persistent_load(self, reference: Any) -> Tensor:
        """A storage as a vector on `meta`; ValueError if the file is too short to hold it."""
        match reference:
            case ("storage", torch.dtype() as dtype, str(key), str(), int(count), *view) if (
                view in ([], [None]) and key not in self.keys
            ):
                self.keys.add(key)
                self.bytes_allowed -= count * dtype.itemsize
                if count < 0 or self.bytes_allowed < 0:
                    raise ValueError(f"a storage of {count} numbers, more than the file holds")
                return torch.empty(count, dtype=dtype, device="meta")
        raise ValueError("a storage of another kind, or one that two tensors share")

    def _mapping(self, items: Sequence[Any] = ()) -> OrderedDict[Any, Any]:
        """Python 2 gives all items at once."""
        self.items_allowed -= len(items)
        if self.items_allowed < 0:
            raise ValueError("too many items")
        return OrderedDict(items)

    def _tensor(
        self, storage: Tensor, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
    ) -> Tensor:
        tensor = torch.empty(shape, dtype=storage.dtype, device="meta")
        if offset or tensor.numel() != storage.numel() or tensor.stride() != stride:
            raise ValueError("a tensor that is only a part of a storage")
        return tensor.as_subclass(_WithoutState)


class _WithoutState(Tensor):
    """A tensor that a pickle cannot give another size."""

    def __setstate__(self, state: object) -> None:
        raise ValueError("a tensor with a state of its own")
