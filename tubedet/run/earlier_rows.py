"""Rows of an earlier run over the same video, taken over instead of looking again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tubedet.detections import Detection
from tubedet.errors import OutputError
from tubedet.writers.formats import ROW_FORMATS
from tubedet.writers.partial_results import Results
from tubedet.writers.read_rows import read_rows
from tubedet.writers.track_rows import Row


class EarlierRows:
    """The rows of a run, read once from front to back; memory stays flat.

    Attributes:
        end_frame: behind the last frame that the run processed.
        linker_state: of the linker there; None if it linked nothing, or ended with the video.
    """

    def __init__(self, path: Path, end_frame: int, linker_state: Mapping[str, Any] | None) -> None:
        """Read the rows of a file that tubedet wrote, up to `end_frame`."""
        self.end_frame = end_frame
        self.linker_state = linker_state
        self._path = path
        self._rows = read_rows(path)  # opened when the first row is asked for
        self._next: Row | None = None
        self._begun = False

    @classmethod
    def of(cls, results: Results) -> "EarlierRows | None":
        """Those of the first format that has them; None if there is no such file."""
        path = next(filter(None, map(results.path, ROW_FORMATS)), None)
        state = (results.meta.resume or {}).get("linker")
        needs_state = not results.meta.complete and results.meta.settings.get("link")
        if path is None or (needs_state and state is None):
            return None
        return cls(path, results.meta.end_frame, state)

    def at(self, frame: int, class_names: tuple[str, ...]) -> tuple[Detection, ...]:
        """The boxes of a frame; to be asked in the order of frames.

        Raises:
            OutputError: if the rows are not as tubedet writes them.
        """
        try:
            return tuple(_detection(row, class_names) for row in self._rows_of(frame))
        except ValueError as error:
            raise OutputError(f"{self._path}: expected rows of tubedet's, found {error}") from error

    def _rows_of(self, frame: int) -> Iterator[Row]:
        if not self._begun:
            self._begun, self._next = True, next(self._rows, None)
        while self._next is not None and self._next.frame <= frame:
            if self._next.frame < frame:
                raise ValueError(f"frame {self._next.frame} where {frame} should be")
            row, self._next = self._next, next(self._rows, None)
            yield row


def _detection(row: Row, class_names: tuple[str, ...]) -> Detection:
    if row.label not in class_names:
        raise ValueError(f"the unknown label {row.label}")
    return Detection(
        label=row.label,
        class_index=class_names.index(row.label),
        score=row.score,
        box_xyxy=(row.x1, row.y1, row.x2, row.y2),
        tube=row.tube,
    )
