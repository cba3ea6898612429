"""From linked boxes to what editors and analysts ask for: who did what from when to when.

A segment is a run of a tube's boxes with one label.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from tubedet.detections import Detection, FrameDetections
from tubedet.errors import OutputError
from tubedet.writers.csv import CsvFile
from tubedet.writers.track_rows import as_in_rows
from tubedet.writers.writer import FrameResult

COLUMNS = ("video", "tube", "label", "start_frame", "end_frame", "start_s", "end_s", "score")


@dataclass(frozen=True, slots=True)
class ActionSegment:
    """One tube's action, from its first to its last box with this label, both included.

    `start_s` and `end_s` are those frames' times; `score` is the mean of the boxes' scores as rows
    have them, of which there are `boxes`.
    """

    tube: int
    label: str
    start_frame: int
    end_frame: int
    start_s: float
    end_s: float
    score: float
    boxes: int


class OpenSegments:
    """Frames in, the segments that they end out; only open ones are kept.

    A segment ends when its tube ends or is said to do something else. Boxes without a tube belong
    to no segment.
    """

    def __init__(self) -> None:
        self._open: dict[int, ActionSegment] = {}
        self._before = self._open

    def add(self, found: FrameDetections) -> list[ActionSegment]:
        """The segments that this frame ends."""
        self._before = dict(self._open)
        return list(self._ended_by(found))

    def take_back(self) -> None:
        """Forget what the latest frame has ended, begun and prolonged."""
        self._open = self._before

    def rest(self) -> list[ActionSegment]:
        """Those that are still open."""
        return list(self._open.values())

    def _ended_by(self, found: FrameDetections) -> Iterator[ActionSegment]:
        for box in map(as_in_rows, found.detections):
            if box.tube is None:
                continue
            current = self._open.get(box.tube)
            if current is not None and current.label == box.label:
                self._open[box.tube] = _prolonged(current, found, box)
                continue
            if current is not None:
                yield current
            self._open[box.tube] = _begun(found, box, box.tube)
        for tube in found.ended_tubes:
            if tube in self._open:
                yield self._open.pop(tube)


class SegmentsWriter(CsvFile):
    """STEM.segments.csv, a segment a line, in the order in which they end."""

    suffix = ".segments.csv"

    def begin(self) -> None:
        """Write the header."""
        self._segments = OpenSegments()
        self.put(COLUMNS)

    def write(self, result: FrameResult) -> None:
        """Append what a frame ends."""
        try:
            super().write(result)
        except OutputError:
            self._segments.take_back()
            raise

    def take_back(self) -> None:
        """Forget what the latest frame has ended, begun and prolonged."""
        super().take_back()
        self._segments.take_back()

    def add(self, found: FrameDetections) -> None:
        """Write the segments that this frame ends."""
        for segment in self._segments.add(found):
            self._put(segment)

    def end(self, *, complete: bool) -> None:
        """Write the segments that are still open."""
        for segment in self._segments.rest():
            self._put(segment)

    def _put(self, segment: ActionSegment) -> None:
        times = (f"{t:.6f}" for t in (segment.start_s, segment.end_s))
        frames = (segment.start_frame, segment.end_frame)
        score = f"{segment.score:.4f}"
        self.put((self.target.video, segment.tube, segment.label, *frames, *times, score))


def _begun(found: FrameDetections, box: Detection, tube: int) -> ActionSegment:
    frame, time_s = found.frame, found.time_s
    return ActionSegment(tube, box.label, frame, frame, time_s, time_s, box.score, 1)


def _prolonged(segment: ActionSegment, found: FrameDetections, box: Detection) -> ActionSegment:
    boxes = segment.boxes + 1
    return replace(
        segment,
        end_frame=found.frame,
        end_s=found.time_s,
        score=segment.score + (box.score - segment.score) / boxes,
        boxes=boxes,
    )
