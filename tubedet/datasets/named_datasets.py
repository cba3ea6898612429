"""The data sets that commands know by name, as in `--data jhmdb-21:PATH`."""

from pathlib import Path
from typing import Protocol

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.ava import load_ava
from tubedet.datasets.coco import load_coco
from tubedet.datasets.cvat import load_cvat
from tubedet.datasets.folder import load_folder
from tubedet.datasets.jhmdb_21 import load_jhmdb_21
from tubedet.datasets.kinetics import KineticsDataset, load_kinetics
from tubedet.datasets.ucf101_24 import load_ucf101_24
from tubedet.errors import DatasetError, UsageError


class Loader(Protocol):
    """Reads one part of one split of the data set in a folder."""

    def __call__(
        self, root: Path, split: int, part: str, *, require_videos: bool = True
    ) -> AnnotatedDataset:
        """DatasetError for what is absent or malformed."""


LOADERS: dict[str, Loader] = {
    "jhmdb-21": load_jhmdb_21,
    "ucf101-24": load_ucf101_24,
    "folder": load_folder,
    "cvat": load_cvat,
    "ava": load_ava,
    "coco": load_coco,
}


def load_named_dataset(
    name_and_path: str, split: int, part: str, *, require_videos: bool = True
) -> AnnotatedDataset:
    """Read one part of one split of the data set at "NAME:PATH".

    Without `require_videos` annotations alone are enough.

    Raises:
        UsageError: if the text has no such shape or the name is unknown.
        DatasetError: as the loader of that name; also if PATH is no folder.
    """
    name, root = _parsed(name_and_path, tuple(LOADERS))
    return LOADERS[name](root, split, part, require_videos=require_videos)


def load_named_actions(name_and_path: str, part: str) -> KineticsDataset:
    """The same for clips without boxes: "kinetics:PATH"."""
    _, root = _parsed(name_and_path, ("kinetics",))
    return load_kinetics(root, part)


def _parsed(name_and_path: str, names: tuple[str, ...]) -> tuple[str, Path]:
    name, colon, path = name_and_path.partition(":")
    if not colon or not path or name not in names:
        raise UsageError(
            f"data {name_and_path!r}: expected NAME:PATH with a NAME of {', '.join(names)}"
        )
    if not Path(path).is_dir():
        raise DatasetError(f"{path}: expected the folder of {name}, found none")
    return name, Path(path)
