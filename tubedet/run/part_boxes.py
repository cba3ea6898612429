"""The boxes of a part of a video, on their way from whoever found them to the run.

They are what linking is given; with the shots, they are all that a run takes from the network.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from tubedet.detections import Detection
from tubedet.run.picking import PickedFrame
from tubedet.run.plan import FramePlan
from tubedet.video.frame import VideoFrame
from tubedet.video.time_range import FrameNumber, Seconds, TimeRange


@dataclass(frozen=True, slots=True)
class FramePart:
    """A part of the frames that a run reports.

    Attributes:
        span: where they are.
        max_frames: at most so many of them are.
        before_s: the network begins so long before them; None: as long as in a run over them alone.
        is_last: no part follows, so what the run reads behind its last frame belongs to this one.
    """

    span: TimeRange
    max_frames: int | None = None
    before_s: Fraction | None = None
    is_last: bool = True


def part_behind(plan: FramePlan, first: int, frame: int, time_s: Fraction) -> FramePart:
    """From a due frame to the end of the plan, whose span begins with the frame `first`."""
    end, counts = plan.span.end, []
    if isinstance(end, FrameNumber):
        counts.append(-(-(end.value - frame) // plan.stride))
    if plan.max_frames is not None:
        counts.append(plan.max_frames - (frame - first) // plan.stride)
    span = TimeRange(Seconds(time_s), end if isinstance(end, Seconds) else None)
    return FramePart(span, min(counts, default=None))


class BoxesAt(NamedTuple):
    """The boxes of a frame, None if none were asked for, and whether a shot begins with it."""

    time_s: Fraction
    begins_shot: bool
    detections: tuple[Detection, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class PartFound:
    """What was found in successive frames, in arrays, which are quickly sent.

    Attributes:
        times_s: of all T frames, as in `VideoFrame`.
        begins_shot: (T,) bool, as in `FramePair`.
        counts: (T,) how many boxes a frame has; -1 where none were asked for.
        numbers: (N, 6 + C) of all boxes: x1, y1, x2, y2 in source pixels, score, class index and
            the class scores.
    """

    times_s: tuple[Fraction, ...]
    begins_shot: NDArray[np.bool_]
    counts: NDArray[np.int32]
    numbers: NDArray[np.float64]

    @classmethod
    def of(cls, picked: Iterable[PickedFrame]) -> Self:
        """The frames of a part."""
        told: list[tuple[Fraction, bool, int]] = []
        numbers: list[tuple[float, ...]] = []
        for each in picked:
            boxes = each.detections if each.is_due else ()
            count = len(boxes) if each.is_due else -1
            told.append((each.frame.time_s, each.begins_shot, count))
            numbers += [
                (*box.box_xyxy, box.score, box.class_index, *box.class_scores) for box in boxes
            ]
        times_s, begins_shot, counts = zip(*told, strict=True) if told else ((), (), ())
        return cls(
            times_s,
            np.array(begins_shot, np.bool_),
            np.array(counts, np.int32),
            np.array(numbers, np.float64).reshape(len(numbers), -1 if numbers else 0),
        )

    def frames(self, class_names: Sequence[str]) -> Iterator[BoxesAt]:
        """Frame by frame, with the names of the detector's classes."""
        first = 0
        for time_s, begins, count in zip(
            self.times_s, self.begins_shot.tolist(), self.counts.tolist(), strict=True
        ):
            rows = self.numbers[first : first + max(count, 0)].tolist()
            first += len(rows)
            found = tuple(_detection(row, class_names) for row in rows)
            yield BoxesAt(time_s, begins, found if count >= 0 else None)


class KnownBoxes:
    """The boxes of all parts, to be asked for frame by frame; few are held at a time.

    Args:
        parts: in their order; each is taken when the frames of the one before have passed.
        class_names: of the detector.
        find: finds boxes from a frame on, where no part has those of this frame.
    """

    def __init__(
        self,
        parts: Iterable[PartFound],
        class_names: Sequence[str],
        find: Callable[[VideoFrame], PartFound],
    ) -> None:
        self._class_names, self._find = class_names, find
        self._left: Iterator[BoxesAt] = (
            each for part in parts for each in part.frames(class_names)
        )
        self._held: deque[BoxesAt] = deque()
        self._is_over = False

    def may_begin_shot(self, frame: VideoFrame) -> bool:
        """Whether a frame, some ahead of those of `of`, lies behind a gap or behind all parts.

        A run over the whole reads no further than the last part, be it for a cut.
        """
        self._read_to(frame.time_s)
        is_known = self._held and self._held[-1].time_s >= frame.time_s
        return frame.after_gap or (self._is_over and not is_known)

    def of(self, frame: VideoFrame, *, is_due: bool) -> BoxesAt | None:
        """What is known of a frame: boxes in any case if it is due."""
        known = self._take(frame.time_s)
        if is_due and (known is None or known.detections is None):
            self._held.clear()
            self._left = self._find(frame).frames(self._class_names)
            known = self._take(frame.time_s)
        return known

    def _take(self, time_s: Fraction) -> BoxesAt | None:
        self._read_to(time_s)
        while self._held and self._held[0].time_s < time_s:
            self._held.popleft()
        is_known = self._held and self._held[0].time_s == time_s
        return self._held.popleft() if is_known else None

    def _read_to(self, time_s: Fraction) -> None:
        while not self._held or self._held[-1].time_s < time_s:
            each = next(self._left, None)
            self._is_over = each is None
            if each is None:
                return
            if not self._held or each.time_s > self._held[-1].time_s:
                self._held.append(each)


def _detection(row: Sequence[float], class_names: Sequence[str]) -> Detection:
    x1, y1, x2, y2, score, class_index, *class_scores = row
    return Detection(
        label=class_names[int(class_index)],
        class_index=int(class_index),
        score=score,
        box_xyxy=(x1, y1, x2, y2),
        class_scores=tuple(class_scores),
    )
