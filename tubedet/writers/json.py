"""Rows as one JSON object: {"detections": [row, ...], "meta": {...}}."""

import json

from tubedet.detections import FrameDetections
from tubedet.errors import OutputError
from tubedet.writers.text_file import TextFile
from tubedet.writers.track_rows import rows_of


class JsonWriter(TextFile):
    """STEM.json, one row a line; the meta, which is known last, comes last: memory stays flat."""

    suffix = ".json"

    def begin(self) -> None:
        """Open the list of rows."""
        self.text.write('{"detections": [')
        self._separator = "\n"

    def add(self, found: FrameDetections) -> None:
        """Write one line a box."""
        for row in rows_of(self.target.video, found):
            self.text.write(self._separator + json.dumps(row._asdict()))
            self._separator = ",\n"

    def close(self, *, complete: bool) -> None:
        """End the text; without the meta, which has a file of its own, where it finds no room."""
        self._has_room = True
        try:
            super().close(complete=complete)
        except OutputError:
            self._has_room = False
            super().close(complete=complete)

    def end(self, *, complete: bool) -> None:
        """Close the list and write the meta."""
        self.text.write("\n]")
        if self._has_room:
            meta = self.target.run_meta().ended(complete=complete)
            self.text.write(f',\n"meta": {meta.to_json()}')
        self.text.write("}\n")
