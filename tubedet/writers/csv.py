"""Rows as CSV: a header, commas, dots, UTF-8; an empty cell is an unknown value."""

import csv

from tubedet.writers.row_file import RowFile
from tubedet.writers.track_rows import Row


class CsvWriter(RowFile):
    """STEM.csv, as spreadsheets and `pandas.read_csv` read it."""

    suffix = ".csv"

    def begin(self) -> None:
        """Write the header."""
        self._csv = csv.writer(self.text, lineterminator="\n")
        self._csv.writerow(Row._fields)

    def put(self, row: Row) -> None:
        """Write one line, every number with its full count of decimals."""
        shown = row._asdict()
        if row.time_s is not None:
            shown["time_s"] = f"{row.time_s:.6f}"
        shown["score"] = f"{row.score:.4f}"
        shown |= {edge: f"{shown[edge]:.2f}" for edge in ("x1", "y1", "x2", "y2")}
        self._csv.writerow(shown.values())

    def end(self) -> None:
        """Nothing follows the rows."""
