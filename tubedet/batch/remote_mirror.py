"""Paths on this machine for what lies at addresses, in one tree: what is beside stays beside."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from tubedet.batch.remote_files import RemoteFile, split_address, without_password
from tubedet.errors import TubedetError
from tubedet.notes import Note


class Mirror:
    """A temporary folder in which everything at an address has a path, be there a file or not."""

    def __init__(self) -> None:
        self._schemes: set[str] = set()

    @cached_property
    def root(self) -> Path:
        """The folder, made when it is asked for; TMPDIR and the like say where."""
        return Path(mkdtemp(prefix="tubedet-")).resolve()

    def path(self, address: str) -> Path:
        """The path of what is at an address."""
        scheme, path = split_address(without_password(address))
        self._schemes.add(scheme)
        return self.root / scheme / path.lstrip("/")

    def as_addresses(self, text: str) -> str:
        """A text with addresses in the place of these paths."""
        for scheme in self._schemes:
            text = text.replace(f"{self.root / scheme}{os.sep}", f"{scheme}://")
        return text

    def notes_as_addresses(self, notes: Iterable[Note]) -> list[Note]:
        """Notes likewise."""
        return [replace(each, text=self.as_addresses(each.text)) for each in notes]

    @contextmanager
    def named(self) -> Iterator[None]:
        """Let errors name addresses, not paths that nobody gave."""
        try:
            yield
        except TubedetError as error:
            error.args = (self.as_addresses(str(error)), *error.args[1:])
            raise

    def remove(self) -> None:
        """Remove the folder with all that is in it."""
        if "root" in vars(self):
            rmtree(self.root, ignore_errors=True)


def make_stand_in(path: Path, file: RemoteFile) -> None:
    """Make a file of the same size and time that holds nothing, and takes no room for that."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stand_in:
        stand_in.truncate(file.bytes)
    set_time(path, file)


def set_time(path: Path, file: RemoteFile) -> None:
    """Give a file the time of one elsewhere."""
    os.utime(path, ns=(file.modified_ns, file.modified_ns))
