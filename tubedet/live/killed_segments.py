"""What a killed run has left of the segment at work, which of a stream cannot be made again."""

from collections.abc import Iterator
from contextlib import suppress
from glob import escape
from pathlib import Path

from tubedet.errors import OutputError
from tubedet.notes import Note
from tubedet.writers.formats import Kind
from tubedet.writers.run_lock import RunLock


def notes_on_killed(kind: Kind, folder: Path, stem: str) -> Iterator[Note]:
    """Say once of each such segment which hidden files are left of it; they stay."""
    ending = f".{kind}.lock.part"
    for lock_path in sorted(folder.glob(f".{escape(stem)}-*{ending}")):
        name = lock_path.name.removeprefix(".").removesuffix(ending)
        with suppress(OutputError), RunLock(lock_path, folder / name):  # nobody is writing it
            left = [path.name for path in folder.glob(f".{escape(name)}.*") if path != lock_path]
            yield Note(
                f"{folder / name}: a run was killed while it wrote this; rows that it had are in "
                f"{', '.join(sorted(left))}",
                loss=True,
            )
