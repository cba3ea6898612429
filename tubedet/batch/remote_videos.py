"""Videos and results that are given as addresses, found as if they were files of this machine.

An empty file stands for each one elsewhere while videos are looked for, so that names, and what is
left out, are those of the same folder here. The videos come to whoever works on them, see
`remote_copy`.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import replace
from pathlib import Path

from tubedet.batch.find_videos import FoundVideos
from tubedet.batch.folder_search import TEXT_SUFFIXES, some_of
from tubedet.batch.own_results import MARKS
from tubedet.batch.remote_files import (
    RemoteFile,
    RemoteFolder,
    folder_and_name,
    is_address,
    is_plain,
    local_name,
    without_password,
)
from tubedet.batch.remote_mirror import Mirror
from tubedet.errors import OutputError, VideoError
from tubedet.notes import Note
from tubedet.run.events import Event
from tubedet.run.jobs import RemotePlaces, VideoJob
from tubedet.run.stop import StopRequest
from tubedet.video.file_names import is_image_name, is_image_pattern
from tubedet.writers.formats import META_SUFFIXES

NAMED = 3  # of what cannot be a file here
TEXT_BYTES = 4096  # of a file's beginning, which tell text from video
SECONDS_A_PUT = 5  # object stores do not append: the whole manifest is put again


class RemoteTree(AbstractContextManager["RemoteTree"]):
    """What stands for inputs and the output folder where these are addresses.

    It is empty, and no library is loaded, where there is no address.

    Attributes:
        mirror: the paths.
    """

    def __init__(self) -> None:
        self.mirror = Mirror()
        self._addresses: dict[Path, str] = {}  # that were given, by the paths that stand for them
        self._files: dict[Path, RemoteFile] = {}
        self._output: Path | None = None
        self._impossible: list[str] = []
        self._fetched_bytes = 0

    def __exit__(self, *_: object) -> None:
        self.mirror.remove()

    def inputs(self, names: Sequence[str]) -> list[str]:
        """The same, with paths for addresses; a path without a file where nothing is there.

        Raises:
            VideoError: if a store cannot be asked.
            UsageError: if there is no library for it.
        """
        return [self._input(name) if is_address(name) else local_name(name) for name in names]

    def output(self, name: str) -> Path:
        """The folder of results, or the path that stands for it."""
        if not is_address(name):
            return Path(local_name(name))
        self._output = self._given(name)
        return self._output

    def located(self, found: FoundVideos) -> FoundVideos:
        """What was found, with the addresses of each video and of its results."""
        notes = self.mirror.notes_as_addresses(found.left_out)
        if self._impossible:
            names = some_of(self._impossible, NAMED)
            notes.append(Note(f"names that no file can have, left out: {names}", loss=True))
        jobs = [self._located(job) for job in found.jobs]
        return replace(found, jobs=jobs, left_out=notes)

    def shown(self, path: Path) -> Path:
        """An input as the manifest names what is in it: absolute, or its address."""
        address = self._address(path)
        return Path(without_password(address)) if address else path.absolute()

    def fetch(self, path: Path) -> None:
        """Bring a file of the output folder, such as the manifest, if it is there."""
        if self._output:
            folder = RemoteFolder(self._addresses[self._output], OutputError)
            if folder.file(path.name):
                folder.fetch([path.name], [path], StopRequest())
                self._fetched_bytes = path.stat().st_size

    def kept(self, path: Path, events: Generator[Event]) -> Generator[Event]:
        """The events, while a file of the output folder is put there every few seconds.

        Raises:
            OutputError: if it cannot be put at the end.
        """
        if not self._output:
            yield from events
            return
        folder = RemoteFolder(self._addresses[self._output], OutputError)
        put, latest = self._fetched_bytes, time.monotonic()
        try:
            with closing(events):
                for event in events:
                    is_due = time.monotonic() - latest > SECONDS_A_PUT
                    if is_due and (size := path.stat().st_size) != put:
                        latest = time.monotonic()
                        with suppress(OutputError):  # the next one brings it along
                            folder.put([path], [path.name])
                            put = size
                    yield event
        finally:
            if path.stat().st_size != put:
                folder.put([path], [path.name])

    def _given(self, address: str) -> Path:
        path = self.mirror.path(address)
        self._addresses[path] = address.rstrip("/")
        return path

    def _input(self, address: str) -> str:
        """The path that stands for a file, a folder or a pattern, with what is below it."""
        path = self._given(address)
        given = RemoteFolder(address, VideoError)
        if file := given.file():
            self._add(path, file)
        elif files := given.files_below():
            for name, each in files.items():
                self._add_below(path, given, name, each)
        elif is_image_pattern(path):
            folder = RemoteFolder(folder_and_name(address)[0], VideoError)
            for name, image in folder.files_in().items():
                if image:
                    self._add_below(path.parent, folder, name, image)
        return str(path)

    def _add_below(self, root: Path, folder: RemoteFolder, name: str, file: RemoteFile) -> None:
        """Make what stands for a file in a folder, with content where that tells what it is."""
        path = root / name
        try:
            if not is_plain(name):
                raise ValueError(name)
            self._add(path, file)
        except (OSError, ValueError):
            self._impossible.append(without_password(f"{folder.address}/{name}"))
            return
        meta_of = name.removesuffix(META_SUFFIXES["boxes"])
        if path.suffix.lower() in TEXT_SUFFIXES and file.bytes:
            path.write_bytes(folder.read(name, first_bytes=TEXT_BYTES) or b"")
        elif meta_of != name and MARKS.sub("", meta_of) != meta_of:
            path.write_bytes(folder.read(name) or b"")

    def _add(self, path: Path, file: RemoteFile) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._files[path] = file

    def _located(self, job: VideoJob) -> VideoJob:
        source, folder = self._address(job.source), self._address(job.folder)
        if not (source or folder):
            return job
        of_images = bool(source) and job.source not in self._files
        files = [self._files[job.source]] if source and not of_images else []
        if of_images:
            place = job.source if job.source.is_dir() else job.source.parent
            known = [(path, self._files.get(path)) for path in _entries(place)]
            files = [file for path, file in known if file and is_image_name(path.name)]
        return replace(
            job,
            shown_as=without_password(source) or job.shown_as,
            shown_folder=without_password(folder),
            remote=RemotePlaces(
                source=source,
                folder=folder,
                source_bytes=sum(file.bytes for file in files),
                modified_ns=max((file.modified_ns for file in files), default=0),
                of_images=of_images,
            ),
        )

    def _address(self, path: Path) -> str:
        """The address that a path stands for; "" if it is this machine's own."""
        for above in (path, *path.parents):
            if address := self._addresses.get(above):
                below = path.relative_to(above).as_posix()
                return address if below == "." else f"{address}/{below}"
        return ""


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
