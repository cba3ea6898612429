"""Foreign tensors onto ours: every name and shape has to fit, and all that do not are told at once.

Works on outlines (names and shapes), so that nothing is read of a file that does not fit.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import shorten

import torch
from torch import Tensor

from tubedet.errors import WeightsError

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
LONGEST_NAME = 100  # characters of a foreign name that a message shows
COUNTER = "num_batches_tracked"  # of batch norm since PyTorch 0.4.1; older files have none


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Names and shapes alone."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def require_fit(found: Shapes, expected: Shapes, path: Path, what: str) -> None:
    """Compare the outline of a file with the network's.

    Args:
        found: names and shapes in the file.
        expected: names and shapes of the network, in the file's terms; batch counters may be
            absent from the file.
        path: the file, for the message.
        what: the layout that was expected, such as "FlowNet2-SD of NVIDIA".

    Raises:
        WeightsError: naming every missing and unexpected tensor and every wrong shape.
    """
    missing = [n for n in expected if n not in found and not n.endswith(COUNTER)]
    unexpected = [name for name in found if name not in expected]
    wrong = [
        f"{_shown(name)} is {tuple(found[name])}, not {tuple(expected[name])}"
        for name in expected
        if name in found and tuple(found[name]) != tuple(expected[name])
    ]
    complaints = [
        f"{len(names)} {complaint} ({', '.join(names)})"
        for complaint, names in (
            ("missing", list(map(_shown, missing))),
            ("unexpected", list(map(_shown, unexpected))),
            ("of wrong shape", wrong),
        )
        if names
    ]
    if complaints:
        raise WeightsError(
            f"{path}: expected the {len(expected)} tensors of {what}, found {'; '.join(complaints)}"
        )


def zero_counters(names: Iterable[str]) -> dict[str, Tensor]:
    """The batch counters that an older file lacks: nothing reads them but training statistics."""
    return {name: torch.tensor(0) for name in names if name.endswith(COUNTER)}


def require_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """WeightsError naming every tensor that holds NaN or an infinite value."""
    bad = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if bad:
        raise WeightsError(
            f"{path}: expected finite weights, found NaN or infinite values in {', '.join(bad)}; "
            "the file is damaged, get another copy"
        )


def _is_finite(tensor: Tensor) -> bool:
    low, high = tensor.float().aminmax()  # both NaN if any value is
    return bool(torch.isfinite(low) & torch.isfinite(high))


def _shown(name: str) -> str:
    """A name as a message can show it, whatever characters a stranger put into it."""
    return shorten(ascii(name)[1:-1], LONGEST_NAME, placeholder="…") or "''"
