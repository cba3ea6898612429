"""What those formats share that are made of all rows at the end of a run.

Tracks, lists of labels and sorted cues are not known before. Until then the rows lie in a
`RowStore`, and the output is an empty hidden file or folder.
"""

import json
import sqlite3
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from errno import ENOTEMPTY
from heapq import merge
from itertools import groupby
from pathlib import Path
from shutil import rmtree
from typing import ClassVar, TextIO

from tubedet.writers.row_store import RowStore, spelled_out
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.target import OutputTarget
from tubedet.writers.track_rows import rows_of
from tubedet.writers.writer import FrameResult, Writer, output_errors


class FileFromRows(Writer):
    """A file that is made of all rows when it is closed; closed again, it is made anew."""

    outlives_failure: ClassVar[bool] = True
    is_editable: ClassVar[bool] = True

    def __init__(self, target: OutputTarget) -> None:
        """Make the hidden file or folder, empty."""
        super().__init__(target)
        with self.errors():
            self.make_empty()
        self._rows = RowStore(target.video)

    @abstractmethod
    def save(self, rows: RowStore, meta: RunMeta) -> None:
        """Write the whole output to `path`."""

    def make_empty(self) -> None:
        """Make the hidden file, in the place of one that a killed run has left."""
        self.path.unlink(missing_ok=True)  # a link would be written through
        self.path.touch(exist_ok=False)

    def write(self, result: FrameResult) -> None:
        """Keep the rows of a frame."""
        found = rows_of(self.target.video, result.found) if result.found is not None else []
        with self.errors(sqlite3.Error):
            self._rows.add(found)

    def take_back(self) -> None:
        """Forget the latest frame."""
        with self.errors(sqlite3.Error):
            self._rows.take_back()

    def close(self, *, complete: bool) -> None:
        """Write what the rows make."""
        meta = self.target.run_meta().ended(complete=complete)
        with self.errors(sqlite3.Error):
            self.save(self._rows, meta)

    def abandon(self) -> None:
        """Forget the rows."""
        self._rows.close()


class FolderFromRows(FileFromRows):
    """The same for a folder of files, which gets its name as a whole.

    A folder of that name is replaced if it holds files of this format only.

    Attributes:
        own_files: what the files are called, as patterns of `Path.glob`.
    """

    own_files: ClassVar[tuple[str, ...]]

    def make_empty(self) -> None:
        """Make the hidden folder, in the place of one that a killed run has left."""
        rmtree(self.path, ignore_errors=not self.path.exists())
        self.path.mkdir()

    def close(self, *, complete: bool) -> None:
        """Write what the rows make into an empty folder."""
        with self.errors():
            self.make_empty()
        super().close(complete=complete)

    def rename(self, final: Path) -> None:
        """Give the folder its name, in the place of an older one."""
        with output_errors(final):
            if final.is_dir():
                own = self.files_of(final)
                if {*final.rglob("*")} - {
                    *own,
                    *(parent for each in own for parent in each.parents),
                }:
                    raise OSError(ENOTEMPTY, "a folder that holds something else is in the way")
                rmtree(final)
            self.path.replace(final)

    def remove(self) -> None:
        """Remove the hidden folder."""
        with self.errors():
            rmtree(self.path, ignore_errors=not self.path.exists())

    @classmethod
    def files_of(cls, final: Path) -> list[Path]:
        """The files of this format in a folder; what else bears the name, if there are none."""
        try:
            found = {each for pattern in cls.own_files for each in final.glob(pattern)}
        except OSError:  # a name that cannot be: whoever opens it will say why
            return []
        return sorted(found) or super().files_of(final)


def text_file(path: Path) -> TextIO:
    """A file to be written in UTF-8, line ends as they are."""
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


def label_indices(rows: RowStore, meta: RunMeta) -> dict[str, int]:
    """Every label with its number, from 0: those of the detector, then others as they came."""
    labels = (*map(spelled_out, meta.class_names), *rows.labels())
    return {label: index for index, label in enumerate(dict.fromkeys(labels))}


def looked_at(rows: RowStore, meta: RunMeta) -> Iterator[int]:
    """The numbers of all frames that were processed, with a row or without, in order."""
    processed = range(meta.first_frame or 0, meta.end_frame, meta.stride)
    return (frame for frame, _ in groupby(merge(processed, rows.frames())))


def put_list(file: TextIO, items: Iterable[object]) -> None:
    """Write a JSON list, one item a line."""
    separator = "[\n"
    for item in items:
        file.write(separator + json.dumps(item))
        separator = ",\n"
    file.write("\n]" if separator == ",\n" else "[]")


def as_line(label: str) -> str:
    """A label for a list of one a line: itself, or a JSON string where a line would not keep it."""
    is_plain = label.isprintable() and label == label.strip() != "" and not label.startswith('"')
    return label if is_plain else json.dumps(label)


def from_line(line: str) -> str:
    """The label that `as_line` wrote; any other line as it is."""
    try:
        return str(json.loads(line)) if line.startswith('"') else line
    except ValueError:
        return line
