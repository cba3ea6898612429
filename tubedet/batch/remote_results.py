"""A video's results elsewhere: what stands for them here, and what is put there in which order.

    .STEM.boxes.lock.part    before anything else: so that a place that cannot be written is found
                             at once, and a later run looks for what a killed one has left
    .STEM.meta.json.part     which outputs will come
    rows, then videos
    STEM.meta.json           from now on they are the video's results
    then what is no longer told of goes, and the two hidden files

These are the names under which runs write here, so `clear_after_kill` clears after both.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tubedet.batch.remote_files import RemoteFile, RemoteFolder
from tubedet.batch.remote_mirror import make_stand_in
from tubedet.errors import OutputError
from tubedet.run.jobs import VideoJob
from tubedet.run.stop import StopRequest
from tubedet.video.file_names import is_video_name
from tubedet.writers.formats import META_SUFFIXES, WRITERS, Kind
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.target import hidden_path

META = META_SUFFIXES["boxes"]  # that of flow ends like it


def read_meta(job: VideoJob, name: str) -> RunMeta | None:
    """A meta among the results of a job, wherever they are; None if there is none of ours."""
    if job.remote is None or not job.remote.folder:
        return RunMeta.read(job.folder / name)
    return _meta_in(RemoteFolder(job.remote.folder, OutputError).read(name))


class RemoteResults:
    """Results of one video in a folder elsewhere, and the folder here that a run writes into.

    Attributes:
        is_kept: what the run has made could not be put there, and is still here.
    """

    def __init__(self, kind: Kind, stem: str, there: RemoteFolder, here: Path) -> None:
        self.is_kept = False
        self._kind, self._stem, self._there, self._here = kind, stem, there, here
        self._mark, self._announcement = (
            hidden_path(here, stem, suffix).name
            for suffix in (f".{kind}.lock", META_SUFFIXES[kind])
        )
        self._laid: Mapping[str, tuple[int, ...]] | None = None
        self._has_begun = False

    def lay(self, *, fresh: bool, to_read: bool) -> None:
        """Make what stands for earlier results, with content where that tells what is left to do.

        Args:
            fresh: what other programs have changed meanwhile is to be noticed.
            to_read: rows are needed, as they will be read and compared with their hash.
        """
        files = dict(self._files(fresh=fresh))
        for name, file in files.items():
            make_stand_in(self._here / name, file)
        metas: dict[str, RunMeta] = {}
        for name in (name for name in files if META in name):
            content = self._there.read(name) or b""
            if meta := _meta_in(content):
                metas[name] = meta
                content = content if to_read else _without_hashes(meta)
            (self._here / name).write_bytes(content)
        if to_read:
            rows = [name for name in files if self._is_of_rows(name, metas)]
            self._there.fetch(rows, [self._here / name for name in rows], StopRequest())
        self._forget_announcement(metas)

    def begin(self) -> None:
        """Say there that a run is at work."""
        self._there.write(self._mark, b"")
        self._has_begun = True

    def follow(self) -> None:
        """From now on, what changes here is to be put there."""
        self._laid = self._state()

    def put_back(self) -> None:
        """Put there what has changed here, and remove there what is gone here.

        Raises:
            OutputError: if it cannot be put there.
        """
        if self._laid is None or self.is_kept or (now := self._state()) == self._laid:
            return
        changed = [name for name in now if now[name] != self._laid.get(name)]
        metas = [name for name in changed if name.endswith(META)]
        outputs = [name for name in changed if name not in metas]
        try:
            for meta in metas:
                self._announce(meta, outputs)
            for are_videos in (False, True):
                self._put([name for name in outputs if is_video_name(name) == are_videos])
            self._put(metas)
            self._there.remove(name for name in self._laid if name not in now)
        except OutputError:
            self.is_kept = True
            raise
        self._laid = now

    def end(self) -> None:
        """Say there that the run is over, unless the next one has to clear after it."""
        if self._has_begun and not self.is_kept:
            self._there.remove([self._announcement, self._mark])

    def _files(self, *, fresh: bool) -> Iterator[tuple[str, RemoteFile]]:
        """Those there that can be results of this video; others' do no harm."""
        suffixes = {writer.suffix for writer in WRITERS[self._kind].values()}
        folders = {f"{self._stem}{suffix}" for suffix in suffixes}
        for name, file in self._there.files_in(fresh=fresh).items():
            is_own = name.startswith((f"{self._stem}.", f".{self._stem}."))
            if file and is_own:
                yield name, file
            elif name in folders or name.startswith(f"{self._stem}.partial"):
                yield from self._there.files_below(name).items()

    def _is_of_rows(self, name: str, metas: Mapping[str, RunMeta]) -> bool:
        """Whether a file belongs to an output that has a hash."""
        return any(
            name.partition("/")[0] == output.get("name") and WRITERS[self._kind][kind].is_editable
            for meta in metas.values()
            for kind, output in meta.outputs.items()
            if kind in WRITERS[self._kind]
        )

    def _forget_announcement(self, metas: Mapping[str, RunMeta]) -> None:
        """Forget that of a run that was killed when all it had announced was there."""
        announced = metas.get(self._announcement)
        others = [meta.outputs for name, meta in metas.items() if name != self._announcement]
        if announced and any(
            all(outputs.get(kind) == told for kind, told in announced.outputs.items())
            for outputs in others
        ):
            (self._here / self._announcement).unlink()

    def _announce(self, meta_name: str, outputs: list[str]) -> None:
        """Say there which outputs will come, before the first comes."""
        meta = RunMeta.read(self._here / meta_name)
        assert meta is not None, "a run has written it"
        names = {name.partition("/")[0] for name in outputs}
        coming = {kind: told for kind, told in meta.outputs.items() if told["name"] in names}
        announced = replace(meta, outputs=coming, complete=False)
        self._there.write(self._announcement, announced.to_json().encode())

    def _put(self, names: list[str]) -> None:
        self._there.put([self._here / name for name in names], names)

    def _state(self) -> dict[str, tuple[int, ...]]:
        """The files here, and by what a changed one is told."""
        state: dict[str, tuple[int, ...]] = {}
        for path in self._here.rglob("*"):
            with suppress(FileNotFoundError):
                if path.is_file():
                    told = path.stat()
                    name = path.relative_to(self._here).as_posix()
                    state[name] = (told.st_mtime_ns, told.st_size, told.st_ino)
        return state


def _meta_in(content: bytes | None) -> RunMeta | None:
    try:
        return RunMeta.of(json.loads(content or b""))
    except ValueError:
        return None


def _without_hashes(meta: RunMeta) -> bytes:
    """A meta whose outputs are known by their sizes alone."""
    outputs = {
        kind: {key: value for key, value in told.items() if key != "sha256"}
        for kind, told in meta.outputs.items()
    }
    return replace(meta, outputs=outputs).to_json().encode()
