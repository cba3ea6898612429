"""Rows of one video that a format needs again at the end, in whichever order.

They lie in a temporary SQLite database, which is a nameless file once it outgrows 2 MB: memory
stays flat, and nothing is left of it whatever ends the program.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby

from tubedet.writers.track_rows import Row

STORED = Row._fields[1:]  # `video` is the same in all
COLUMNS = ", ".join(STORED)


class RowStore:
    """Rows in the order in which they came; every method may raise sqlite3.Error.

    Text that is not Unicode, such as lone surrogates, is spelled out.
    """

    def __init__(self, video: str) -> None:
        """Make an empty store for rows of a video."""
        self._video = spelled_out(video)
        # The frames of a run are written by another thread than ends it, one after the other.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.execute(f"CREATE TABLE rows (number INTEGER PRIMARY KEY, {COLUMNS})")
        self._before = self._end = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Keep the rows of a frame, all or none."""
        self._before = self._end
        cells = [
            (self._end + n, *row[1:5], spelled_out(row.label), *row[6:])
            for n, row in enumerate(rows)
        ]
        places = ", ".join("?" * (1 + len(STORED)))
        try:
            self._database.executemany(f"INSERT INTO rows VALUES ({places})", cells)
        except BaseException:
            self.take_back()
            raise
        self._end += len(cells)

    def take_back(self) -> None:
        """Forget the latest frame."""
        self._database.execute("DELETE FROM rows WHERE number >= ?", (self._before,))

    def rows(self) -> Iterator[Row]:
        """All rows, by frame."""
        found = self._database.execute(f"SELECT {COLUMNS} FROM rows ORDER BY frame, number")
        return (Row(self._video, *cells) for cells in found)

    def tracks(self) -> Iterator[Iterator[Row]]:
        """The rows of each tube and label together, by frame, no two of one frame.

        What has no tube comes last: of each label, the n-th boxes of all frames together.
        """
        found = self._database.execute(
            f"SELECT ROW_NUMBER() OVER (PARTITION BY tube, label, frame ORDER BY number) AS place, "
            f"{COLUMNS} FROM rows ORDER BY tube IS NULL, tube, label, place, frame"
        )
        numbered = ((place, Row(self._video, *cells)) for place, *cells in found)
        for _, track in groupby(numbered, lambda each: (each[1].tube, each[1].label, each[0])):
            yield (row for _, row in track)

    def labels(self) -> list[str]:
        """Every label once, in the order in which they came."""
        found = self._database.execute("SELECT label FROM rows GROUP BY label ORDER BY MIN(number)")
        return [label for (label,) in found]

    def frames(self) -> Iterator[int]:
        """The numbers of the frames that have a row, in order."""
        found = self._database.execute("SELECT DISTINCT frame FROM rows ORDER BY frame")
        return (frame for (frame,) in found)

    def close(self) -> None:
        """Forget everything."""
        self._database.close()


def spelled_out(text: str) -> str:
    """Text that UTF-8 can hold: a file name that is not UTF-8 comes as lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()
