"""What became of the videos of a job: `tubedet.manifest.jsonl` among their results.

A line is what is known of one video, and the last line of a video counts. Lines are appended, each
in one write that is on the disk before the run goes on, so the file can be read after a kill at any
moment: at worst its last line is torn, which is left out and cut off by the next run. The file only
tells; what is left to do of a video is decided by its results and their meta (`earlier_results`),
so a line that was lost is written again, and no video is done twice for want of it.
"""

import hashlib
import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from tubedet.batch.remote_results import read_meta
from tubedet.batch.video_record import Status, VideoRecord
from tubedet.errors import OutputError, in_one_line
from tubedet.notes import Note
from tubedet.run.events import Event, NetworkLoaded, VideoDone, VideoFailed, VideoSkipped
from tubedet.run.jobs import VideoJob
from tubedet.run.video_run import asked_for, identity_of
from tubedet.run.work import Work
from tubedet.writers.formats import META_SUFFIXES, Kind

MANIFEST = "tubedet.manifest.jsonl"


@dataclass(frozen=True, slots=True)
class ManifestContent:
    """What a manifest tells.

    Attributes:
        records: the last of every video, in the order in which they came first.
        whole_bytes: up to where its lines are whole.
        torn_bytes: of a line behind them that a killed run began.
        strange_lines: that are no records.
    """

    records: Mapping[tuple[str, str], VideoRecord]
    whole_bytes: int
    torn_bytes: int
    strange_lines: int

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest; OutputError if it cannot be read, or holds none of tubedet's records."""
        records: dict[tuple[str, str], VideoRecord] = {}
        whole = torn = strange = 0
        try:
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        torn = len(line)
                        continue
                    whole += len(line)
                    if record := VideoRecord.read(line):
                        records[record.kind, record.results] = record
                    else:
                        strange += 1
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {error.strerror}") from error
        if not records and whole:
            raise OutputError(
                f"{path}: expected a manifest of tubedet's, found something else; move it away, or "
                "choose another -o"
            )
        return cls(records, whole, torn, strange)


