"""Safetensors files of any origin: what is wrong with one becomes a WeightsError.

Every size is compared with the expected one before memory is taken for it.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from tubedet.errors import WeightsError

MAX_JSON_BYTES = 100_000_000  # the safetensors format's own limit
FLOAT_CODES = ("F16", "BF16", "F32")
REMEDY = "give a checkpoint that tubedet wrote"


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The open safetensors file; whatever is wrong with it becomes a WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: expected a tubedet checkpoint, found {_what_is(path, error)}; {REMEDY}"
        ) from error


def _what_is(path: Path, error: Exception) -> str:
    """In a few words what lies at `path`, where opening it as safetensors gave `error`."""
    if not path.is_file():
        return "a folder or a device" if path.exists() else "no such file"
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return f"an unreadable file ({error})"
    if not start:
        return "an empty file"
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return "a pickled PyTorch file or another archive"
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= MAX_JSON_BYTES:
        return f"a truncated or damaged safetensors file ({error})"
    return "a file of another kind"


def refuse_other_names(found: set[str], expected: set[str], path: Path) -> None:
    """WeightsError unless a file holds exactly the expected names."""
    for names, complaint in ((expected - found, "lacks"), (found - expected, "should not hold")):
        if names:
            raise WeightsError(
                f"{path}: {complaint} {len(names)} of {len(expected)} tensors, the first is "
                f"'{min(names)}'; {REMEDY}"
            )


def read_tensor(file: Any, name: str, like: Tensor, path: Path) -> Tensor:
    """One tensor in the dtype of `like`, once the file has promised the right shape and kind."""
    promised = file.get_slice(name)
    shape, code = tuple(promised.get_shape()), promised.get_dtype()
    codes = FLOAT_CODES if like.is_floating_point() else ("I64",)
    if shape != tuple(like.shape) or code not in codes:
        raise WeightsError(
            f"{path}: '{name}' should be {' or '.join(codes)} of shape {tuple(like.shape)}, "
            f"is {code} of shape {shape}; {REMEDY}"
        )
    tensor: Tensor = file.get_tensor(name).to(like.dtype)
    refuse_non_finite(tensor, name, path)
    return tensor


def refuse_non_finite(tensor: Tensor, name: str, path: Path) -> None:
    """WeightsError if a value is NaN or infinite."""
    low, high = (float(limit) for limit in tensor.aminmax())  # both NaN if any value is
    if not (math.isfinite(low) and math.isfinite(high)):
        raise WeightsError(
            f"{path}: '{name}' holds values that are not finite numbers; "
            "use an earlier checkpoint of the run"
        )
