"""Files elsewhere, at addresses such as s3://bucket/folder/clip.mp4, by fsspec.

Credentials come from where the store's own library looks for them, or from fsspec's configuration.
What reads and writes is tried again by these libraries; what they give up is one line here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias
from urllib.request import url2pathname

from tubedet.errors import OutputError, TubedetError, UsageError, VideoError
from tubedet.extras import needed_for
from tubedet.run.stop import StopRequest
from tubedet.video.live_address import NETWORK_SCHEMES

ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
LOCAL = ("file", "local")
SECRET = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")
TIMES = ("LastModified", "mtime", "last_modified", "updated", "created")  # as stores call it
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
GONE = (FileNotFoundError, NotADirectoryError)

Kind: TypeAlias = type[VideoError] | type[OutputError]
"""What a problem with a file is: of the videos that are read, or of their results."""


class StoppedError(Exception):
    """Files were no longer brought since the run is to end."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What a store tells of a file.

    Attributes:
        bytes: its size.
        modified_ns: when it was written, in whole seconds, as some stores tell in a listing more
            digits than of the file alone; 0 where the store does not know.
    """

    bytes: int
    modified_ns: int


class RemoteFolder:
    """A folder at an address; names of files are relative to it, with "/".

    Attributes:
        address: of the folder, without a "/" at its end.
    """

    def __init__(self, address: str, kind: Kind) -> None:
        """Find the library for it.

        Raises:
            UsageError: if there is none for such an address, or it is not installed.
        """
        scheme, path = split_address(address)
        self.address = f"{scheme}://{path}"
        self._kind = kind
        with needed_for("files elsewhere", "fsspec"):
            from fsspec.core import url_to_fs  # noqa: PLC0415
        with self._problems():
            try:
                self._store, self._path = url_to_fs(self.address)
            except ValueError as error:
                shown = without_password(self.address)
                raise UsageError(f"{shown}: no address that fsspec reads: {error}") from error

    @contextmanager
    def _problems(self, name: str = "") -> Iterator[None]:
        """Report what goes wrong with a file in one line, without the password of an address."""
        shown = without_password(f"{self.address}/{name}".rstrip("/"))
        try:
            yield
        except (TubedetError, StoppedError):
            raise
        except ImportError as error:  # it says what to install
            raise UsageError(f"{shown}: cannot be reached: {error}") from error
        except Exception as error:  # every store's library has exceptions of its own
            raise self._kind(f"{shown}: {_reason(error)}") from error

    def file(self, name: str = "") -> RemoteFile | None:
        """A file, or what is at the address itself; None if no file is there, such as a folder."""
        with self._problems(name):
            try:
                told = self._store.info(self._at(name))
            except GONE:
                return None
            return _file(told) if told["type"] == "file" else None

    def files_below(self, name: str = "") -> dict[str, RemoteFile]:
        """All files in a folder and those below it; none where nothing is."""
        with self._problems(name):
            try:
                found = self._store.find(self._at(name), detail=True)
            except GONE:
                return {}
            return dict(self._named(found.values()))

    def files_in(self, name: str = "", *, fresh: bool = True) -> dict[str, RemoteFile | None]:
        """What lies in a folder: its files, and its folders, of which nothing is told.

        Args:
            name: of the folder.
            fresh: changes by other programs since the last time are to be noticed.
        """
        with self._problems(name):
            if fresh:
                self._store.invalidate_cache(self._at(name))
            try:
                found = self._store.ls(self._at(name), detail=True)
            except GONE:
                return {}
            folders = [each for each in found if each["type"] != "file"]
            names = [self._name(str(each["name"])) for each in folders]
            return {**dict.fromkeys(filter(None, names)), **dict(self._named(found))}

    def read(self, name: str, *, first_bytes: int | None = None) -> bytes | None:
        """The content of a small file, or its beginning; None if there is none."""
        with self._problems(name):
            try:
                content = self._store.cat_file(self._at(name), end=first_bytes)
            except GONE:
                return None
            return bytes(content)

    def fetch(self, names: Sequence[str], paths: Sequence[Path], stop: StopRequest) -> None:
        """Bring files to paths; StoppedError if a stop is asked for meanwhile."""
        if names:
            with self._problems(names[0] if len(names) == 1 else ""):
                for path in paths:
                    path.parent.mkdir(parents=True, exist_ok=True)
                self._store.get(
                    [self._at(name) for name in names],
                    [str(path) for path in paths],
                    callback=_stopping(stop),
                )

    def put(self, paths: Sequence[Path], names: Sequence[str]) -> None:
        """Put files in the place of what has these names."""
        if names:
            with self._problems():
                at = [self._at(name) for name in names]
                self._store.put([str(path) for path in paths], at)

    def write(self, name: str, content: bytes) -> None:
        """Put a small file."""
        with TemporaryDirectory(prefix="tubedet-") as folder:
            path = Path(folder, "content")
            path.write_bytes(content)
            self.put([path], [name])

    def remove(self, names: Iterable[str]) -> None:
        """Remove files; nothing happens where there is none."""
        for name in names:
            with self._problems(name):
                try:
                    self._store.rm_file(self._at(name))
                except GONE:
                    continue

    def _at(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}" if name else self._path

    def _named(self, found: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, RemoteFile]]:
        for told in found:
            if told["type"] == "file" and (name := self._name(str(told["name"]))):
                yield name, _file(told)

    def _name(self, path: str) -> str:
        """Relative to the folder; "" for itself, as stores have an empty file for a folder."""
        return path.rstrip("/").removeprefix(self._path.rstrip("/")).removeprefix("/")


def is_address(text: str) -> bool:
    """Whether a name is an address of files elsewhere, and not one of a stream or of this machine.

    Files at `file://` are this machine's, see `local_name`.
    """
    found = ADDRESS.fullmatch(text)
    return found is not None and found[1].lower() not in (*NETWORK_SCHEMES, *LOCAL)


def local_name(text: str) -> str:
    """A name as the operating system has it, where it is a `file://` address."""
    found = ADDRESS.fullmatch(text)
    return url2pathname(found[2]) if found and found[1].lower() in LOCAL else text


def split_address(address: str) -> tuple[str, str]:
    """The scheme and what follows it, without "/" at its end."""
    scheme, _, path = address.partition("://")
    return scheme.lower(), path.rstrip("/")


def folder_and_name(address: str) -> tuple[str, str]:
    """The address of the folder that a file is in, and the file's name."""
    scheme, path = split_address(address)
    folder, _, name = path.rpartition("/")
    return f"{scheme}://{folder}", name


