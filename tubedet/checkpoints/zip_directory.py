"""The directory of a zip archive that a stranger made, before anything is unpacked.

A zip says itself how large its directory and its members are. Both are bounded here, so that
reading one member takes no more memory than the caller allows.
"""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

END = b"PK\x05\x06"
END_BYTES = 22
LOCATOR_BYTES, END_64_BYTES = 20, 56  # of zip64, before the end record
LONGEST_COMMENT = 1 << 16
MAX_DIRECTORY_BYTES = 1 << 18  # three times that of FlowNet2's 220 tensors
# What Python makes of one: NotImplementedError of a compression or a version that it does not know,
# UnicodeDecodeError of a name, OverflowError of a place beyond any file.
DAMAGES = (
    *(zipfile.BadZipFile, struct.error, zlib.error, lzma.LZMAError, EOFError),
    *(NotImplementedError, UnicodeDecodeError, OverflowError),
)


class ZipError(ValueError):
    """An archive that is damaged or promises too much."""


@contextmanager
def opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive of stored or compressed members: each name once, none encrypted.

    Raises:
        ZipError: if it is no such archive, is damaged, or has a larger directory than weights need.
        OSError: if it cannot be read.
    """
    _bound_directory(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            # PyTorch's reader does not tell upper from lower case.
            if len({member.filename.lower() for member in members}) != len(members):
                raise ZipError("an archive that holds a name twice")
            if any(member.flag_bits & 1 for member in members):
                raise ZipError("an encrypted archive")
            yield archive
    except DAMAGES as error:
        raise ZipError(f"a damaged archive ({error})") from error


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most_bytes: int) -> bytes:
    """The unpacked bytes of a member, its checksum compared.

    Raises:
        ZipError: if it promises more than `most_bytes`, or holds less than it promises.
    """
    if member.file_size > most_bytes:
        raise ZipError(f"{member.file_size} bytes in {member.filename!a}")
    with archive.open(member) as file:
        content = file.read(most_bytes)
    if len(content) != member.file_size:
        raise ZipError(f"a damaged archive ({member.filename!a} is cut off)")
    return content


def require_sound(archive: zipfile.ZipFile) -> None:
    """Compare the checksum of every member, which PyTorch's reader does not; ZipError."""
    damaged = archive.testzip()
    if damaged is not None:
        raise ZipError(f"a damaged archive ({damaged!a} differs from its checksum)")


def _bound_directory(path: Path) -> None:
    """ZipError unless the records at the end of the file agree on a small directory."""
    with path.open("rb") as file:
        length = file.seek(0, 2)
        file.seek(max(0, length - LONGEST_COMMENT - END_BYTES - LOCATOR_BYTES - END_64_BYTES))
        tail = file.read()
    at = tail.rfind(END)
    if at < 0 or len(tail) - at < END_BYTES:
        raise ZipError("a truncated archive")
    sizes = [struct.unpack_from("<I", tail, at + 12)[0]]
    before = at - LOCATOR_BYTES - END_64_BYTES
    if before >= 0 and tail[at - LOCATOR_BYTES : at].startswith(b"PK\x06\x07"):
        sizes.append(struct.unpack_from("<Q", tail, before + 40)[0])
    if max(sizes) > MAX_DIRECTORY_BYTES or len(set(sizes)) > 1:
        raise ZipError(f"an archive with a directory of {max(sizes)} bytes")
