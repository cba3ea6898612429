"""When an action of somebody starts and ends, said while it goes on.

An action that does not last half a second is nobody's event: a box that flickers, or a tube that is
called something else for a few frames.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from tubedet.detections import Detection, FrameDetections
from tubedet.live.stream import LiveStream, iso_utc, utc_at
from tubedet.writers.segments import ActionSegment, OpenSegments
from tubedet.writers.track_rows import as_in_rows

LASTING_S = 0.5


@dataclass(frozen=True, slots=True)
class ActionEvent:
    """The first or the last frame of an action.

    `box_xyxy` and `score` are those of that frame, as its row has them; `at` is UTC. `duration_s`
    (from the first to the last frame) and `boxes` are told at its end.
    """

    event: Literal["start", "end"]
    video: str
    tube: int
    label: str
    score: float
    box_xyxy: tuple[float, float, float, float]
    frame: int
    time_s: float
    at: datetime
    duration_s: float | None = None
    boxes: int | None = None

    def to_json(self) -> str:
        """One line of ASCII, with names as rows have them."""
        x1, y1, x2, y2 = self.box_xyxy
        told = {
            "event": self.event,
            "video": self.video,
            "tube": self.tube,
            "label": self.label,
            "score": self.score,
            **{"x1": x1, "y1": y1, "x2": x2, "y2": y2},
            "frame": self.frame,
            "time_s": round(self.time_s, 6),
            "at": iso_utc(self.at),
        }
        if self.duration_s is not None:
            told |= {"duration_s": round(self.duration_s, 6), "boxes": self.boxes}
        return json.dumps(told)


class _Ends(NamedTuple):
    """The first and the latest box of an open segment."""

    first: Detection
    latest: Detection


class ActionEvents:
    """Frames in, the events that they tell of out; only what is open is kept.

    Args:
        stream: whose clock tells the time.
        video: what rows call it.
    """

    def __init__(self, stream: LiveStream, video: str) -> None:
        self._stream, self._video = stream, video
        self._segments = OpenSegments()
        self._ends: dict[int, _Ends] = {}
        self._announced: set[int] = set()

    @property
    def going_on(self) -> list[str]:
        """The labels of actions that were announced and have not ended."""
        return [each.label for each in self._segments.rest() if each.tube in self._announced]

    def add(self, found: FrameDetections) -> list[ActionEvent]:
        """The events that this frame tells of, in the order of their times."""
        ended = [event for each in self._segments.add(found) for event in self._ended(each)]
        begun = {each.tube: each.start_frame == found.frame for each in self._segments.rest()}
        for box in map(as_in_rows, found.detections):
            if box.tube is not None:
                is_first = begun[box.tube] or box.tube not in self._ends
                first = box if is_first else self._ends[box.tube].first
                self._ends[box.tube] = _Ends(first, box)
        return [*ended, *self._started()]

    def rest(self) -> list[ActionEvent]:
        """The ends of actions that go on where the stream ends."""
        return [event for each in self._segments.rest() for event in self._ended(each)]

    def _started(self) -> Iterator[ActionEvent]:
        for each in self._segments.rest():
            if each.tube not in self._announced and each.end_s - each.start_s >= LASTING_S:
                self._announced.add(each.tube)
                yield self._event("start", each, self._ends[each.tube].first)

    def _ended(self, segment: ActionSegment) -> Iterator[ActionEvent]:
        ends = self._ends.pop(segment.tube)
        if segment.tube in self._announced:
            self._announced.remove(segment.tube)
            yield self._event("end", segment, ends.latest)

    def _event(
        self, event: Literal["start", "end"], segment: ActionSegment, box: Detection
    ) -> ActionEvent:
        is_end = event == "end"
        time_s = segment.end_s if is_end else segment.start_s
        return ActionEvent(
            event=event,
            video=self._video,
            tube=segment.tube,
            label=segment.label,
            score=box.score,
            box_xyxy=box.box_xyxy,
            frame=segment.end_frame if is_end else segment.start_frame,
            time_s=time_s,
            at=utc_at(self._stream, time_s),
            duration_s=segment.end_s - segment.start_s if is_end else None,
            boxes=segment.boxes if is_end else None,
        )
