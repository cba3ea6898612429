"""NVIDIA's FlowNet2 checkpoints (`FlowNet2-SD_checkpoint.pth.tar` and its siblings), and back.

The files are no tar archives but what `torch.save` writes, in its old format; the newer one, a zip,
is read as well. Names and colour order are ours already. Everything a file promises is compared
with the network and with the file's length before `torch.load(weights_only=True)` sees it.

Source: NVIDIA/flownet2-pytorch (convert.py, main.py).
"""

import struct
from collections import OrderedDict
from collections.abc import Mapping
from io import BytesIO
from math import prod
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from tubedet.checkpoints.name_mapping import require_finite, require_fit, shapes_of
from tubedet.checkpoints.pickle_outline import (
    PickleError,
    TensorOutline,
    outline_pickle,
)
from tubedet.checkpoints.whole_file import written_whole
from tubedet.checkpoints.zip_directory import ZipError, opened_zip, read_member, require_sound
from tubedet.errors import WeightsError

MAX_PICKLE_BYTES = 1 << 18  # FlowNet2's 220 tensors take 60 kB
# How torch.save began until 1.6: a pickle of its magic number.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
KIND = "a PyTorch checkpoint of NVIDIA's FlowNet2"
LICENCE = "LicenseRef-FlowNet2-research-only"


def read_flownet2(path: Path, expected: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The tensors of a flow network, float32, in the order of `expected`.

    Args:
        path: the checkpoint file.
        expected: state dict of the network, which may lie on `meta`.
        what: name of that network, for messages.

    Raises:
        WeightsError: if the file is absent, damaged, of another network, or not finite.
    """
    try:
        outline, storages = _outline(path)
        require_fit(_shapes(outline), shapes_of(expected), path, f"{what} of NVIDIA")
        _require_whole(outline, storages)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # from torch.load, whatever foreign bytes lead it to
        raise _unfit(path, error) from error
    state = _state_of(content)
    tensors = {name: state[name].detach().float().contiguous() for name in expected}
    require_fit(shapes_of(tensors), shapes_of(expected), path, f"{what} of NVIDIA")
    require_finite(tensors, path)
    return tensors


def outline_flownet2(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a checkpoint's tensors; WeightsError if it is none."""
    try:
        return _shapes(_outline(path)[0])
    except (OSError, ValueError) as error:
        raise _unfit(path, error) from error


def write_flownet2(path: Path, network: nn.Module) -> None:
    """Write a flow network as NVIDIA's code reads it, in the format of any PyTorch.

    Raises:
        OutputError: if it cannot be written; a previous file is untouched.
    """
    state = OrderedDict((n, t.detach().cpu().contiguous()) for n, t in network.state_dict().items())
    content = {"epoch": 0, "state_dict": state, "best_EPE": 1e10}  # as converted by NVIDIA
    with written_whole(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file, _use_new_zipfile_serialization=False)


def _unfit(path: Path, error: Exception) -> WeightsError:
    found = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return WeightsError(
        f"{path}: expected {KIND}, found {shorten(found, 200)}; get another copy of it"
    )


def _outline(path: Path) -> tuple[dict[str, TensorOutline], dict[str, int]]:
    """Tensors by name, and the bytes that the file holds for each storage, by key."""
    with path.open("rb") as file:
        start = file.read(MAX_PICKLE_BYTES)
        length = file.seek(0, 2)
    if start.startswith(b"PK"):
        return _outline_zip(path)
    if not start.startswith(LEGACY_START):
        raise PickleError("a file of another kind")
    stream = BytesIO(start)
    _magic, _protocol, _system = (outline_pickle(stream) for _ in range(3))
    tensors = _tensors_of(outline_pickle(stream))
    keys = outline_pickle(stream)
    return tensors, _legacy_storages(path, tensors, keys, stream.tell(), length)


def _legacy_storages(
    path: Path, tensors: dict[str, TensorOutline], keys: Any, at: int, length: int
) -> dict[str, int]:
    """After the pickles come all storages in a row, each behind its number of elements."""
    known = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise PickleError("a list of storages that is none")
    if set(keys) != set(known) or len(keys) != len(known):
        raise PickleError("storages that no tensor needs, or tensors without one")
    with path.open("rb") as file:
        for key in keys:
            file.seek(at)
            if file.read(8) != struct.pack("<q", known[key].numel):
                raise PickleError("a truncated or damaged file")
            at += 8 + known[key].nbytes
    if at != length:
        raise PickleError(f"{length} bytes where its tensors need {at}")
    return {key: storage.nbytes for key, storage in known.items()}


def _outline_zip(path: Path) -> tuple[dict[str, TensorOutline], dict[str, int]]:
    with opened_zip(path) as archive:
        members = {member.filename: member for member in archive.infolist()}
        pickles = [name for name in members if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ZipError(f"an archive with {len(pickles)} sets of tensors")
        for name, member in members.items():
            if member.compress_type or member.file_size != member.compress_size:
                raise ZipError(f"the compressed member {name!a}, which torch.save never writes")
        if sum(member.file_size for member in members.values()) > path.stat().st_size:
            raise ZipError("an archive whose members overlap")
        require_sound(archive)
        stream = BytesIO(read_member(archive, members[pickles[0]], MAX_PICKLE_BYTES))
    start = f"{pickles[0].removesuffix('data.pkl')}data/"
    sizes = {n.removeprefix(start): m.file_size for n, m in members.items() if n.startswith(start)}
    return _tensors_of(outline_pickle(stream)), sizes


def _tensors_of(content: Any) -> dict[str, TensorOutline]:
    state = _state_of(content)
    if not isinstance(state, dict):
        raise PickleError("no state dict")
    if others := [name for name, value in state.items() if not isinstance(value, TensorOutline)]:
        raise PickleError(f"{others[0]!a}, which is no tensor, in the state dict")
    return state


def _state_of(content: Any) -> Any:
    """The tensors of a checkpoint, or of a file that holds nothing else."""
    is_checkpoint = isinstance(content, dict) and "state_dict" in content
    return content["state_dict"] if is_checkpoint else content


def _shapes(outline: Mapping[str, TensorOutline]) -> dict[str, tuple[int, ...]]:
    return {name: tensor.shape for name, tensor in outline.items()}


def _require_whole(outline: Mapping[str, TensorOutline], stored: Mapping[str, int]) -> None:
    """PickleError unless each tensor is a storage of its own, and the file holds all of it."""
    seen: set[str] = set()
    for name, (storage, offset, shape, stride) in outline.items():
        if offset or stride != _contiguous(shape) or storage.numel != prod(shape):
            raise PickleError(f"only a part of a storage behind {name!a}")
        if storage.kind == "LongStorage":
            raise PickleError(f"whole numbers in {name!a}")
        if storage.key in seen:
            raise PickleError(f"the storage of another tensor behind {name!a}")
        seen.add(storage.key)
        if stored.get(storage.key) != storage.nbytes:
            raise PickleError(f"{stored.get(storage.key, 0)} bytes for {name!a}")


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
