"""Rows as CSV: a header, commas, dots, UTF-8; an empty cell is an unknown value."""

import csv
from collections.abc import Iterable

from tubedet.detections import FrameDetections
from tubedet.writers.text_file import TextFile
from tubedet.writers.track_rows import Row, rows_of

FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # OWASP, "CSV Injection"


class CsvFile(TextFile):
    """A CSV file of whatever lines."""

    def put(self, cells: Iterable[object]) -> None:
        """Write one line; a text that a spreadsheet would run is marked as text, if asked for."""
        line = list(cells)
        if self.target.spreadsheet_safe:
            line = [as_text(cell) if isinstance(cell, str) else cell for cell in line]
        # Before Python 3.13 a carriage return alone is no reason to quote.
        has_return = any(isinstance(cell, str) and "\r" in cell for cell in line)
        if has_return:
            csv.writer(self.text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(line)
        else:
            csv.writer(self.text, lineterminator="\n").writerow(line)

    def end(self, *, complete: bool) -> None:
        """Nothing follows the lines."""


class CsvWriter(CsvFile):
    """STEM.csv, as spreadsheets and `pandas.read_csv` read it."""

    suffix = ".csv"

    def begin(self) -> None:
        """Write the header."""
        self.put(Row._fields)

    def add(self, found: FrameDetections) -> None:
        """Write a line a box, every number with its full count of decimals."""
        for row in rows_of(self.target.video, found):
            box = (f"{edge:.2f}" for edge in row[-4:])
            time_s, score = f"{row.time_s:.6f}", f"{row.score:.4f}"
            self.put((row.video, row.frame, row.pts, time_s, row.tube, row.label, score, *box))


def as_text(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; a number is left a number."""
    return f"'{cell}" if _needs_mark(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def without_mark(cell: str) -> str:
    """The cell that `as_text` marked, or any other as it is."""
    return cell[1:] if cell.startswith("'") and _needs_mark(cell[1:]) else cell


def _needs_mark(cell: str) -> bool:
    """Whether it begins a formula, or looks like a cell with a mark."""
    return cell.startswith((*FORMULA_SIGNS, "'")) and not _is_number(cell)
