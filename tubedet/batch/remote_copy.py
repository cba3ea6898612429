"""One video whose file or results are elsewhere, as one among the files of this machine.

What is left to do is told by what stands for the files there, of the same sizes and times. Then the
source is fetched, and what a run makes of it here is put where it belongs, see `remote_results`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import disk_usage, rmtree

from tubedet.batch.remote_files import RemoteFile, RemoteFolder, folder_and_name
from tubedet.batch.remote_mirror import Mirror, make_stand_in, set_time
from tubedet.batch.remote_results import RemoteResults
from tubedet.errors import OutputError, VideoError
from tubedet.run.events import DiskNeeded, Event, VideoDone, VideoSkipped
from tubedet.run.jobs import VideoJob
from tubedet.run.stop import StopRequest
from tubedet.video.file_names import is_image_name, is_image_pattern
from tubedet.writers.formats import Kind


@contextmanager
def stand_ins(job: VideoJob, kind: Kind) -> Iterator[VideoJob]:
    """The video as if all were here, to look at and to compare, but not to read.

    Raises:
        VideoError, OutputError: if a store cannot be asked.
    """
    copy = RemoteCopy(job, kind)
    try:
        if copy.results:
            copy.results.lay(fresh=False, to_read=False)
        copy.lay_source()
        with copy.mirror.named():
            yield copy.job
    finally:
        copy.mirror.remove()


@contextmanager
def fetched(job: VideoJob, kind: Kind | None, stop: StopRequest) -> Iterator["RemoteCopy"]:
    """The video with its source, from which results are put elsewhere at the end at the latest.

    Args:
        job: with `remote`.
        kind: of the results; None if there will be none.
        stop: ends fetching.

    Raises:
        StoppedError: if it was asked for while the source came.
        VideoError: if the source is not there, or cannot be fetched.
        OutputError: if there is no room for it, or results cannot be put.
    """
    copy = RemoteCopy(job, kind)
    try:
        with copy.mirror.named():
            yield from copy.at_work(stop)
    except OutputError as error:
        if copy.is_kept:
            error.args = (f"{error}; the results are kept in {copy.job.folder}",)
        raise
    finally:
        copy.remove()


def require_source(job: VideoJob) -> None:
    """Raise VideoError if nothing is at the address of a source."""
    _source_files(job)


class RemoteCopy:
    """A job as one over files of this machine.

    Attributes:
        mirror: the paths of the files.
        job: over them.
        results: elsewhere; None where they are here, or there will be none.
    """

    def __init__(self, job: VideoJob, kind: Kind | None) -> None:
        """Name the paths; `job` has `remote`."""
        assert job.remote is not None
        self.mirror = Mirror()
        self._given, self._remote = job, job.remote
        source, folder = job.source, job.folder
        self.results: RemoteResults | None = None
        if self._remote.source:
            source = self.mirror.path(self._remote.source)
        if kind and self._remote.folder:
            folder = self.mirror.path(self._remote.folder)
            there = RemoteFolder(self._remote.folder, OutputError)
            self.results = RemoteResults(kind, job.stem, there, folder)
        self.job = replace(
            job, source=source, folder=folder, shown_as="", shown_folder="", remote=None
        )

    @property
    def is_kept(self) -> bool:
        """Whether results could not be put where they belong, and stay here."""
        return self.results is not None and self.results.is_kept

    def at_work(self, stop: StopRequest) -> Iterator["RemoteCopy"]:
        """Itself, once, when all is here that a run reads; afterwards the results are put."""
        if self.results is None:
            self.fetch_source(stop)
            yield self
            return
        self.results.lay(fresh=True, to_read=True)
        try:
            self.results.begin()
            self.fetch_source(stop)
            self.results.follow()
            yield self
        finally:
            self.results.put_back()
            self.results.end()

    def lay_source(self) -> None:
        """Make what the source is known by; a single image for all of a folder."""
        if self._remote.source:
            of_all = RemoteFile(self._remote.source_bytes, self._remote.modified_ns)
            path = self._images_folder / "0.png" if self._remote.of_images else self.job.source
            make_stand_in(path, of_all)

    def fetch_source(self, stop: StopRequest) -> None:
        """Bring the source, if it is elsewhere and there is room for it."""
        if not self._remote.source:
            return
        folder, files = _source_files(self._given)
        self._require_room(files)
        root = self._images_folder if self._remote.of_images else self.job.source.parent
        folder.fetch(list(files), [root / name for name in files], stop)
        for name, file in files.items():
            if (root / name).stat().st_size != file.bytes:
                raise VideoError(
                    f"{self._given.name}: changed while it was fetched; run the command again"
                )
            set_time(root / name, file)

    def told(self, event: Event) -> Event:
        """An event as one of the job that was given; at the end of a run, results are put."""
        match event:
            case VideoDone():
                if self.results:
                    self.results.put_back()
                notes = tuple(self.mirror.notes_as_addresses(event.notes))
                return replace(event, job=self._given, notes=notes)
            case DiskNeeded() | VideoSkipped():
                return replace(event, job=self._given)
            case _:
                return event

    def remove(self) -> None:
        """Remove all that was here, but for results that could not be put where they belong."""
        if not self.is_kept:
            self.mirror.remove()
        elif self._remote.of_images:
            rmtree(self._images_folder, ignore_errors=True)
        elif self._remote.source:
            self.job.source.unlink(missing_ok=True)

    @property
    def _images_folder(self) -> Path:
        source = self.job.source
        return source.parent if is_image_pattern(source) else source

    def _require_room(self, files: Mapping[str, RemoteFile]) -> None:
        needed, free = sum(f.bytes for f in files.values()), disk_usage(self.mirror.root).free
        if needed > free:
            raise OutputError(
                f"{self.mirror.root.parent}: expected room for {self._given.name}, {needed} bytes, "
                f"found {free}; make room, or set TMPDIR to a folder that has it"
            )


def _source_files(job: VideoJob) -> tuple[RemoteFolder, dict[str, RemoteFile]]:
    """The folder of a source, and the file or the images in it; VideoError if there is none."""
    assert job.remote is not None
    address, name = folder_and_name(job.remote.source)
    if not job.remote.of_images:
        folder = RemoteFolder(address, VideoError)
        file = folder.file(name)
        files = {name: file} if file else {}
    else:
        is_pattern = is_image_pattern(Path(name))
        folder = RemoteFolder(address if is_pattern else job.remote.source, VideoError)
        files = {n: file for n, file in folder.files_in().items() if file and is_image_name(n)}
    if not files:
        raise VideoError(f"{job.name}: expected a video or images, found nothing of that name")
    return folder, files
