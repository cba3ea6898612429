"""What the formats of rows share: one row a box, put one by one into a text file."""

from abc import abstractmethod

from tubedet.detections import FrameDetections
from tubedet.writers.text_file import TextFile
from tubedet.writers.track_rows import Row, rows_of


class RowFile(TextFile):
    """A `Writer` of rows; a format says what precedes, makes up and follows them."""

    @abstractmethod
    def put(self, row: Row) -> None:
        """Write one row."""

    def add(self, detections: FrameDetections) -> None:
        """Write the rows of a frame."""
        for row in rows_of(self.target.video, detections):
            self.put(row)