class Manifest:
    """The manifest of a run, to which one process appends; a run beside it may do so, too.

    Where the disk is full, lines wait for room: the next one brings them along.
    """

    def __init__(self, folder: Path, kind: Kind) -> None:
        """Open the manifest in a folder of results, or make both; what is torn is cut off.

        Raises:
            OutputError: if it cannot be written, or is none.
        """
        self.path = folder / MANIFEST
        self.notes: list[Note] = []
        self._folder, self._kind = folder, kind
        self._network = NetworkLoaded(None, None)
        self._kept: dict[VideoJob, VideoDone] = {}
        self._owed = b""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.open("ab").close()
            content = ManifestContent.read(self.path)
            if content.torn_bytes:
                os.truncate(self.path, content.whole_bytes)
                torn = f"its last line was torn by a kill ({content.torn_bytes} bytes)"
                self.notes.append(Note(f"{self.path}: {torn} and is cut off"))
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror}") from error
        self._records = dict(content.records)

    def recorded(
        self, jobs: Sequence[VideoJob], inputs: Iterable[Path], events: Generator[Event]
    ) -> Generator[Event]:
        """The events, each when the manifest tells of it.

        Args:
            jobs: all videos of the run.
            inputs: what they were found in, absolute, or addresses.
            events: of the run, `NetworkLoaded` first.

        Raises:
            OutputError: at the end, if some lines found no room on the disk.
        """
        try:
            with closing(events):
                for event in events:
                    self._note_down(event, jobs, inputs)
                    yield event
        finally:
            for done in self._kept.values():
                self._append([self._of_run(done, "partial")])
        if self._owed:
            lines = self._owed.count(b"\n")
            raise OutputError(
                f"cannot write {self.path}: the last {lines} lines found no room; the results are "
                "not concerned: make room and run the command again"
            )

    def _note_down(self, event: Event, jobs: Sequence[VideoJob], inputs: Iterable[Path]) -> None:
        match event:
            case NetworkLoaded():
                self._network = event
                self._append([*self._begun(jobs), *self._no_longer_asked(jobs, inputs)])
            case VideoDone(partial=True):
                self._kept[event.job] = event
            case VideoDone():
                self._append([self._of_run(event, "done")])
            case VideoFailed(job=job, error=error):
                kept = self._kept.pop(job, None)
                record = self._of_run(kept, "failed") if kept else self._of(job, "failed")
                self._append([replace(record, error=_one_line(error))])
            case VideoSkipped(job=job):
                self._append(self._of_results(job))

    def _begun(self, jobs: Sequence[VideoJob]) -> Iterator[VideoRecord]:
        """Of every video that nobody has tried yet as it is to be done now."""
        for job in jobs:
            record, known = self._of(job, "waiting"), self._known(job)
            if known is None or known.status == "left out" or _made(known) != _made(record):
                yield record

    def _no_longer_asked(
        self, jobs: Sequence[VideoJob], inputs: Iterable[Path]
    ) -> Iterator[VideoRecord]:
        """Of videos below the inputs that are gone or excluded by now, so that none stays undone.

        Of what is done the results are still there.
        """
        asked, below = {self._key(job) for job in jobs}, list(inputs)
        for key, known in self._records.items():
            is_ours = any(Path(known.path).is_relative_to(each) for each in below)
            if known.status not in ("done", "left out") and key not in asked and is_ours:
                yield replace(known, status="left out")

    def _of(self, job: VideoJob, status: Status) -> VideoRecord:
        is_elsewhere = job.remote and job.remote.source
        return VideoRecord(
            video=job.video,
            kind=self._kind,
            results=self._key(job)[1],
            path=job.shown_as if is_elsewhere else str(job.source.absolute()),
            source=_identity_of(job),
            settings_sha256=self._network.settings_sha256,
            weights_sha256=self._network.weights_sha256,
            status=status,
        )

    def _of_run(self, done: VideoDone, status: Status) -> VideoRecord:
        """As the meta tells it, whose path comes last; it knows more than the run."""
        meta = read_meta(done.job, done.outputs[-1].name) if done.outputs else None
        record = replace(
            self._of(done.job, status),
            notes=tuple({"text": note.text, "loss": note.loss} for note in done.notes),
            frames=done.processed,
            seconds=round(done.seconds, 3),
        )
        return replace(record, source=meta.source, outputs=meta.outputs) if meta else record

    def _of_results(self, job: VideoJob) -> list[VideoRecord]:
        """Of whole results that are there although the manifest does not tell of them."""
        meta = read_meta(job, f"{job.stem}{META_SUFFIXES[self._kind]}")
        if meta is None or not meta.complete:  # another run is writing them
            return []
        record = replace(
            self._of(job, "done"),
            source=meta.source,
            notes=tuple(meta.notes),
            frames=meta.processed_frames,
            outputs=meta.outputs,
        )
        return [] if record.tells_the_same(self._known(job)) else [record]

    def _key(self, job: VideoJob) -> tuple[str, str]:
        folder = os.path.relpath(job.folder, self._folder)
        return self._kind, (Path(folder) / job.stem).as_posix()

    def _known(self, job: VideoJob) -> VideoRecord | None:
        return self._records.get(self._key(job))

    def _append(self, records: Sequence[VideoRecord]) -> None:
        """Bring lines to the disk; what finds no room there waits."""
        self._records |= {(each.kind, each.results): each for each in records}
        self._owed += b"".join(each.to_line() for each in records)
        if not self._owed:
            return
        # O_APPEND: a run beside this one does not write over these lines.
        with suppress(OSError), self.path.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                rest = memoryview(self._owed)
                while rest:
                    rest = rest[file.write(rest) or 0 :]
                os.fsync(file.fileno())
                self._owed = b""
            except OSError:
                file.truncate(before)


def failures_in(folder: Path) -> dict[str, str]:
    """Why videos of a job have no boxes, by their names; nothing where there is no manifest.

    Raises:
        OutputError: if it cannot be read, or is none.
    """
    if not (folder / MANIFEST).exists():
        return {}
    records = ManifestContent.read(folder / MANIFEST).records.values()
    failed = (each for each in records if each.status == "failed" and each.kind == "boxes")
    return {each.video: each.error or "" for each in failed}


def network_loaded(job: VideoJob, work: Work) -> NetworkLoaded:
    """What all results of a run are made with, from the work of any video."""
    asked = asked_for(job, work)
    settings = {name: value for name, value in asked.items() if name not in ("source", "weights")}
    text = json.dumps(settings, sort_keys=True)
    return NetworkLoaded(hashlib.sha256(text.encode()).hexdigest(), work.weights_sha256)


def _identity_of(job: VideoJob) -> dict[str, int]:
    if job.remote and job.remote.source:
        return {"bytes": job.remote.source_bytes, "modified_ns": job.remote.modified_ns}
    return identity_of(job.source)


def _made(record: VideoRecord) -> tuple[object, ...]:
    """Runs for which it is equal have the same results."""
    return dict(record.source), record.settings_sha256, record.weights_sha256


def _one_line(error: Exception) -> str:
    return " ".join(in_one_line(error).split())
