"""What runs that did not end well have left beside the results of a video.

STEM.partial.csv, STEM.partial.mp4 and so on belong to STEM.partial.meta.json, which names them with
their sizes. Files that no such meta names, or of another size, are somebody else's.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from tubedet.errors import OutputError, UsageError
from tubedet.writers.formats import (
    META_SUFFIXES,
    ROW_FORMATS,
    Kind,
    output_suffixes,
    writer_class,
)
from tubedet.writers.frame_files import delete
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.target import OutputTarget, partial_path
from tubedet.writers.writer import output_errors

MOST_PARTIAL_RESULTS = 99
WHOLE_ENDS = (b"\n", b"}", b"]", b">", b"PAR1")  # of lines, JSON, XML and Parquet


@dataclass(frozen=True, slots=True)
class Results:
    """The outputs of one run in a folder, and their meta."""

    kind: Kind
    meta_path: Path
    meta: RunMeta

    @classmethod
    def read(cls, kind: Kind, meta_path: Path) -> "Results | None":
        """The results that a meta file tells of; None if it is none of ours."""
        meta = RunMeta.read(meta_path)
        return None if meta is None else cls(kind, meta_path, meta)

    def path(self, name: str) -> Path | None:
        """The output of a format, if it is there as it was left."""
        told = self.meta.outputs.get(name)
        try:
            path = self.meta_path.with_name(str(told["name"] if told else ""))
            found = describe(self.kind, name, path)
            known = {key: found.get(key) for key in told} if told else {}  # older metas: no hash
            return path if known == told else None
        except (OSError, ValueError, KeyError, UsageError):  # gone, or told by another program
            return None

    def is_edited(self, name: str) -> bool:
        """Whether somebody has changed an output's rows since: they are that somebody's.

        What is smaller and does not end as a whole file does was cut off.
        """
        writer = writer_class(self.kind, name)
        if not writer.is_editable or self.path(name):
            return False
        told = self.meta.outputs[name]
        try:
            files = writer.files_of(self.meta_path.with_name(str(told["name"])))
            grown = sum(each.stat().st_size for each in files) >= int(str(told["bytes"]))
            return bool(files) and (grown or all(map(_ends_whole, files)))
        except (OSError, ValueError, KeyError):
            return False

    def untouched(self) -> bool:
        """Whether all outputs are there as they were left."""
        return all(self.path(name) for name in self.meta.outputs)

    def has_nothing_beyond(self, formats: Collection[str]) -> bool:
        """Whether these formats of the same frames hold all that the network has found.

        From rows every format of boxes can be made again, from `.flo` and JPEG files nothing else.
        """
        found = {name for name in self.meta.outputs if name not in {"mp4", "segments", "html"}}
        return found <= {*formats} or not {*ROW_FORMATS}.isdisjoint(formats)

    def without(self, formats: Collection[str]) -> "Results":
        """The same without the outputs of these formats."""
        others = {name: told for name, told in self.meta.outputs.items() if name not in formats}
        return replace(self, meta=replace(self.meta, outputs=others))

    def delete_outputs(self) -> None:
        """Delete the outputs that are as they were left."""
        for name in self.meta.outputs:
            if path := self.path(name):
                with output_errors(path):
                    delete(writer_class(self.kind, name).files_of(path))
                    _delete_if_empty(path)

    def delete(self) -> None:
        """Delete the outputs that are as they were left, and the meta."""
        self.delete_outputs()
        with output_errors(self.meta_path):
            self.meta_path.unlink(missing_ok=True)


def _delete_if_empty(folder: Path) -> None:
    """Delete a folder, and those in it, that hold no file."""
    if folder.is_dir():
        for each in list(folder.iterdir()):
            _delete_if_empty(each)
        if not any(folder.iterdir()):
            folder.rmdir()


def describe(kind: Kind, name: str, path: Path) -> dict[str, object]:
    """What a meta tells of an output: its name and size; OSError if it cannot be looked at."""
    files = writer_class(kind, name).files_of(path)
    told: dict[str, object] = {"name": path.name, "bytes": sum(f.stat().st_size for f in files)}
    if writer_class(kind, name).is_editable:  # an edit may leave the size as it was
        hashed = hashlib.sha256()
        for each in files:
            with each.open("rb") as file:
                hashlib.file_digest(file, lambda: hashed)  # goes on with the one hash
        told["sha256"] = hashed.hexdigest()
    return told | ({} if files == [path] else {"files": len(files)})


def _ends_whole(file: Path) -> bool:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - max(map(len, WHOLE_ENDS))))
        return opened.read().endswith(WHOLE_ENDS)


def partial_results(kind: Kind, folder: Path, stem: str) -> Iterator[Results]:
    """All that runs of a video have left in a folder, as far as they are untouched."""
    for number in range(1, MOST_PARTIAL_RESULTS + 1):
        results = Results.read(kind, partial_path(folder, stem, META_SUFFIXES[kind], number))
        if results is not None and not results.meta.complete and results.untouched():
            yield results


def free_number(
    kind: Kind, formats: list[str], target: OutputTarget, meta: RunMeta, *, overwrite: bool
) -> int:
    """The first number of which all names may be used, after results that are in the way are gone.

    Results may go that a run with the same settings has left of the same video and that are no
    longer than those of `meta`, with nothing that these formats lack; with `overwrite`, any of
    tubedet's.
    """
    suffixes = output_suffixes(kind, formats)
    for number in range(1, MOST_PARTIAL_RESULTS + 1):
        paths = [target.partial_path(suffix, number) for suffix in suffixes]
        if not any(path.exists() for path in paths):
            return number
        old = Results.read(kind, paths[-1])
        if old is None or old.meta.complete or not old.untouched():
            continue
        ours = {paths[-1].name, *(told["name"] for told in old.meta.outputs.values())}
        if any(path.exists() and path.name not in ours for path in paths):
            continue
        is_superseded = (
            old.has_nothing_beyond(formats)
            and not old.meta.differences(meta.asked)
            and old.meta.processed_frames <= meta.processed_frames
        )
        if overwrite or is_superseded:
            old.delete()
            return number
    raise OutputError(f"{paths[-1]}: too many partial results; move some away")
