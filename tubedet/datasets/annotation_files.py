"""The files that hold a user's annotation: loose or in a .zip, in whichever encoding.

Spreadsheets and editors write UTF-8 with or without a byte order mark, UTF-16, or Windows' code
page; CVAT exports a .zip.
"""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tubedet.errors import DatasetError
from tubedet.notes import Note

MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}
ZIPS = "**/*.[zZ][iI][pP]"
WINDOWS = "cp1252"  # what Excel's "CSV" is in Western Europe and America


class Annotation(NamedTuple):
    """The content of one file; `source` is its path, below that of its .zip if it is in one."""

    source: Path
    content: bytes


def annotation_paths(root: Path, *patterns: str) -> list[Path]:
    """Files in a folder that match, and all .zip files in it; without macOS's `._` companions."""
    found = {path for pattern in (*patterns, ZIPS) for path in root.glob(pattern)}
    return sorted(path for path in found if path.is_file() and not path.name.startswith("._"))


def read_annotations(path: Path, suffix: str) -> Iterator[Annotation]:
    """The file, or the files of this suffix in a .zip.

    Raises:
        DatasetError: if it cannot be read.
    """
    try:
        if path.suffix.lower() != ".zip":
            yield Annotation(path, path.read_bytes())
            return
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                member = PurePosixPath(name)
                if member.suffix.lower() == suffix and not member.name.startswith("._"):
                    yield Annotation(path / name, archive.read(name))
    # A .zip with a password is a RuntimeError, one of an unknown compression NotImplementedError.
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DatasetError(f"{path}: expected a file that can be read: {error}") from error


def decode_text(content: bytes) -> tuple[str, str]:
    """The text of a file and its encoding, which is `WINDOWS` by guess where it is no Unicode.

    Raises:
        UnicodeDecodeError: if it isn't that either, or breaks the encoding that it begins with.
    """
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), None)
    if marked is not None:
        return content.decode(marked), marked
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return content.decode(WINDOWS), WINDOWS


def guess_note(path: Path, encoding: str) -> tuple[Note, ...]:
    """What to say of a file's encoding if it was guessed."""
    said = f"{path}: no Unicode, read as {encoding}; save it as UTF-8 if names or labels look wrong"
    return (Note(said, loss=True),) if encoding == WINDOWS else ()
