"""Kinetics as its downloaders leave it: clips of ten seconds, each of one action, without boxes.

    ROOT/*.csv                                  label,youtube_id,time_start,time_end,split
    ROOT/**/<youtube_id>_<start:06d>_<end:06d>.mp4    in folders by label, by split, or in none

Videos disappear from YouTube: what is listed but not there is counted and left out.
"""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tubedet.errors import DatasetError
from tubedet.notes import Note

COLUMNS = ("label", "youtube_id", "time_start", "time_end", "split")
# Part → what its rows say under `split`.
SPLITS = {
    "train": ("train",),
    "validation": ("validate", "val"),
    "trainval": ("train", "validate", "val"),
}


class ActionClip(NamedTuple):
    """A video that shows one action all the time; `video` is its name without suffix."""

    video: str
    path: Path
    class_index: int


@dataclass(frozen=True)
class KineticsDataset:
    """One part; `missing_videos` were listed but are not on disk, `notes` say what was left out."""

    part: str
    class_names: tuple[str, ...]
    clips: tuple[ActionClip, ...]
    missing_videos: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    name: str = "kinetics"
    split: int = 1  # there is no other

    @cached_property
    def sha256(self) -> str:
        """Hash over the names and labels of all clips."""
        content = [(clip.video, self.class_names[clip.class_index]) for clip in self.clips]
        return hashlib.sha256(json.dumps(sorted(content)).encode()).hexdigest()


def load_kinetics(root: Path | str, part: str = "train") -> KineticsDataset:
    """Read the lists, and look for their videos anywhere in the folder.

    Args:
        root: the folder that holds lists and videos.
        part: "train", "validation", or "trainval" for both.

    Raises:
        DatasetError: for an unknown part, an absent or malformed list, or when no listed video is
            there. Classes are those of all lists; one may have no video.
    """
    root = Path(root)
    if part not in SPLITS:
        raise DatasetError(f"kinetics: no part {part!r}; there are {', '.join(SPLITS)}")
    lists = sorted(root.glob("*.csv"))
    if not lists:
        raise DatasetError(f"{root}: expected lists of Kinetics, *.csv with {','.join(COLUMNS)}")
    rows = [row for path in lists for row in _rows(path)]
    class_names = tuple(sorted({row["label"] for row in rows if row["label"]}))
    index_of = {name: index for index, name in enumerate(class_names)}
    listed = {_video(row): row["label"] for row in rows if row["split"] in SPLITS[part]}
    wanted = {video: index_of[label] for video, label in listed.items() if label}
    notes = _notes_on([video for video in listed if video not in wanted])
    # One walk through the folder, where a question for each of 240,000 names would take minutes.
    found = {path.stem: path for path in root.rglob("*.mp4")}
    clips = [ActionClip(v, found[v], index) for v, index in wanted.items() if v in found]
    missing = tuple(video for video in wanted if video not in found)
    if not clips:
        raise DatasetError(
            f"{root}: none of the {len(missing)} videos of part {part} is there; expected "
            "<youtube_id>_<start:06d>_<end:06d>.mp4 in it or in folders of it"
        )
    return KineticsDataset(part, class_names, tuple(clips), missing, notes)


def _notes_on(unlabelled: list[str]) -> tuple[Note, ...]:
    if not unlabelled:
        return ()
    count, first = len(unlabelled), unlabelled[0]
    return (Note(f"listed without a label and left out: {count} videos, the first is {first}"),)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if lacking := set(COLUMNS) - set(reader.fieldnames or ()):
                raise DatasetError(f"{path}: a list of Kinetics lacks {', '.join(sorted(lacking))}")
            for row in reader:
                if None in row.values():
                    raise DatasetError(f"{path}:{reader.line_num}: expected {','.join(COLUMNS)}")
                yield row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: the list of Kinetics cannot be read: {error}") from error


def _video(row: dict[str, str]) -> str:
    try:
        start, end = (int(float(row[column])) for column in ("time_start", "time_end"))
    except ValueError as error:
        raise DatasetError(
            f"kinetics: {row['youtube_id']}: expected seconds, found {row['time_start']!r} and "
            f"{row['time_end']!r}"
        ) from error
    return f"{row['youtube_id']}_{start:06d}_{end:06d}"
