"""One video whose file or results are elsewhere, as one among the files of this machine.

What is left to do is told by what stands for the files there, of the same sizes. Then the source
is fetched, and what the run has made of it here is put in its place, in this order:

    .STEM.boxes.lock.part    before anything is fetched: so that a place that cannot be written is
                             found at once, and a later run looks for what a killed one has left
    .STEM.meta.json.part     which outputs will come
    rows, then videos
    STEM.meta.json           from now on they are the video's results
    then the two hidden files go, and what is no longer told of

These are the names under which runs write here, so `clear_after_kill` clears after both.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import disk_usage, rmtree

from tubedet.batch.remote_files import RemoteFile, RemoteFolder, folder_and_name
from tubedet.batch.remote_mirror import Mirror, make_stand_in, set_time
from tubedet.errors import OutputError, VideoError
from tubedet.run.events import DiskNeeded, Event, VideoDone, VideoSkipped
from tubedet.run.jobs import VideoJob
from tubedet.run.stop import StopRequest
from tubedet.video.file_names import is_image_name, is_image_pattern, is_video_name
from tubedet.writers.formats import META_SUFFIXES, WRITERS, Kind, writer_class
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.target import hidden_path

State = Mapping[str, tuple[int, int, int]]
"""Files below the folder of results by their names: when they were written, size, and which."""


@contextmanager
def stand_ins(job: VideoJob, kind: Kind) -> Iterator[VideoJob]:
    """The video as if all were here, to look at and to compare, but not to read.

    Raises:
        VideoError, OutputError: if a store cannot be asked.
    """
    copy = RemoteCopy(job, kind)
    try:
        copy.lay_results(fresh=False, to_read=False)
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
        copy.lay_results(fresh=True, to_read=True)
        with copy.mirror.named():
            try:
                copy.begin()
                copy.fetch_source(stop)
                yield copy
            finally:
                copy.put_back()
                copy.end()
    except OutputError as error:
        if copy.is_kept:
            error.args = (f"{error}; the results are kept in {copy.job.folder}",)
        raise
    finally:
        copy.remove()


def require_source(job: VideoJob) -> None:
    """Raise VideoError if nothing is at the address of a source."""
    _source_files(job)


def read_meta(job: VideoJob, name: str) -> RunMeta | None:
    """A meta among the results of a job, wherever they are; None if there is none of ours."""
    if job.remote is None or not job.remote.folder:
        return RunMeta.read(job.folder / name)
    return _meta_in(RemoteFolder(job.remote.folder, OutputError).read(name))


class RemoteCopy:
    """A job as one over files of this machine.

    Attributes:
        mirror: the paths of the files.
        job: over them.
        is_kept: results could not be put where they belong, and stay where they are.
    """

    def __init__(self, job: VideoJob, kind: Kind | None) -> None:
        """Make an empty folder for it; `job` has `remote`."""
        assert job.remote is not None
        self.mirror = Mirror()
        self._given, self._remote, self._kind = job, job.remote, kind
        source, folder = job.source, job.folder
        if self._remote.source:
            source = self.mirror.path(self._remote.source)
        self._results: RemoteFolder | None = None
        if kind and self._remote.folder:
            folder = self.mirror.path(self._remote.folder)
            self._results = RemoteFolder(self._remote.folder, OutputError)
        self.job = replace(
            job, source=source, folder=folder, shown_as="", shown_folder="", remote=None
        )
        self._laid: State | None = None  # until all is there that a run may change
        self.is_kept = self._begun = False

    def lay_source(self) -> None:
        """Make what the source is known by; a single image for all of a folder."""
        if self._remote.source:
            of_all = RemoteFile(self._remote.source_bytes, self._remote.modified_ns)
            path = self._images_folder / "0.png" if self._remote.of_images else self.job.source
            make_stand_in(path, of_all)

    def fetch_source(self, stop: StopRequest) -> None:
        """Bring the source, if there is room for it."""
        if self._remote.source:
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
        self._laid = self._state()

    def lay_results(self, *, fresh: bool, to_read: bool) -> None:
        """Make what stands for earlier results, with content where that tells what is left to do.

        Args:
            fresh: what other programs have changed meanwhile is to be noticed.
            to_read: rows will be read, and compared with their hash.
        """
        if self._results is None:
            return
        entries = self._results.files_in(fresh=fresh)
        files = {name: file for name, file in entries.items() if self._is_own(name) and file}
        for name in (name for name, file in entries.items() if file is None):
            if self._is_own_folder(name):
                files |= self._results.files_below(name)
        for name, file in files.items():
            make_stand_in(self.job.folder / name, file)
        metas = {name: self._results.read(name) or b"" for name in files if ".meta.json" in name}
        told = {name: meta for name in metas if (meta := _meta_in(metas[name]))}
        for name, content in metas.items():
            kept = content if to_read else _without_hashes(content)
            (self.job.folder / name).write_bytes(kept)
        if to_read:
            rows = [name for name in files if self._is_of_rows(name, told)]
            self._results.fetch(rows, [self.job.folder / name for name in rows], StopRequest())
        self._forget_announced(told)

    def begin(self) -> None:
        """Say that a run is at work there."""
        if self._results and self._kind:
            mark = self.mirror.root / "begun"
            mark.touch()
            self._results.put([mark], [self._hidden(f".{self._kind}.lock")])
            self._begun = True

    def put_back(self) -> None:
        """Put there what the run has changed here, and remove there what it has removed."""
        now = self._state()
        if self._results is None or self._laid is None or self.is_kept or now == self._laid:
            return
        changed = [name for name in now if now[name] != self._laid.get(name)]
        metas = [name for name in changed if name.endswith(".meta.json")]
        outputs = [name for name in changed if name not in metas]
        try:
            for meta in metas:
                self._announce(meta, outputs)
            for are_videos in (False, True):
                self._put([name for name in outputs if is_video_name(name) == are_videos])
            self._put(metas)
        except OutputError:
            self.is_kept = True
            raise
        self._results.remove(name for name in self._laid if name not in now)
        self._laid = now

    def end(self) -> None:
        """Say that the run is over, unless the next one has to clear after it."""
        if self._results and self._begun and self._kind and not self.is_kept:
            self._results.remove([self._hidden(META_SUFFIXES[self._kind])])
            self._results.remove([self._hidden(f".{self._kind}.lock")])

    def told(self, event: Event) -> Event:
        """An event as one of the job that was given; at the end of a run, results are put back."""
        match event:
            case VideoDone():
                self.put_back()
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
        elif self._remote.source:
            rmtree(self.job.source, ignore_errors=True)
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

    def _is_own(self, name: str) -> bool:
        """Whether a name can be that of a result of this video; others' do no harm."""
        stem = self.job.stem
        return name == stem or name.startswith((f"{stem}.", f".{stem}."))

    def _is_own_folder(self, name: str) -> bool:
        assert self._kind is not None
        suffixes = {writer.suffix for writer in WRITERS[self._kind].values()}
        stem = self.job.stem
        return name.startswith(f"{stem}.partial") or name in {f"{stem}{each}" for each in suffixes}

    def _is_of_rows(self, name: str, told: Mapping[str, RunMeta]) -> bool:
        """Whether a file belongs to an output that has a hash."""
        assert self._kind is not None
        return any(
            name.partition("/")[0] == output.get("name")
            for meta in told.values()
            for format_name, output in meta.outputs.items()
            if format_name in WRITERS[self._kind]
            and writer_class(self._kind, format_name).is_editable
        )

    def _forget_announced(self, told: Mapping[str, RunMeta]) -> None:
        """Forget what was announced by a run that was killed when all of it had come."""
        assert self._kind is not None
        hidden = self._hidden(META_SUFFIXES[self._kind])
        outputs = [meta.outputs for name, meta in told.items() if name != hidden]
        announced = told[hidden].outputs if hidden in told else {}
        if any(all(each.get(n) == announced[n] for n in announced) for each in outputs):
            (self.job.folder / hidden).unlink(missing_ok=True)

    def _announce(self, meta_name: str, outputs: list[str]) -> None:
        """Say which outputs will come, before the first comes."""
        assert self._results is not None
        assert self._kind is not None
        meta = RunMeta.read(self.job.folder / meta_name)
        if meta is None:
            return
        first_names = {name.partition("/")[0] for name in outputs}
        coming = {n: each for n, each in meta.outputs.items() if each["name"] in first_names}
        path = self.mirror.root / "announced"
        path.write_text(replace(meta, outputs=coming, complete=False).to_json(), encoding="utf-8")
        self._results.put([path], [self._hidden(META_SUFFIXES[self._kind])])

    def _put(self, names: list[str]) -> None:
        assert self._results is not None
        self._results.put([self.job.folder / name for name in names], names)

    def _hidden(self, suffix: str) -> str:
        return hidden_path(self.job.folder, self.job.stem, suffix).name

    def _state(self) -> State:
        folder = self.job.folder
        if self._results is None or not folder.is_dir():
            return {}
        files = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
        return {
            path.relative_to(folder).as_posix(): (known.st_mtime_ns, known.st_size, known.st_ino)
            for path, known in files
        }


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


def _meta_in(content: bytes | None) -> RunMeta | None:
    try:
        return RunMeta.of(json.loads(content or b""))
    except ValueError:
        return None


def _without_hashes(content: bytes) -> bytes:
    """A meta whose outputs are known by their sizes alone."""
    meta = _meta_in(content)
    if meta is None:
        return content
    outputs = {
        name: {key: value for key, value in each.items() if key != "sha256"}
        for name, each in meta.outputs.items()
    }
    return replace(meta, outputs=outputs).to_json().encode()
