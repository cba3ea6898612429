"""What the readers of published weights share.

Every name and shape of a file has to be the network's, and all that are not are named at once. That
is compared before values are read, so that memory is taken for the network's sizes, never for those
that a file claims.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from textwrap import shorten
from zipfile import ZipFile

import torch
from torch import Tensor

from tubedet.errors import TubedetError, WeightsError

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
COUNTER = "num_batches_tracked"  # of batch norm since PyTorch 0.4.1; older files have none
LONGEST_NAME = 100  # characters of a file's names that a message shows
LONGEST_REASON = 200
ZIP_START = b"PK\x03\x04"
ZIP_ENTRY = b"PK\x01\x02"
MOST_MEMBERS = 1000  # four times those of FlowNet2


@contextmanager
def refused_as(path: Path, kind: str) -> Iterator[None]:
    """Whatever a library raises on foreign bytes inside the block becomes a WeightsError.

    Args:
        path: the file, for the message.
        kind: what was expected.
    """
    try:
        yield
    except TubedetError:
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) else None
        found = shorten(reason or str(error) or type(error).__name__, LONGEST_REASON)
        raise WeightsError(f"{path}: expected {kind}, found {found}; get another copy") from error


@contextmanager
def opened_zip(path: Path) -> Iterator[ZipFile]:
    """An archive that holds each name once; ValueError for more members than weights need."""
    # Counted before the directory is read, for which zipfile takes ten times its size.
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        members = sum(1 for _ in re.finditer(ZIP_ENTRY, content))
    if members > MOST_MEMBERS:
        raise ValueError(f"an archive of {members} members")
    with ZipFile(path) as archive:
        # PyTorch's reader does not tell upper from lower case.
        if len({name.lower() for name in archive.namelist()}) < len(archive.namelist()):
            raise ValueError("an archive that holds a name twice")
        yield archive


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, Shape]:
    """Names and shapes alone."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def require_fit(found: Shapes, expected: Shapes, path: Path, what: str) -> None:
    """Compare the names and shapes of a file with the network's.

    Args:
        found: those in the file.
        expected: those of the network, in the file's terms; batch counters may be absent from the
            file.
        path: the file, for the message.
        what: the layout that was expected, such as "FlowNet2-SD of NVIDIA".

    Raises:
        WeightsError: naming every missing and unexpected tensor and every wrong shape.
    """
    complaints = {
        "missing": [_shown(n) for n in expected if n not in found and not n.endswith(COUNTER)],
        "unexpected": [_shown(name) for name in found if name not in expected],
        "of wrong shape": [
            f"{_shown(name)} is {tuple(found[name])}, not {tuple(shape)}"
            for name, shape in expected.items()
            if name in found and tuple(found[name]) != tuple(shape)
        ],
    }
    if any(complaints.values()):
        listed = "; ".join(
            f"{len(names)} {complaint} ({', '.join(names)})"
            for complaint, names in complaints.items()
            if names
        )
        raise WeightsError(
            f"{path}: expected the {len(expected)} tensors of {what}, found {listed}"
        )


def require_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """WeightsError naming every tensor that holds NaN or an infinite value."""
    bad = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if bad:
        raise WeightsError(
            f"{path}: expected finite weights, found NaN or infinite values in {', '.join(bad)}; "
            "the file is damaged, get another copy"
        )


def zero_counters(names: Iterable[str]) -> dict[str, Tensor]:
    """The batch counters that older files lack, for the batch norms among `names`.

    Only training statistics without a momentum would depend on them.
    """
    variances = (name for name in names if name.endswith("running_var"))
    return {name.replace("running_var", COUNTER): torch.tensor(0) for name in variances}


def _is_finite(tensor: Tensor) -> bool:
    low, high = tensor.float().aminmax()  # both NaN if any value is
    return bool(torch.isfinite(low) & torch.isfinite(high))


def _shown(name: str) -> str:
    """A name as a terminal can show it, whatever characters are in it."""
    return shorten(ascii(name)[1:-1], LONGEST_NAME, placeholder="…") or "''"
