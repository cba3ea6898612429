"""All outputs of one run as one: written together, and ended once, in one of three ways.

    commit         every output is closed, then each gets its final name, the meta's last
    keep_partial   what can be closed is kept as STEM.partial.*
    discard        nothing is left

Tables are closed before videos, which may fail where there is room for tables only. An output that
fails leaves the others alone; it is dropped unless what it has of whole frames can be closed.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shutil import rmtree

from tubedet.errors import OutputError
from tubedet.notes import Note
from tubedet.writers.formats import META_SUFFIXES, WRITERS, Kind, writer_class
from tubedet.writers.partial_results import Results, describe, free_number, partial_results
from tubedet.writers.run_lock import BeingWrittenError, RunLock
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.target import OutputTarget, hidden_path
from tubedet.writers.writer import FrameResult, Writer, output_errors

META_BYTES = 16_384  # kept free from the beginning, so that a full disk has room for the meta


class OutputTransaction:
    """The outputs of a run.

    Attributes:
        outputs: where they are, once the transaction has ended.
        partial: it was ended by `keep_partial`.
    """

    def __init__(
        self,
        kind: Kind,
        formats: Sequence[str],
        target: OutputTarget,
        *,
        overwrite: bool | Collection[str] = False,
    ) -> None:
        """Make the folder and open every output.

        Args:
            kind: of the results.
            formats: names of formats of that kind.
            target: where they go.
            overwrite: final names may be taken already: all of them, or those of some formats,
                which an earlier run has left.

        Raises:
            BeingWrittenError: if another run writes the same outputs.
            OutputError: if the folder cannot be written.
        """
        self.outputs: tuple[Path, ...] = ()
        self.partial = False
        self._kind, self._target = kind, target
        self._overwrite_all = overwrite is True
        self._replaced = () if isinstance(overwrite, bool) else overwrite
        self._writers: dict[str, Writer] = {}
        self._closed: set[str] = set()
        self._failed: set[str] = set()
        self._notes: list[Note] = []
        self._ended = False
        self._made_folders = [each for each in (target.folder, *target.folder.parents)
                              if not each.exists()]  # fmt: skip
        self._meta_path = target.path(META_SUFFIXES[kind])
        self._hidden_meta = target.hidden_path(META_SUFFIXES[kind])
        with output_errors(self._meta_path):
            target.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = RunLock(lock_path(target.folder, target.stem, kind), self._meta_path)
        except BaseException:
            self._remove_made_folders()
            raise
        try:
            with output_errors(self._meta_path):
                self._hidden_meta.unlink(missing_ok=True)  # a link would be written through
                self._hidden_meta.write_bytes(b" " * META_BYTES)
            for name in formats:
                self._writers[name] = writer_class(kind, name)(target)
        except BaseException:
            self.discard()
            raise

    @property
    def needs_picture(self) -> bool:
        """Whether any output shows the picture that is made of every frame."""
        return any(writer.needs_picture for writer in self._writers.values())

    @property
    def notes(self) -> list[Note]:
        """Those of all outputs; complete once the transaction has ended."""
        of_writers = (note for writer in self._writers.values() for note in writer.notes)
        return list(dict.fromkeys((*self._notes, *of_writers)))  # two videos may say the same

    @property
    def mp4_offset_s(self) -> float | None:
        """What turns a row's `time_s` into the time in the MP4; None if there is none."""
        offsets = [writer.offset_s for writer in self._writers.values()]
        return next((float(offset) for offset in offsets if offset is not None), None)

    def write(self, result: FrameResult) -> None:
        """Give a frame to every output; OutputError from the first that fails.

        Videos, which fail first where the disk is full, come first: so tables have no frame more.
        """
        for number, (name, writer) in enumerate(order := self._in_order()[::-1]):
            try:
                writer.write(result)
            except OutputError as error:
                for _, has_it in order[:number]:
                    with suppress(OutputError):
                        has_it.take_back()
                self._fail(name, error)
                raise

    def commit(self) -> None:
        """Give every output its final name.

        If one cannot be closed or a name is taken, all others are kept as partial. One that does
        not get its name is kept under its partial one.

        Raises:
            OutputError: the first of them, when all is done.
        """
        if self._ended:
            return
        try:
            self._close(complete=True)
            self._closed -= self._closed_again()  # they may tell what the others have noted
            self._close(complete=True)
            self._refuse_taken_names()
        except BaseException:
            self.keep_partial()
            raise
        self._ended = True
        try:
            self._announce({name: self._target.path(w.suffix) for name, w in self._all()})
            names, problem = self._give_names()
            self._write_meta(self._meta_path, names, self._what_stays(names))
            self._remove_superseded(names)
        finally:
            self._clean_up()
        if problem:
            raise problem

    def keep_partial(self) -> None:
        """Keep what can be closed under partial names; a note says what could not."""
        if self._ended:
            return
        interrupt = self._close_all_that_can_be()
        self._ended = self.partial = True
        try:
            if self._writers:
                self._name_partial()
        except OutputError as error:
            self._notes.append(Note(f"nothing could be kept: {error}", loss=True))
        finally:
            self._clean_up()
        if interrupt:
            raise interrupt

    def discard(self) -> None:
        """Leave nothing behind, not even a folder that was made for the outputs."""
        if not self._ended:
            self._ended = True
            self._clean_up()

    def _in_order(self) -> list[tuple[str, Writer]]:
        """What failed, to make room by what cannot be kept of it; then tables, then videos."""
        ranks = {name: (name not in self._failed, w.needs_picture) for name, w in self._all()}
        return sorted(self._all(), key=lambda each: ranks[each[0]])

    def _closed_again(self) -> set[str]:
        return {name for name, writer in self._all() if writer.outlives_failure}

    def _all(self) -> list[tuple[str, Writer]]:
        return list(self._writers.items())

    def _close(self, *, complete: bool) -> None:
        """Close every output; OutputError from the first that fails, when all have been tried."""
        problems = []
        for name, writer in self._in_order():
            if name in self._closed:
                continue
            try:
                writer.close(complete=complete)
                self._closed.add(name)
            except BaseException as error:
                self._fail(name, error)
                if not isinstance(error, OutputError):
                    raise
                problems.append(error)
        if problems:
            raise problems[0]

    def _close_all_that_can_be(self) -> BaseException | None:
        """What fails once more is dropped, so this ends; an interruption on the way is returned."""
        interrupt = None
        self._closed -= self._closed_again()
        while self._closed != self._writers.keys():
            try:
                self._close(complete=False)
            except OutputError:
                continue
            except BaseException as error:
                interrupt = error
        return interrupt

    def _fail(self, name: str, error: BaseException) -> None:
        """Drop an output at its second failure, or at the first if it does not outlive one."""
        if self._writers[name].outlives_failure and name not in self._failed:
            self._failed.add(name)
        else:
            self._drop(name, error)

    def _drop(self, name: str, error: BaseException) -> None:
        writer = self._writers.pop(name)
        reason = str(error) or type(error).__name__
        self._notes += [*writer.notes, Note(f"{name} could not be kept: {reason}", loss=True)]
        with suppress(Exception):  # the first error says what happened
            writer.abandon()
        with suppress(OutputError):
            writer.remove()

    def _refuse_taken_names(self) -> None:
        """What appeared since the run began is not replaced unasked."""
        if self._overwrite_all:
            return
        finals = {name: self._target.path(writer.suffix) for name, writer in self._all()}
        taken = [
            final
            for name, final in finals.items()
            if name not in self._replaced and self._writers[name].files_of(final)
        ]
        if self._meta_path.exists() and RunMeta.read(self._meta_path) is None:
            taken.append(self._meta_path)
        if taken:
            raise OutputError(
                f"{taken[0]}: appeared while the video was processed; the results are kept as "
                f"{self._target.stem}.partial.*"
            )

    def _announce(self, names: Mapping[str, Path]) -> None:
        """Say in the hidden meta which files will have which names; see `clear_after_kill`.

        Where the disk has no room for that, it is done without.
        """
        outputs = {
            name: {**describe(self._kind, name, writer.path), "name": names[name].name}
            for name, writer in self._all()
        }
        meta = replace(self._target.run_meta(), outputs=outputs)
        with suppress(OSError), self._hidden_meta.open("r+b") as file:
            file.write(meta.to_json().encode())  # blanks that follow are JSON, too

    def _give_names(self) -> tuple[dict[str, Path], OutputError | None]:
        """Every output where it belongs, or else under its partial name, or else nowhere."""
        names: dict[str, Path] = {}
        problem = None
        for name, writer in self._in_order():
            final = self._target.path(writer.suffix)
            try:
                writer.rename(final)
                names[name] = final
            except OutputError as error:
                problem = error
                with suppress(OutputError):
                    number = self._free_number([name])
                    names |= self._renamed(name, self._target.partial_path(writer.suffix, number))
                    problem = OutputError(f"{error}; it is kept as {names[name]}")
        return names, problem

    def _name_partial(self) -> None:
        number = self._free_number(list(self._writers))
        partial = {name: self._target.partial_path(w.suffix, number) for name, w in self._all()}
        self._announce(partial)
        names: dict[str, Path] = {}
        for name, _ in self._in_order():
            try:
                names |= self._renamed(name, partial[name])
            except OutputError as error:
                self._drop(name, error)
        meta_path = self._target.partial_path(META_SUFFIXES[self._kind], number)
        self._write_meta(meta_path, names, None)

    def _renamed(self, name: str, path: Path) -> dict[str, Path]:
        self._writers[name].rename(path)
        return {name: path}

    def _free_number(self, formats: list[str]) -> int:
        meta = self._target.run_meta()
        return free_number(self._kind, formats, self._target, meta, overwrite=self._overwrite_all)

    def _what_stays(self, names: Mapping[str, Path]) -> RunMeta | None:
        """The meta of an older run with the same settings, without what this one has replaced.

        What a run with other settings left beside it would pass for this run's: it is deleted.
        """
        old = Results.read(self._kind, self._meta_path)
        if old is None:
            return None
        others = old.without(names)
        if old.meta.complete and not old.meta.differences(self._target.run_meta().asked):
            return others.meta if others.meta.outputs else None
        if gone := [path.name for name in others.meta.outputs if (path := others.path(name))]:
            self._notes.append(Note(f"made with other settings, so removed: {', '.join(gone)}"))
        others.delete_outputs()
        return None

    def _write_meta(self, path: Path, names: Mapping[str, Path], older: RunMeta | None) -> None:
        """Write the meta of outputs that have their names; `older` tells of others that stay."""
        with output_errors(path):
            outputs = {name: describe(self._kind, name, each) for name, each in names.items()}
            meta = self._target.run_meta().ended(complete=not self.partial)
            told = older.joined(meta, outputs) if older else replace(meta, outputs=outputs)
            with self._hidden_meta.open("r+b") as file:  # in the room that was kept for it
                file.write(told.to_json().encode() + b"\n")
                file.truncate()
            self._hidden_meta.replace(path)
        self.outputs = (*dict.fromkeys(names.values()), path)

    def _remove_superseded(self, formats: Collection[str]) -> None:
        """Partial results of the same video and settings that have nothing that these have not."""
        asked = self._target.run_meta().asked
        target = self._target
        for old in list(partial_results(self._kind, target.folder, target.stem)):
            if old.has_nothing_beyond(formats) and not old.meta.differences(asked):
                with suppress(OutputError):
                    old.delete()

    def _clean_up(self) -> None:
        for writer in self._writers.values():
            with suppress(Exception):  # whatever state it is in; what has its name stays
                writer.abandon()
            with suppress(OutputError):
                writer.remove()
        with suppress(OSError):
            self._hidden_meta.unlink(missing_ok=True)
        self._lock.release()
        self._remove_made_folders()

    def _remove_made_folders(self) -> None:
        with suppress(OSError):  # not empty
            for folder in self._made_folders:
                folder.rmdir()


def lock_path(folder: Path, stem: str, kind: Kind) -> Path:
    """The hidden file that is there while a run is at work on a video's outputs, or was killed."""
    return hidden_path(folder, stem, f".{kind}.lock")


def clear_after_kill(kind: Kind, folder: Path, stem: str) -> None:
    """Remove what a killed run has left of a video's outputs; nothing if a run is at work there.

    That is its hidden files, and outputs that had their names already, but not yet their meta.

    Raises:
        OutputError: if something cannot be removed.
    """
    lock = lock_path(folder, stem, kind)
    if not Writer.files_of(lock):  # it is the first to come, and the last to go
        return
    meta_path = hidden_path(folder, stem, META_SUFFIXES[kind])
    with suppress(BeingWrittenError), RunLock(lock, folder / f"{stem}{META_SUFFIXES[kind]}"):
        if announced := Results.read(kind, meta_path):
            announced.delete_outputs()
        for suffix in {s for each in WRITERS[kind].values() for s in each.hidden_suffixes()}:
            path = hidden_path(folder, stem, suffix)
            with output_errors(path):
                if path.is_dir():
                    rmtree(path)
                path.unlink(missing_ok=True)
        with output_errors(meta_path):
            meta_path.unlink(missing_ok=True)