def without_password(text: str) -> str:
    """The same without passwords in addresses."""
    return SECRET.sub(r"\1@", text)


def is_plain(name: str) -> bool:
    """Whether files of this machine can have a name: in stores "a//b" and "../a" are names, too."""
    return PurePosixPath(name).as_posix() == name and ".." not in name.split("/")


def _stopping(stop: StopRequest) -> Any:
    """What fsspec calls for every piece that has come."""
    from fsspec.callbacks import Callback  # noqa: PLC0415

    class Stopping(Callback):  # type: ignore[misc]
        def branched(self, *_: Any, **__: Any) -> Any:
            return self

        def call(self, *_: Any, **__: Any) -> None:
            if stop.asked:
                raise StoppedError

    return Stopping()


def _file(told: Mapping[str, Any]) -> RemoteFile:
    time = next((told[name] for name in TIMES if told.get(name)), None)
    if isinstance(time, str):
        time = datetime.fromisoformat(time)
    if isinstance(time, datetime):
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH
        time = time // timedelta(seconds=1)
    return RemoteFile(int(told["size"] or 0), int(time or 0) * 10**9)


def _reason(error: Exception) -> str:
    """Why something cannot be done, in one line without passwords."""
    if isinstance(error, GONE):
        return "no such file, folder or bucket"
    said = getattr(error, "strerror", None) or str(error).strip()
    return without_password(" ".join(said.split())) or type(error).__name__
