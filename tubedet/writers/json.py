"""Rows as one JSON object: {"meta": {...}, "detections": [row, ...]}."""

import json
import shutil
from tempfile import TemporaryFile

from tubedet.writers.row_file import RowFile
from tubedet.writers.track_rows import Row


class JsonWriter(RowFile):
    """STEM.json, one row a line.

    The meta comes first but is known last: rows wait in a nameless file of the same folder, which
    vanishes with the process, and are copied behind it in the end. Memory stays flat.
    """

    suffix = ".json"

    def begin(self) -> None:
        """Open the nameless file for the rows."""
        rows = TemporaryFile("w+", encoding="ascii", dir=self.target.folder)  # noqa: SIM115
        self._rows = self.files.enter_context(rows)
        self._separator = "\n"

    def put(self, row: Row) -> None:
        """Keep one row."""
        self._rows.write(self._separator + json.dumps(row._asdict()))
        self._separator = ",\n"

    def end(self) -> None:
        """Write the meta, then the rows behind it."""
        self.text.write(f'{{"meta": {self.target.run_meta().to_json()},\n"detections": [')
        self._rows.seek(0)
        shutil.copyfileobj(self._rows, self.text)
        self.text.write("\n]}\n")
