"""The rows of an evaluation on disk, clip by clip, so that a killed one goes on where it was.

    ROWS.csv               a row a box, as `tubedet evaluate --detections` reads them
    ROWS.progress.jsonl    what made the rows; then a line for every clip that is done

A clip's line follows its rows and says where they end: what a kill leaves behind that is cut off at
the next start. Numbers are written so that they come back exactly.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any
from zlib import crc32

import pandas as pd

from tubedet.datasets.row_files import NUMBER_COLUMNS, ROW_COLUMNS
from tubedet.errors import DatasetError, OutputError, UsageError
from tubedet.whole_file import written_whole
from tubedet.writers.run_lock import RunLock

ROWS_AT_ONCE = 100_000
KINDS = {**dict.fromkeys([*NUMBER_COLUMNS, "tube"], "float64"), "frame": "int64"}
HEADER = (",".join(ROW_COLUMNS) + "\n").encode()


@dataclass(frozen=True, slots=True)
class ClipDone:
    """One clip that was run.

    Attributes:
        video: its name in the data set.
        rows_end: size of the file of rows in bytes, with those of this clip.
        crc32: of all these bytes.
        frames: that were decoded.
        seconds: from decoding to boxes.
        warms_up: it was the first since the program started, and took longer for that.
        failure: why it could not be run, else None.
    """

    video: str
    rows_end: int
    crc32: int
    frames: int
    seconds: float
    warms_up: bool
    failure: str | None


class RowsFile:
    """Rows that are added clip by clip, by a `sole_writer`.

    Args:
        path: ends in .csv.
        settings: what the rows depend on, as JSON has it.
        resume: go on with what is there, if anything is.

    Attributes:
        done: the clips so far, by video.

    Raises:
        UsageError: for another suffix, or if the rows that are there were made with other settings.
        DatasetError: if the progress is not of this form.
        OutputError: if there are rows already and `resume` is False, or a file cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, object], *, resume: bool) -> None:
        if path.suffix != ".csv":
            raise UsageError(f"{path}: expected a name for rows that ends in .csv")
        self.path, self.progress = path, path.with_suffix(".progress.jsonl")
        self._warms_up = True
        stored = self._stored_lines() if resume else []
        if path.exists() and not stored:
            remedy = "" if resume else "go on with --resume or "
            raise OutputError(f"{path}: exists already; {remedy}choose another name for the rows")
        kept = self._kept(stored, settings) if stored else []
        self.done = {clip.video: clip for clip in kept if clip.failure is None}
        last = max(kept, key=lambda clip: clip.rows_end, default=None)
        self._rows_end, self._crc32 = (
            (last.rows_end, last.crc32) if last else (len(HEADER), crc32(HEADER))
        )
        lines = [_line(settings), *(_line(asdict(clip)) for clip in self.done.values())]
        with written_whole(self.progress) as pending:
            pending.write_text("".join(lines), encoding="utf-8")
        with self._output_errors(), path.open("ab") as file:
            if not kept:
                file.truncate(0)
                file.write(HEADER)
            file.truncate(self._rows_end)

    def add(
        self, video: str, rows: Iterable[Sequence[object]], frames: int, seconds: float
    ) -> None:
        """Write the rows of a clip, in the order of `ROW_COLUMNS`, and that it is done."""
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._append(text.getvalue().encode(), video, frames, seconds)

    def add_failure(self, video: str, failure: str) -> None:
        """Write that a clip could not be run; a resumed evaluation tries it again."""
        self._append(b"", video, 0, 0.0, failure)

    def table(self, videos: Iterable[str]) -> pd.DataFrame:
        """All rows, in the order of the videos."""
        # As text, since a label may be called "nan"; by parts, since text takes five times as much.
        parts = pd.read_csv(self.path, dtype="str", keep_default_na=False, chunksize=ROWS_AT_ONCE)
        table = pd.concat(
            part.assign(tube=part["tube"].replace("", "nan")).astype(KINDS) for part in parts
        )
        rank = {video: number for number, video in enumerate(videos)}
        ranks = table["video"].map(rank).to_numpy()
        return table.iloc[ranks.argsort(kind="stable")].reset_index(drop=True)

    @property
    def frames_per_second(self) -> float | None:
        """Of clips that no start of the program slowed down, or of all where there is no other."""
        clips = [clip for clip in self.done.values() if clip.failure is None]
        clips = [clip for clip in clips if not clip.warms_up] or clips
        seconds = sum(clip.seconds for clip in clips)
        return sum(clip.frames for clip in clips) / seconds if seconds else None

    def _append(
        self, rows: bytes, video: str, frames: int, seconds: float, failure: str | None = None
    ) -> None:
        end, checksum = self._rows_end + len(rows), crc32(rows, self._crc32)
        clip = ClipDone(video, end, checksum, frames, seconds, self._warms_up, failure)
        with self._output_errors():
            for path, content in ((self.path, rows), (self.progress, _line(asdict(clip)).encode())):
                with path.open("ab") as file:
                    file.write(content)
        self._rows_end, self._crc32, self._warms_up = end, checksum, False
        self.done[video] = clip

    def _stored_lines(self) -> list[Any]:
        """The whole lines of the progress; none where rows have not been begun."""
        if not self.progress.exists():
            return []
        try:
            *lines, _ = self.progress.read_text(encoding="utf-8").split("\n")
            return [json.loads(line) for line in lines]
        except (OSError, ValueError) as error:
            raise DatasetError(self._unusable(error)) from error

    def _kept(self, stored: list[Any], settings: Mapping[str, object]) -> list[ClipDone]:
        """The clips of the progress whose rows are there."""
        before, *clips = stored
        now = json.loads(_line(settings))
        if before != now:
            raise UsageError(self._other_settings(before, now))
        try:
            done = sorted((ClipDone(**each) for each in clips), key=lambda clip: clip.rows_end)
            hash(tuple(clip.video for clip in done))
        except TypeError as error:
            raise DatasetError(self._unusable(error)) from error
        return list(self._whole(done))

    def _whole(self, clips: Iterable[ClipDone]) -> Iterator[ClipDone]:
        """The clips whose rows are all there; DatasetError if they are not as they were written."""
        if not self.path.exists():
            return
        with self._output_errors(), self.path.open("rb") as file:
            checksum = 0
            for clip in clips:
                checksum = crc32(file.read(clip.rows_end - file.tell()), checksum)
                if file.tell() < clip.rows_end:
                    return
                if checksum != clip.crc32:
                    raise DatasetError(
                        f"{self.path}: expected the rows as they were written, found others in "
                        f"{clip.video} or before; give another name for the rows"
                    )
                yield clip

    def _other_settings(self, before: Any, now: dict[str, object]) -> str:
        if not isinstance(before, dict):
            return self._unusable(ValueError("no settings in the first line"))
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        others = "; ".join(f"{name} {before.get(name)}, not {now.get(name)}" for name in names)
        return f"{self.path}: was made with {others}; give the same, or another name for the rows"

    def _unusable(self, error: Exception) -> str:
        return f"{self.progress}: expected what `tubedet evaluate --rows` writes, found {error}"

    @contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(f"{self.path}: cannot keep the rows: {error}") from error


def sole_writer(path: Path) -> RunLock:
    """Nobody else writes what is kept under this name; OutputError if somebody does."""
    return RunLock(path.with_name(f".{path.name}.lock"), path)


def _line(value: Mapping[str, object]) -> str:
    return json.dumps(value) + "\n"
