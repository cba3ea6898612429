"""The bundled checkpoints, by name, and how a name or a path becomes a file.

They lie in `weights/` of a checkout and in `tubedet/weights` of an installed wheel.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from tubedet.errors import WeightsError
from tubedet.models.presets import PRESETS

DEFAULT_WEIGHTS = "light"
SUFFIX = ".safetensors"
REMEDY = "train one, or give the path of a checkpoint"


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A name that `resolve_weights` knows; `path` is None for a preset without bundled weights."""

    name: str
    path: Path | None


def weights_folder() -> Path:
    """Where the bundled checkpoints lie, or would lie."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "weights"
    return installed if installed.is_dir() else package.parent / "weights"


def catalog() -> tuple[CatalogEntry, ...]:
    """All presets in the paper's order, then bundled checkpoints that bear another name."""
    bundled = {path.stem: path for path in sorted(weights_folder().glob(f"*{SUFFIX}"))}
    names = dict.fromkeys((*PRESETS, *bundled))
    return tuple(CatalogEntry(name, bundled.get(name)) for name in names)


def resolve_weights(name_or_path: str | Path | None = None) -> Path:
    """The checkpoint file of a catalogue name or a path; None means the default name.

    A name goes before a file of that name in the working folder; `./light` means the file.

    Raises:
        WeightsError: if no weights are bundled for the name, or there is no such file.
    """
    wanted = str(name_or_path or DEFAULT_WEIGHTS)
    names = {entry.name: entry.path for entry in catalog()}
    if isinstance(name_or_path, Path) or wanted not in names:
        path = Path(wanted)
        if not path.is_file():
            known = ", ".join(names)
            raise WeightsError(f"{path}: no such checkpoint file, nor one of the names {known}")
        return path
    if (bundled := names[wanted]) is None:
        role = "the default preset" if name_or_path is None else "preset"
        raise WeightsError(f"no weights are bundled for {role} '{wanted}': {REMEDY}")
    return bundled


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal; WeightsError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
