"""Checkpoints as old PyTorch and Python 2 wrote them, by today's torch.save with an old pickler.

| written by | tensors | OrderedDict | texts |
|---|---|---|---|
| PyTorch up to 0.3 | `_rebuild_tensor`, 4 arguments | | |
| PyTorch from 0.4 | `_rebuild_tensor_v2`, 6 arguments | | |
| Python 2 | | items as one argument | SHORT_BINSTRING |
| Python 3 | | items set one by one | BINUNICODE |

NVIDIA's files are of PyTorch 0.2 and Python 2.7, as their convert.py and Dockerfile say.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import torch
from torch import Tensor

# Whether PyTorch is old, Python is old, and the file a zip, which no old PyTorch wrote.
LAYOUTS = {
    f"{rebuild} {python} {container}": (rebuild == "v1", python == "py2", container == "zip")
    for rebuild in ("v1", "v2")
    for python in ("py2", "py3")
    for container in ("legacy", "zip")
}


def save_as(layout: str, content: Any, path: Path) -> Path:
    """Write a checkpoint in one of `LAYOUTS`."""
    old_torch, old_python, zipped = LAYOUTS[layout]

    class Pickler(pickle._Pickler):  # in Python, since C's has no table of types
        dispatch: ClassVar[dict[Any, Any]] = dict(pickle._Pickler.dispatch)

        def reducer_override(self, value: Any) -> Any:
            if old_torch and isinstance(value, Tensor):
                storage = torch.storage.TypedStorage(  # type: ignore[no-untyped-call]
                    wrap_storage=value.untyped_storage(), dtype=value.dtype, _internal=True
                )
                place = (storage, value.storage_offset(), tuple(value.size()), value.stride())
                return torch._utils._rebuild_tensor, place
            if old_python and isinstance(value, OrderedDict):
                return OrderedDict, ([[key, entry] for key, entry in value.items()],)
            return NotImplemented

        def save_text(self, text: str) -> None:
            data = text.encode()
            self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)  # type: ignore[attr-defined]
            self.memoize(text)  # type: ignore[attr-defined]

        if old_python:
            dispatch[str] = save_text

    module = ModuleType("old_pickle")
    vars(module).update(Pickler=Pickler, dump=pickle.dump)
    torch.save(content, path, module, 2, _use_new_zipfile_serialization=zipped)
    return path
