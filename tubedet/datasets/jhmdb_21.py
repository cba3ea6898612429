"""J-HMDB-21 as users download it: clips, puppet masks and split lists.

    ROOT/ReCompress_Videos/<class>/<clip>.avi
    ROOT/puppet_mask/<class>/<clip>/puppet_mask.mat    key part_mask, (H, W, T), 0 = background
    ROOT/splits/<class>_test_split{1,2,3}.txt          "<clip>.avi 1" = training, 2 = test

An actor's box is the extent of the mask, half-open; that equals the boxes published by Gkioxari and
Malik (Finding Action Tubes, 2015). The data set has no validation part, and neighbouring clips are
cut from the same footage, so one is set apart here by source video: the file
`jhmdb_21_validation_groups.txt` names about 15 % of the sources of split 1's training part, some
from every class. Sources are film and web titles that are not ours to republish: the file holds
the first 12 hexadecimal digits of SHA-256 over the UTF-8 title.
"""

import hashlib
import re
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.errors import DatasetError, EmptyPartError
from tubedet.extras import needed_for
from tubedet.labels import JHMDB_21

PARTS = ("train", "validation", "trainval", "test")
SPLITS = (1, 2, 3)


def load_jhmdb_21(
    root: Path | str, split: int = 1, part: str = "train", *, require_videos: bool = True
) -> AnnotatedDataset:
    """Read one part of one split; the masks of 660 clips take about six seconds.

    Args:
        root: the folder that holds ReCompress_Videos, puppet_mask and splits.
        split: 1, 2 or 3.
        part: "train" and "validation" divide the training list of split 1 by source video,
            "trainval" is the whole of it, "test" the published test list.
        require_videos: else a clip whose mask is there counts without its video.

    Raises:
        DatasetError: for an unknown split or part, an absent or malformed list or mask, or when
            no listed clip is present. Single absent clips are named in `missing_videos`.
        UsageError: if scipy is not installed.
    """
    root = Path(root)
    _check_part(split, part)
    clips: list[AnnotatedClip] = []
    missing: list[str] = []
    for class_index, label in enumerate(JHMDB_21):
        for name in _listed_clips(root, label, split, part):
            video = f"{label}/{name}"
            path = root / "ReCompress_Videos" / f"{video}.avi"
            mask = root / "puppet_mask" / video / "puppet_mask.mat"
            if mask.is_file() and (path.is_file() or not require_videos):
                clips.append(_annotated_clip(video, path, mask, class_index))
            else:
                missing.append(video)
    if not clips:
        raise EmptyPartError(
            f"{root}: none of the {len(missing)} clips of part {part}, split {split}, is there; "
            "expected ReCompress_Videos/<class>/<clip>.avi and puppet_mask/<class>/<clip>/"
        )
    return AnnotatedDataset("jhmdb-21", split, part, JHMDB_21, tuple(clips), tuple(missing))


def _check_part(split: int, part: str) -> None:
    if split not in SPLITS or part not in PARTS:
        raise EmptyPartError(
            f"jhmdb-21: no part {part!r} of split {split}; "
            f"there are splits 1, 2, 3 and parts {', '.join(PARTS)}"
        )
    if split != 1 and part in ("train", "validation"):
        raise EmptyPartError(
            f"jhmdb-21: a validation part is set apart for split 1 only; "
            f"for split {split} use trainval or test"
        )


def _listed_clips(root: Path, label: str, split: int, part: str) -> Iterator[str]:
    """Names of the clips of one class that the split list gives to `part`."""
    path = root / "splits" / f"{label}_test_split{split}.txt"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: the split list of {label} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        entry = re.fullmatch(r"(.+)\.avi ([012])\s*", line)
        if entry is None:
            raise DatasetError(f"{path}:{number}: expected '<clip>.avi 1|2', found {line!r}")
        name, mark = entry.groups()
        if mark == ("2" if part == "test" else "1") and _belongs(source_of(name, label), part):
            yield name


def _belongs(group: str, part: str) -> bool:
    """Whether clips of this source, already on the right side of the split, are in `part`."""
    if part in ("test", "trainval"):
        return True
    return (_short_hash(group) in _validation_hashes()) == (part == "validation")


def source_of(clip: str, label: str) -> str:
    """The source video of a clip: its name up to the last `_<class>_`."""
    return clip.rpartition(f"_{label}_")[0]


def _short_hash(group: str) -> str:
    return hashlib.sha256(group.encode()).hexdigest()[:12]


@cache
def _validation_hashes() -> frozenset[str]:
    text = Path(__file__).with_name("jhmdb_21_validation_groups.txt").read_text(encoding="ascii")
    return frozenset(line for line in text.split("\n") if line and not line.startswith("#"))


def _annotated_clip(video: str, path: Path, mask_path: Path, class_index: int) -> AnnotatedClip:
    mask = _read_mask(mask_path)
    height, width, _ = mask.shape
    return AnnotatedClip(
        video=video,
        path=path,
        class_index=class_index,
        group=source_of(path.stem, JHMDB_21[class_index]),
        width=width,
        height=height,
        boxes_by_frame=tuple(_mask_extents(mask, class_index)),
    )


def _read_mask(path: Path) -> NDArray[np.uint8]:
    with needed_for("the masks of J-HMDB", "scipy"):
        from scipy.io import loadmat  # noqa: PLC0415
        from scipy.io.matlab import MatReadError  # noqa: PLC0415

    try:
        content: dict[str, Any] = loadmat(path, variable_names=["part_mask"])
        mask: NDArray[np.uint8] = np.asarray(content["part_mask"])
    except (OSError, ValueError, TypeError, KeyError, MatReadError, zlib.error) as error:
        raise DatasetError(f"{path}: expected a mask under the key part_mask: {error}") from error
    if mask.ndim == 2:  # MATLAB drops a last axis of length one
        mask = mask[:, :, None]
    if mask.ndim != 3:
        raise DatasetError(f"{path}: expected part_mask of height x width x frames: {mask.shape}")
    return mask


def _mask_extents(mask: NDArray[np.uint8], class_index: int) -> Iterator[tuple[LabelledBox, ...]]:
    """Per frame the box around all non-zero pixels, or nothing for an empty mask."""
    columns, rows = np.any(mask, axis=0).T, np.any(mask, axis=1).T
    for column, row in zip(columns, rows, strict=True):
        x, y = np.flatnonzero(column), np.flatnonzero(row)
        if not x.size:
            yield ()
            continue
        box = (float(x[0]), float(y[0]), float(x[-1] + 1), float(y[-1] + 1))
        yield (LabelledBox(class_index, box),)
